import { expect, test } from "vitest";
import { SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { expectShares } from "../../test/support/shares.ts";
import { twoDistinctChoices } from "./two-distinct-choices.ts";

schedulerContract("p2c", twoDistinctChoices);

test.each([[[1, 2, 3]], [[1, 1]], [[10, 0, 30, 5]]])("idle, weights %j: shares by weight", (weights) => {
  const total = weights.reduce((sum, weight) => sum + weight);
  const picks = new SchedulerRig(twoDistinctChoices, weights).picks(60_000);
  expectShares(
    picks,
    weights.map((weight) => weight / total),
  );
});

test("the two are different: of two the less loaded is always picked, of more never the most loaded", () => {
  expect(new SchedulerRig(twoDistinctChoices, [1, 100]).load(2, 201).picks(200)).toBe("A".repeat(200));
  expect(new SchedulerRig(twoDistinctChoices, [1, 1, 1]).load(1, 2, 3).picks(500)).toMatch(/^[AB]+$/);
});

test("a new server is not flooded: of ten it takes a fifth, not everything", () => {
  const it = new SchedulerRig(
    twoDistinctChoices,
    Array.from({ length: 10 }, () => 1),
  );
  it.load(0, ...Array.from({ length: 9 }, () => 1000));
  expectShares(it.picks(20_000), [2 / 10]);
});

test("open connections keep to the weights, closely, also very unequal ones", () => {
  const it = new SchedulerRig(twoDistinctChoices, [1, 1, 1, 1, 96]);
  it.opens(10_000);
  const counts = it.service.destinations.map(({ activeConnections }) => activeConnections).reverse();
  [100, 100, 100, 100, 9600].forEach((wanted, i) => {
    expect(Math.abs(counts[i]! - wanted)).toBeLessThanOrEqual(100);
  });
});
