import { expect, test } from "vitest";
import {
  Audit,
  Born,
  Choice,
  Connection,
  Control,
  Count,
  Flow,
  FlowKey,
  HopKey,
  News,
  ServiceKey,
  Target,
  Way,
} from "./layout.ts";
import { structure } from "./structure.ts";

test("fields lie one behind the other", () => {
  const { at, bytes } = structure("One", { first: 4, second: 2, third: 2, list: [4, 4], last: 8 });
  expect(at).toEqual({ first: 0, second: 4, third: 6, list: 8, last: 24 });
  expect(bytes).toBe(32);
});

test("nothing lies askew", () => {
  expect(() => structure("One", { first: 2, second: 4 })).toThrow(/One: second of 4 bytes would begin at 2/);
  expect(() => structure("One", { first: 2 })).toThrow(/2 bytes are no multiple of 4/);
});

test("sizes that memory and cache lines depend on", () => {
  const sizes = {
    FlowKey,
    Flow,
    Connection,
    Count,
    Way,
    Control,
    News,
    Audit,
    Born,
    Choice,
    HopKey,
    ServiceKey,
    Target,
  };
  expect(Object.fromEntries(Object.entries(sizes).map(([name, { bytes }]) => [name, bytes]))).toEqual({
    FlowKey: 40,
    Flow: 64,
    Connection: 64,
    Count: 32,
    Way: 32,
    Control: 1216,
    News: 24,
    Audit: 144,
    Born: 80,
    Choice: 16,
    HopKey: 24,
    ServiceKey: 20,
    Target: 32,
  });
});
