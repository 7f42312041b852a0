import { describe, expect, test } from "vitest";
import { letterOf, SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { parseAddress } from "../wire/address.ts";
import { foldAddress } from "./address-hash.ts";
import { fillMaglevTable, maglevHashing, maglevSteps, SLOT_COUNT, slotOf } from "./maglev-hashing.ts";

schedulerContract("mh", maglevHashing, { refuses: true });

const words = (address: string) => parseAddress(address)!.words;
const slotFor = (address: string, port = 0) => slotOf(foldAddress(words(address), 0) + port);

describe("the reference's vectors (3.16)", () => {
  test.each([
    ["192.0.2.1", 2891, 3651],
    ["192.0.2.2", 746, 3058],
    ["198.51.100.7", 924, 1707],
    ["203.0.113.200", 3310, 604],
    ["2001:db8::1", 3457, 3517],
    ["2001:db8:1:2::abcd", 729, 2133],
  ])("slots of %s without a port and with 40000", (address, alone, withPort) => {
    expect([slotFor(address), slotFor(address, 40_000)]).toEqual([alone, withPort]);
  });

  test.each([
    ["10.0.0.11", 4032, 1541],
    ["10.0.0.12", 870, 874],
    ["10.0.0.13", 2586, 2286],
  ])("steps of %s port 80", (address, start, skip) => {
    expect(maglevSteps({ words: words(address), port: 80 })).toEqual({ start, skip });
  });

  test.each([
    [[1, 1, 1], [1365, 1364, 1364], "12 13 13 11 12 12 11 11 13 12", "13 11 11 12 12"],
    [[1, 2, 3], [683, 1364, 2046], "12 11 11 11 12 12 11 11 13 12", "13 11 11 12 12"],
    [[100, 1, 99], [2050, 41, 2002], "13 13 13 11 11 13 11 11 13 13", "13 11 11 13 13"],
  ])("tables of weights %j (list order 13, 12, 11)", (weights, shares, firstTen, clients) => {
    const names = [13, 12, 11];
    const slots = new Int32Array(SLOT_COUNT);
    fillMaglevTable(
      slots,
      names.map((name, i) => ({ words: words(`10.0.0.${name}`), port: 80, lastWeight: weights[i]! })),
    );
    expect(names.map((_, i) => slots.filter((index) => index === i).length)).toEqual(shares);
    const text = (indexes: Iterable<number>) => [...indexes].map((index) => names[index]).join(" ");
    expect(text(slots.subarray(0, 10))).toBe(firstTen);
    const from = ["192.0.2.1", "192.0.2.2", "198.51.100.7", "203.0.113.200", "2001:db8::1"];
    expect(text(from.map((address) => slots[slotFor(address)]!))).toBe(clients);
  });
});

const CLIENTS = Array.from({ length: 200 }, (_, i) => `192.0.2.${i}:${5000 + i}`);
const picks = (it: SchedulerRig) => CLIENTS.map((client) => letterOf(it.pickFor(client))).join("");

test("weight 0 keeps its slots: its clients are refused, nobody else moves, and all come back", () => {
  const it = new SchedulerRig(maglevHashing, [1, 1, 1]);
  const before = picks(it);
  const [, b] = it.service.destinations;
  it.edit(b!, 0);
  expect(picks(it)).toBe(before.replaceAll("B", "-"));
  it.edit(b!, 1);
  expect(picks(it)).toBe(before);
});

test("mh-fallback sends the clients of one that is not available to others, and nobody else", () => {
  const it = new SchedulerRig(() => maglevHashing({ flags: ["mh-fallback"] }), [1, 1, 1]);
  const before = picks(it);
  it.service.destinations[1]!.isOverloaded = true;
  const after = picks(it);
  expect(after).not.toMatch(/[B-]/);
  const moved = [...after].filter((_, i) => before[i] === "B");
  expect(new Set(moved)).toEqual(new Set(["A", "C"]));
  expect([...after].filter((letter, i) => letter !== before[i])).toEqual(moved);
});

test("one added with weight 0 has no slots until it has a weight", () => {
  const it = new SchedulerRig(maglevHashing, [1, 1]);
  const before = picks(it);
  const added = it.add(0);
  expect(picks(it)).toBe(before);
  it.edit(added, 1);
  expect(picks(it)).toContain("C");
});

test("the port counts with mh-port only", () => {
  const ports = Array.from({ length: 50 }, (_, i) => `192.0.2.1:${4000 + i}`);
  const letters = (it: SchedulerRig) => new Set(ports.map((client) => letterOf(it.pickFor(client))));
  expect(letters(new SchedulerRig(maglevHashing, [1, 1])).size).toBe(1);
  expect(letters(new SchedulerRig(() => maglevHashing({ flags: ["mh-port"] }), [1, 1])).size).toBe(2);
});
