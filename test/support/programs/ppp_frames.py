"""Asynchronous HDLC as pppd speaks it on a terminal (RFC 1662 section 4): what pptpd and pptp carry in GRE."""

FLAG, ESCAPE = 0x7E, 0x7D
REQUEST, REPLY = 9, 10
START = b"\xff\x03\xc0\x21"


def checksum(data):
    fcs = 0xFFFF
    for byte in data:
        fcs ^= byte
        for _ in range(8):
            fcs = (fcs >> 1) ^ 0x8408 if fcs & 1 else fcs >> 1
    return fcs


def frame(code, payload):
    """A frame of the Link Control Protocol (RFC 1661 section 5.8): REQUEST or REPLY of an echo, its data the payload."""
    data = START + bytes([code, 0]) + (8 + len(payload)).to_bytes(2, "big") + bytes(4) + payload
    data += (checksum(data) ^ 0xFFFF).to_bytes(2, "little")
    out = bytearray([FLAG])
    for byte in data:
        if byte in (FLAG, ESCAPE) or byte < 0x20:
            out += bytes([ESCAPE, byte ^ 0x20])
        else:
            out.append(byte)
    out.append(FLAG)
    return bytes(out)


class Frames:
    """Payloads of the frames in a stream of bytes; damaged frames are left out."""

    def __init__(self):
        self.data = bytearray()
        self.escaped = False

    def feed(self, received):
        for byte in received:
            if byte == FLAG:
                data, self.data, self.escaped = bytes(self.data), bytearray(), False
                if len(data) >= 14 and checksum(data) == 0xF0B8 and data[:4] == START:
                    yield data[12:-2]
            elif byte == ESCAPE:
                self.escaped = True
            else:
                self.data.append(byte ^ 0x20 if self.escaped else byte)
                self.escaped = False
