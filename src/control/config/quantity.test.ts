import { expect, it } from "vitest";
import { nearest } from "./nearest.ts";
import { formatSize, parseDuration, parseSize } from "./quantity.ts";

it.each([
  [1, 1],
  [2_678_400, 2_678_400],
  ["90s", 90],
  ["15m", 900],
  ["1h30m", 5400],
  ["31d", 2_678_400],
])("parseDuration reads %j", (input, seconds) => {
  expect(parseDuration(input)).toEqual({ value: seconds });
});

it.each([
  0,
  -1,
  1.5,
  Number.NaN,
  2_678_401,
  "32d",
  "",
  "15",
  "15 m",
  "1.5h",
  "m",
  "0s",
  "9e9s",
  null,
  undefined,
  [1],
  true,
])("parseDuration refuses %j", (input) => {
  expect(parseDuration(input)).toHaveProperty("wanted");
});

it.each([
  [1024, 1024],
  ["4MiB", 4 * 1024 * 1024],
  ["1GiB", 1024 ** 3],
  ["2048B", 2048],
])("parseSize reads %j", (input, bytes) => {
  expect(parseSize(input, 1024, 1024 ** 3)).toEqual({ value: bytes });
});

it.each([1023, 1024 ** 3 + 1, "4MB", "4 MiB", "1.5MiB", "", null])("parseSize refuses %j", (input) => {
  expect(parseSize(input, 1024, 1024 ** 3)).toHaveProperty("wanted");
});

it("formatSize uses the largest unit that fits evenly", () => {
  expect([65_536, 4_194_304, 1_073_741_824, 1000].map(formatSize)).toEqual([
    "64KiB",
    "4MiB",
    "1GiB",
    "1000B",
  ]);
});

it.each([
  ["schedular", "scheduler"],
  ["servres", "servers"],
  ["LISTEN", "listen"],
  ["zzz", undefined],
  ["x".repeat(100_000), undefined],
])("nearest %s", (word, candidate) => {
  expect(nearest(word, ["listen", "scheduler", "servers"])).toBe(candidate);
});
