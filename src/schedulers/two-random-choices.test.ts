import { expect, test } from "vitest";
import { SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { expectShares } from "../../test/support/shares.ts";
import { twoRandomChoices } from "./two-random-choices.ts";

schedulerContract("twos", twoRandomChoices);

const COUNT = 60_000;

/**
 * What one draw picks: 0 to the total inclusive, so the head of the list, the newest, has one number more.
 */
const drawShares = (weights: readonly number[]) => {
  const total = weights.reduce((sum, weight) => sum + weight);
  return weights.map((weight, i) => (weight + (i === weights.length - 1 ? 1 : 0)) / (total + 1));
};

test.each([[[1, 2, 3]], [[1, 1]], [[10, 0, 30, 5]]])(
  "idle, weights %j: the first draw decides",
  (weights) => {
    expectShares(new SchedulerRig(twoRandomChoices, weights).picks(COUNT), drawShares(weights));
  },
);

test("loaded: the most loaded is picked when both draws fall on it, and so on by rank of load per weight", () => {
  const weights = [1, 2, 3];
  const [a, b, c] = drawShares(weights) as [number, number, number];
  // Load per weight: A 10, B 5, C 20.
  const it = new SchedulerRig(twoRandomChoices, weights).load(10, 10, 60);
  const ofC = c * c;
  const ofA = (a + c) ** 2 - ofC;
  expectShares(it.picks(COUNT), [ofA, 1 - ofA - ofC, ofC]);
  expect(a + b + c).toBeCloseTo(1);
});

test("open connections keep to the weights", () => {
  const picks = new SchedulerRig(twoRandomChoices, [1, 2, 3]).opens(6000);
  ["A", "B", "C"].forEach((letter, i) => {
    expect(Math.abs(picks.split(letter).length - 1 - 1000 * (i + 1))).toBeLessThan(60);
  });
});
