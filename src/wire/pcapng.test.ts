import { describe, expect, it } from "vitest";
import { readCapture } from "./capture.ts";
import { CaptureError, type CaptureRecord } from "./capture-record.ts";

/** Blocks in one byte order: a number is 32 bits, a pair is two of 16 bits, bytes are padded to four. */
class Blocks {
  readonly bytes: number[] = [];
  readonly #isLittleEndian: boolean;

  constructor(isLittleEndian = true) {
    this.#isLittleEndian = isLittleEndian;
  }

  block(type: number, ...body: (number | readonly [number, number] | Uint8Array)[]): this {
    const fields = body.flatMap((field) => {
      if (typeof field === "number") return this.#word(field);
      if (field instanceof Uint8Array) return [...field, ...new Array<number>(-field.length & 3).fill(0)];
      return this.#isLittleEndian
        ? [field[0] & 0xff, field[0] >> 8, field[1] & 0xff, field[1] >> 8]
        : [field[0] >> 8, field[0] & 0xff, field[1] >> 8, field[1] & 0xff];
    });
    const length = this.#word(fields.length + 12);
    this.bytes.push(...this.#word(type), ...length, ...fields, ...length);
    return this;
  }

  section(): this {
    return this.block(0x0a0d0d0a, 0x1a2b3c4d, [1, 0], 0xffffffff, 0xffffffff);
  }

  #word(value: number): number[] {
    const bytes = [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
    return this.#isLittleEndian ? bytes.reverse() : bytes;
  }

  get file(): Uint8Array {
    return Uint8Array.from(this.bytes);
  }
}

const DATA = Uint8Array.of(1, 2, 3, 4, 5);
const interfaces = (blocks: Blocks): Blocks =>
  blocks
    .block(1, [1, 0], 0)
    .block(1, [101, 0], 3, [9, 1], Uint8Array.of(9), [0, 0])
    .block(1, [228, 0], 0, [2, 3], Uint8Array.of(101, 116, 104), [9, 1], Uint8Array.of(0x80 | 10), [0, 0]);
const read = (blocks: Blocks): CaptureRecord[] => [...readCapture(blocks.file)];
const failure = (file: Uint8Array): CaptureError => {
  try {
    for (const _ of readCapture(file));
  } catch (error) {
    if (error instanceof CaptureError) return error;
    throw error;
  }
  throw new Error("expected a CaptureError");
};

describe("readPcapng", () => {
  it.each([true, false])(
    "reads several interfaces, each with its resolution (little endian: %s)",
    (isLittle) => {
      const blocks = interfaces(new Blocks(isLittle).section())
        .block(6, 0, 0, 1_500_250, 5, 60, DATA)
        .block(0x0bad, 1, 2, 3)
        .block(6, 1, 1, 5, 5, 5, DATA)
        .block(6, 2, 0, 1536, 5, 5, DATA, [1, 2], Uint8Array.of(104, 105), [0, 0]);
      expect(read(blocks)).toEqual([
        { timestampMs: 1500.25, linkType: 1, bytes: DATA, originalLength: 60 },
        { timestampMs: (2 ** 32 + 5) / 1e6, linkType: 101, bytes: DATA, originalLength: 5 },
        { timestampMs: 1500, linkType: 228, bytes: DATA, originalLength: 5 },
      ]);
    },
  );

  it("keeps microseconds of today in nanoseconds", () => {
    const nanoseconds = 1_700_000_000_123_456_000n;
    const [high, low] = [Number(nanoseconds >> 32n), Number(nanoseconds & 0xffffffffn)];
    const [record] = read(interfaces(new Blocks().section()).block(6, 1, high, low, 5, 5, DATA));
    expect(Math.round(record!.timestampMs * 1000)).toBe(1_700_000_000_123_456);
  });

  it("adds the interface's offset of time", () => {
    const offset = Uint8Array.of(0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
    const blocks = new Blocks().section().block(1, [1, 0], 0, [14, 8], offset, [0, 0]);
    expect(read(blocks.block(6, 0, 0, 5_000_000, 0, 0))[0]!.timestampMs).toBe(3000);
  });

  it("gives a simple packet the first interface, the last time, and cuts it at the snapshot length", () => {
    const blocks = new Blocks().section().block(1, [101, 0], 3).block(6, 0, 0, 7000, 0, 0);
    expect(read(blocks.block(3, 60, DATA.subarray(0, 3)))[1]).toEqual({
      timestampMs: 7,
      linkType: 101,
      bytes: DATA.subarray(0, 3),
      originalLength: 60,
    });
    expect(read(new Blocks().section().block(1, [101, 0], 0).block(3, 5, DATA))[0]!.bytes).toEqual(DATA);
  });

  it("starts anew with every section, in its own byte order", () => {
    const first = interfaces(new Blocks(true).section()).block(6, 1, 0, 0, 0, 0);
    const second = new Blocks(false).section().block(1, [229, 0], 0).block(6, 0, 0, 0, 5, 5, DATA);
    const file = Uint8Array.of(...first.bytes, ...second.bytes);
    expect([...readCapture(file)].map((record) => record.linkType)).toEqual([101, 229]);
    const third = new Blocks(false).section().block(6, 1, 0, 0, 0, 0);
    expect(failure(Uint8Array.of(...first.bytes, ...third.bytes)).code).toBe("malformed");
  });

  const section = new Blocks().section().file;
  it.each([
    ["another version", new Blocks().block(0x0a0d0d0a, 0x1a2b3c4d, [2, 0], 0, 0).file, "unsupported", 0],
    ["no byte-order magic", section.with(8, 0), "malformed", 0],
    ["a section cut short", section.subarray(0, 27), "truncated", 0],
    ["a block header cut short", Uint8Array.of(...section, 6, 0, 0, 0, 32), "truncated", 28],
    ["a length of zero", Uint8Array.of(...section, ...new Array<number>(12).fill(0)), "malformed", 28],
    ["lengths that differ", section.with(24, 29), "malformed", 0],
    ["a length that is no multiple of four", section.with(4, 29), "malformed", 0],
    ["a packet before any interface", new Blocks().section().block(3, 1, DATA).file, "malformed", 28],
    [
      "a packet larger than its block",
      new Blocks().section().block(1, [1, 0], 0).block(6, 0, 0, 0, 0xffffffff, 0, DATA).file,
      "malformed",
      48,
    ],
    ["an interface too short", new Blocks().section().block(1, [1, 0]).file, "malformed", 28],
    ["a section too short", new Blocks().block(0x0a0d0d0a, 0x1a2b3c4d).file, "malformed", 0],
    [
      "an option larger than its block",
      new Blocks().section().block(1, [1, 0], 0, [9, 1]).file,
      "malformed",
      28,
    ],
  ])("refuses %s", (_, file, code, offset) => {
    const error = failure(file);
    expect([error.code, error.offset]).toEqual([code, offset]);
  });
});
