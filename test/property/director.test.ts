/**
 * The director as a whole under random histories: clients, servers, errors, fragments, broken packets, reconfiguration and
 * time. Each history comes from a seed; a failure names the seed and the step. At least 100,000 cases for each property.
 */
import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { seconds } from "../../src/base/environment.ts";
import { seededRandom } from "../../src/base/seeded-random.ts";
import {
  type DirectorConfig,
  type MarkRule,
  type MasqueradeRule,
  REMOVAL_POLICIES,
  type ServiceConfig,
  type ServiceProtocol,
} from "../../src/nat/configuration.ts";
import { IPVS_DEFAULTS } from "../../src/nat/ipvs-settings.ts";
import { DEFAULT_TIMEOUTS, IPVS_TIMEOUTS } from "../../src/nat/timeouts.ts";
import { census } from "../support/census.ts";
import { bytes, echo, fragment, icmp, sctp, tcp, udp } from "../support/packet-builder.ts";
import { destination, IPVS_SETTINGS, service } from "../support/replayed.ts";
import { type Offload, type Sent, Stage } from "../support/stage.ts";

const VIPS = { 4: ["202.103.106.5", "202.103.106.6"], 6: ["2001:db8:5::5", "2001:db8:5::6"] } as const;
const CLIENTS = { 4: ["202.100.1.2", "202.100.1.3"], 6: ["2001:db8:1::2", "2001:db8:1::3"] } as const;
const SERVERS = { 4: ["172.16.0.2", "172.16.0.3"], 6: ["fd00:16::2", "fd00:16::3"] } as const;
/** Source addresses of the director's own, and hosts outside that servers call. */
const POOLS = { 4: ["10.9.0.1", "10.9.0.2"], 6: ["fd00:9::1", "fd00:9::2"] } as const;
const FAR = { 4: ["198.51.100.7", "198.51.100.8"], 6: ["2001:db8:7::7", "2001:db8:7::8"] } as const;
const BEHIND = { 4: "172.16.0.0/24", 6: "fd00:16::/64" } as const;
const ANY = { 4: "0.0.0.0", 6: "::" } as const;
const SCHEDULER_NAMES = ["rr", "wrr", "lc", "wlc", "sh", "lblc", "none"];
const SIZES = { connectionsMax: 32, fragmentBytesMax: 1 << 16, repliesPerSecondMax: 20 };
const LONGEST_MS =
  Math.max(...Object.values(IPVS_TIMEOUTS.tcp), IPVS_TIMEOUTS.udp, IPVS_TIMEOUTS.sctp.established) * 1000;
/** The wheel looks at an entry at most two slots after its deadline. */
const WHEEL_MS = 2 * 160;
/** A template outlives its last connection by this much. */
const PROLONGED_MS = 60_000;

type Family = 4 | 6;
const endpoint = (family: Family, address: string, port: number): string =>
  family === 4 ? `${address}:${port}` : `[${address}]:${port}`;

