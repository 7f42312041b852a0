"""Connects to a TNS listener, follows redirections of either form, and prints each of them and the refusal it ends with.

    tns-client.py HOST PORT SERVICE
"""

import re
import socket
import struct
import sys

CONNECT, REFUSE, REDIRECT, DATA = 1, 4, 5, 6


def packet(kind, body):
    return struct.pack(">HHBBH", 8 + len(body), 0, kind, 0, 0) + body


def read_packet(stream):
    length, _, kind, _, _ = struct.unpack(">HHBBH", stream.read(8))
    return kind, stream.read(length - 8)


host, port, service = sys.argv[1:]
said = f"(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST={host})(PORT={port}))(CONNECT_DATA=(SERVICE_NAME={service})))"
for _ in range(4):
    connection = socket.create_connection((host, int(port)), timeout=10)
    stream = connection.makefile("rb")
    head = struct.pack(">HHHHHHHHHHIBB", 314, 300, 0, 8192, 32767, 0x7F08, 0, 1, len(said), 58, 0, 0x41, 0x41)
    connection.sendall(packet(CONNECT, head.ljust(50, b"\0") + said.encode()))
    kind, body = read_packet(stream)
    if kind == REFUSE:
        print(body[4 : 4 + struct.unpack(">H", body[2:4])[0]].decode())
        break
    assert kind == REDIRECT, kind
    (length,) = struct.unpack(">H", body[:2])
    text = body[2:]
    if not text:
        kind, body = read_packet(stream)
        assert kind == DATA, kind
        text = body[2:]
    assert len(text) == length, (len(text), length)
    address, _, rest = text.decode().partition("\0")
    print(address, flush=True)
    said = rest or said
    host = re.search(r"HOST=([^)]*)", address)[1]
    port = re.search(r"PORT=(\d+)", address)[1]
    connection.close()
