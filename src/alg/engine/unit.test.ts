import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EDITS_MAX, Unit } from "./unit.ts";

const unit = new Unit();
const aim = (text: string): Unit => {
  const bytes = Uint8Array.from(`##${text}##`, (one) => one.charCodeAt(0));
  unit.aim(bytes, 2, text.length);
  return unit;
};
const written = (): string | undefined => {
  const out = new Uint8Array(20_000);
  const length = unit.write(out, 5, out.length - 5);
  return length < 0 ? undefined : String.fromCharCode(...out.subarray(5, 5 + length));
};

describe("reading", () => {
  test("numbers of both byte orders, and -1 wherever a part of one is beyond the end", () => {
    aim("\x01\x02\x03\xff");
    expect([unit.u8(3), unit.u16(0), unit.u16le(0), unit.u32(0), unit.u32le(0)]).toEqual([
      255, 0x0102, 0x0201, 0x010203ff, 0xff030201,
    ]);
    expect([
      unit.u8(4),
      unit.u16(3),
      unit.u16le(3),
      unit.u32(1),
      unit.u32le(1),
      unit.u8(-1),
      unit.u16(-1),
    ]).toEqual([-1, -1, -1, -1, -1, -1, -1]);
    expect([unit.u32(-1), unit.u16(2 ** 31), unit.find(0xff), unit.find(0x23)]).toEqual([-1, -1, 3, -1]);
  });

  test("text, with letters of either case", () => {
    aim("Port 1");
    expect([unit.has(0, "PORT"), unit.has(1, "ORT 1"), unit.has(3, "T 12"), unit.text(1, 99)]).toEqual([
      true,
      true,
      false,
      "ort 1",
    ]);
    expect([unit.beginsLike("PORT 1,2"), unit.beginsLike("P"), unit.beginsLike("PA")]).toEqual([
      true,
      true,
      false,
    ]);
  });
});

describe("changing", () => {
  test("in any order, to other lengths, in place", () => {
    aim("abcdefgh");
    unit.replace(6, 1, "GGG");
    unit.put16(0, 0x4142);
    unit.replace(3, 2, "");
    unit.put8(7, 0x48);
    expect([written(), unit.growth, unit.isChanged]).toEqual(["ABcfGGGH", 0, true]);
  });

  test("the same place again: the later change counts", () => {
    aim("abcd");
    unit.replace(1, 2, "long one");
    unit.replace(1, 2, "x");
    expect([written(), unit.growth]).toEqual(["axd", -1]);
  });

  test("words of both byte orders", () => {
    aim("12345678");
    unit.put32(0, 0x61626364);
    unit.put32le(4, 0x61626364);
    expect(written()).toBe("abcddcba");
    aim("1234");
    unit.put16le(0, 0x6162);
    unit.put32(-1, 0);
    expect([unit.isFaulty, written()]).toEqual([true, undefined]);
  });

  test.each<[string, ...[at: number, count: number, by: string][]]>([
    ["beyond the end", [7, 2, "xx"]],
    ["over another from the left", [2, 2, "xx"], [1, 2, "xx"]],
    ["over another from the right", [2, 2, "xx"], [3, 2, "xx"]],
    ["over all others", [2, 1, "x"], [0, 8, "x"]],
    ["too much", [0, 1, "x".repeat(9000)]],
  ])("%s: the unit stays", (_, ...changes) => {
    aim("abcdefgh");
    for (const [at, count, by] of changes) unit.replace(at, count, by);
    expect([unit.isFaulty, unit.isChanged, written()]).toEqual([true, false, undefined]);
  });

  test("too many", () => {
    aim("x".repeat(EDITS_MAX + 1));
    for (let at = 0; at <= EDITS_MAX; at++) unit.put8(at, 0x79);
    expect(unit.isFaulty).toBe(true);
  });

  test("whatever is changed where: what JavaScript's strings make of it", () => {
    const change = fc.tuple(fc.nat(12), fc.nat(3), fc.string({ maxLength: 4, unit: "grapheme-ascii" }));
    fc.assert(
      fc.property(
        fc.string({ maxLength: 10, unit: "grapheme-ascii" }),
        fc.array(change, { maxLength: 5 }),
        (text, changes) => {
          aim(text);
          const made: [number, number, string][] = [];
          let isFaulty = false;
          for (const [at, count, by] of changes) {
            unit.replace(at, count, by);
            const same = made.findIndex((one) => one[0] === at && one[1] === count);
            const isOver = made.some(([from, long]) => at < from + long && from < at + count);
            if (at + count > text.length || (same < 0 && isOver)) isFaulty = true;
            else if (same >= 0) made[same] = [at, count, by];
            else made.push([at, count, by]);
          }
          // Two insertions at one place, or one at the edge of a change: whose goes first is nobody's business.
          const isAmbiguous = made.some(
            ([at, count]) => count === 0 && made.some((one) => one[0] !== at || one[1] !== count),
          );
          if (isAmbiguous) return;
          expect(unit.isFaulty).toBe(isFaulty);
          if (isFaulty) return;
          let wanted = text;
          for (const [at, count, by] of made.toSorted((a, b) => b[0] - a[0]))
            wanted = wanted.slice(0, at) + by + wanted.slice(at + count);
          expect(written()).toBe(wanted);
          expect(unit.length + unit.growth).toBe(wanted.length);
        },
      ),
      { numRuns: 20_000, seed: 1 },
    );
  });
});

test("what is shown of it: text as it is, of anything else the bytes that changed", () => {
  aim("PORT 1\r\n");
  unit.replace(5, 1, "22");
  expect([unit.describe(false), unit.describe(true)]).toEqual(["PORT 1\r\n", "PORT 22\r\n"]);
  aim("\0\x01\x02\x03\x04");
  unit.put16(1, 0xbeef);
  unit.replace(4, 1, "ab");
  expect([unit.describe(false), unit.describe(true)]).toEqual(["1: 0102, 4: 04", "1: beef, 4: 6162"]);
});