/** Makes a history, step by step. */
class Player {
  readonly stage: Stage;
  /** What was applied last. */
  wanted!: DirectorConfig;
  readonly #random: () => number;
  /** Packets that were sent, as the servers and clients saw them: raw material for answers, errors and breakage. */
  readonly #seen: Uint8Array[] = [];
  /** Pieces of datagrams not sent yet. */
  readonly #pieces: Uint8Array[] = [];

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.stage = new Stage([], {
      ...SIZES,
      randomU32: seededRandom(seed + 1),
      hopChange: seed % 3 === 0 ? 1 : -1,
    });
    this.#configure();
  }

  below(bound: number): number {
    return this.#random() % bound;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** @returns what happened, in one line */
  step(): string {
    const choice = this.below(100);
    if (choice < 4) return this.#pause();
    if (choice < 6) return `apply ${JSON.stringify(this.#configure())}`;
    const packet = this.#packet(choice);
    const offload = this.#offload();
    const sent = this.stage.send(packet, offload);
    this.#remember(sent);
    return `${sent.verdict} ${sent.out.map((one) => Buffer.from(one).toString("base64")).join(" ")}`;
  }

  #pause(): string {
    const ms = this.of([1, 500, 11_000, 130_000]);
    this.stage.wait(ms);
    if (this.below(3) > 0) this.stage.director.advance(this.stage.now);
    return `wait ${ms}`;
  }

  /** Another configuration, with everything that may change while packets flow. */
  #configure(): unknown {
    const { director } = this.stage;
    director.defence.availablePages = this.of([Number.POSITIVE_INFINITY, 900]);
    this.wanted = {
      services: this.#services(),
      marks: this.#marks(),
      masquerade: this.#masquerade(),
      settings: this.#settings(),
    };
    return this.stage.apply(this.wanted.services, this.wanted);
  }

  #settings(): DirectorConfig["settings"] {
    const flag = (): 0 | 1 => this.of([0, 0, 1]);
    const mode = (): 0 | 1 | 3 => this.of([0, 0, 0, 1, 3]);
    return {
      ...IPVS_SETTINGS,
      ...SIZES,
      removal: this.of(REMOVAL_POLICIES),
      timeouts: this.of([IPVS_TIMEOUTS, DEFAULT_TIMEOUTS]),
      ipvs: {
        ...IPVS_DEFAULTS,
        conn_reuse_mode: this.of([0, 1, 1]),
        drop_entry: mode(),
        drop_packet: mode(),
        secure_tcp: mode(),
        expire_nodest_conn: flag(),
        expire_quiescent_template: flag(),
        nat_icmp_send: flag(),
        schedule_icmp: flag(),
        sloppy_tcp: flag(),
        sloppy_sctp: flag(),
      },
    };
  }

  #services(): ServiceConfig[] {
    const services: ServiceConfig[] = [];
    for (const family of [4, 6] as const) {
      for (const vip of VIPS[family]) {
        for (const protocol of ["tcp", "udp", "sctp"] as const) {
          if (this.below(8) > 0) services.push(this.#service(family, protocol, vip, 80));
          if (this.below(4) === 0) services.push(this.#service(family, protocol, vip, 0));
          if (this.below(8) === 0) services.push(this.#service(family, protocol, vip, 21));
        }
      }
      if (this.below(2) === 0) {
        const { lastPort: _, ...marked } = this.#service(family, this.of(["tcp", "udp"]), ANY[family], 0);
        services.push({ ...marked, protocol: "fwmark", mark: 7 });
      }
    }
    return services;
  }

  /** One with a few of the things a service can have; those that exclude each other in a file do so here. */
  #service(family: Family, protocol: ServiceProtocol, vip: string, port: number): ServiceConfig {
    const list = SERVERS[family]
      .filter(() => this.below(6) > 0)
      .map((address) =>
        destination(address, this.of([0, 8000, 8000]), this.of([0, 1, 2, 5]), this.of([0, 0, 3])),
      );
    const has = (): boolean => this.below(3) === 0;
    const isSip = protocol === "udp" && this.below(3) === 0;
    const netmask = family === 4 ? this.of(["255.255.255.255", "255.255.255.0"]) : this.of(["128", "64"]);
    return {
      ...service(protocol, vip, port, this.of(SCHEDULER_NAMES), ...list),
      ...(port === 80 && has() && { lastPort: 81 }),
      ...(has() && {
        persistence: {
          timeout: seconds(this.of([30, 400])),
          netmask,
          ...(isSip && { engine: "sip" as const }),
        },
      }),
      ...(protocol === "udp" && has() && { isOnePacket: true }),
      ...(has() && { removal: this.of(REMOVAL_POLICIES) }),
      ...(has() && {
        fullNat: {
          sources: this.of([POOLS[family], [POOLS[family][0]], [vip]]).filter(
            (address) => address !== ANY[family],
          ),
          clients: this.of(["all", "servers"] as const),
        },
      }),
      ...(protocol === "tcp" && has() && { proxyProtocol: "v2" as const }),
    };
  }

  #marks(): MarkRule[] {
    return ([4, 6] as const).flatMap((family) =>
      this.below(3) === 0 ? [] : [{ mark: 7, destination: VIPS[family][1], ports: { first: 81, last: 90 } }],
    );
  }

  #masquerade(): MasqueradeRule[] {
    return ([4, 6] as const).flatMap((family) =>
      this.below(4) === 0
        ? []
        : [
            {
              from: [BEHIND[family]],
              sources: [this.of([VIPS[family][0], POOLS[family][0], POOLS[family][1]])],
              ...(this.below(2) === 0 && { ports: { first: 2000, last: 2000 } }),
            },
          ],
    );
  }

  #packet(choice: number): Uint8Array {
    if (choice < 40) return this.#request();
    if (choice < 46) return this.#call();
    if (choice < 76) return this.#answer();
    if (choice < 82) return this.#error();
    if (choice < 88) return this.#fragment();
    if (choice < 90) return this.#echo();
    return this.#broken();
  }

  /** Few clients, ports and services, so that connections meet themselves and each other again. */
  #request(): Uint8Array {
    const family = this.of([4, 6] as const);
    const from = endpoint(family, this.of(CLIENTS[family]), this.of([20, 4000, 4001, 4002, 4003]));
    const to = endpoint(family, this.of(VIPS[family]), this.of([80, 80, 80, 80, 81]));
    return this.#segment(from, to, this.of(["S", "S", "S", "A", "FA", "R", "SR", ""]));
  }

  /** A server that opens a connection itself: to the outside, or to its own service. */
  #call(): Uint8Array {
    const family = this.of([4, 6] as const);
    const host = this.of(SERVERS[family]);
    const target = this.of([...FAR[family], VIPS[family][0]]);
    if (this.below(4) === 0) return echo({ from: host, to: target, id: this.of([0, 4000]) });
    const from = endpoint(family, host, this.of([80, 4000, 4001]));
    return this.#segment(
      from,
      endpoint(family, target, this.of([80, 443])),
      this.of(["S", "S", "A", "SA", "R"]),
    );
  }

  #segment(from: string, to: string, flags: string): Uint8Array {
    const fields = { from, to, ttl: this.of([64, 64, 64, 64, 1, 2, 255]) };
    const checksum = this.of(["full", "full", "none", "wrong"] as const);
    if (this.below(3) === 0) {
      const message = `INVITE sip:a SIP/2.0\r\nCall-ID: ${this.below(4)}@b\r\n\r\n`;
      const payload = this.below(2) === 0 ? message : bytes(this.below(30));
      return udp({ ...fields, checksum, payload });
    }
    if (this.below(4) === 0)
      return sctp({ ...fields, chunks: [{ type: this.of([0, 1, 1, 2, 6, 7, 8, 10, 11, 14]) }] });
    return tcp({
      ...fields,
      flags,
      payload: bytes(this.below(30)),
      checksum: checksum === "wrong" ? "wrong" : "full",
    });
  }

  /** To somebody who sent something, from where it went: mostly a server's answer. */
  #answer(): Uint8Array {
    const ends = endsOf(this.#recent());
    if (ends === undefined) return this.#request();
    const { from, to, protocol } = ends;
    if (protocol === 6)
      return tcp({ from: to, to: from, flags: this.of(["SA", "A", "FA", "R"]), ack: this.of([1, 1, 10]) });
    if (protocol === 132)
      return sctp({ from: to, to: from, chunks: [{ type: this.of([0, 2, 6, 7, 8, 11]) }] });
    return udp({ from: to, to: from, payload: bytes(this.below(40)) });
  }

  #error(): Uint8Array {
    const quoted = this.#recent();
    const ends = endsOf(quoted);
    if (ends === undefined) return this.#request();
    const isIpv4 = quoted[0]! >> 4 === 4;
    const type = isIpv4 ? this.of([3, 11, 12, 4]) : this.of([1, 2, 3, 4]);
    const payload = quoted.slice(0, isIpv4 ? 28 + this.below(20) : 48 + this.below(20));
    const addresses = { from: this.of([ends.toAddress, ends.fromAddress]), to: ends.fromAddress };
    return icmp({
      ...addresses,
      type,
      code: this.below(5),
      rest: 1280,
      payload,
      checksum: this.of(["full", "full", "wrong"] as const),
    });
  }

  #fragment(): Uint8Array {
    if (this.#pieces.length === 0 || this.below(5) === 0) {
      const family = this.of([4, 6] as const);
      const from = endpoint(family, this.of(CLIENTS[family]), 4000);
      const whole = udp({
        from,
        to: endpoint(family, this.of(VIPS[family]), 80),
        payload: bytes(200 + this.below(400)),
      });
      this.#pieces.push(...fragment(whole, this.of([100, 200, 300]), this.below(4)));
    }
    const at = this.below(this.#pieces.length);
    const piece = this.#pieces[at]!;
    // One in ten comes again.
    if (this.below(10) > 0) this.#pieces.splice(at, 1);
    return piece;
  }

  #echo(): Uint8Array {
    const family = this.of([4, 6] as const);
    return echo({
      from: this.of(CLIENTS[family]),
      to: this.of([...VIPS[family], ...SERVERS[family]]),
      payload: bytes(this.below(60)),
    });
  }

  /** A packet that was right once, with some bytes changed, cut or added; half of them with a right IPv4 header checksum. */
  #broken(): Uint8Array {
    const original = this.below(3) === 0 ? this.#error() : this.#recent();
    const broken = new Uint8Array(
      Math.max(0, original.length + this.of([0, 0, 0, -1, -8, -20, 7, -this.below(60)])),
    );
    broken.set(original.subarray(0, broken.length));
    for (let i = this.below(4); i > 0 && broken.length > 0; i--) {
      const at = this.below(
        this.of([Math.min(24, broken.length), Math.min(60, broken.length), broken.length]),
      );
      broken[at] = this.of([0, 255, 1, this.below(256)]);
    }
    if (this.below(2) === 0) repairHeader(broken);
    return broken;
  }

  #offload(): Offload {
    if (this.below(10) > 0) return {};
    return {
      isChecksumPartial: this.below(2) === 0,
      gso: this.of([0, 1, 4, 5] as const),
      gsoBytes: this.below(1500),
    };
  }

  #remember(sent: Sent): void {
    for (const one of sent.out) this.#seen.push(one);
    if (this.#seen.length > 40) this.#seen.splice(0, 20);
  }

  #recent(): Uint8Array {
    return this.#seen.length === 0 ? this.#request() : this.of(this.#seen);
  }
}

