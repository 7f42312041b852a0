import { describe, expect, it } from "vitest";
import { udp } from "../../test/support/packet-builder.ts";
import { Ipv6View } from "./ipv6.ts";

const PACKET = udp({
  from: "[2001:db8:1::2]:53",
  to: "[fd00:16::2]:5353",
  tos: 0xb9,
  ttl: 9,
  payload: "abc",
});
PACKET[1]! |= 0x0f;
PACKET[2] = 0x12;
PACKET[3] = 0x34;
const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

describe("Ipv6View", () => {
  it("reads every field", () => {
    const ip = new Ipv6View();
    expect(ip.attach(viewOf(PACKET), 0, PACKET.length)).toBe(true);
    expect(ip).toMatchObject({
      trafficClass: 0xb9,
      flowLabel: 0xf1234,
      payloadLengthBytes: 11,
      nextHeader: 17,
      hopLimit: 9,
      sourceAt: 8,
      destinationAt: 24,
      payloadAt: 40,
      payloadEnd: 51,
      isComplete: true,
    });
  });

  it("accepts a cut quotation, and leaves padding outside", () => {
    const ip = new Ipv6View();
    expect(ip.attach(viewOf(PACKET), 0, 45)).toBe(true);
    expect(ip).toMatchObject({ isComplete: false, payloadEnd: 45 });
    const padded = new Uint8Array(100);
    padded.set(PACKET, 10);
    expect(ip.attach(viewOf(padded), 10, 100)).toBe(true);
    expect(ip).toMatchObject({ isComplete: true, payloadEnd: 61, hopLimit: 9 });
  });

  it.each([
    ["39 bytes", PACKET, 39],
    ["version 4", PACKET.with(0, 0x45), PACKET.length],
    ["an end beyond the buffer", PACKET, PACKET.length + 1],
  ])("refuses %s", (_, bytes, end) => {
    expect(new Ipv6View().attach(viewOf(bytes), 0, end)).toBe(false);
  });
});
