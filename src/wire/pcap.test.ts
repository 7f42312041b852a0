import { describe, expect, it } from "vitest";
import { readCapture } from "./capture.ts";
import { CaptureError } from "./capture-record.ts";
import { pcapFileHeader, pcapRecord } from "./pcap.ts";

/** A file with one four-byte record at 1 s + 5 units, in a byte order and with a magic number of choice. */
function file(magic: number, isLittleEndian: boolean, network = 101, captured = 4): Uint8Array {
  const view = new DataView(new ArrayBuffer(24 + 16 + 4));
  view.setUint32(0, magic, isLittleEndian);
  view.setUint16(4, 2, isLittleEndian);
  view.setUint16(6, 4, isLittleEndian);
  view.setUint32(20, network, isLittleEndian);
  view.setUint32(24, 1, isLittleEndian);
  view.setUint32(28, 5, isLittleEndian);
  view.setUint32(32, captured, isLittleEndian);
  view.setUint32(36, 60, isLittleEndian);
  view.setUint32(40, 0x01020304);
  return new Uint8Array(view.buffer);
}

function failure(bytes: Uint8Array): [delivered: number, error: CaptureError] {
  let delivered = 0;
  try {
    for (const _ of readCapture(bytes)) delivered++;
  } catch (error) {
    if (error instanceof CaptureError) return [delivered, error];
    throw error;
  }
  throw new Error("expected a CaptureError");
}

describe("readPcap", () => {
  it.each([
    ["microseconds, little endian", 0xa1b2c3d4, true, 1000.005],
    ["microseconds, big endian", 0xa1b2c3d4, false, 1000.005],
    ["nanoseconds, little endian", 0xa1b23c4d, true, 1000.000005],
    ["nanoseconds, big endian", 0xa1b23c4d, false, 1000.000005],
  ])("reads %s", (_, magic, isLittleEndian, timestampMs) => {
    expect([...readCapture(file(magic, isLittleEndian))]).toEqual([
      { timestampMs, linkType: 101, bytes: Uint8Array.of(1, 2, 3, 4), originalLength: 60 },
    ]);
  });

  it("leaves out the frame check sequence bits of the link type", () => {
    expect([...readCapture(file(0xa1b2c3d4, true, 0x14000001))][0]!.linkType).toBe(1);
  });

  it("reads a file that is part of a larger buffer, without copying", () => {
    const larger = new Uint8Array(100);
    larger.set(file(0xa1b2c3d4, true), 7);
    const [record] = readCapture(larger.subarray(7, 51));
    expect(record!.bytes.buffer).toBe(larger.buffer);
    expect([...record!.bytes]).toEqual([1, 2, 3, 4]);
  });

  it.each([
    ["an empty file", new Uint8Array(0), "unsupported", 0],
    ["text", new TextEncoder().encode("GET / HTTP/1.0"), "unsupported", 0],
    ["the modified format", file(0xa1b2cd34, true), "unsupported", 0],
    ["another version", file(0xa1b2c3d4, true).with(4, 3), "unsupported", 4],
    ["a file header cut short", file(0xa1b2c3d4, true).subarray(0, 23), "truncated", 0],
    ["a record header cut short", file(0xa1b2c3d4, true).subarray(0, 39), "truncated", 24],
    ["a record cut short", file(0xa1b2c3d4, true).subarray(0, 43), "truncated", 24],
    ["a record of 4 GiB", file(0xa1b2c3d4, true, 1, 0xffffffff), "truncated", 24],
  ])("refuses %s", (_, bytes, code, offset) => {
    const [delivered, error] = failure(bytes);
    expect({ delivered, code: error.code, offset: error.offset }).toEqual({ delivered: 0, code, offset });
  });

  it("delivers what is before the damage, and says where it is", () => {
    const record = pcapRecord(0, new Uint8Array(10));
    const [delivered, error] = failure(
      Uint8Array.of(...pcapFileHeader(1), ...record, ...record, ...record.subarray(0, 20)),
    );
    expect(delivered).toBe(2);
    expect(error.message).toBe("Cannot read capture at byte 76: the record claims 10 bytes, 4 are left");
  });

  it("recognises gzip", () => {
    expect(failure(Uint8Array.of(0x1f, 0x8b, 8, 0))[1].message).toContain("gzip");
  });
});

describe("writing", () => {
  it.each([0, 0.001, 999.999, 1_700_000_000_123.456, 4_294_967_295_999.999])(
    "keeps microseconds of %d ms",
    (timestampMs) => {
      const bytes = Uint8Array.of(...pcapFileHeader(276), ...pcapRecord(timestampMs, Uint8Array.of(7), 1500));
      const [record] = readCapture(bytes);
      expect(record).toMatchObject({ linkType: 276, bytes: Uint8Array.of(7), originalLength: 1500 });
      expect(Math.round(record!.timestampMs * 1000)).toBe(Math.round(timestampMs * 1000));
    },
  );
});