function endsOf(
  packet: Uint8Array,
): { from: string; to: string; fromAddress: string; toAddress: string; protocol: number } | undefined {
  const isIpv4 = packet[0]! >> 4 === 4;
  const protocol = packet[isIpv4 ? 9 : 6]!;
  if ((packet[0] !== 0x45 && isIpv4) || packet.length < (isIpv4 ? 24 : 44)) return undefined;
  const at = isIpv4 ? 20 : 40;
  const text = (from: number) =>
    isIpv4
      ? [...packet.subarray(from, from + 4)].join(".")
      : Array.from({ length: 8 }, (_, i) =>
          ((packet[from + 2 * i]! << 8) | packet[from + 2 * i + 1]!).toString(16),
        ).join(":");
  const [fromAddress, toAddress] = isIpv4 ? [text(12), text(16)] : [text(8), text(24)];
  const port = (offset: number) => (packet[at + offset]! << 8) | packet[at + offset + 1]!;
  const family = isIpv4 ? 4 : 6;
  // The builder takes no port 0.
  if (![6, 17, 132].includes(protocol) || port(0) === 0 || port(2) === 0) return undefined;
  return {
    from: endpoint(family, fromAddress, port(0)),
    to: endpoint(family, toAddress, port(2)),
    fromAddress,
    toAddress,
    protocol,
  };
}

