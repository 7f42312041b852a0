"""Stands in for an Oracle database server: a listener on port 1521 that redirects to the database, and a database on port
1622 that refuses everybody, by name.

What the client asks for says how it is redirected: "older" all in one packet, "newer" the address in a packet of its own with
what to say there, "name" by a name that nobody else knows, "other" to the listener of another server.

    tns-server.py NAME OTHER-SERVER
"""

import re
import socket
import struct
import sys
import threading

NAME, OTHER = sys.argv[1:]
CONNECT, REFUSE, REDIRECT, DATA = 1, 4, 5, 6


def packet(kind, body):
    return struct.pack(">HHBBH", 8 + len(body), 0, kind, 0, 0) + body


def read_packet(connection):
    stream = connection.makefile("rb")
    header = stream.read(8)
    length, _, kind, _, _ = struct.unpack(">HHBBH", header)
    return kind, stream.read(length - 8)


def address(host, port):
    return f"(ADDRESS=(PROTOCOL=tcp)(HOST={host})(PORT={port}))"


def listen(connection):
    kind, body = read_packet(connection)
    found = re.search(rb"SERVICE_NAME=(\w+)", body)
    if kind != CONNECT or not found:
        return
    service = found[1].decode()
    own = connection.getsockname()[0].removeprefix("::ffff:")
    text = address({"name": "db.internal", "other": OTHER}.get(service, own), 1521 if service == "other" else 1622)
    if service != "older":
        text += f"\0(DESCRIPTION=(CONNECT_DATA=(SERVICE_NAME={'newer' if service == 'other' else service})))"
    data = text.encode()
    if service == "older":
        connection.sendall(packet(REDIRECT, struct.pack(">H", len(data)) + data))
    else:
        connection.sendall(packet(REDIRECT, struct.pack(">H", len(data))) + packet(DATA, b"\0\x40" + data))
    connection.recv(1)


def database(connection):
    kind, _ = read_packet(connection)
    if kind == CONNECT:
        data = f"(DESCRIPTION=(ERR=12514)(VSNNUM=0)(NAME={NAME}))".encode()
        connection.sendall(packet(REFUSE, b"\x22\0" + struct.pack(">H", len(data)) + data))
        print(f"asked {NAME}", flush=True)


def serve(port, answer):
    def one(connection):
        with connection:
            answer(connection)

    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        threading.Thread(target=one, args=(server.accept()[0],), daemon=True).start()


threading.Thread(target=serve, args=(1622, database), daemon=True).start()
print("listening", flush=True)
serve(1521, listen)
