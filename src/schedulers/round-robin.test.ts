import { expect, test } from "vitest";
import { SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { roundRobin } from "./round-robin.ts";

schedulerContract("rr", roundRobin);

const rig = (...weights: number[]) => new SchedulerRig(roundRobin, weights);

test("goes round the list from its head, the newest, whatever the weights", () => {
  expect(rig(1, 20, 300).picks(9)).toBe("CBACBACBA");
});

test("passes over weight 0 and overload, and comes back to them", () => {
  const it = rig(1, 0, 1, 1);
  const [d] = it.service.destinations;
  expect(it.picks(6)).toBe("DCADCA");
  d!.isOverloaded = true;
  expect(it.picks(4)).toBe("CACA");
  d!.isOverloaded = false;
  expect(it.picks(3)).toBe("DCA");
});

test("a new destination at the head waits for the end of the round", () => {
  const it = rig(1, 1, 1);
  expect(it.picks(2)).toBe("CB");
  it.add(1);
  expect(it.picks(5)).toBe("ADCBA");
});

test.each([
  [0, 0, "BABA", "removed before the first pick"],
  [1, 0, "BABA", "the one just used: its predecessor, the head of the list, takes its place"],
  [1, 1, "ACAC", "the one to be next"],
  [2, 0, "ABAB", "one used before"],
  [2, 1, "ACAC", "the one just used, in the middle"],
  [3, 2, "CBCB", "the one just used, the last"],
])("after %i picks the one at %i is removed: then %s (%s)", (before, index, wanted) => {
  const it = rig(1, 1, 1);
  it.picks(before);
  it.remove(it.service.destinations[index]!);
  expect(it.picks(4)).toBe(wanted);
});

test("an edit does not disturb the round", () => {
  const it = rig(1, 1, 1);
  it.picks(1);
  it.edit(it.service.destinations[2]!, 9);
  expect(it.picks(3)).toBe("BAC");
});
