/**
 * What persistence promises, under random histories of clients, servers that come, go and rest, and time: a plain memory of
 * who was pinned where says what must happen next, without knowing how the director does it.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { milliseconds, seconds } from "../../src/base/environment.ts";
import type { ServiceConfig } from "../../src/nat/configuration.ts";
import { IPVS_DEFAULTS } from "../../src/nat/ipvs-settings.ts";
import { census } from "../support/census.ts";
import { tcp } from "../support/packet-builder.ts";
import { destination, IPVS_SETTINGS } from "../support/replayed.ts";
import { Stage } from "../support/stage.ts";

const VIP = "192.0.2.1";
const SERVERS = ["172.16.0.2", "172.16.0.3", "172.16.0.4"];
const TIMEOUT_MS = 100_000;
/** What a template is prolonged by. */
const PROLONGED_MS = 60_000;
/** An entry's end is noticed late by as much. */
const WHEEL_MS = 2 * 160;

type Step =
  | { readonly kind: "connect"; readonly client: number; readonly port: number; readonly isLong: boolean }
  | { readonly kind: "talk"; readonly client: number; readonly port: number }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "servers"; readonly weights: readonly (number | undefined)[] }
  | { readonly kind: "quiescent"; readonly isExpiring: boolean };

const client = fc.integer({ min: 1, max: 3 });
const port = fc.integer({ min: 4000, max: 4003 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("connect" as const), client, port, isLong: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("talk" as const), client, port }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("wait" as const),
      ms: fc.constantFrom(10, 9000, 47_000, 130_000, 950_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("servers" as const),
      weights: fc.array(fc.constantFrom(undefined, 0, 1, 1, 1), { minLength: 3, maxLength: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("quiescent" as const), isExpiring: fc.boolean() }) },
);

/** A client's pin as a person would remember it. */
interface Pin {
  server: string;
  /** Surely alive until then, and longer while a connection made under it is. */
  until: number;
}

class World {
  readonly stage = new Stage([], { connectionsMax: 256 });
  readonly pins = new Map<number, Pin>();
  /** Connections that are surely alive: when each ends, and whose pin it holds. */
  readonly talks = new Map<string, { until: number; pin: Pin }>();
  weights: readonly (number | undefined)[] = [1, 1, 1];
  isExpiring = false;

  constructor() {
    this.configure();
  }

  configure(): void {
    const service: ServiceConfig = {
      protocol: "tcp",
      address: VIP,
      port: 80,
      scheduler: "rr",
      removal: "drain",
      persistence: { timeout: seconds(TIMEOUT_MS / 1000) },
      destinations: SERVERS.flatMap((address, at) => {
        const weight = this.weights[at];
        return weight === undefined ? [] : [destination(address, 80, weight)];
      }),
    };
    const ipvs = { ...IPVS_DEFAULTS, expire_quiescent_template: this.isExpiring ? 1 : 0 } as const;
    this.stage.apply([service], { settings: { ...IPVS_SETTINGS, ipvs } });
  }

  play(one: Step): void {
    switch (one.kind) {
      case "connect":
        this.#connect(one.client, one.port, one.isLong);
        break;
      case "talk":
        this.#talk(one.client, one.port);
        break;
      case "wait":
        // In steps, so that what ends is noticed when it ends.
        for (let left = one.ms; left > 0; left -= 5000) {
          this.stage.wait(Math.min(5000, left));
          this.stage.director.advance(milliseconds(this.stage.now));
        }
        break;
      case "servers":
        this.weights = one.weights;
        this.configure();
        break;
      case "quiescent":
        this.isExpiring = one.isExpiring;
        this.configure();
        break;
    }
  }

  /** A new connection, from a port that has none now. */
  #connect(who: number, port: number, isLong: boolean): void {
    const { stage } = this;
    const ends = { from: `198.51.100.${who}:${port}`, to: `${VIP}:80` };
    const isThere = stage
      .connections()
      .some((it) => !it.isTemplate && `${it.client.address}:${it.client.port}` === ends.from);
    if (isThere) return;
    const { verdict, bytes } = stage.send(tcp({ ...ends, flags: "S" }));
    const pin = this.#pinOf(who);
    // One that was of no use when it was asked for does not come back with its server.
    if (pin === undefined) this.pins.delete(who);
    if (verdict !== "to-server") {
      expect(verdict).toBe("reply");
      // Refused only when there is no pin and nobody to take the client.
      expect(pin).toBeUndefined();
      expect(this.weights.some((weight) => (weight ?? 0) > 0)).toBe(false);
      return;
    }
    const server = [...bytes.subarray(16, 20)].join(".");
    if (pin !== undefined) expect(server).toBe(pin.server);
    const now = Number(stage.now);
    const next = pin ?? { server, until: 0 };
    // A prolonged template gives a minute only, another its whole time: at least a minute either way.
    next.until = Math.max(next.until, now + PROLONGED_MS);
    this.pins.set(who, next);
    stage.send(tcp({ ...ends, flags: isLong ? "A" : "" }));
    this.talks.set(ends.from, { until: now + (isLong ? 900_000 : 10_000), pin: next });
  }

  #talk(who: number, port: number): void {
    const from = `198.51.100.${who}:${port}`;
    const now = Number(this.stage.now);
    const talk = this.talks.get(from);
    if (talk === undefined || talk.until <= now) return;
    const state = this.stage
      .connections()
      .find((it) => it.client.port === port && it.client.address === `198.51.100.${who}`);
    const { verdict, bytes } = this.stage.send(tcp({ from, to: `${VIP}:80`, flags: "A" }));
    // A drained connection stays with its server, whatever became of pin and weight.
    expect(verdict).toBe("to-server");
    expect([...bytes.subarray(16, 20)].join(".")).toBe(talk.pin.server);
    talk.until = now + (state?.state === "CLOSE" ? 10_000 : 900_000);
  }

  /** The pin this client surely has. */
  #pinOf(who: number): Pin | undefined {
    const pin = this.pins.get(who);
    if (pin === undefined) return undefined;
    const now = Number(this.stage.now);
    const isHeld = [...this.talks.values()].some((talk) => talk.pin === pin && talk.until > now);
    const weight = this.weights[SERVERS.indexOf(pin.server)];
    const isGood = weight !== undefined && !(this.isExpiring && weight === 0);
    if ((pin.until > now || isHeld) && isGood) return pin;
    return undefined;
  }
}

test("a pinned client goes to its server for as long as the pin lives, and nothing is left in the end", {
  timeout: 240_000,
}, () => {
  let pinnedCount = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), (steps) => {
      const world = new World();
      const { director } = world.stage;
      for (const one of steps) {
        world.play(one);
        expect(census(director)).toEqual([]);
      }
      pinnedCount += world.pins.size;
      for (let minute = 0; minute < 20; minute++) world.play({ kind: "wait", ms: 60_000 + WHEEL_MS });
      expect(director.connections.count).toBe(0);
      for (const one of director.services.destinations())
        expect([one.isAvailable, one.connectionCount, one.persistentConnections]).toEqual([true, 0, 0]);
    }),
    { numRuns: 300, seed: 9 },
  );
  expect(pinnedCount).toBeGreaterThan(500);
});