/** Make the IPv4 header checksum right, so that what is wrong is found later. */
function repairHeader(packet: Uint8Array): void {
  const headerBytes = (packet[0]! & 15) * 4;
  if (packet.length < 20 || packet[0]! >> 4 !== 4 || headerBytes > packet.length || headerBytes < 20) return;
  packet[10] = 0;
  packet[11] = 0;
  let sum = 0;
  for (let at = 0; at < headerBytes; at += 2) sum += packet[at]! * 256 + packet[at + 1]!;
  const checksum = 0xffff - (sum % 0xffff || 0xffff);
  packet[10] = checksum >> 8;
  packet[11] = checksum & 255;
}

function sourcesOf({ services, masquerade }: DirectorConfig): Set<string> {
  return new Set([
    ...services.flatMap(({ fullNat }) => fullNat?.sources ?? []),
    ...masquerade.flatMap(({ sources }) => sources),
  ]);
}

const seeds = fc.integer({ min: 1, max: 2 ** 30 });

function failWith(seed: number, step: number, problem: unknown): never {
  const text = problem instanceof Error ? (problem.stack ?? problem.message) : String(problem);
  throw new Error(`seed ${seed}, step ${step}: ${text}`);
}

test("after every one of 100,000 events no two connections share a tuple and all counters are the census", {
  timeout: 240_000,
}, () => {
  let eventCount = 0;
  const verdicts = new Map<string, number>();
  fc.assert(
    fc.property(seeds, (seed) => {
      const player = new Player(seed);
      for (let step = 0; step < 1000; step++) {
        eventCount++;
        try {
          const [verdict, reason] = player.step().split(" ");
          const name = verdict === "drop" ? `drop ${reason}` : verdict!;
          verdicts.set(name, (verdicts.get(name) ?? 0) + 1);
        } catch (error) {
          failWith(seed, step, error);
        }
        const problems = census(player.stage.director);
        if (problems.length > 0) failWith(seed, step, problems.join("; "));
      }
      const counted = player.stage.director.verdictCounts.reduce((sum, count) => sum + count, 0);
      expect(counted).toBeGreaterThanOrEqual(900);
    }),
    { numRuns: 100, seed: 3 },
  );
  expect(eventCount).toBe(100_000);
  // The histories are worth something: they reach nearly everything there is.
  const reached = [...verdicts.keys()];
  for (const kind of [
    "to-server",
    "to-client",
    "pass",
    "reply",
    "held",
    "drop table-full",
    "drop bad-checksum",
    "drop truncated",
    "drop defence",
    "drop destination-removed",
    "drop no-call-id",
    "drop no-room-for-header",
    "drop tuple-exhausted",
  ])
    expect(reached).toContain(kind);
  expect(verdicts.get("to-client")).toBeGreaterThan(5000);
});

