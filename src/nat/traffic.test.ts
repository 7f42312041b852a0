/** The rate estimator against the reference's step response and a running kernel's readings. */
import { expect, test } from "vitest";
import { referenceLines } from "../../test/golden/reference/reference-table.ts";
import { Quantity, Traffic } from "./traffic.ts";

function grow(traffic: Traffic, quantity: number, by: number): void {
  if (quantity === Quantity.connections) for (let i = 0; i < by; i++) traffic.countConnection();
  else if (quantity === Quantity.inBytes) traffic.countIn(by);
  else traffic.countOut(by);
}

function rates(traffic: Traffic, quantity: number, perRun: number, runs: number): number[] {
  return Array.from({ length: runs }, () => {
    grow(traffic, quantity, perRun);
    traffic.estimate();
    return traffic.rate(quantity);
  });
}

test("the step response to 100 connections a second, and back, is the reference's", () => {
  const traffic = new Traffic();
  const up = [25, 44, 58, 68, 76, 82, 87, 90, 92, 94, 96, 97];
  expect(rates(traffic, Quantity.connections, 200, up.length)).toEqual(up);
  const down = Array.from({ length: 8 }, () => {
    traffic.estimate();
    return traffic.rate(Quantity.connections);
  });
  expect(down).toEqual([73, 54, 41, 31, 23, 17, 13, 10]);
});

test("the step response of bytes is the reference's in both directions", () => {
  const wanted = [25_000, 43_750, 57_812, 68_359, 76_270];
  expect(rates(new Traffic(), Quantity.inBytes, 200_000, 5)).toEqual(wanted);
  expect(rates(new Traffic(), Quantity.outBytes, 200_000, 5)).toEqual(wanted);
});

test("every reading of a running kernel, of the service and of either server", () => {
  const rows = referenceLines("rates.txt")
    .slice(1)
    .map((line) => line.split("; ").map((part) => part.split(" ").map(Number)));
  expect(rows.length).toBeGreaterThan(15);
  const [service, server] = [new Traffic(), new Traffic()];
  let before = [0, 0, 0, 0, 0];
  for (const [totals, ofService, ofServer] of rows) {
    const growth = totals!.map((total, i) => total - before[i]!);
    add(service, growth);
    // Two servers in turn: each has exactly half.
    add(
      server,
      growth.map((value) => value / 2),
    );
    before = totals!;
    for (const traffic of [service, server]) traffic.estimate();
    const shown = [service, server].map((traffic) =>
      [0, 1, 2, 3, 4].map((quantity) => traffic.rate(quantity)),
    );
    expect(shown).toEqual([ofService, ofServer]);
  }
});

/** Connections, packets in, packets out, bytes in, bytes out. */
function add(traffic: Traffic, growth: readonly number[]): void {
  const [connections, inPackets, outPackets, inBytes, outBytes] = growth;
  for (let i = 0; i < connections!; i++) traffic.countConnection();
  for (let i = 0; i < inPackets!; i++) traffic.countIn(i === 0 ? inBytes! : 0);
  for (let i = 0; i < outPackets!; i++) traffic.countOut(i === 0 ? outBytes! : 0);
}

test("counts exactly beyond 32 bits", () => {
  const traffic = new Traffic();
  for (let i = 0; i < 100_000; i++) traffic.countIn(65_535);
  expect(traffic.count(Quantity.inBytes)).toBe(6_553_500_000);
  expect(traffic.count(Quantity.inPackets)).toBe(100_000);
});

test("zero clears counters, rates and what the next estimate compares with", () => {
  const traffic = new Traffic();
  rates(traffic, Quantity.connections, 200, 5);
  traffic.zero();
  traffic.estimate();
  expect([0, 1, 2, 3, 4].map((one) => [traffic.count(one), traffic.rate(one)])).toEqual(
    Array(5).fill([0, 0]),
  );
});
