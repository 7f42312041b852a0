"""
mgcp-agent.py OWN GATEWAY COUNT: a call agent (RFC 3435) that joins two streams of its own on the media gateway at GATEWAY:2427,
sends COUNT packets on one and prints how many came back on the other, and from where. OWN is its address.
"""

import re
import socket
import sys

own, gateway, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in own else socket.AF_INET
version = "IP6" if ":" in own else "IP4"
agent = socket.socket(family, socket.SOCK_DGRAM)
agent.bind((own, 2727))
agent.connect((gateway, 2427))
agent.settimeout(5)
transaction = 0
endpoint = "rtpbridge/*@mgw"


def ask(verb: str, *lines: str, sdp: str = "") -> str:
    global transaction
    transaction += 1
    command = "\r\n".join([f"{verb} {transaction} {endpoint} MGCP 1.0", *lines, ""])
    agent.send((f"{command}\r\n{sdp}" if sdp else command).encode())
    answer = agent.recv(4096).decode()
    if not answer.startswith("2"):
        sys.exit(f"{verb}: {answer}")
    return answer


media, targets, connections = [], [], []
for k in range(2):
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.bind((own, 20000 + 2 * k))
    one.settimeout(5)
    media.append(one)
    sdp = f"v=0\r\no=- 1 1 IN {version} {own}\r\ns=-\r\nc=IN {version} {own}\r\nt=0 0\r\nm=audio {20000 + 2 * k} RTP/AVP 8\r\n"
    answer = ask("CRCX", "C: 1", "L: p:20, a:PCMA", "M: sendrecv", sdp=sdp)
    if found := re.search(r"^Z: (\S+)", answer, re.M):
        endpoint = found[1]
    connections.append(re.search(r"^I: (\S+)", answer, re.M)[1])
    host = re.search(r"^c=IN IP[46] (\S+)", answer, re.M)[1]
    targets.append((host, int(re.search(r"^m=audio (\d+)", answer, re.M)[1])))

received, sources = 0, set()
for k in range(count):
    # RTP: version 2, PCMA, sequence number, time, source; silence.
    header = bytes([0x80, 8]) + k.to_bytes(2, "big") + (160 * k).to_bytes(4, "big") + b"\0\0\0\1"
    media[0].sendto(header + b"\xd5" * 160, targets[0])
    try:
        _, source = media[1].recvfrom(2048)
        received += 1
        sources.add(source[0])
    except TimeoutError:
        break
    sent_back = source[:2] == targets[1]
for connection in connections:
    ask("DLCX", "C: 1", f"I: {connection}")
print(f"{received} packets from {', '.join(sorted(sources))}, as announced: {sent_back}")