test("100,000 histories end: after the longest timeout the table is empty and nothing is remembered", {
  timeout: 240_000,
}, () => {
  let historyCount = 0;
  fc.assert(
    fc.property(seeds, (seed) => {
      const player = new Player(seed);
      const { director } = player.stage;
      for (let history = 0; history < 1000; history++) {
        historyCount++;
        for (let step = 1 + player.below(3); step > 0; step--) player.step();
        for (const ms of [LONGEST_MS, PROLONGED_MS]) {
          player.stage.wait(ms + WHEEL_MS);
          director.advance(player.stage.now);
        }
        if (director.connections.count !== 0)
          failWith(seed, history, `${director.connections.count} connections`);
        if (director.reassembly.waitingCount !== 0) failWith(seed, history, "unfinished datagrams");
        if (director.calls.count !== 0) failWith(seed, history, "calls of no template");
        expect(new Set(director.sources.texts)).toEqual(sourcesOf(player.wanted));
        for (const one of director.services.destinations()) {
          if (one.connectionCount !== 0 || !one.isAvailable || one.isOverloaded)
            failWith(seed, history, one.address);
        }
      }
    }),
    { numRuns: 100, seed: 4 },
  );
  expect(historyCount).toBe(100_000);
});

test("the same seed gives the same event log: 100,000 events twice", { timeout: 240_000 }, () => {
  const log = (seed: number, steps: number): string => {
    const player = new Player(seed);
    const hash = createHash("sha256");
    for (let step = 0; step < steps; step++) hash.update(player.step());
    return hash.update(JSON.stringify(player.stage.control.status())).digest("hex");
  };
  for (let seed = 1; seed <= 20; seed++) {
    const first = log(seed, 5000);
    if (first !== log(seed, 5000)) failWith(seed, 5000, "another log");
    if (seed > 1) expect(first).not.toBe(log(1, 100));
  }
});

