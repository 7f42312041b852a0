import { expect, test } from "vitest";
import { SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { shortestExpectedDelay } from "./shortest-expected-delay.ts";

schedulerContract("sed", shortestExpectedDelay);

test.each<[number[], (number | [number, number])[], string, string]>([
  [[1, 2, 3], [0, 0, 0], "C", "idle: the heaviest"],
  [[2, 2, 2], [0, 0, 0], "C", "idle and alike: the head of the list"],
  [[1, 2, 4], [0, 0, 3], "B", "1/1, 1/2, 4/4"],
  [[1, 2, 4], [0, 1, 3], "C", "1/1, 2/2, 4/4: a tie of all goes to the head"],
  [
    [1, 1],
    [
      [0, 0],
      [0, 9999],
    ],
    "B",
    "inactive ones do not count",
  ],
  [[1, 0], [5, 0], "A", "weight 0 never"],
])("weights %j with %j: %s (%s)", (weights, loads, wanted) => {
  expect(new SchedulerRig(shortestExpectedDelay, weights).load(...loads).picks(1)).toBe(wanted);
});
