"""
rtsp-player.py HOST PORT CLIENT_PORT COUNT: sets up the first track of /film, plays it, prints how many of COUNT packets came by
UDP, and tears it down. Unlike ffmpeg and GStreamer it sends nothing by UDP, so that nothing opens the way for what comes.
"""

import socket
import sys

host, port, client_port, count = sys.argv[1], *map(int, sys.argv[2:])
control = socket.create_connection((host, port), 10)
replies = control.makefile("rb")
url = f"rtsp://{'[' + host + ']' if ':' in host else host}:{port}/film"
sequence = 0


def ask(method: str, target: str, *headers: str) -> dict[str, str]:
    global sequence
    sequence += 1
    request = [f"{method} {target} RTSP/1.0", f"CSeq: {sequence}", *headers]
    control.sendall(("\r\n".join(request) + "\r\n\r\n").encode())
    status = replies.readline().decode()
    if " 200 " not in status:
        sys.exit(f"{method}: {status}")
    fields = {}
    while line := replies.readline().decode().strip():
        name, value = line.split(":", 1)
        fields[name.lower()] = value.strip()
    replies.read(int(fields.get("content-length", 0)))
    return fields


media = [socket.socket(control.family, socket.SOCK_DGRAM) for _ in range(2)]
for k, one in enumerate(media):
    one.bind((control.getsockname()[0], client_port + k))
    one.settimeout(5)
ask("DESCRIBE", url)
transport = f"Transport: RTP/AVP;unicast;client_port={client_port}-{client_port + 1}"
setup = ask("SETUP", f"{url}/stream=0", transport)
session = f"Session: {setup['session'].split(';')[0]}"
ask("PLAY", url, session)
received = 0
try:
    for _ in range(count):
        media[0].recv(2048)
        received += 1
except TimeoutError:
    pass
ask("TEARDOWN", url, session)
print(f"{received} packets, {setup['transport']}")