test("no byte string makes receive throw: 100,000 of random bytes, 100,000 of broken packets", {
  timeout: 240_000,
}, () => {
  let stringCount = 0;
  const player = new Player(77);
  const { stage } = player;
  const give = (bytes: Uint8Array): void => {
    stringCount++;
    stage.wait(1);
    const { verdict } = stage.send(bytes);
    if (!/^(to-server|to-client|pass|reply|held|drop [a-z-]+)$/.test(verdict))
      throw new Error(`verdict ${verdict}`);
  };
  // Random bytes, most of which begin like an IP packet; fast-check shrinks what fails.
  const strings = fc.tuple(
    fc.constantFrom(-1, 0x45, 0x46, 0x4f, 0x60, 0x6f),
    fc.uint8Array({ maxLength: 200 }),
  );
  fc.assert(
    fc.property(fc.array(strings, { minLength: 50, maxLength: 50 }), (list) => {
      for (const [first, bytes] of list) {
        if (first >= 0 && bytes.length > 0) bytes[0] = first;
        if (bytes.length > 10 && bytes.length % 2 === 0) {
          // Lengths and checksum right: what is inside is looked at.
          new DataView(bytes.buffer, bytes.byteOffset).setUint16(
            first >= 0x60 ? 4 : 2,
            first >= 0x60 ? bytes.length - 40 : bytes.length,
          );
          repairHeader(bytes);
        }
        give(bytes);
      }
      expect(census(stage.director)).toEqual([]);
    }),
    { numRuns: 2000, seed: 5 },
  );
  expect(stringCount).toBe(100_000);
  // Every length there is, also beyond the largest IP packet.
  for (let length = 0; length < 2000; length++) give(new Uint8Array(length).fill(0x45));
  for (const length of [65_535, 65_536, 65_575])
    for (const first of [0x45, 0x60]) give(new Uint8Array(length).fill(first));
  // Broken packets into a director with connections: the ordinary history has one in ten, this one nothing else.
  const random = seededRandom(6);
  const valid = Array.from({ length: 400 }, () => player.step()).flatMap((line) =>
    line
      .split(" ")
      .slice(1)
      .map((text) => new Uint8Array(Buffer.from(text, "base64")))
      .filter(({ length }) => length >= 28),
  );
  expect(valid.length).toBeGreaterThan(50);
  for (let i = 0; i < 100_000; i++) {
    const packet = valid[random() % valid.length]!.slice(0, random() % 4 === 0 ? random() % 100 : undefined);
    for (let changes = 1 + (random() % 3); changes > 0 && packet.length > 0; changes--)
      packet[random() % Math.min(packet.length, 80)] = random() & 255;
    if (i % 2 === 0 && packet.length >= 20) repairHeader(packet);
    give(packet);
    if (i % 1000 === 0) expect(census(stage.director)).toEqual([]);
  }
});
