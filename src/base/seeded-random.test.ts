import { expect, test } from "vitest";
import { seededRandom } from "./seeded-random.ts";

test("the same seed gives the same numbers, another seed others", () => {
  const take = (seed: number) => {
    const random = seededRandom(seed);
    return Array.from({ length: 100 }, () => random());
  };
  expect(take(5)).toEqual(take(5));
  expect(take(6)).not.toEqual(take(5));
});

test("the numbers are xorshift32's", () => {
  // Marsaglia 2003, triple (13, 17, 5), from state 1.
  const random = seededRandom(1);
  expect([random(), random(), random()]).toEqual([270_369, 67_634_689, 2_647_435_461]);
});

test("numbers are unsigned 32-bit integers that use every bit; zero and negative seeds work", () => {
  for (const seed of [0, 1, -1, 2 ** 32, 0xffff_ffff]) {
    const random = seededRandom(seed);
    let [union, common] = [0, -1];
    for (let i = 0; i < 1000; i++) {
      const number = random();
      expect(Number.isInteger(number) && number > 0 && number < 2 ** 32).toBe(true);
      union |= number;
      common &= number;
    }
    expect([union, common]).toEqual([-1, 0]);
  }
});
