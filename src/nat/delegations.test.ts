/** Services that a cache chooses for: a fake one here, which goes through the picks as the kernel does. */
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { FakeCache } from "../../test/support/fake-cache.ts";
import { tcp } from "../../test/support/packet-builder.ts";
import { destination, IPVS_SETTINGS, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import { seconds } from "../base/environment.ts";
import { Flow, Protocol } from "../wire/flow.ts";
import type { ServiceConfig } from "./configuration.ts";
import type { BeginningSink, Delegation, ServerChooser } from "./contracts/flow-cache.ts";

const VIP = "202.103.106.5";
const OTHER_CLIENT = 0x0a000001;

class FakeChooser implements ServerChooser {
  readonly delegations: (Delegation | undefined)[] = [];
  readonly taken: number[] = [];
  readonly lent: number[] = [];
  readonly picksMax = 1024;
  readonly lentMax = 8;
  onBegan: BeginningSink = () => -1;
  onReturned: ServerChooser["onReturned"] = () => {};

  begin(delegation: Delegation): number {
    this.taken.push(0);
    return this.delegations.push(delegation) - 1;
  }
  end(choice: number): number {
    this.delegations[choice] = undefined;
    return this.taken[choice]!;
  }
  takePick(choice: number): number {
    return this.taken[choice]!++;
  }
  get lentCount(): number {
    return this.lent.length;
  }
  lend(record: number): void {
    this.lent.push(record);
  }
  takeBack(): number {
    return this.lent.shift() ?? -1;
  }
}

let cache: FakeCache;
let chooser: FakeChooser;
let nextPort = 5000;
beforeEach(() => {
  cache = new FakeCache();
  chooser = new FakeChooser();
  cache.chooser = chooser;
});

function open(services: readonly ServiceConfig[], connectionsMax = 4096): Stage {
  const stage = new Stage(services, { connectionsMax });
  stage.director.cached.cache = cache;
  stage.run(1000);
  return stage;
}
const web = (scheduler: string, ...weights: number[]): ServiceConfig => {
  const servers = weights.map((weight, n) => destination(`172.16.0.${n + 2}`, 8000, weight));
  return service("tcp", VIP, 80, scheduler, ...servers);
};
const delegated = (): readonly Delegation[] => chooser.delegations.filter((one) => one !== undefined);

/** A connection through the director. @returns last part of the server's address, "" for none */
function ask(stage: Stage): string {
  const { out, verdict } = stage.send(
    tcp({ from: `202.100.1.2:${nextPort++}`, to: `${VIP}:80`, flags: "S" }),
  );
  return verdict === "to-server" ? `${out[0]![19]}` : "";
}

/** A connection that the cache makes. @returns likewise */
function begin(): string {
  const choice = chooser.delegations.findIndex((one) => one !== undefined);
  const { picks, loopAt, targets, words } = chooser.delegations[choice]!;
  const taken = chooser.takePick(choice);
  const place = taken < picks.length ? taken : loopAt + ((taken - loopAt) % (picks.length - loopAt));
  const target = targets.find(({ number }) => number === picks[place])!;
  const record = chooser.lent.shift()!;
  const flow = new Flow();
  flow.family = 4;
  flow.protocol = Protocol.tcp;
  flow.words.set([OTHER_CLIENT, 0, 0, 0, ...words]);
  flow.sourcePort = nextPort++;
  flow.destinationPort = 80;
  cache.install(record, 3, 0);
  expect(chooser.onBegan(record, target.number, flow, target.words, target.port, -1, 0)).toBe(record);
  return `${target.words[0]! & 0xff}`;
}

describe("which services", () => {
  const PERSISTENT = { persistence: { timeout: seconds(60), netmask: "255.255.255.255" } };
  test.each([
    ["rr", web("rr", 1, 1), 1],
    ["wrr", web("wrr", 1, 3), 1],
    ["sh", web("sh", 1, 3), 1],
    ["dh", web("dh", 1), 1],
    ["wlc, which counts connections", web("wlc", 1, 1), 0],
    ["nobody to choose", web("rr", 0, 0), 0],
    ["a long sequence", web("wrr", 997, 1009), 0],
    ["persistence", { ...web("rr", 1), ...PERSISTENT }, 0],
    ["a PROXY header", { ...web("rr", 1), proxyProtocol: "v2" as const }, 0],
    ["an application module", { ...web("rr", 1), app: "ftp" as const }, 0],
    ["all ports", service("tcp", VIP, 0, "rr", destination("172.16.0.2", 0)), 0],
    ["a threshold", service("tcp", VIP, 80, "rr", destination("172.16.0.2", 80, 1, 5)), 0],
    [
      "packet by packet",
      { ...service("udp", VIP, 80, "rr", destination("172.16.0.2", 80)), isOnePacket: true },
      0,
    ],
  ] as const)("%s", (_, config, count) => {
    open([config]);
    expect(delegated()).toHaveLength(count);
  });

  test("none while drop_packet is set, and again afterwards", () => {
    const stage = open([web("rr", 1)]);
    const set = (drop_packet: 0 | 3): void => {
      const settings = { ...IPVS_SETTINGS, ipvs: { ...IPVS_SETTINGS.ipvs, drop_packet } };
      stage.apply([web("rr", 1)], { settings });
      stage.run(1000);
    };
    set(3);
    expect(delegated()).toHaveLength(0);
    set(0);
    expect(delegated()).toHaveLength(1);
  });

  test("none while every packet comes to the director", () => {
    const stage = open([web("rr", 1)]);
    stage.director.cached.suspend("trace", true);
    expect(delegated()).toHaveLength(0);
    stage.director.cached.suspend("trace", false);
    stage.run(1000);
    expect(delegated()).toHaveLength(1);
  });
});

describe("records", () => {
  test("are lent, and taken back when the director needs them itself", () => {
    const stage = open([web("rr", 1, 1)], 64);
    const lent = chooser.lentCount;
    expect(lent).toBeGreaterThan(0);
    for (let n = 0; n < 64; n++) expect(ask(stage)).not.toBe("");
    expect(chooser.lentCount).toBe(0);
    expect(stage.director.connections.count).toBe(64);
    expect(ask(stage)).toBe("");
  });

  test("are taken back for whatever needs one: a template as well", () => {
    const pinned = {
      ...service("tcp", VIP, 81, "rr", destination("172.16.0.2", 81)),
      persistence: { timeout: seconds(60), netmask: "255.255.255.255" },
    };
    const stage = open([web("rr", 1, 1), pinned], 64);
    expect(chooser.lentCount).toBeGreaterThan(0);
    // A connection and its client's template each.
    for (let n = 1; n <= 32; n++) {
      const { verdict } = stage.send(tcp({ from: `202.100.1.${n}:1000`, to: `${VIP}:81`, flags: "S" }));
      expect(verdict, `client ${n}`).toBe("to-server");
    }
    expect(stage.director.connections.count).toBe(64);
  });

  test("that were not used are the director's again, and the pick goes to who comes instead", () => {
    const stage = open([web("rr", 1, 1)]);
    const { picks, targets } = delegated()[0]!;
    chooser.takePick(0);
    chooser.onReturned(chooser.takeBack(), picks[0]!);
    const first = targets.find(({ number }) => number === picks[0])!;
    expect(ask(stage)).toBe(`${first.words[0]! & 0xff}`);
    expect(ask(stage)).not.toBe(`${first.words[0]! & 0xff}`);
  });
});

test("an entry of the cache counts as any other", () => {
  const stage = open([web("rr", 1, 1)]);
  begin();
  const { services, connections } = stage.control.status();
  expect(connections).toMatchObject({ count: 1, createdCount: 1 });
  expect(services[0]!.counters.connections).toBe(1);
  expect(services[0]!.destinations.reduce((sum, one) => sum + one.activeConnections, 0)).toBe(1);
});

test("property: whoever makes a connection, and whatever is edited in between, servers come in the scheduler's order", () => {
  const weights = fc.array(fc.nat(4), { minLength: 1, maxLength: 4 });
  const step = fc.oneof(fc.constantFrom("ask" as const, "begin" as const), weights);
  fc.assert(
    fc.property(
      fc.constantFrom("rr", "wrr"),
      weights,
      fc.array(step, { maxLength: 60 }),
      (scheduler, first, steps) => {
        cache = new FakeCache();
        cache.chooser = chooser = new FakeChooser();
        const stage = open([web(scheduler, ...first)]);
        const lone = new Stage([web(scheduler, ...first)], { connectionsMax: 4096 });
        for (const one of steps) {
          if (typeof one !== "string") {
            for (const each of [stage, lone]) {
              each.apply([web(scheduler, ...one)]);
              each.run(1000);
            }
            continue;
          }
          const isBegun = one === "begin" && delegated().length > 0 && chooser.lentCount > 0;
          expect(isBegun ? begin() : ask(stage)).toBe(ask(lone));
          stage.run(1);
        }
      },
    ),
  );
});
