import { describe, expect, it } from "vitest";
import {
  crc32c,
  finish,
  fold,
  pseudoHeaderSum4,
  pseudoHeaderSum6,
  sum,
  udpChecksum,
  updateChecksum,
  updateChecksum32,
  updatePartialChecksum32,
} from "./checksum.ts";

const view = (...bytes: number[]): DataView => new DataView(Uint8Array.from(bytes).buffer);

describe("sum", () => {
  it("gives RFC 1071's worked example", () => {
    // Section 3: bytes 00 01 f2 03 f4 f5 f6 f7 add up to ddf2, complement 220d.
    const bytes = view(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
    expect(fold(sum(bytes, 0, 8, 0))).toBe(0xddf2);
    expect(finish(sum(bytes, 0, 8, 0))).toBe(0x220d);
  });

  it("counts an odd last byte as the high half of a word", () => {
    expect(sum(view(0x12, 0x34, 0x56), 0, 3, 0)).toBe(0x1234 + 0x5600);
  });

  it("continues a sum", () => {
    const bytes = view(1, 2, 3, 4, 5, 6);
    expect(sum(bytes, 2, 4, sum(bytes, 0, 2, 0))).toBe(sum(bytes, 0, 6, 0));
  });

  it.each([0, 1, 2, 7, 8, 9, 15, 16, 17, 32_767, 32_768, 32_769, 32_775, 65_535, 65_536, 65_575])(
    "agrees with the definition for %i bytes of 0xff and of a pattern, at odd and even offsets",
    (length) => {
      for (const from of [0, 1]) {
        const pattern = Uint8Array.from({ length: length + 1 }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
        for (const bytes of [pattern, new Uint8Array(length + 1).fill(0xff)]) {
          let total = 0;
          for (let i = 0; i < length; i++) total += bytes[from + i]! * (i % 2 === 0 ? 256 : 1);
          const wanted = total === 0 ? 0 : total % 0xffff || 0xffff;
          expect(sum(new DataView(bytes.buffer), from, length, 0)).toBe(wanted);
        }
      }
    },
  );
});

describe("fold", () => {
  it.each([
    [0, 0],
    [0xffff, 0xffff],
    [0x10000, 1],
    [0x1fffe, 0xffff],
    [0xffffffff, 0xffff],
    [0xfffeffff, 0xffff - 1],
  ])("folds %i to %i", (total, wanted) => {
    expect(fold(total)).toBe(wanted);
  });
});

describe("updateChecksum", () => {
  it("gives RFC 1624's example, where RFC 1141 fails", () => {
    // Section 4: HC = 0xdd2f, m = 0x5555, m' = 0x3285, and the right answer is 0x0000, not 0xffff.
    expect(updateChecksum(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
  });

  it("handles a 32-bit word, signed or unsigned, like two 16-bit words", () => {
    const wanted = updateChecksum(updateChecksum(0x1234, 0xcb67, 0xac10), 0x6a05, 0x0003);
    expect(updateChecksum32(0x1234, 0xcb676a05, 0xac100003)).toBe(wanted);
    expect(updateChecksum32(0x1234, 0xcb676a05 | 0, 0xac100003 | 0)).toBe(wanted);
  });

  it("handles a partial checksum without complementing it", () => {
    const partial = fold(0xcb67 + 0x6a05 + 6 + 20);
    expect(updatePartialChecksum32(partial, 0xcb676a05 | 0, 0xac100003 | 0)).toBe(fold(0xac10 + 3 + 6 + 20));
  });
});

describe("pseudo-header", () => {
  it("sums IPv4 addresses, protocol and length", () => {
    const header = view(...new Array(12).fill(0xee), 202, 100, 1, 2, 172, 16, 0, 3);
    expect(pseudoHeaderSum4(header, 0, 6, 0xffff)).toBe(0xca64 + 0x0102 + 0xac10 + 0x0003 + 6 + 0xffff);
  });

  it("sums IPv6 addresses, next header and a length that may exceed 16 bits", () => {
    const header = view(...new Array(8).fill(0xee), ...new Array(32).fill(0x11));
    expect(pseudoHeaderSum6(header, 0, 58, 0x1_0005)).toBe(16 * 0x1111 + 58 + 1 + 5);
  });
});

it("writes a UDP checksum of zero as 0xffff", () => {
  expect(udpChecksum(0)).toBe(0xffff);
  expect(udpChecksum(1)).toBe(1);
});

describe("crc32c", () => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  it.each([
    // The check value of the catalogue of CRC algorithms, then RFC 3720 appendix B.4.
    ["123456789", bytes("123456789"), 0xe3069283],
    ["32 zero bytes", new Uint8Array(32), 0x8a9136aa],
    ["32 bytes of ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ["32 bytes counting up", Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    ["nothing", new Uint8Array(0), 0],
  ])("of %s", (_, input, wanted) => {
    expect(crc32c(input, 0, input.length)).toBe(wanted);
  });

  it("reads only its range", () => {
    expect(crc32c(bytes("xx123456789yy"), 2, 9)).toBe(0xe3069283);
  });
});
