"""An H.323 endpoint, or a gatekeeper, as small as one can be: it knows the messages of ../h323-messages.txt and no ASN.1, puts its addresses
into them, and takes a message for one of them only when every other byte is the same. Media are numbered datagrams; each side sends them
from where it said it receives, and insists that the other side's come from where that one said so.

    h323-endpoint.py answer ADDRESS PORT [FORWARD_TO]    answers calls, or sends them to another ADDRESS:PORT
    h323-endpoint.py call ADDRESS TO:PORT WAY       calls; WAY: h245, fast, tunnel
    h323-endpoint.py gatekeeper ADDRESS             lets one endpoint register, calls it, and waits until it has gone
    h323-endpoint.py register ADDRESS GATEKEEPER PORT    registers for calls on that port, answers one, and goes

Prints what it does, a line each; ends with "done", or with what went wrong and exit code 1."""

import pathlib
import select
import socket
import struct
import sys
import threading

RAS = 1719
PACKETS = 5
PATIENCE_SECONDS = 15
Q931 = {"setup": 5, "callProceeding": 2, "alerting": 1, "connect": 7, "releaseComplete": 0x5A, "facility": 0x62, "empty": 0x62}

MESSAGES = {}
for line in (pathlib.Path(__file__).parent.parent / "h323-messages.txt").read_text().splitlines():
    if not line.startswith("#"):
        kind, name, places, code = line.split("\t")
        holes = [(mark, int(at)) for mark, at in (place.split("@") for place in places.split())]
        MESSAGES[name] = (kind, holes, bytes.fromhex(code))


def fail(what):
    print("failed:", what, flush=True)
    sys.exit(1)


def end(text):
    address, port = text.rsplit(":", 1)
    return address, int(port)


def message(name, **ends):
    _, holes, code = MESSAGES[name]
    code = bytearray(code)
    for mark, at in holes:
        if mark in ends:
            address, port = ends[mark]
            code[at : at + 6] = socket.inet_aton(address) + struct.pack("!H", port)
    return bytes(code)


def read(code, *names):
    """Which of these messages it is, and the addresses in it."""
    for name in names:
        _, holes, wanted = MESSAGES[name]
        if len(code) != len(wanted):
            continue
        inside = {i for _, at in holes for i in range(at, at + 6)}
        if all(code[i] == wanted[i] for i in range(len(code)) if i not in inside):
            at = [(mark, (socket.inet_ntoa(code[at : at + 4]), struct.unpack("!H", code[at + 4 : at + 6])[0])) for mark, at in holes]
            # What is said twice is the same.
            if len(dict(at)) != len(set(at)):
                fail(f"{name} with different addresses: {at}")
            return name, dict(at)
    fail(f"{code.hex()} is none of {names}")


def expect(what, found, wanted):
    if found != wanted:
        fail(f"{what} is {found}, not {wanted}")


# Streams of TPKTs


class Stream:
    def __init__(self, connection):
        self.connection = connection
        connection.settimeout(PATIENCE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, body):
        # As NetMeeting did: the header in a segment of its own.
        self.connection.sendall(struct.pack("!BBH", 3, 0, len(body) + 4))
        self.connection.sendall(body)

    def receive(self):
        _, _, length = struct.unpack("!BBH", self._bytes(4))
        return self._bytes(length - 4)

    def _bytes(self, count):
        got = b""
        while len(got) < count:
            some = self.connection.recv(count - len(got))
            if not some:
                fail("the connection has ended")
            got += some
        return got


def say(stream, name, **ends):
    code = message(name, **ends)
    kind = Q931[name.split(",")[0].split(" ")[0]]
    bearer = b"\x04\x03\x88\x93\xa5" if kind == 5 else b""
    stream.send(b"\x08\x02\x00\x01" + bytes([kind]) + bearer + b"\x7e" + struct.pack("!H", len(code) + 1) + b"\x05" + code)


def hear(stream, *names):
    body = stream.receive()
    at = body.index(b"\x7e", 5)
    return read(body[at + 4 :], *names)


# Media


class Media:
    """Two neighbouring ports, and the other side's."""

    def __init__(self, address):
        for port in range(20000, 30000, 2):
            try:
                self.sockets = [bound(address, port), bound(address, port + 1)]
                self.ends = {"mediaChannel": (address, port), "mediaControlChannel": (address, port + 1)}
                return
            except OSError:
                continue

    def exchange(self, peer):
        print("media to", peer["mediaChannel"], "and", peer["mediaControlChannel"], flush=True)
        threads = [
            threading.Thread(target=self.one, args=(index, peer[mark]))
            for index, mark in enumerate(["mediaChannel", "mediaControlChannel"])
        ]
        self.problems = []
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.problems:
            fail(self.problems)
        print("media heard", flush=True)

    def one(self, index, peer):
        own = self.sockets[index]
        own.settimeout(PATIENCE_SECONDS)
        # A header of RTP or RTCP, so that others know it for what it is.
        head = b"\x80\x00" if index == 0 else b"\x80\xc9\x00\x01"
        try:
            for number in range(PACKETS):
                rest = struct.pack("!HII", number, number * 160, 4711) + b"\xff" * 160 if index == 0 else struct.pack("!I", 4711)
                own.sendto(head + rest, peer)
                data, source = own.recvfrom(2000)
                if source != peer or not data.startswith(head):
                    self.problems.append(f"from {source}, not {peer}: {data[:8].hex()}")
        except OSError as error:
            self.problems.append(f"{peer}: {error}")


def bound(address, port):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((address, port))
    return one


