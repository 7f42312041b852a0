import { describe, expect, it } from "vitest";
import { Gso, HEADROOM_BYTES, Packet } from "../../wire/packet.ts";
import { Offload, VIRTIO_HEADER_BYTES } from "./offload.ts";

const HEADER_AT = HEADROOM_BYTES - VIRTIO_HEADER_BYTES;

/** IPv4 with 4 bytes of options, then TCP with `flags` and 4 bytes of options, then 8 bytes. */
function tcp4(flags = 0x10): Uint8Array {
  const bytes = new Uint8Array(24 + 24 + 8);
  bytes.set([0x46, 0, 0, bytes.length, 0, 0, 0, 0, 64, 6]);
  bytes[24 + 12] = 6 << 4;
  bytes[24 + 13] = flags;
  return bytes;
}

/** IPv6 with hop-by-hop options, then UDP with 8 bytes. */
function udp6(): Uint8Array {
  const bytes = new Uint8Array(40 + 8 + 8 + 8);
  bytes.set([0x60, 0, 0, 0, 0, 24, 0, 64]);
  bytes.set([17, 0], 40);
  return bytes;
}

function loaded(bytes: Uint8Array): Packet {
  const packet = new Packet();
  packet.load(bytes);
  return packet;
}

const headerOf = (packet: Packet) => [...packet.bytes.subarray(packet.at - VIRTIO_HEADER_BYTES, packet.at)];

describe("offload", () => {
  const offload = new Offload();

  it("reads a plain packet", () => {
    const packet = new Packet();
    packet.gso = Gso.tcp4;
    expect(offload.read(packet, HEADER_AT, HEADROOM_BYTES + 60)).toBe(true);
    expect(packet).toMatchObject({
      at: HEADROOM_BYTES,
      length: 60,
      isChecksumPartial: false,
      gso: Gso.none,
      gsoBytes: 0,
    });
  });

  it("reads a super-packet with ECN", () => {
    const packet = new Packet();
    packet.bytes.set([1, 0x81, 54, 0, 0xb4, 0x05, 20, 0, 16, 0], HEADER_AT);
    expect(offload.read(packet, HEADER_AT, HEADROOM_BYTES + 60_000)).toBe(true);
    expect(packet).toMatchObject({ length: 60_000, isChecksumPartial: true, gso: Gso.tcp4, gsoBytes: 1460 });
  });

  it.each([
    ["no packet behind the header", 0, HEADROOM_BYTES],
    ["less than the header", 0, HEADROOM_BYTES - 1],
    ["UDP fragmentation offload, never asked for", 3, HEADROOM_BYTES + 60],
    ["a kind nobody knows", 77, HEADROOM_BYTES + 60],
  ])("refuses %s", (_, gso, end) => {
    const packet = new Packet();
    packet.bytes[HEADER_AT + 1] = gso;
    expect(offload.read(packet, HEADER_AT, end)).toBe(false);
  });

  it("clears the header of a plain packet", () => {
    const packet = loaded(tcp4());
    packet.bytes.fill(0xff, 0, packet.at);
    expect(offload.write(packet)).toBe(true);
    expect(headerOf(packet)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it("describes a partial checksum behind IPv4 options", () => {
    const packet = loaded(tcp4());
    packet.isChecksumPartial = true;
    expect(offload.write(packet)).toBe(true);
    expect(headerOf(packet)).toEqual([1, 0, 0, 0, 0, 0, 24, 0, 16, 0]);
  });

  it.each([
    ["without", 0x10, Gso.tcp4],
    ["with", 0x90, Gso.tcp4 | 0x80],
  ])("describes a TCP super-packet %s CWR", (_, flags, gsoType) => {
    const packet = loaded(tcp4(flags));
    packet.isChecksumPartial = true;
    packet.gso = Gso.tcp4;
    packet.gsoBytes = 4;
    expect(offload.write(packet)).toBe(true);
    expect(headerOf(packet)).toEqual([1, gsoType, 48, 0, 4, 0, 24, 0, 16, 0]);
  });

  it("describes a UDP super-packet behind IPv6 options", () => {
    const packet = loaded(udp6());
    packet.isChecksumPartial = true;
    packet.gso = Gso.udp;
    packet.gsoBytes = 4;
    expect(offload.write(packet)).toBe(true);
    expect(headerOf(packet)).toEqual([1, Gso.udp, 56, 0, 4, 0, 48, 0, 6, 0]);
  });

  it("refuses what the kernel cannot complete", () => {
    const icmp = loaded(tcp4());
    icmp.bytes[icmp.at + 9] = 1;
    icmp.isChecksumPartial = true;
    expect(offload.write(icmp)).toBe(false);
    const short = loaded(tcp4().subarray(0, 40));
    short.isChecksumPartial = true;
    expect(offload.write(short)).toBe(false);
  });

  it("refuses a packet without room for the header", () => {
    const packet = loaded(tcp4());
    packet.at = VIRTIO_HEADER_BYTES - 1;
    expect(offload.write(packet)).toBe(false);
  });
});
