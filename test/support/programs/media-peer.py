"""Servers and clients of four protocols that no packaged program speaks, as their references have them. Every client checks
whom it hears from and what it is told, and prints what became of it; every server answers until it is stopped.

    media-peer.py server pna|vdo|cuseeme|bnet OWN-ADDRESS
    media-peer.py client pna|vdo|cuseeme|bnet SERVER-ADDRESS OWN-ADDRESS [STRANGER-ADDRESS]
"""
import os
import select
import socket
import struct
import sys
import threading

PATIENCE_S = float(os.environ.get("PATIENCE_S", 5))
PACKETS = 50
LOST = 7  # what the server does not send, so that it has to be asked for


def udp(address, port):
    it = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    it.settimeout(PATIENCE_S)
    it.bind((address, port))
    return it


def connect(address, port, own):
    it = socket.create_connection((address, port), PATIENCE_S, (own, 0))
    it.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return it


def exactly(it, count):
    data = b""
    while len(data) < count:
        more = it.recv(count - len(data))
        if not more:
            raise EOFError(f"{len(data)} of {count} bytes")
        data += more
    return data


def in_pieces(it, data, *cuts):
    """Segments that end where they should not."""
    for start, end in zip((0, *cuts), (*cuts, len(data))):
        it.sendall(data[start:end])


def hear(it, source, count, port=None):
    """Numbers of as many datagrams, which must come from this address."""
    heard = set()
    while len(heard) < count:
        data, sender = it.recvfrom(2048)
        assert sender[0] == source and port in (None, sender[1]), f"heard from {sender}, not {source}"
        heard.add(struct.unpack(">I", data[:4])[0])
    return heard


def serve_tcp(address, port, talk):
    listener = socket.create_server((address, port))
    print("listening", flush=True)
    while True:
        it, client = listener.accept()
        it.settimeout(PATIENCE_S)
        threading.Thread(target=guarded, args=(talk, it, client[0], address), daemon=True).start()


def guarded(talk, it, client, address):
    try:
        talk(it, client, address)
    except Exception as error:  # the client tells what went wrong
        print("gave up:", error, file=sys.stderr, flush=True)
    finally:
        it.close()


# RealAudio (PNA)


def pna_options(it):
    """The hello, option by option."""
    magic, version = struct.unpack(">3sH", exactly(it, 5))
    assert magic == b"PNA" and version == 10, (magic, version)
    options = {}
    while True:
        (option,) = struct.unpack(">H", exactly(it, 2))
        if option == 0:
            return options
        (length,) = struct.unpack(">H", exactly(it, 2))
        options[option] = exactly(it, length)


def pna_over_tcp(it):
    """For players that name no port, as mplayer: headers, a challenge, and the sound in chunks of the same connection."""
    prop = b"PROP" + struct.pack(">I", 50) + b"\0" * 42
    in_pieces(it, b"PNA\0" + b"\0" * 8 + b"r\0\0" + prop + b"r\0\0none" + b"\0" * 4 + b"c" * 64, 1, 5, 11, 12)
    for number in range(PACKETS):
        sound = b"sound %2d " % number * 50
        it.sendall(struct.pack(">BHHHBBI", 0x5A, *[10 + len(sound)] * 2, number, 0x5A, 0x10 + number, number) + sound)
    it.shutdown(socket.SHUT_WR)
    while it.recv(64):  # keep-alives
        pass


def pna_talk(it, client, address):
    options = pna_options(it)
    if 1 not in options:
        return pna_over_tcp(it)
    port, robust = (struct.unpack(">H", options[key])[0] for key in (1, 7))
    again, stream = udp(address, 0), udp(address, 0)
    in_pieces(it, struct.pack(">3sHHHHHH", b"PNA", 10, 0, 0, 0, 7, again.getsockname()[1]) + b"\0" * 4, 1, 12, 14)
    for number in range(PACKETS):
        if number != LOST:
            stream.sendto(struct.pack(">I", number) + b"sound" * 20, (client, port))
    asked, sender = again.recvfrom(64)
    assert sender == (client, robust), (sender, client, robust)
    again.sendto(asked + b"sound" * 20, sender)
    stream.sendto(asked + b"sound" * 20, (client, port))
    it.recv(1)


