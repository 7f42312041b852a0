/**
 * An hour and more of the directors' time in one history: nothing is left behind, in maps, tables, memory or descriptors.
 * Longer by hand: VSNAT_SOAK_HOURS=24 npx vitest run test/differential/soak.test.ts
 */
import { readdirSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { whyNoFastPath } from "../../src/datapath/ebpf/probe.ts";
import { census } from "../support/census.ts";
import { enterOwnNetwork } from "../support/own-network.ts";
import { TwinsPlayer } from "../support/twins-player.ts";

const why = whyNoFastPath();
const HOURS = Number(process.env.VSNAT_SOAK_HOURS ?? 1);
const HOUR_MS = 3_600_000;
/** More than any time-out, and than a template that is prolonged behind it. */
const LONGEST_MS = 1_000_000 + 400_000;
/** What the run itself holds: fast-check, packets, the other director. */
const HEAP_GROWTH_MAX = 32 * 1024 * 1024;

/** What is still held, without what only waits to be collected. */
function heldBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}

describe.skipIf(why !== undefined)(`soak (${why ?? "eBPF is there"})`, () => {
  test.each([
    ["the director chooses servers", () => 0],
    ["the kernel chooses where it can", enterOwnNetwork],
  ])(`${HOURS} hours, %s`, { timeout: 120_000 + HOURS * 120_000 }, (_, routedAs) => {
    const device = routedAs();
    const descriptors = readdirSync("/proc/self/fd").length;
    const player = new TwinsPlayer(7, device);
    const { twins } = player;
    const { cache, fast } = twins;
    try {
      while (player.elapsedMs < HOUR_MS / 4) player.step();
      let steps = 0;
      const heap = heldBytes();
      while (player.elapsedMs < HOURS * HOUR_MS) {
        player.step();
        if (++steps % 500 !== 0) continue;
        expect(census(fast.director)).toEqual([]);
        fast.director.cached.catchUpChanges(); // what began with the last packet
        const { connections, excepted } = cache.status;
        expect(cache.maps.flows.count()).toBe(2 * (connections + excepted));
      }
      twins.expectSame();
      expect(heldBytes() - heap).toBeLessThan(HEAP_GROWTH_MAX);

      twins.run(LONGEST_MS);
      twins.expectSame();
      expect(fast.director.connections.count).toBe(0);
      const { connections, excepted } = cache.status;
      expect([connections, excepted, cache.maps.flows.count()]).toEqual([0, 0, 0]);
      expect(fast.director.delegations.begunCount > 0).toBe(device !== 0);
      expect(cache.status).toMatchObject({ mismatches: 0, lostNews: 0, refused: 0 });
      expect(cache.status.audited).toBeGreaterThan(100);
    } finally {
      twins.close();
    }
    expect(readdirSync("/proc/self/fd").length).toBe(descriptors);
  });
});
