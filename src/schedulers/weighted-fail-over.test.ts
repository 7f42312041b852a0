import { expect, test } from "vitest";
import { SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { weightedFailOver } from "./weighted-fail-over.ts";

schedulerContract("fo", weightedFailOver);

test("everything goes to the highest weight, then to the next when it is overloaded or quiesced", () => {
  const it = new SchedulerRig(weightedFailOver, [3, 1, 2]);
  const [c, , a] = it.service.destinations;
  expect(it.opens(4)).toBe("AAAA");
  a!.isOverloaded = true;
  expect(it.opens(2)).toBe("CC");
  it.edit(c!, 0);
  expect(it.opens(2)).toBe("BB");
  a!.isOverloaded = false;
  expect(it.opens(2)).toBe("AA");
});

test("of two of the highest weight the newer is taken", () => {
  expect(new SchedulerRig(weightedFailOver, [5, 5, 4]).picks(2)).toBe("BB");
});
