"""A Skinny call manager that plays an announcement to telephones, or a telephone that listens to it. Both go by the addresses
that the other one says, and check that they are those its packets come from.

    skinny-peer.py manager PORT MEDIA-PORT
    skinny-peer.py telephone HOST PORT MEDIA-PORT VERSION
"""

import ipaddress
import socket
import struct
import sys

REGISTER, IP_PORT, OPEN_ACK, START, OPEN = 0x01, 0x02, 0x22, 0x8A, 0x105
PACKETS = 3


def words(*values):
    return struct.pack(f"<{len(values)}I", *values)


def message(kind, body, version):
    return words(4 + len(body), version, kind) + body


def packed(address, version):
    raw = ipaddress.ip_address(address).packed
    return raw if version < 17 else words(0 if len(raw) == 4 else 1) + raw.ljust(16, b"\0")


def unpacked(body, version):
    """The address at the beginning, and what is behind it."""
    if version < 17:
        return str(ipaddress.ip_address(body[:4])), body[4:]
    (kind,) = struct.unpack("<I", body[:4])
    return str(ipaddress.ip_address(body[4 : 8 if kind == 0 else 20])), body[20:]


def read(stream):
    length, version, kind = struct.unpack("<III", stream.read(12))
    return kind, version, stream.read(length - 4)


def plain(address):
    return str(ipaddress.ip_address(address.removeprefix("::ffff:")))


def media(connection, port):
    """A socket for RTP at the address of the connection."""
    address = plain(connection.getsockname()[0])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    udp = socket.socket(family, socket.SOCK_DGRAM)
    udp.settimeout(10)
    udp.bind((address, port))
    return address, udp


def exchange(udp, other):
    """Send to the other one, and hear from exactly there."""
    for number in range(PACKETS):
        udp.sendto(struct.pack(">BBHII", 0x80, 0, number, 160 * number, 1) + bytes(160), other)
    for _ in range(PACKETS):
        packet, (host, port, *_) = udp.recvfrom(2048)
        assert (plain(host), port) == other, (host, port, other)
        assert len(packet) == 172, len(packet)


def manager(port, media_port):
    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    print("listening", flush=True)
    while True:
        connection, peer = server.accept()
        with connection:
            stream = connection.makefile("rb")
            kind, version, body = read(stream)
            assert kind == REGISTER, kind
            registered = ipaddress.ip_address(body[24:28] if version < 17 or body[24:28] != bytes(4) else body[72:88])
            assert read(stream)[0] == IP_PORT
            own, udp = media(connection, media_port)
            connection.sendall(message(OPEN, words(1, 7, 20, 4) + bytes(200), version))
            kind, version, body = read(stream)
            assert kind == OPEN_ACK, kind
            host, rest = unpacked(body[4:], version)
            (other,) = struct.unpack("<I", rest[:4])
            start = words(1, 7) + packed(own, version) + words(media_port, 20, 4) + bytes(200)
            connection.sendall(message(START, start, version))
            exchange(udp, (host, other))
            udp.close()
            print(f"played to {plain(peer[0])}, registered {registered}, media {host} {other}", flush=True)


def telephone(host, port, media_port, version):
    connection = socket.create_connection((host, port), timeout=10)
    stream = connection.makefile("rb")
    own, udp = media(connection, media_port)
    is_ipv4 = ":" not in own
    address = packed(own, 0)
    body = b"SEP001122334455\0" + words(0, 1) + (address if is_ipv4 else bytes(4)) + words(8, 5, 0, version, 0, 0)
    body += bytes(12) + words(0, 1) + (bytes(16) if is_ipv4 else address) + words(0) + b"load".ljust(32, b"\0")
    connection.sendall(message(REGISTER, body, version) + message(IP_PORT, words(media_port), version))
    assert read(stream)[0] == OPEN
    connection.sendall(message(OPEN_ACK, words(0) + packed(own, version) + words(media_port, 7, 9), version))
    kind, version, body = read(stream)
    assert kind == START, kind
    remote, rest = unpacked(body[8:], version)
    (remote_port,) = struct.unpack("<I", rest[:4])
    exchange(udp, (remote, remote_port))
    print(f"heard {remote} {remote_port}", flush=True)


if sys.argv[1] == "manager":
    manager(int(sys.argv[2]), int(sys.argv[3]))
else:
    telephone(sys.argv[2], *map(int, sys.argv[3:]))
