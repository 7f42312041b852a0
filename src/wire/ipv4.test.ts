import { describe, expect, it } from "vitest";
import { fragment, tcp, udp } from "../../test/support/packet-builder.ts";
import { Ipv4View } from "./ipv4.ts";

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const attach = (bytes: Uint8Array, at = 0, end = bytes.length): Ipv4View | undefined => {
  const ip = new Ipv4View();
  return ip.attach(viewOf(bytes), at, end) ? ip : undefined;
};

/** A header from a textbook capture, 172.16.10.99 > 172.16.10.12, TCP, with 40 empty bytes behind it. */
const HEADER = [69, 0, 0, 60, 0x1c, 0x46, 64, 0, 64, 6, 0xb1, 0xe6, 172, 16, 10, 99, 172, 16, 10, 12];
const CAPTURED = Uint8Array.of(...HEADER, ...new Array<number>(40).fill(0));

describe("Ipv4View", () => {
  it("reads a captured header", () => {
    const ip = attach(CAPTURED)!;
    expect(ip).toMatchObject({
      headerLengthBytes: 20,
      tos: 0,
      totalLengthBytes: 60,
      identification: 0x1c46,
      dontFragment: true,
      hasMoreFragments: false,
      fragmentOffsetBytes: 0,
      isFragment: false,
      ttl: 64,
      protocol: 6,
      checksum: 0xb1e6,
      isChecksumValid: true,
      source: 0xac100a63 | 0,
      destination: 0xac100a0c | 0,
      payloadAt: 20,
      payloadEnd: 60,
      isComplete: true,
    });
  });

  it("notices a wrong checksum", () => {
    const bytes = CAPTURED.slice();
    bytes[8] = 63;
    expect(attach(bytes)!.isChecksumValid).toBe(false);
  });

  it("reads a header with options somewhere in a buffer, and leaves padding outside", () => {
    const packet = tcp({ from: "1.2.3.4:5", to: "6.7.8.9:10", ipOptions: [148, 4, 0, 0], payload: "hello" });
    const buffer = new Uint8Array(200);
    buffer.set(packet, 33);
    const ip = attach(buffer, 33, 190)!;
    expect(ip).toMatchObject({
      headerLengthBytes: 24,
      payloadAt: 57,
      isComplete: true,
      isChecksumValid: true,
    });
    expect(ip.payloadEnd).toBe(33 + packet.length);
  });

  it("reads the fields of fragments", () => {
    const packet = udp({ from: "1.2.3.4:5", to: "6.7.8.9:10", payload: new Uint8Array(100) });
    const fields = fragment(packet, 68, 7).map((bytes) => {
      const ip = attach(bytes)!;
      return [ip.identification, ip.fragmentOffsetBytes, ip.hasMoreFragments, ip.isFragment];
    });
    expect(fields).toEqual([
      [7, 0, true, true],
      [7, 48, true, true],
      [7, 96, false, true],
    ]);
  });

  it("accepts a quotation cut behind the header, and says so", () => {
    const ip = attach(CAPTURED.subarray(0, 20))!;
    expect(ip.isComplete).toBe(false);
    expect(ip.payloadEnd).toBe(20);
  });

  it.each([
    ["19 bytes", (bytes: Uint8Array) => bytes.subarray(0, 19)],
    ["version 6", (bytes: Uint8Array) => bytes.with(0, 0x65)],
    ["header length 16", (bytes: Uint8Array) => bytes.with(0, 0x44)],
    ["header length beyond the end", (bytes: Uint8Array) => bytes.with(0, 0x4f).subarray(0, 59)],
    ["total length below the header length", (bytes: Uint8Array) => bytes.with(3, 19)],
  ])("refuses %s and keeps its aim", (_, damage) => {
    const ip = attach(CAPTURED)!;
    expect(ip.attach(viewOf(damage(CAPTURED)), 0, damage(CAPTURED).length)).toBe(false);
    expect(ip.ttl).toBe(64);
  });

  it("refuses an end beyond the buffer", () => {
    expect(attach(CAPTURED, 0, CAPTURED.length + 1)).toBeUndefined();
  });
});