def pna_client(address, own):
    sound, robust = udp(own, 6970), udp(own, 6972)
    it = connect(address, 7070, own)
    ports = struct.pack(">HHHHHH", 1, 2, 6970, 7, 2, 6972)
    hello = b"PNA" + struct.pack(">HHHI", 10, 5, 4, 3140) + ports + b"\0\0" + b"RealAudio" + b"\0\7clip.ra" + b"y"
    in_pieces(it, hello, 2, 14, 18, 24)
    answer = exactly(it, 19)
    assert answer[:3] == b"PNA" and answer[11:13] == b"\0\7", answer
    (again,) = struct.unpack(">H", answer[13:15])
    heard = hear(sound, address, PACKETS - 1)
    assert LOST not in heard
    robust.sendto(struct.pack(">I", LOST), (address, again))
    assert hear(robust, address, 1, again) == {LOST}
    assert hear(sound, address, 1) == {LOST}
    print("played", PACKETS, "packets and got the lost one")


# VDOLive


def vdo_talk(it, client, address):
    first, second = exactly(it, 36), exactly(it, 20)
    ports = {struct.unpack(">I", first[32:])[0], struct.unpack(">I", second[16:])[0]}
    assert len(ports) == 1, f"two ports: {ports}"
    stream = udp(address, 0)
    for number in range(PACKETS):
        stream.sendto(struct.pack(">I", number) + b"picture" * 100, (client, *ports))
    it.recv(1)


def vdo_client(address, own):
    pictures = udp(own, 15000)
    it = connect(address, 7000, own)
    first = struct.pack(">IIIIII8sI", 36, 6, 1, 2, 3, 4, b"VDO Live", 15000)
    second = struct.pack(">II8sI", 20, 1, b"VDO Live", 15000)
    in_pieces(it, first + second, 3, 30, 35, 40)
    hear(pictures, address, PACKETS)
    print("saw", PACKETS, "packets")


# CU-SeeMe

CUSEEME = 7648
OPEN_CONTINUE, TALK = 101, 257


def conference(to, sender, kind, parties=()):
    body = b"" if kind == TALK else struct.pack(">HI20sI", len(parties), 1, b"\5Alice", 1)
    body += b"".join(socket.inet_aton(one) + b"\0" * 8 for one in parties)
    header = struct.pack(">HH4sHH4s", 2, CUSEEME, socket.inet_aton(to), 2, CUSEEME, socket.inet_aton(sender))
    return header + struct.pack(">IHHH", 1, 1, kind, 26 + len(body)) + body


def parse_conference(data):
    _, _, to, _, _, sender, _, _, kind, length = struct.unpack(">HH4sHH4sIHHH", data[:26])
    assert length == len(data), (length, len(data))
    count = struct.unpack(">H", data[26:28])[0] if kind == OPEN_CONTINUE else 0
    parties = [socket.inet_ntoa(data[56 + 12 * i : 60 + 12 * i]) for i in range(count)]
    return socket.inet_ntoa(to), socket.inet_ntoa(sender), kind, parties


def cuseeme_server(address):
    main, sound = udp(address, CUSEEME), udp(address, CUSEEME + 1)
    print("listening", flush=True)
    while True:
        for it in select.select([main, sound], [], [])[0]:
            data, peer = it.recvfrom(2048)
            to, sender, kind, _ = parse_conference(data)
            # A reflector takes nothing that was not for it, nor in another's name.
            if (to, sender) != (address, peer[0]):
                print("dropped", to, sender, peer, file=sys.stderr, flush=True)
            elif kind == OPEN_CONTINUE:
                it.sendto(conference(peer[0], address, kind, [address, peer[0], "203.0.113.66"]), peer)
                sound.sendto(struct.pack(">I", 1), (peer[0], CUSEEME + 1))
            else:
                it.sendto(conference(peer[0], address, TALK), peer)