def listening(address, port=0):
    one = socket.create_server((address, port))
    one.settimeout(PATIENCE_SECONDS * 4)
    return one


# Calls


def answer(listener, address, forward_to):
    signalling = Stream(listener.accept()[0])
    name, said = hear(signalling, "setup", "setup with fastStart")
    expect("destCallSignalAddress", said["destCallSignalAddress"], (address, listener.getsockname()[1]))
    expect("sourceCallSignalAddress", said["sourceCallSignalAddress"], signalling.connection.getpeername())
    if forward_to:
        say(signalling, "facility, callForwarded", alternativeAddress=end(forward_to))
        print("forwarded", flush=True)
        return
    media = Media(address)
    if name == "setup with fastStart":
        say(signalling, "connect with fastStart", **media.ends)
        media.exchange(said)
    else:
        control = listening(address)
        say(signalling, "callProceeding", h245Address=control.getsockname())
        # Either the caller comes, or it says that it prefers a tunnel.
        ready = select.select([control, signalling.connection], [], [], PATIENCE_SECONDS)[0]
        if control not in ready:
            hear(signalling, "empty, openLogicalChannel in a tunnel")
            say(signalling, "empty, H.245 in a tunnel", **media.ends)
            say(signalling, "empty, openLogicalChannel in a tunnel", **media.ends)
            media.exchange(hear(signalling, "empty, H.245 in a tunnel")[1])
        else:
            channel = Stream(control.accept()[0])
            offered = read(channel.receive(), "openLogicalChannel")[1]
            channel.send(message("openLogicalChannelAck", **media.ends))
            channel.send(message("openLogicalChannel", **media.ends))
            peer = read(channel.receive(), "openLogicalChannelAck")[1]
            expect("the RTCP port said twice", offered["mediaControlChannel"], peer["mediaControlChannel"])
            media.exchange(peer)
    hear(signalling, "releaseComplete")
    print("answered", name, flush=True)


def call(address, target, way):
    print("calling", *target, way, flush=True)
    connection = socket.create_connection(target, PATIENCE_SECONDS)
    signalling = Stream(connection)
    media = Media(address)
    ends = {"sourceCallSignalAddress": connection.getsockname(), "destCallSignalAddress": target}
    say(signalling, "setup with fastStart" if way == "fast" else "setup", **ends, **media.ends)
    name, said = hear(signalling, "callProceeding", "connect with fastStart", "facility, callForwarded")
    if name.startswith("facility"):
        return call(address, said["alternativeAddress"], way)
    if way == "fast":
        media.exchange(said)
    elif way == "tunnel":
        say(signalling, "empty, openLogicalChannel in a tunnel", **media.ends)
        peer = hear(signalling, "empty, H.245 in a tunnel")[1]
        hear(signalling, "empty, openLogicalChannel in a tunnel")
        say(signalling, "empty, H.245 in a tunnel", **media.ends)
        media.exchange(peer)
    else:
        channel = Stream(socket.create_connection(said["h245Address"], PATIENCE_SECONDS))
        channel.send(message("openLogicalChannel", **media.ends))
        peer = read(channel.receive(), "openLogicalChannelAck")[1]
        read(channel.receive(), "openLogicalChannel")
        channel.send(message("openLogicalChannelAck", **media.ends))
        media.exchange(peer)
    say(signalling, "releaseComplete")


# RAS


def ask(ras, target, name, reply, **ends):
    ras.sendto(message(name, **ends), target)
    return read(ras.recvfrom(2000)[0], reply)[1]


def register(address, gatekeeper, port):
    listener = listening(address, port)
    ras = bound(address, RAS)
    ras.settimeout(PATIENCE_SECONDS)
    own = {"rasAddress": (address, RAS), "ownSignalAddress": (address, port)}
    confirmed = ask(ras, (gatekeeper, RAS), "gatekeeperRequest", "gatekeeperConfirm", **own)
    expect("the gatekeeper's rasAddress", confirmed["rasAddress"], (gatekeeper, RAS))
    ask(ras, confirmed["rasAddress"], "registrationRequest", "registrationConfirm", **own)
    print("registered", flush=True)
    answer(listener, address, None)
    ras.sendto(message("unregistrationRequest", formerSignalAddress=(address, port)), (gatekeeper, RAS))


def gatekeeper(address):
    ras = bound(address, RAS)
    print("listening", flush=True)
    code, source = ras.recvfrom(2000)
    asked = read(code, "gatekeeperRequest")[1]
    expect("the endpoint's rasAddress", asked["rasAddress"], source)
    ras.sendto(message("gatekeeperConfirm", rasAddress=(address, RAS)), asked["rasAddress"])
    registered = read(ras.recvfrom(2000)[0], "registrationRequest")[1]
    expect("the endpoint's rasAddress", registered["rasAddress"], source)
    ras.sendto(message("registrationConfirm", ownSignalAddress=(address, 1720)), source)
    call(address, registered["ownSignalAddress"], "h245")
    gone = read(ras.recvfrom(2000)[0], "unregistrationRequest")[1]
    expect("the address that is over", gone["formerSignalAddress"], registered["ownSignalAddress"])


role, own, *rest = sys.argv[1:]
if role == "answer":
    calls = listening(own, int(rest[0]))
    print("listening", flush=True)
    while True:
        answer(calls, own, rest[1] if len(rest) > 1 else None)
elif role == "call":
    call(own, end(rest[0]), rest[1])
elif role == "register":
    register(own, rest[0], int(rest[1]))
else:
    gatekeeper(own)
print("done", flush=True)
