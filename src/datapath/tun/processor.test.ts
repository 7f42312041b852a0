import { expect, test } from "vitest";
import { allowedProcessors, planProcessors } from "./processor.ts";

test.each([
  ["Cpus_allowed_list:\t0-1\n", [0, 1]],
  ["Name:\tnode\nCpus_allowed_list:\t2,5-7\nMems_allowed:\t1\n", [2, 5, 6, 7]],
  ["Cpus_allowed_list:\t3\n", [3]],
  ["nothing of the kind", [0]],
])("allowed processors in %o", (status, expected) => {
  expect(allowedProcessors(status)).toEqual(expected);
});

test("what this machine allows is what Node sees", () => {
  expect(allowedProcessors().length).toBeGreaterThan(0);
});

test.each([
  ["auto", [0, 1], { loop: 0, receiving: [1] }],
  ["auto", [4, 5, 6, 7], { loop: 4, receiving: [5, 6, 7] }],
  ["auto", [3], { loop: undefined, receiving: [] }],
  ["off", [0, 1], { loop: undefined, receiving: [] }],
  [1, [0, 1, 2], { loop: 1, receiving: [0, 2] }],
  ["auto", [0, 40], { loop: undefined, receiving: [] }],
] as const)("%s of %o", (wanted, allowed, expected) => {
  expect(planProcessors(wanted, allowed)).toEqual(expected);
});