def cuseeme_client(address, own):
    main, sound = udp(own, CUSEEME), udp(own, CUSEEME + 1)
    main.sendto(conference(address, own, OPEN_CONTINUE), (address, CUSEEME))
    data, sender = main.recvfrom(2048)
    assert sender == (address, CUSEEME), sender
    wanted = (own, address, OPEN_CONTINUE, [address, own, "203.0.113.66"])
    assert parse_conference(data) == wanted, parse_conference(data)
    hear(sound, address, 1)
    sound.sendto(conference(address, own, TALK), (address, CUSEEME + 1))
    data, sender = sound.recvfrom(2048)
    assert sender == (address, CUSEEME + 1) and parse_conference(data)[:3] == (own, address, TALK), sender
    print("met", ", ".join("me" if one == own else "it" if one == address else one for one in wanted[3]))


# Battle.net, as a Diablo player needs it

BNET = 6112
TEST, SESSION = 5, 9


def message(number, body):
    return struct.pack("<BBH", 0xFF, number, 4 + len(body)) + body


def receive_message(it):
    start, number, length = struct.unpack("<BBH", exactly(it, 4))
    assert start == 0xFF, start
    return number, exactly(it, length - 4)


def game(address):
    fixed = struct.pack("<II", 0, 0) + struct.pack("<H", 2) + struct.pack(">H", BNET) + socket.inet_aton(address)
    return fixed + b"\0" * 16 + b"a game\0\0" + b"1stats\0"


def bnet_talk(it, client, address):
    tester = bnet_udp
    assert exactly(it, 1) == b"\1"
    number, _ = receive_message(it)
    assert number == 0x50, number
    tester.sendto(struct.pack("<I", TEST) + b"tenb", (client, BNET))
    data, sender = tester.recvfrom(64)
    assert sender[0] == client and data == struct.pack("<I", SESSION) + b"reached", (data, sender)
    # The games: one on the server's own machine, the player's own as the server sees it, and another.
    games = b"".join(game(one) for one in (address, client, "203.0.113.66"))
    in_pieces(it, message(0x09, struct.pack("<I", 3) + games), 3, 9, 23, 60)
    number, _ = receive_message(it)
    if stranger is not None:
        stranger.sendto(b"let me in", (client, BNET))
    it.recv(1)


def bnet_client(address, own):
    here = udp(own, BNET)
    it = connect(address, BNET, own)
    in_pieces(it, b"\1" + message(0x50, b"PXES" * 4), 1, 3)
    data, sender = here.recvfrom(64)
    assert sender == (address, BNET) and data[4:] == b"tenb", (sender, data)
    here.sendto(struct.pack("<I", SESSION) + b"reached", (address, BNET))
    number, body = receive_message(it)
    assert number == 0x09 and body[:4] == b"\3\0\0\0", number
    size = len(game(own))
    hosts = [socket.inet_ntoa(body[4 + size * i + 12 : 4 + size * i + 16]) for i in range(3)]
    assert hosts == [address, own, "203.0.113.66"], hosts
    it.sendall(message(0x1C, b""))
    if len(sys.argv) > 5:
        data, sender = here.recvfrom(64)
        assert sender[0] == sys.argv[5] and data == b"let me in", sender
    print("found", "my game and it" if len(sys.argv) <= 5 else "my game, and a stranger in it")


role, protocol, address = sys.argv[1:4]
if role == "server":
    stranger = udp(sys.argv[4], BNET) if len(sys.argv) > 4 else None
    if protocol == "bnet":
        bnet_udp = udp(address, BNET)
        serve_tcp(address, BNET, bnet_talk)
    elif protocol == "cuseeme":
        cuseeme_server(address)
    else:
        serve_tcp(address, *((7070, pna_talk) if protocol == "pna" else (7000, vdo_talk)))
else:
    clients = {"pna": pna_client, "vdo": vdo_client, "cuseeme": cuseeme_client, "bnet": bnet_client}
    clients[protocol](address, sys.argv[4])
