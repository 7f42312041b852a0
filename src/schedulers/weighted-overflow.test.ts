import { expect, test } from "vitest";
import { SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { weightedOverflow } from "./weighted-overflow.ts";

schedulerContract("ovf", weightedOverflow);

test("each takes one more than its weight, the highest first; then nobody", () => {
  expect(new SchedulerRig(weightedOverflow, [2, 0, 3]).opens(9)).toBe("CCCCAAA--");
});

test("of two of the highest weight the newer is filled first", () => {
  expect(new SchedulerRig(weightedOverflow, [1, 1]).opens(5)).toBe("BBAA-");
});

test("inactive connections, and so UDP, never overflow", () => {
  expect(new SchedulerRig(weightedOverflow, [1, 2]).load([0, 0], [2, 500]).picks(3)).toBe("BBB");
});

test("an overloaded one is passed over, room comes back with a connection's end", () => {
  const it = new SchedulerRig(weightedOverflow, [1, 2]).load(1, 3);
  const [b, a] = it.service.destinations;
  expect(it.picks(1)).toBe("A");
  a!.isOverloaded = true;
  expect(it.picks(1)).toBe("-");
  b!.unbind(false);
  expect(it.picks(1)).toBe("B");
});
