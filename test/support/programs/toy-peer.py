"""The two made-up protocols of docs/modules.md.

    toy-peer.py server toy|webcam OWN-ADDRESS
    toy-peer.py client toy|webcam SERVER-ADDRESS OWN-ADDRESS
"""
import os
import socket
import sys
import threading

PATIENCE_S = float(os.environ.get("PATIENCE_S", 5))
FILE = b"what the file says\n"


def udp(address, port):
    it = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    it.settimeout(PATIENCE_S)
    it.bind((address, port))
    return it


def serve(address, port, talk):
    listener = socket.create_server((address, port))
    print("listening", flush=True)
    while True:
        it, peer = listener.accept()
        threading.Thread(target=talk, args=(it, peer[0], address), daemon=True).start()


def give_file(listener):
    it, _ = listener.accept()
    it.sendall(FILE)
    it.close()


def toy(it, _, address):
    lines = it.makefile("r", newline="\n")
    it.sendall(b"welcome\r\n")
    for line in lines:
        word, *rest = line.split()
        if word == "FILE":
            listener = socket.create_server((address, 0))
            threading.Thread(target=give_file, args=(listener,), daemon=True).start()
            said = b"DATA %s %d\r\n" % (address.encode(), listener.getsockname()[1])
            for start in range(0, len(said), 5):  # in pieces
                it.sendall(said[start : start + 5])
        elif word == "NEWS":
            udp(address, 0).sendto(b"news", (rest[0], int(rest[1])))
        it.sendall(b"done\r\n")


def webcam(it, peer, address):
    it.recv(64)
    for _ in range(5):
        udp(address, 0).sendto(b"picture", (peer, 7000))
    it.recv(64)


def toy_client(address, own):
    it = socket.create_connection((address, 5000), PATIENCE_S, (own, 0))
    lines = it.makefile("r", newline="\n")
    assert lines.readline() == "welcome\r\n"
    it.sendall(b"FILE\r\n")
    word, host, port = lines.readline().split()
    assert word == "DATA" and host == address, f"the file is at {host}"
    data = socket.create_connection((host, int(port)), PATIENCE_S, (own, 0))
    assert data.makefile("rb").read() == FILE
    assert lines.readline() == "done\r\n"
    news = udp(own, 50000)
    it.sendall(b"NEWS %s 50000\r\n" % own.encode())
    said, sender = news.recvfrom(64)
    assert said == b"news" and sender[0] == address, f"news from {sender[0]}"
    assert lines.readline() == "done\r\n"
    print("got the file and the news")


def webcam_client(address, own):
    pictures = udp(own, 7000)
    it = socket.create_connection((address, 8554), PATIENCE_S, (own, 0))
    it.sendall(b"play\n")
    for _ in range(5):
        said, sender = pictures.recvfrom(64)
        assert said == b"picture" and sender[0] == address, f"pictures from {sender[0]}"
    print("saw five pictures")


role, protocol, address = sys.argv[1:4]
if role == "server":
    serve(address, *((5000, toy) if protocol == "toy" else (8554, webcam)))
elif protocol == "toy":
    toy_client(address, sys.argv[4])
else:
    webcam_client(address, sys.argv[4])
