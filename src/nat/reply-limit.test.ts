import { expect, test } from "vitest";
import { ReplyLimit } from "./reply-limit.ts";

const take = (limit: ReplyLimit, times: number, nowMs: number): number =>
  Array.from({ length: times }, () => limit.take(nowMs)).filter(Boolean).length;

test("allows a burst of one second's worth, then the rate", () => {
  const limit = new ReplyLimit(100, 0);
  expect(take(limit, 150, 0)).toBe(100);
  expect(take(limit, 10, 9)).toBe(0);
  expect(take(limit, 10, 10)).toBe(1);
  expect(take(limit, 100, 510)).toBe(50);
});

test("never saves up more than one second's worth", () => {
  const limit = new ReplyLimit(10, 0);
  expect(take(limit, 1000, 1_000_000)).toBe(10);
});

test("a steady flood is answered at the rate, whatever its steps", () => {
  for (const stepMs of [0.3, 1, 7, 333]) {
    const limit = new ReplyLimit(50, 0);
    let taken = take(limit, 50, 0);
    expect(taken).toBe(50);
    taken = 0;
    for (let now = stepMs; now <= 10_000; now += stepMs) taken += take(limit, 100, now);
    expect(Math.abs(taken - 500)).toBeLessThanOrEqual(1 + (stepMs * 50) / 1000);
  }
});

test("a clock that stands still or runs backwards gives nothing", () => {
  const limit = new ReplyLimit(5, 1000);
  expect(take(limit, 10, 1000)).toBe(5);
  expect(take(limit, 10, 500)).toBe(0);
  expect(take(limit, 10, 1000)).toBe(0);
  expect(take(limit, 10, 1200)).toBe(1);
});

test("zero a second means never", () => {
  expect(take(new ReplyLimit(0, 0), 5, 60_000)).toBe(0);
});
