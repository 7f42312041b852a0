import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { letterOf, SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import type { Destination } from "../nat/destination.ts";
import { exactMaglev, fillExactMaglev, SLOT_COUNT } from "./exact-maglev.ts";

schedulerContract("maglev", exactMaglev, { histories: 3 });

/** Owners of the slots, whatever the order of the list. */
function tableOf(destinations: readonly Destination[]): Destination[] {
  const slots = new Int32Array(SLOT_COUNT);
  fillExactMaglev(slots, destinations);
  return Array.from(slots, (index) => destinations[index]!);
}

function shareOf(table: readonly Destination[], one: Destination): number {
  return table.reduce((count, owner) => count + Number(owner === one), 0);
}

const destinationsOf = (weights: readonly number[]) =>
  new SchedulerRig(exactMaglev, weights).service.destinations;

describe("shares", () => {
  test.each([
    ["1:2", [1, 2]],
    ["1:2:3", [1, 2, 3]],
    ["1:99", [1, 99]],
    ["one of 7 : 13 : 101 : 1000", [7, 13, 101, 1000]],
    ["large numbers", [2 ** 31 - 1, 2 ** 30, 1_000_000_007]],
    ["hundred alike", Array.from({ length: 100 }, () => 1)],
  ])("%s: exact to one slot", (_, weights) => {
    const destinations = destinationsOf(weights);
    const table = tableOf(destinations);
    const total = weights.reduce((sum, weight) => sum + weight);
    for (const one of destinations) {
      expect(Math.abs(shareOf(table, one) - (SLOT_COUNT * one.weight) / total)).toBeLessThanOrEqual(1);
    }
  });

  test("a weight too small for a slot has one all the same, weight 0 has none", () => {
    const [zero, large, small] = destinationsOf([1, 2 ** 31 - 1, 0]);
    const table = tableOf([zero!, large!, small!]);
    expect([zero!, large!, small!].map((one) => shareOf(table, one))).toEqual([0, SLOT_COUNT - 1, 1]);
  });
});

describe("of 100 servers of any weights 1 to 20 one leaves", () => {
  const weights = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 100, maxLength: 100 });
  const place = fc.integer({ min: 0, max: 99 });

  test("shares are exact, its own clients move, and at most one of a hundred others", {
    timeout: 60_000,
  }, () => {
    fc.assert(
      fc.property(weights, place, (chosen, index) => {
        const before = destinationsOf(chosen);
        const gone = before[index]!;
        const after = before.filter((one) => one !== gone);
        const total = chosen.reduce((sum, weight) => sum + weight);
        const old = tableOf(before);
        for (const one of before) {
          expect(Math.abs(shareOf(old, one) - (SLOT_COUNT * one.weight) / total)).toBeLessThanOrEqual(1);
        }
        const needless = tableOf(after).filter((owner, slot) => old[slot] !== gone && old[slot] !== owner);
        expect(needless.length / SLOT_COUNT).toBeLessThanOrEqual(0.01);
      }),
      { numRuns: 12, seed: 20_260 },
    );
  });
});

test("the order in which servers were added does not matter", () => {
  const destinations = destinationsOf([5, 1, 4, 2, 3, 9]);
  const table = tableOf(destinations);
  expect(tableOf(destinations.toReversed()).filter((owner, slot) => owner !== table[slot])).toEqual([]);
});

const CLIENTS = Array.from({ length: 3000 }, (_, i) => `192.0.${i >> 8}.${i & 255}:${5000 + i}`);
const picks = (it: SchedulerRig) => CLIENTS.map((client) => letterOf(it.pickFor(client))).join("");

test("clients of an overloaded server go to all others meanwhile, nobody else moves, and all come back", () => {
  const it = new SchedulerRig(exactMaglev, [1, 1, 1, 1]);
  const before = picks(it);
  it.service.destinations[0]!.isOverloaded = true;
  const after = picks(it);
  expect([...after].filter((letter, i) => before[i] !== "D" && letter !== before[i])).toEqual([]);
  for (const letter of "ABC") {
    const moved = [...after].filter((now, i) => before[i] === "D" && now === letter).length;
    expect(moved / (CLIENTS.length / 4)).toBeCloseTo(1 / 3, 1);
  }
  it.service.destinations[0]!.isOverloaded = false;
  expect(picks(it)).toBe(before);
});

test("clients share out by weight", () => {
  const made = picks(new SchedulerRig(exactMaglev, [1, 2, 3]));
  ["A", "B", "C"].forEach((letter, i) => {
    expect((made.split(letter).length - 1) / CLIENTS.length).toBeCloseTo((i + 1) / 6, 1);
  });
});

test("the port counts with mh-port only; IPv6 addresses that fold alike are told apart", () => {
  const kinds = (it: SchedulerRig, clients: string[]) =>
    new Set(clients.map((client) => letterOf(it.pickFor(client)))).size;
  const ports = Array.from({ length: 40 }, (_, i) => `192.0.2.1:${4000 + i}`);
  expect(kinds(new SchedulerRig(exactMaglev, [1, 1]), ports)).toBe(1);
  expect(kinds(new SchedulerRig(() => exactMaglev({ flags: ["mh-port"] }), [1, 1]), ports)).toBe(2);
  const folded = Array.from({ length: 40 }, (_, i) => `[2001:db8::${i}:${i}]:4000`);
  expect(kinds(new SchedulerRig(exactMaglev, [1, 1]), folded)).toBe(2);
});
