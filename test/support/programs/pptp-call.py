"""Calls a PPTP server by pptp and has frames echoed.

pptp-call.py ADDRESS COUNT BYTES [pptp's options]: prints who answers, and "done" after COUNT frames; then, for every line of its
standard input, the same again; the line "end" ends the call.

pptp keeps a socket for each server in /run/pptp, so every call needs a mount namespace. It takes its call ID from /dev/random.
"""
import os
import socket
import subprocess
import sys

from ppp_frames import REQUEST, Frames, frame

address = sys.argv[1]
count, size = map(int, sys.argv[2:4])
command = ["pptp", address, "--nolaunchpppd", "--nohostroute", "--loglevel", "0", *sys.argv[4:]]
ours, its = socket.socketpair()
pptp = subprocess.Popen(command, stdin=its, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
its.close()
frames = Frames()


def echoed(sent):
    """Who answers. Repeated, because GRE loses what comes before the server's helper listens, and nobody else repeats it."""
    while True:
        ours.sendall(frame(REQUEST, sent))
        ours.settimeout(0.3)
        try:
            while True:
                data = ours.recv(65536)
                if not data:
                    sys.exit("the call ended")
                for payload in frames.feed(data):
                    name, _, back = payload.partition(b":")
                    if back == sent:
                        return name.decode()
        except TimeoutError:
            pass


while True:
    for number in range(count):
        name = echoed(b"%d " % number + os.urandom(size))
        if number == 0:
            print("answered by", name, flush=True)
    print("done", flush=True)
    if sys.stdin.readline() in ("end\n", ""):
        break
pptp.terminate()
pptp.wait()
