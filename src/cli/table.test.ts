import { expect, it } from "vitest";
import { formatTable, shortNumber } from "./table.ts";

it("aligns columns, not counting colours", () => {
  const rows = [
    ["name", "count"],
    ["\x1b[1mbold\x1b[22m!", "7"],
  ];
  expect(formatTable(rows, ["left", "right"])).toEqual(["name   count", "\x1b[1mbold\x1b[22m!      7"]);
});

it.each([
  [0, "0"],
  [9999, "9999"],
  [12_345, "12.3k"],
  [1_234_567, "1.23M"],
  [999_499, "999k"],
  [999_999, "1.00M"],
  [5e15, "5.00P"],
])("shortNumber(%d) is %s", (value, text) => {
  expect(shortNumber(value)).toBe(text);
});
