import { expect, test } from "vitest";
import { SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { leastConnection } from "./least-connection.ts";

schedulerContract("lc", leastConnection);

/** A service with these [active, inactive] connections, oldest first. */
function rig(...loads: readonly (readonly [number, number])[]): SchedulerRig {
  const it = new SchedulerRig(
    leastConnection,
    loads.map(() => 1),
  );
  it.service.destinations.forEach((one, index) => {
    [one.activeConnections, one.inactiveConnections] = loads.at(-1 - index)! as [number, number];
  });
  return it;
}

test.each<[readonly (readonly [number, number])[], string, string]>([
  [
    [
      [0, 0],
      [0, 0],
      [0, 0],
    ],
    "C",
    "ties go to the head of the list",
  ],
  [
    [
      [1, 0],
      [0, 0],
      [0, 0],
    ],
    "C",
    "ties of the best go to the one nearest the head",
  ],
  [
    [
      [0, 0],
      [1, 0],
      [1, 0],
    ],
    "A",
    "the least active",
  ],
  [
    [
      [0, 255],
      [1, 0],
      [1, 0],
    ],
    "A",
    "255 inactive are less than one active",
  ],
  [
    [
      [0, 256],
      [1, 0],
      [2, 0],
    ],
    "B",
    "256 inactive are one active: a tie",
  ],
  [
    [
      [0, 257],
      [1, 0],
      [2, 0],
    ],
    "B",
    "257 inactive are more",
  ],
  [
    [
      [0, 3],
      [0, 2],
      [0, 4],
    ],
    "B",
    "inactive ones decide between equals",
  ],
])("%j: %s (%s)", (loads, wanted) => {
  expect(rig(...loads).picks(1)).toBe(wanted);
});

test("weights above zero do not matter, weight 0 and overload do", () => {
  const it = rig([3, 0], [2, 0], [1, 0]);
  it.edit(it.service.destinations[2]!, 1000);
  expect(it.picks(1)).toBe("C");
  it.edit(it.service.destinations[0]!, 0);
  expect(it.picks(1)).toBe("B");
  it.service.destinations[1]!.isOverloaded = true;
  expect(it.picks(1)).toBe("A");
});
