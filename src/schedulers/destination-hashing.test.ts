import { expect, test } from "vitest";
import { letterOf, SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { destinationHashing } from "./destination-hashing.ts";

schedulerContract("dh", destinationHashing, { refuses: true });

/** Buckets 50, 148, 171, 52 (reference 3.16). */
const picks = (it: SchedulerRig) =>
  ["192.0.2.1", "192.0.2.2", "198.51.100.7", "203.0.113.200"]
    .map((virtual) => letterOf(it.pickFor("10.9.9.9:1", virtual)))
    .join("");

test("buckets go round the list, whatever the weights", () => {
  expect(picks(new SchedulerRig(destinationHashing, [1, 1, 1]))).toBe("ABCB");
  expect(picks(new SchedulerRig(destinationHashing, [1, 20, 300]))).toBe("ABCB");
});

test("one that may take no connection is not replaced: the connection is refused", () => {
  const it = new SchedulerRig(destinationHashing, [1, 0, 1]);
  expect(picks(it)).toBe("A-C-");
  it.service.destinations[0]!.isOverloaded = true;
  expect(picks(it)).toBe("A---");
});

test("the client does not matter", () => {
  const it = new SchedulerRig(destinationHashing, [1, 1, 1]);
  const letters = Array.from({ length: 40 }, (_, i) => letterOf(it.pickFor(`10.1.1.${i}:${i}`)));
  expect(new Set(letters).size).toBe(1);
});
