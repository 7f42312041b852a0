"""Stands in for pppd behind pptpd: sends every frame back, with a name in front. ppp-echo.py NAME [pppd's arguments]

It speaks first, because pptpd listens for GRE only once it has heard from its pppd.
"""
import os
import sys
import termios
import tty

from ppp_frames import REPLY, Frames, frame

name = sys.argv[1].encode()


def send(payload):
    rest = frame(REPLY, name + b":" + payload)
    while rest:
        rest = rest[os.write(1, rest) :]


tty.setraw(0, termios.TCSANOW)
send(b"ready")
frames = Frames()
while data := os.read(0, 65536):
    for payload in frames.feed(data):
        send(payload)
