import { expect, test } from "vitest";
import { SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { weightedLeastConnection } from "./weighted-least-connection.ts";

schedulerContract("wlc", weightedLeastConnection);

/** A service with these [active, inactive, weight], oldest first. */
function rig(...loads: readonly (readonly [number, number, number])[]): SchedulerRig {
  const it = new SchedulerRig(
    weightedLeastConnection,
    loads.map(([, , weight]) => weight),
  );
  it.service.destinations.forEach((one, index) => {
    [one.activeConnections, one.inactiveConnections] = loads.at(-1 - index)! as [number, number, number];
  });
  return it;
}

test.each<[readonly (readonly [number, number, number])[], string, string]>([
  [
    [
      [0, 0, 1],
      [0, 0, 9],
    ],
    "B",
    "idle: the head of the list",
  ],
  [
    [
      [0, 0, 9],
      [0, 0, 1],
    ],
    "B",
    "idle: the head of the list, whatever its weight",
  ],
  [
    [
      [2, 0, 2],
      [1, 0, 1],
    ],
    "B",
    "equal load per weight: the head",
  ],
  [
    [
      [3, 0, 3],
      [1, 0, 2],
      [1, 0, 1],
    ],
    "B",
    "half a connection per weight",
  ],
  [
    [
      [0, 511, 2],
      [1, 0, 1],
    ],
    "A",
    "255.5 against 256",
  ],
  [
    [
      [0, 512, 2],
      [1, 0, 1],
    ],
    "B",
    "256 against 256: the head",
  ],
  [
    [
      [0, 0, 0],
      [9, 0, 1],
    ],
    "B",
    "weight 0 never, however idle",
  ],
  [
    [
      [9, 0, 1],
      [0, 0, 0],
    ],
    "A",
    "weight 0 never, also at the head",
  ],
  [
    [
      [2 ** 20, 0, 2 ** 31 - 1],
      [2 ** 20 - 1, 0, 2 ** 31 - 2],
    ],
    "B",
    "the largest weights still compare",
  ],
])("%j: %s (%s)", (loads, wanted) => {
  expect(rig(...loads).picks(1)).toBe(wanted);
});

test("a new server takes everything until it has caught up", () => {
  const it = rig([100, 0, 1], [100, 0, 1]);
  it.add(1);
  const letters = Array.from({ length: 102 }, () => {
    const picked = it.pick()!;
    picked.bind();
    picked.move(false);
    return String.fromCharCode(64 + Number(picked.address.at(-1)));
  }).join("");
  expect(letters).toBe(`${"C".repeat(101)}B`);
});
