/**
 * Random histories through the director alone and through the director with the fast path. After every packet bytes and verdict
 * are compared, after every history connections, states, counters. 100,000 packets and more.
 */
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { whyNoFastPath } from "../../src/datapath/ebpf/probe.ts";
import { TwinsPlayer } from "../support/twins-player.ts";

const why = whyNoFastPath();
/** The same histories every time; others by hand: VSNAT_SEED=7 npx vitest run test/differential/histories.test.ts */
const SEED = Number(process.env.VSNAT_SEED ?? 1);
const HISTORIES = 400;
const STEPS = 300;

describe.skipIf(why !== undefined)(`histories (${why ?? "eBPF is there"})`, () => {
  let [fastCount, packetCount] = [0, 0];

  test(`${HISTORIES} histories of ${STEPS} steps`, { timeout: 180_000 }, () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31 - 2), (seed) => {
        const player = new TwinsPlayer(seed);
        try {
          for (let step = 0; step < STEPS; step++) player.step();
          player.twins.expectSame();
        } finally {
          fastCount += player.twins.fastCount;
          packetCount += player.twins.fastCount + player.twins.slowCount;
          player.twins.close();
        }
      }),
      { numRuns: HISTORIES, seed: SEED, endOnFailure: true },
    );
  });

  afterAll(() => {
    expect(packetCount).toBeGreaterThanOrEqual(100_000);
    // Most of it is broken, or begins something: still a good part of it is repeated by the kernel.
    expect(fastCount).toBeGreaterThan(packetCount / 5);
  });
});
