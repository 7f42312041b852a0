/**
 * An hour and more of the directors' time in one history: nothing is left behind, in maps, tables, memory or descriptors.
 * Longer by hand: VSNAT_SOAK_HOURS=24 npx vitest run test/differential/soak.test.ts
 */
import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { whyNoFastPath } from "../../src/datapath/ebpf/probe.ts";
import { census } from "../support/census.ts";
import { TwinsPlayer } from "../support/twins-player.ts";

const why = whyNoFastPath();
const HOURS = Number(process.env.VSNAT_SOAK_HOURS ?? 1);
const HOUR_MS = 3_600_000;
/** More than any time-out, and than a template that is prolonged behind it. */
const LONGEST_MS = 1_000_000 + 400_000;
/** What the run itself holds: fast-check, packets, the other director. */
const HEAP_GROWTH_MAX = 32 * 1024 * 1024;

describe.skipIf(why !== undefined)(`soak (${why ?? "eBPF is there"})`, () => {
  test(`${HOURS} hours`, { timeout: 120_000 + HOURS * 120_000 }, () => {
    const descriptors = readdirSync("/proc/self/fd").length;
    const player = new TwinsPlayer(7);
    const { twins } = player;
    const { cache, fast } = twins;
    try {
      while (player.elapsedMs < HOUR_MS / 4) player.step();
      let steps = 0;
      const heap = process.memoryUsage().heapUsed;
      while (player.elapsedMs < HOURS * HOUR_MS) {
        player.step();
        if (++steps % 500 !== 0) continue;
        expect(census(fast.director)).toEqual([]);
        expect(cache.maps.flows.count()).toBe(2 * cache.status.connections);
      }
      twins.expectSame();
      expect(process.memoryUsage().heapUsed - heap).toBeLessThan(HEAP_GROWTH_MAX);

      twins.run(LONGEST_MS);
      twins.expectSame();
      expect(fast.director.connections.count).toBe(0);
      expect([cache.status.connections, cache.maps.flows.count()]).toEqual([0, 0]);
      expect(cache.status).toMatchObject({ mismatches: 0, lostNews: 0, refused: 0 });
      expect(cache.status.audited).toBeGreaterThan(100);
    } finally {
      twins.close();
    }
    expect(readdirSync("/proc/self/fd").length).toBe(descriptors);
  });
});
