import { expect, test } from "vitest";
import { SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { neverQueue } from "./never-queue.ts";

schedulerContract("nq", neverQueue);

test.each<[number[], (number | [number, number])[], string, string]>([
  [[3, 2, 1], [0, 0, 0], "C", "all idle: the first of the list, whatever its weight"],
  [[1, 1, 100], [0, 0, 1], "B", "an idle one, though 2/100 is the shorter delay"],
  [
    [1, 1],
    [
      [0, 9999],
      [1, 0],
    ],
    "A",
    "inactive ones do not make it busy",
  ],
  [[0, 1], [0, 3], "B", "an idle one of weight 0 does not count"],
  [[1, 2, 4], [1, 1, 3], "C", "nobody idle: as sed, a tie of 2/2 and 4/4"],
  [[1, 4, 4], [1, 2, 7], "B", "nobody idle: as sed, 2/1, 3/4, 8/4"],
])("weights %j with %j: %s (%s)", (weights, loads, wanted) => {
  expect(new SchedulerRig(neverQueue, weights).load(...loads).picks(1)).toBe(wanted);
});
