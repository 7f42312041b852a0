"""A NetQuake server and client as id Software's net_dgrm.c has them: every player gets a UDP port of its own, and both ends
take packets only from exactly the address and port they expect.

    quake-peer.py server ADDRESS PORT CALLS-ITSELF     answers until it is stopped
    quake-peer.py client ADDRESS PORT OWN-PORT         is let in, plays 20 rounds, prints what it saw
"""
import select
import socket
import struct
import sys

CONTROL = 0x80000000
CONNECT, SERVER_INFO, PLAYER_INFO, RULE_INFO = 1, 2, 3, 4
ACCEPT, SERVER_INFO_ANSWER, PLAYER_INFO_ANSWER, RULE_INFO_ANSWER = 0x81, 0x83, 0x84, 0x85
ROUNDS = 20


def control(command, body=b""):
    return struct.pack(">IB", CONTROL | (5 + len(body)), command) + body


def data(sequence, text):
    return struct.pack(">II", 0x00010000 | (8 + len(text)), sequence) + text


def parse_control(packet):
    """Command and body, or nothing: as the engine does, the length must be the datagram's."""
    if len(packet) < 5:
        return None
    head, command = struct.unpack(">IB", packet[:5])
    if not head & CONTROL or head & 0xFFFF != len(packet):
        return None
    return command, packet[5:]


def udp(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    it = socket.socket(family, socket.SOCK_DGRAM)
    it.bind((address, port))
    return it


def server(address, port, name):
    main = udp(address, port)
    games = {}  # socket: player's address
    print("listening", flush=True)
    while True:
        for it in select.select([main, *games], [], [])[0]:
            packet, sender = it.recvfrom(2048)
            if it is main:
                answer(main, packet, sender, name, games, address)
            elif sender != games[it]:
                print("forged packet from", sender, flush=True)
            else:
                head, sequence = struct.unpack(">II", packet[:8])
                it.sendto(data(sequence, b"echo " + packet[8:]), sender)


def answer(main, packet, sender, name, games, address):
    command, body = parse_control(packet) or (0, b"")
    if command == CONNECT and body[:6] == b"QUAKE\0":
        known = next((it for it, player in games.items() if player == sender), None)
        game = known or udp(address, 0)
        games[game] = sender
        main.sendto(control(ACCEPT, struct.pack("<I", game.getsockname()[1])), sender)
        # Before the player says anything: the sign-on.
        game.sendto(data(0, b"sign-on"), sender)
    elif command == SERVER_INFO:
        body = name.encode() + b"\0the dungeon\0e1m1\0" + bytes([1, 8, 3])
        main.sendto(control(SERVER_INFO_ANSWER, body), sender)
    elif command == PLAYER_INFO:
        player = struct.pack("<B", body[0]) + b"ranger\0" + struct.pack("<III", 0x44, 7, 60) + b"203.0.113.66:27001\0"
        main.sendto(control(PLAYER_INFO_ANSWER, player), sender)
    elif command == RULE_INFO:
        rule = b"sv_gravity\x00800\0" if body[:1] == b"\0" else b""
        main.sendto(control(RULE_INFO_ANSWER, rule), sender)


def client(address, port, own_port):
    it = udp("::" if ":" in address else "0.0.0.0", own_port)
    it.settimeout(2)
    it.sendto(control(CONNECT, b"QUAKE\0\x03"), (address, port))
    packet, sender = it.recvfrom(2048)
    early = []
    while parse_control(packet) is None:  # the sign-on may overtake the answer
        early.append((packet, sender))
        packet, sender = it.recvfrom(2048)
    assert sender[:2] == (address, port), f"accepted by {sender}"
    command, body = parse_control(packet)
    assert command == ACCEPT, command
    game = (address, struct.unpack("<I", body)[0])
    packet, sender = early[0] if early else it.recvfrom(2048)
    assert sender[:2] == game and packet[8:] == b"sign-on", (sender, packet)
    for k in range(1, ROUNDS + 1):
        it.sendto(data(k, b"move %d" % k), game)
        packet, sender = it.recvfrom(2048)
        assert sender[:2] == game and packet[8:] == b"echo move %d" % k, (sender, packet)
    print("played", ROUNDS, "rounds at", address, flush=True)


if sys.argv[1] == "server":
    server(sys.argv[2], int(sys.argv[3]), sys.argv[4])
else:
    client(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
