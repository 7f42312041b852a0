import { expect, test } from "vitest";
import { letterOf, SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { sourceHashing } from "./source-hashing.ts";

schedulerContract("sh", sourceHashing, { refuses: true });

/**
 * Letters of the clients 192.0.2.1, 192.0.2.2, 198.51.100.7, 203.0.113.200: buckets 50, 148, 171, 52
 * (reference 3.16).
 */
const picks = (it: SchedulerRig) =>
  ["192.0.2.1:40000", "192.0.2.2:40000", "198.51.100.7:40000", "203.0.113.200:40000"]
    .map((client) => letterOf(it.pickFor(client)))
    .join("");

test.each([
  // Three destinations, list order C, B, A: bucket k is of place k modulo the total weight.
  [[1, 1, 1], "ABCB"], // 50 % 3 = 2, 148 % 3 = 1, 171 % 3 = 0, 52 % 3 = 1
  [[1, 2, 3], "CBBB"], // CCCBBA: 50 % 6 = 2, 148 % 6 = 4, 171 % 6 = 3, 52 % 6 = 4
  [[1, 0, 1], "A-C-"], // weight 0 has a bucket a round all the same
  [[300, 200, 100], "CBBC"], // 100 of C, 156 of B, none of A
])("weights %j: %s", (weights, wanted) => {
  expect(picks(new SchedulerRig(sourceHashing, weights))).toBe(wanted);
});

test("with sh-port the port is added: buckets 214, 56, 79, 216", () => {
  const it = new SchedulerRig(() => sourceHashing({ flags: ["sh-port"] }), [1, 1, 1]);
  expect(picks(it)).toBe("BABC");
});

test("with sh-fallback the search begins at twice the bucket", () => {
  const it = new SchedulerRig(() => sourceHashing({ flags: ["sh-fallback"] }), [1, 0, 1]);
  // 148: from 296 & 255 = 40, which is B too, to 41; 52: from 104, which is A.
  expect(picks(it)).toBe("AACA");
});

test("an edit fills the buckets anew", () => {
  const it = new SchedulerRig(sourceHashing, [1, 1, 1]);
  picks(it);
  it.edit(it.service.destinations[0]!, 3);
  it.edit(it.service.destinations[1]!, 2);
  expect(picks(it)).toBe("CBBB");
});
