/** What the operator reads of the fast path's interfaces. */
import { beforeEach, expect, test } from "vitest";
import { FastPathInterfaces } from "./fast-path-interfaces.ts";

const INSIDE = { index: 2, name: "inside" };
const OUTSIDE = { index: 3, name: "outside" };
const NONE = new Map();
const FULL = { call: "bpf BPF_LINK_CREATE", code: "ERANGE" };

let lines: string[];
let interfaces: FastPathInterfaces;
beforeEach(() => {
  lines = [];
  interfaces = new FastPathInterfaces((message, kind) => lines.push(`${kind}: ${message}`));
});

test("at the beginning nothing is said of those where all is well", () => {
  interfaces.update([INSIDE, OUTSIDE], NONE);
  interfaces.update([INSIDE, OUTSIDE], NONE);
  expect(lines).toEqual([]);
  expect(interfaces.status).toEqual({
    interfaces: [{ name: "inside" }, { name: "outside" }],
    lostInterfaces: 0,
  });
});

test("an interface that goes and comes back, or another of its name, is a line each", () => {
  interfaces.update([INSIDE, OUTSIDE], NONE);
  interfaces.update([INSIDE], NONE);
  interfaces.update([INSIDE], NONE);
  interfaces.update([INSIDE, OUTSIDE], NONE);
  interfaces.update([INSIDE, { ...OUTSIDE, index: 9 }], NONE);
  expect(lines).toEqual([
    "note: fast path no longer at outside: it is gone or down",
    "note: fast path at outside",
    "note: fast path at outside again: it was replaced",
  ]);
  expect(interfaces.status.lostInterfaces).toBe(2);
});

test("a refusal is said once, as long as it stays the same, and so is its end", () => {
  interfaces.update([INSIDE, OUTSIDE], new Map([[3, FULL]]));
  interfaces.update([INSIDE, OUTSIDE], new Map([[3, FULL]]));
  expect(interfaces.status.interfaces).toEqual([{ name: "inside" }, { name: "outside", refusal: "ERANGE" }]);
  interfaces.update([INSIDE, OUTSIDE], NONE);
  expect(lines).toEqual([
    "warning: no fast path at outside, its packets take the slow path: bpf BPF_LINK_CREATE answered ERANGE",
    "note: fast path at outside",
  ]);
  expect(interfaces.status.lostInterfaces).toBe(0);
});

test("one that was refused and goes is not missed", () => {
  interfaces.update([OUTSIDE], new Map([[3, FULL]]));
  interfaces.update([], NONE);
  expect(lines).toHaveLength(1);
  expect(interfaces.status).toEqual({ interfaces: [], lostInterfaces: 0 });
});
