import { describe, expect, it } from "vitest";
import { OptionWalk } from "./option-walk.ts";

const list = (...bytes: number[]): { options: number[][]; isMalformed: boolean } => {
  const walk = new OptionWalk();
  const options: number[][] = [];
  for (walk.start(new DataView(Uint8Array.of(9, ...bytes, 9).buffer), 1, 1 + bytes.length); walk.next(); ) {
    options.push([walk.kind, walk.at - 1, walk.lengthBytes]);
  }
  return { options, isMalformed: walk.isMalformed };
};

describe("OptionWalk", () => {
  it.each([
    ["nothing", [], []],
    [
      "padding",
      [1, 1],
      [
        [1, 0, 1],
        [1, 1, 1],
      ],
    ],
    ["options up to the end mark", [2, 4, 5, 180, 0, 3, 3, 7], [[2, 0, 4]]],
    [
      "an option that fills the list",
      [1, 3, 3, 7],
      [
        [1, 0, 1],
        [3, 1, 3],
      ],
    ],
  ])("lists %s", (_, bytes, wanted) => {
    expect(list(...bytes)).toEqual({ options: wanted, isMalformed: false });
  });

  it.each([
    ["length 0, which would never end", [1, 2, 0]],
    ["length 1", [1, 2, 1]],
    ["a length beyond the end", [1, 2, 4, 5]],
    ["no room for a length", [1, 2]],
  ])("stops at %s", (_, bytes) => {
    expect(list(...bytes)).toEqual({ options: [[1, 0, 1]], isMalformed: true });
  });

  it("compares kind and length at once", () => {
    const walk = new OptionWalk();
    walk.start(new DataView(Uint8Array.of(2, 3, 0).buffer), 0, 3);
    walk.next();
    expect([walk.is(2, 3), walk.is(2, 4), walk.is(3, 3)]).toEqual([true, false, false]);
  });
});
