import { expect, test } from "vitest";
import { SchedulerRig } from "../../test/contract/scheduler.ts";
import { milliseconds } from "../base/environment.ts";
import { seededRandom } from "../base/seeded-random.ts";
import { Flow } from "../wire/flow.ts";
import { ENTRIES_MAX, LocalityCache, NONE } from "./locality-cache.ts";
import { roundRobin } from "./round-robin.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 1440 * MINUTE_MS;
const [destination] = new SchedulerRig(roundRobin, [1]).service.destinations;

class Rig {
  nowMs = 0;
  expirationSeconds = DAY_MS / 1000;
  readonly cache = new LocalityCache(
    { randomU32: seededRandom(3), now: () => milliseconds(this.nowMs) },
    () => this.expirationSeconds,
  );
  readonly #flow = new Flow();

  /** A packet to address number `address`. @returns whether it was known */
  packet(address: number): boolean {
    this.#flow.words[4] = address;
    this.cache.collect(milliseconds(this.nowMs));
    const isKnown = this.cache.use(this.#flow, milliseconds(this.nowMs)) !== NONE;
    if (!isKnown) this.cache.add(this.#flow, destination!, milliseconds(this.nowMs));
    return isKnown;
  }

  packets(from: number, count: number): void {
    for (let i = 0; i < count; i++) this.packet(from + i);
  }
}

test("remembers addresses", () => {
  const it = new Rig();
  it.packets(0, 1000);
  expect(it.cache.size).toBe(1000);
  expect(it.packet(999)).toBe(true);
  expect(it.packet(1000)).toBe(false);
});

test("is bounded: when it is full, new addresses are not remembered and old ones are kept", () => {
  const it = new Rig();
  it.packets(0, ENTRIES_MAX + 100);
  expect(it.cache.size).toBe(ENTRIES_MAX);
  expect(it.packet(0)).toBe(true);
  expect(it.packet(ENTRIES_MAX + 50)).toBe(false);
});

test("above 16384 entries, those unused for six minutes are removed, a third more than there are too many", () => {
  const it = new Rig();
  it.packets(0, 16_384 + 300);
  it.nowMs = 5 * MINUTE_MS;
  it.packets(0, 1);
  expect(it.cache.size).toBe(16_684);
  it.nowMs = 6 * MINUTE_MS;
  it.packets(0, 1);
  // Whole buckets are cleared, of one or two entries each.
  expect(it.cache.size).toBeLessThanOrEqual(16_684 - 400);
  expect(it.cache.size).toBeGreaterThan(16_684 - 410);
});

test("at most 8192 go in one collection, and what is used stays", () => {
  const it = new Rig();
  it.packets(0, ENTRIES_MAX);
  it.nowMs = 2 * MINUTE_MS;
  it.packets(0, 100);
  it.nowMs = 6 * MINUTE_MS;
  it.packet(0);
  expect(ENTRIES_MAX - it.cache.size).toBeGreaterThanOrEqual(8192);
  expect(ENTRIES_MAX - it.cache.size).toBeLessThan(8220);
  for (let address = 0; address < 100; address++) expect(it.packet(address)).toBe(true);
  it.packets(1_000_000, 5000);
  expect(it.packet(1_000_001)).toBe(true);
});

test("an entry unused for a day is removed by the next half-hourly collection", () => {
  const it = new Rig();
  it.packets(0, 10);
  // Collections come every minute from 1 on; the first full one is the thirtieth, then every thirtieth minute.
  it.nowMs = 10 * MINUTE_MS;
  it.packets(0, 5);
  for (let minute = 11; minute < 1440; minute += 10) {
    it.nowMs = minute * MINUTE_MS;
    it.packet(0);
  }
  expect(it.cache.size).toBe(10);
  it.nowMs = DAY_MS + 40 * MINUTE_MS;
  it.packet(0);
  expect(it.cache.size).toBe(1);
});

test("another expiration counts at once", () => {
  const it = new Rig();
  it.packets(0, 10);
  it.nowMs = 30 * MINUTE_MS;
  it.packet(0);
  expect(it.cache.size).toBe(10);
  it.expirationSeconds = 45 * 60;
  it.nowMs = 60 * MINUTE_MS;
  it.packet(0);
  expect(it.cache.size).toBe(1);
});

test("a long silence is caught up with", () => {
  const it = new Rig();
  it.packets(0, 10);
  it.nowMs = 400 * DAY_MS;
  expect(it.packet(0)).toBe(false);
  expect(it.cache.size).toBe(1);
});
