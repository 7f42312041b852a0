/**
 * Choosing servers in the kernel against choosing them in the director: the same packets, the same servers, the same table. The
 * way back to clients is asked of a kernel's routing, in a network namespace of this test's own.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { whyNoFastPath } from "../../src/datapath/ebpf/probe.ts";
import type { ServiceConfig } from "../../src/nat/configuration.ts";
import { enterOwnNetwork } from "../support/own-network.ts";
import { tcp } from "../support/packet-builder.ts";
import { destination, service } from "../support/replayed.ts";
import { Twins } from "../support/twins.ts";
import { TwinsPlayer } from "../support/twins-player.ts";

const why = whyNoFastPath();
const SEED = Number(process.env.VSNAT_SEED ?? 1);
const HISTORIES = 300;
const STEPS = 300;
const VIP = "202.103.106.5";

describe.skipIf(why !== undefined)(`choosing in the kernel (${why ?? "eBPF is there"})`, () => {
  let device = 0;
  beforeAll(() => {
    device = enterOwnNetwork();
  });

  const play = (services: readonly ServiceConfig[], act: (twins: Twins) => void): void => {
    const twins = new Twins(services, { connectionsMax: 4096 }, 42, undefined, device);
    try {
      act(twins);
      twins.expectSame();
    } finally {
      twins.close();
    }
  };
  const syn = (client: number, to = `${VIP}:80`) =>
    tcp({ from: `202.100.1.${1 + (client % 200)}:${1024 + client}`, to, flags: "S" });
  const web = (scheduler: string, ...weights: number[]): ServiceConfig =>
    service(
      "tcp",
      VIP,
      80,
      scheduler,
      ...weights.map((weight, n) => destination(`172.16.0.${n + 2}`, 8000 + n, weight)),
    );

  test.each([
    ["rr", [1, 1, 1]],
    ["wrr", [1, 2]],
    ["wrr", [3, 0, 5, 2]],
    ["wrr", [100, 300, 200]],
    ["sh", [1, 2, 3]],
    ["dh", [1, 1]],
  ] as const)(
    "%s %j: the same servers in the same order, and no packet in user space",
    (scheduler, weights) => {
      play([web(scheduler, ...weights)], (twins) => {
        const sent = Array.from({ length: 100 }, (_, client) => twins.send(syn(client)));
        expect(sent.filter(({ isFast }) => !isFast).length).toBeLessThanOrEqual(scheduler === "dh" ? 1 : 3);
      });
    },
  );

  test("a client's port used again begins anew in the kernel once its connection is over, and not before", () => {
    play([web("rr", 1, 1)], (twins) => {
      for (let n = 0; n < 4; n++) twins.send(syn(n));
      expect(twins.send(syn(3)).isFast).toBe(false);
      const send = (flags: string) => twins.send(tcp({ from: "202.100.1.4:1027", to: `${VIP}:80`, flags }));
      for (const [flags, isOver] of [
        ["R", false],
        ["FA", true],
        ["R", false],
        ["FA", true],
      ] as const) {
        expect(send(flags).isFast).toBe(true);
        expect(send("S").isFast).toBe(isOver);
      }
      expect(twins.fast.director.connections.count).toBe(4);
    });
  });

  let begunCount = 0;
  test(`${HISTORIES} histories of ${STEPS} steps`, { timeout: 180_000 }, () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31 - 2), (seed) => {
        const player = new TwinsPlayer(seed, device);
        try {
          for (let step = 0; step < STEPS; step++) player.step();
          player.twins.expectSame();
        } finally {
          begunCount += player.twins.fast.director.delegations.begunCount;
          player.twins.close();
        }
      }),
      { numRuns: HISTORIES, seed: SEED, endOnFailure: true },
    );
  });

  afterAll(() => {
    expect(begunCount).toBeGreaterThan(100);
  });
});
