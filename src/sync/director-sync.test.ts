/** What the recordings in test/golden/sync do not show: every rule of master and backup, and what holds of any two of them. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { census } from "../../test/support/census.ts";
import { echo, icmp, ip, sctp, tcp, udp } from "../../test/support/packet-builder.ts";
import { destination, IPVS_SETTINGS, service } from "../../test/support/replayed.ts";
import { Stage, type StageOptions } from "../../test/support/stage.ts";
import { seconds } from "../base/environment.ts";
import type { IpvsSettings, ServiceConfig } from "../nat/configuration.ts";
import { IPVS_DEFAULTS } from "../nat/ipvs-settings.ts";
import { IPVS_TIMEOUTS } from "../nat/timeouts.ts";
import { parseAddress, parseEndpoint } from "../wire/address.ts";
import { DirectorSync, type SyncCounters } from "./director-sync.ts";
import { SyncEntry, SyncFlag } from "./entry.ts";
import { MessageReader, MessageWriter, type SyncVersion } from "./message.ts";

const VIP = "202.103.106.5";
const VIP6 = "2001:db8:5::5";
const CLIENT = "202.100.1.2";
const A = "172.16.0.2";
const B = "172.16.0.3";
const WEB = service("tcp", VIP, 80, "rr", destination(A, 80), destination(B, 8000));
const WEB6 = service("tcp", VIP6, 80, "rr", destination("fd00:16::2", 80), destination("fd00:16::3", 8000));
const DNS = service("udp", VIP, 53, "rr", destination(A, 53), destination(B, 53));
const SIGNALS = service("sctp", VIP, 2905, "rr", destination(A, 2905), destination(B, 2905));
const CALLS: ServiceConfig = {
  ...service("udp", VIP, 5060, "rr", destination(A, 5060), destination(B, 5060)),
  persistence: { timeout: seconds(300), engine: "sip" },
};
const STICKY: ServiceConfig = {
  ...service("tcp", VIP, 81, "rr", destination(A, 80), destination(B, 8000)),
  persistence: { timeout: seconds(300) },
};

const withSysctl = (ipvs: Partial<IpvsSettings>): StageOptions => ({ ipvs: { ...IPVS_DEFAULTS, ...ipvs } });

class Member {
  readonly stage: Stage;
  readonly sync: DirectorSync;
  sent: Uint8Array[] = [];

  constructor(services: readonly ServiceConfig[], options: StageOptions = {}) {
    this.stage = new Stage(services, options);
    this.sync = new DirectorSync(this.stage.director, (message) => this.sent.push(message));
  }

  master(lengthMax = 1472): this {
    this.sync.start({ role: "master", syncId: 1, lengthMax });
    return this;
  }

  backup(syncId = 1): this {
    this.sync.start({ role: "backup", syncId, lengthMax: 1472 });
    return this;
  }

  /** Take an entry over; its fields are those of ESTABLISHED from CLIENT:1000 over VIP:80 to A:80, but for these. */
  hear(fields: Fields = {}, version: SyncVersion = 1): this {
    this.sync.receive([messageOf(fields, version)], this.stage.now);
    return this;
  }

  /** Other settings, while it runs; all others are IPVS's own. */
  configure(sysctl: Partial<IpvsSettings>): this {
    const ipvs = { ...IPVS_DEFAULTS, ...sysctl };
    this.stage.director.configure({ settings: { ...IPVS_SETTINGS, ipvs }, marks: [], masquerade: [] });
    return this;
  }

  get backupCounters(): NonNullable<SyncCounters["backup"]> {
    return this.sync.flush().backup!;
  }

  /** "tcp ESTABLISHED 202.100.1.2:1000 172.16.0.2:80 900" */
  get rows(): string[] {
    return this.stage
      .connections()
      .map(({ protocol, state, client, destination: to, expiresSeconds }) =>
        [
          protocol,
          state,
          `${client.address}:${client.port}`,
          `${to.address}:${to.port}`,
          expiresSeconds,
        ].join(" "),
      )
      .sort();
  }

  /** Active and inactive connections and templates, by destination. */
  counts(index = 0): string[] {
    return this.stage.control
      .status()
      .services[index]!.destinations.map(
        ({ address, activeConnections, inactiveConnections, persistentConnections }) =>
          `${address} ${activeConnections}+${inactiveConnections} ${persistentConnections}`,
      )
      .sort();
  }

  /** States told since the last call, in order. */
  told(): string[] {
    this.sync.flush();
    const reader = new MessageReader();
    return this.sent.splice(0).flatMap((message) => {
      expect(reader.attach(message)).toBeUndefined();
      const list: string[] = [];
      while (reader.next() === "entry") list.push(`${reader.entry.clientPort} ${reader.entry.state}`);
      return list;
    });
  }
}

interface Fields extends Partial<Omit<SyncEntry, "client" | "virtual" | "destination">> {
  readonly from?: string;
  readonly to?: string;
  readonly server?: string;
}

function messageOf(
  { from = `${CLIENT}:1000`, to = `${VIP}:80`, server = `${A}:80`, ...rest }: Fields,
  version: SyncVersion = 1,
): Uint8Array {
  const entry = new SyncEntry();
  const [client, virtual, real] = [from, to, server].map((text) => parseEndpoint(text)!) as [
    Point,
    Point,
    Point,
  ];
  Object.assign(entry, { protocol: 6, state: 1, family: client.family, timeoutSeconds: 900 });
  Object.assign(
    entry,
    { clientPort: client.port, virtualPort: virtual.port, destinationPort: real.port },
    rest,
  );
  entry.client.set(client.words);
  entry.virtual.set(virtual.words);
  entry.destination.set(real.words);
  const writer = new MessageWriter(1472, 1, version);
  expect(writer.add(entry)).toBe(true);
  return writer.take()!;
}
type Point = NonNullable<ReturnType<typeof parseEndpoint>>;

const INACTIVE = { flags: SyncFlag.inactive };
const TEMPLATE = { flags: SyncFlag.template | SyncFlag.inactive, from: `${CLIENT}:0`, to: `${VIP}:81` };

describe("backup", () => {
  test("an entry is counted by its destination and lives as long as it was told", () => {
    const member = new Member([WEB]).backup().hear();
    expect(member.rows).toEqual(["tcp ESTABLISHED 202.100.1.2:1000 172.16.0.2:80 900"]);
    expect(member.counts()).toEqual([`${A} 1+0 0`, `${B} 0+0 0`]);
    expect(member.stage.control.status().counters.connections).toBe(0);
    member.stage.run(899_990);
    expect(member.rows).toHaveLength(1);
    member.stage.run(1000);
    expect(member.rows).toEqual([]);
    expect(member.counts()).toEqual([`${A} 0+0 0`, `${B} 0+0 0`]);
  });

  test("packets of both sides go on", () => {
    const { stage } = new Member([WEB]).backup().hear({ server: `${B}:8000` });
    expect(stage.send(tcp({ from: `${CLIENT}:1000`, to: `${VIP}:80`, flags: "A" })).verdict).toBe(
      "to-server",
    );
    expect(stage.send(tcp({ from: `${B}:8000`, to: `${CLIENT}:1000`, flags: "A" })).verdict).toBe(
      "to-client",
    );
  });

  test("later news bring an entry up to date, and it moves between the counters", () => {
    const member = new Member([WEB])
      .backup()
      .hear()
      .hear({ ...INACTIVE, state: 5, timeoutSeconds: 120 });
    expect(member.rows).toEqual(["tcp TIME_WAIT 202.100.1.2:1000 172.16.0.2:80 120"]);
    expect(member.counts()).toEqual([`${A} 0+1 0`, `${B} 0+0 0`]);
    expect(member.backupCounters).toMatchObject({ madeEntries: 1, updatedEntries: 1, receivedMessages: 2 });
  });

  test("a client port used again with another server: the new connection counts", () => {
    const member = new Member([WEB])
      .backup()
      .hear()
      .hear({ server: `${B}:8000` });
    expect(member.rows).toEqual(["tcp ESTABLISHED 202.100.1.2:1000 172.16.0.3:8000 900"]);
    expect(member.counts()).toEqual([`${A} 0+0 0`, `${B} 1+0 0`]);
  });

  test("late news of the old connection change nothing", () => {
    const member = new Member([WEB])
      .backup()
      .hear({ server: `${B}:8000` })
      .hear({ ...INACTIVE, state: 5 });
    expect(member.rows).toEqual(["tcp ESTABLISHED 202.100.1.2:1000 172.16.0.3:8000 900"]);
    expect(member.backupCounters.refusedEntries).toBe(1);
  });

  test("an unknown server: kept without one, translated all the same, bound once there is one", () => {
    const member = new Member([service("tcp", VIP, 80, "rr", destination(A, 80))]).backup();
    member.hear({ server: `${B}:8000` });
    expect(member.rows).toEqual(["tcp ESTABLISHED 202.100.1.2:1000 172.16.0.3:8000 900"]);
    expect(member.counts()).toEqual([`${A} 0+0 0`]);
    expect(member.stage.control.draining()).toEqual({ virtualAddresses: [], serverAddresses: [] });
    const { verdict } = member.stage.send(tcp({ from: `${CLIENT}:1000`, to: `${VIP}:80`, flags: "A" }));
    expect(verdict).toBe("to-server");
    member.stage.apply([WEB]);
    member.hear({ server: `${B}:8000` });
    expect(member.counts()).toEqual([`${A} 0+0 0`, `${B} 1+0 0`]);
    expect(census(member.stage.director)).toEqual([]);
  });

  test("a template pins the client's next connection", () => {
    for (const server of [`${A}:80`, `${B}:8000`]) {
      const member = new Member([STICKY]).backup().hear({ ...TEMPLATE, server, timeoutSeconds: 300 });
      expect(member.rows).toEqual([`tcp ASSURED 202.100.1.2:0 ${server} 300`]);
      member.stage.send(tcp({ from: `${CLIENT}:1001`, to: `${VIP}:81`, flags: "S" }));
      expect(member.rows).toContain(`tcp SYN_RECV 202.100.1.2:1001 ${server} 60`);
      expect(census(member.stage.director)).toEqual([]);
    }
  });

  test("a template with an unknown server pins nobody", () => {
    const member = new Member([STICKY]).backup().hear({ ...TEMPLATE, server: "172.16.0.9:80" });
    member.stage.send(tcp({ from: `${CLIENT}:1001`, to: `${VIP}:81`, flags: "S" }));
    expect(member.rows.filter((row) => row.includes(":1001 172.16.0.9"))).toEqual([]);
    expect(member.rows.filter((row) => row.includes("SYN_RECV"))).toHaveLength(1);
    expect(census(member.stage.director)).toEqual([]);
  });

  test("a call goes on at the server it began at, whatever calls come first", () => {
    const invite = (port: number, call: string): Uint8Array =>
      udp({
        from: `${CLIENT}:${port}`,
        to: `${VIP}:5060`,
        payload: `INVITE sip:a SIP/2.0\r\nCall-ID: ${call}\r\n`,
      });
    const master = new Member([CALLS]).master();
    const backup = new Member([CALLS]).backup();
    for (let number = 0; number < 4; number++) master.stage.send(invite(2000 + number, `call-${number}`));
    master.sync.flush();
    backup.sync.receive(master.sent, backup.stage.now);
    const serversOf = ({ stage }: Member, firstPort: number): string[] =>
      stage
        .connections()
        .filter(({ client, isTemplate }) => !isTemplate && client.port >= firstPort)
        .map(({ client, destination: to }) => `${client.port % 10} ${to.address}`)
        .sort();
    for (const number of [3, 1, 0, 2]) backup.stage.send(invite(3000 + number, `call-${number}`));
    expect(serversOf(backup, 3000)).toEqual(serversOf(master, 2000));
    const templates = backup.stage.connections().filter(({ isTemplate }) => isTemplate);
    expect(templates.map(({ engine }) => engine?.data).sort()).toEqual([
      "call-0",
      "call-1",
      "call-2",
      "call-3",
    ]);
    backup.sync.receive(master.sent, backup.stage.now);
    expect(backup.backupCounters).toMatchObject({ madeEntries: 4, updatedEntries: 4, refusedEntries: 0 });
    expect(census(backup.stage.director)).toEqual([]);
  });

  test("a mark's template finds the mark's service", () => {
    const marked: ServiceConfig = {
      ...service("tcp", "0.0.0.0", 0, "rr", destination(A, 0)),
      protocol: "fwmark",
      mark: 7,
      persistence: { timeout: seconds(300) },
    };
    const member = new Member([marked]).backup();
    member.hear({ ...TEMPLATE, protocol: 0, mark: 7, to: "0.0.0.7:0", server: `${A}:0` });
    expect(member.rows).toEqual(["ip ASSURED 202.100.1.2:0 172.16.0.2:0 900"]);
    expect(member.counts()).toEqual([`${A} 0+0 1`]);
  });

  test.each([
    ["TCP, ESTABLISHED", { state: 1 }, "tcp ESTABLISHED 202.100.1.2:1000 172.16.0.2:80 900"],
    ["TCP, CLOSE", { ...INACTIVE, state: 6 }, "tcp CLOSE 202.100.1.2:1000 172.16.0.2:80 10"],
    ["UDP", { ...INACTIVE, protocol: 17, state: 0 }, "udp UDP 202.100.1.2:1000 172.16.0.2:80 300"],
    ["SCTP", { protocol: 132, state: 8 }, "sctp ESTABLISHED 202.100.1.2:1000 172.16.0.2:80 900"],
    ["a template", TEMPLATE, "tcp ASSURED 202.100.1.2:0 172.16.0.2:80 180"],
  ])("version 0 does not tell a time, so it is the one of the state: %s", (_, fields, row) => {
    expect(new Member([WEB]).backup().hear(fields, 0).rows).toEqual([row]);
  });

  test("no entry lives longer than 31 days", () => {
    const member = new Member([WEB]).backup().hear({ timeoutSeconds: 2 ** 32 - 1 });
    expect(member.rows).toEqual(["tcp ESTABLISHED 202.100.1.2:1000 172.16.0.2:80 2678400"]);
  });

  test.each([
    ["a protocol that is not translated", { protocol: 50 }],
    ["a TCP state that does not exist", { state: 11 }],
    ["an SCTP state that does not exist", { protocol: 132, state: 14 }],
    ["a UDP state that does not exist", { protocol: 17, state: 1 }],
    ["a template's state that does not exist", { ...TEMPLATE, state: 2 }],
    ["shifted sequence numbers", { flags: SyncFlag.inSequence, sequence: new Uint8Array(24) }],
    ["a client port to be learnt", { flags: SyncFlag.noClientPort }],
    [
      "a template of another engine",
      { ...TEMPLATE, engineName: Buffer.from("zip"), engineData: Buffer.from("1") },
    ],
    ["a template of no engine in particular", { ...TEMPLATE, engineData: Buffer.from("1") }],
    ["a client at the virtual address", { from: `${VIP}:1000` }],
  ])("refused and counted: %s", (_, fields) => {
    const member = new Member([WEB]).backup().hear(fields);
    expect(member.rows).toEqual([]);
    expect(member.backupCounters).toMatchObject({ refusedEntries: 1, madeEntries: 0 });
  });

  test("refused: answers that would be another connection's", () => {
    const other = service("tcp", VIP, 8080, "rr", destination(A, 80));
    const member = new Member([WEB, other])
      .backup()
      .hear()
      .hear({ to: `${VIP}:8080` });
    expect(member.rows).toHaveLength(1);
    expect(member.backupCounters.refusedEntries).toBe(1);
  });

  test("messages of another group do not count, unless all do", () => {
    const foreign = new Member([WEB]).backup(2).hear();
    expect(foreign.rows).toEqual([]);
    expect(foreign.backupCounters.foreignMessages).toBe(1);
    expect(new Member([WEB]).backup(0).hear().rows).toHaveLength(1);
  });

  test("a full table takes no more, and what it has stays", () => {
    const member = new Member([WEB], { connectionsMax: 2 }).backup();
    for (const port of [1, 2, 3]) member.hear({ from: `${CLIENT}:${port}` });
    expect(member.rows).toHaveLength(2);
    expect(member.backupCounters).toMatchObject({ madeEntries: 2, overflowEntries: 1 });
  });

  test("a message cut off: what was whole counts, and the fault too", () => {
    const member = new Member([WEB]).backup();
    const message = messageOf({});
    message[4] = 2; // entries
    member.sync.receive([message, message.subarray(1)], member.stage.now);
    expect(member.backupCounters).toMatchObject({ madeEntries: 1, faultyMessages: 2 });
  });

  test("whatever is told, the tables hold together and packets flow", () => {
    const small = fc.integer({ min: 0, max: 3 });
    const address = fc.constantFrom(CLIENT, VIP, A, B, "0.0.0.0");
    const point = fc.tuple(address, fc.constantFrom(0, 53, 80, 81, 8000)).map((pair) => pair.join(":"));
    const entry = fc.record({
      from: point,
      to: point,
      server: point,
      protocol: fc.constantFrom(0, 6, 17, 132, 50),
      state: fc.integer({ min: 0, max: 14 }),
      mark: small,
      flags: fc.constantFrom(0, SyncFlag.inactive, SyncFlag.template, SyncFlag.template | SyncFlag.inactive),
      timeoutSeconds: fc.constantFrom(0, 1, 900, 2 ** 32 - 1),
    });
    const step = fc.tuple(entry, fc.constantFrom(0, 10, 5000));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const member = new Member([WEB, DNS, STICKY], { connectionsMax: 16 }).backup().master();
        for (const [fields, waitMs] of steps) {
          member.hear(fields);
          member.stage.send(tcp({ from: `${CLIENT}:80`, to: `${VIP}:81`, flags: "S" }));
          member.stage.send(udp({ from: `${CLIENT}:53`, to: `${VIP}:53` }));
          if (waitMs > 0) member.stage.run(waitMs);
        }
        // A liar may call an open connection closed; its next packet sets that right.
        const problems = census(member.stage.director).filter((problem) => !problem.includes("counts as"));
        expect(problems).toEqual([]);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("master", () => {
  const from = (port: number, flags: string) => tcp({ from: `${CLIENT}:${port}`, to: `${VIP}:80`, flags });

  /** SYN, and packets until the client has sent this many. */
  function open(member: Member, port: number, packetCount: number): void {
    member.stage.send(from(port, "S"));
    for (let count = 1; count < packetCount; count++) member.stage.send(from(port, "A"));
  }

  test("the third packet, and every fiftieth from then on; closing at once", () => {
    const member = new Member([WEB]).master();
    open(member, 1000, 2);
    expect(member.told()).toEqual([]);
    member.stage.send(from(1000, "A"));
    expect(member.told()).toEqual(["1000 1"]);
    for (let count = 4; count <= 52; count++) member.stage.send(from(1000, "A"));
    expect(member.told()).toEqual([]);
    member.stage.send(from(1000, "A"));
    expect(member.told()).toEqual(["1000 1"]);
    for (const flags of ["FA", "A", "A"]) member.stage.send(from(1000, flags));
    expect(member.told()).toEqual(["1000 7"]);
  });

  test("SYN_RECV is never told of", () => {
    const member = new Member([WEB], withSysctl({ sync_threshold: [0, 1] })).master();
    for (let count = 0; count < 5; count++) member.stage.send(from(1000, "S"));
    expect(member.told()).toEqual([]);
  });

  test("what was learnt as a backup counts as told: next at fifty more packets, or when it closes", () => {
    const member = new Member([WEB]).backup().master().hear();
    for (let count = 4; count <= 52; count++) member.stage.send(from(1000, "A"));
    expect(member.told()).toEqual([]);
    for (const flags of ["A", "FA"]) member.stage.send(from(1000, flags));
    expect(member.told()).toEqual(["1000 1", "1000 7"]);
  });

  test("packets of servers are not counted", () => {
    const member = new Member([WEB]).master();
    open(member, 1000, 2);
    for (let count = 0; count < 60; count++)
      member.stage.send(tcp({ from: `${B}:8000`, to: `${CLIENT}:1000`, flags: "A" }));
    expect(member.told()).toEqual([]);
  });

  test("a master that starts later goes on counting, also beyond what the table can count", () => {
    const member = new Member([WEB]);
    open(member, 1000, 51);
    member.master();
    member.stage.send(from(1000, "A"));
    expect(member.told()).toEqual([]);
    for (let count = 53; count <= 70_003; count++) member.stage.send(from(1000, "A"));
    expect(member.told()).toHaveLength(1400);
    expect(member.told()).toEqual([]);
  });

  test("a client port used again begins anew", () => {
    const member = new Member([WEB]).master();
    open(member, 1000, 3);
    member.stage.send(from(1000, "R"));
    expect(member.told()).toEqual(["1000 1", "1000 6"]);
    open(member, 1000, 3);
    member.stage.send(from(1000, "R"));
    expect(member.told()).toEqual(["1000 1", "1000 6"]);
  });

  test("what a message has no place for is not told", () => {
    const pooled: ServiceConfig = { ...WEB, fullNat: { sources: ["172.16.0.250"], clients: "all" } };
    const proxied: ServiceConfig = { ...WEB, proxyProtocol: "v2" };
    for (const one of [pooled, proxied]) {
      const member = new Member([one]).master();
      open(member, 1000, 10);
      expect(member.stage.connections()).toHaveLength(1);
      expect(member.told()).toEqual([]);
    }
    const inside = new Member([]);
    inside.stage.apply([], { masquerade: [{ from: ["172.16.0.0/24"], sources: ["202.100.1.1"] }] });
    inside.master();
    for (const flags of ["S", "A", "A", "A"])
      inside.stage.send(tcp({ from: `${A}:1000`, to: "198.51.100.1:80", flags }));
    expect(inside.stage.connections()).toHaveLength(1);
    expect(inside.told()).toEqual([]);
  });

  test("between two flushes no more than 4096 messages are made, and the rest is counted", () => {
    const member = new Member([WEB], withSysctl({ sync_threshold: [0, 1] })).master(380);
    open(member, 1000, 1 + 10 * 4100); // ten entries a message; the SYN is not told of
    expect(member.sent).toHaveLength(4096);
    expect(member.sync.flush().master).toEqual({ sentMessages: 4097, sentEntries: 40_970, lostMessages: 3 });
    open(member, 1001, 2);
    expect(member.told()).toContain("1001 1");
  });

  /** Seconds at which a client's UDP connection is told of, when a packet comes at each of the first so many. */
  function toldAt(count: number, sysctl: Partial<IpvsSettings>, udpSeconds = 300): number[] {
    const timeouts = { ...IPVS_TIMEOUTS, udp: seconds(udpSeconds) };
    const member = new Member([DNS], { ...withSysctl(sysctl), timeouts }).master();
    return Array.from({ length: count }, (_, second) => second).filter(() => {
      member.stage.send(udp({ from: `${CLIENT}:1000`, to: `${VIP}:53` }));
      const isTold = member.told().length > 0;
      member.stage.run(1000);
      return isTold;
    });
  }

  test.each<[readonly [number, number], readonly number[]]>([
    [[3, 50], [3, 53, 103]],
    [[0, 40], [40, 80, 120]],
    [[1, 60], [1, 61]],
    [[3, 0], [3]],
    [[0, 0], []],
    [[200, 300], []],
  ])("sync_threshold %j: told at these packets", (sync_threshold, packets) => {
    expect(toldAt(120, { sync_threshold }).map((second) => second + 1)).toEqual(packets);
  }); // biome-ignore format: a table

  test.each<[string, Partial<IpvsSettings>, number, readonly number[]]>([
    ["after each period", { sync_refresh_period: 10 }, 300, [0, 10, 20, 30]],
    ["half the timeout, when that is less", { sync_refresh_period: 100 }, 30, [0, 15, 30]],
    ["10 s, when that is less than the period and half the timeout is still less", { sync_refresh_period: 100 }, 14, [0, 10, 20, 30]],
    ["repeated once, an eighth of the period later", { sync_refresh_period: 16, sync_retries: 1 }, 300, [0, 2, 18, 20, 36, 38]],
    ["repeated three times", { sync_refresh_period: 16, sync_retries: 3 }, 300, [0, 2, 4, 6, 22, 24, 26, 28]],
    ["only where the threshold allows it, too", { sync_refresh_period: 10, sync_threshold: [0, 4] }, 300, [3, 15, 27, 39]],
    ["repetitions likewise", { sync_refresh_period: 16, sync_retries: 1, sync_threshold: [0, 4] }, 300, [3, 7, 23, 27]],
  ])("sync_refresh_period: %s", (_, sysctl, udpSeconds, times) => {
    expect(toldAt(40, { sync_threshold: [0, 0], ...sysctl }, udpSeconds)).toEqual(times);
  }); // biome-ignore format: a table

  test("a state of closing is told at once, whatever threshold and refresh period say", () => {
    const sysctl = { sync_threshold: [100, 0], sync_refresh_period: 1000 } as const;
    const member = new Member([WEB], withSysctl(sysctl)).master();
    open(member, 1000, 3);
    expect(member.told()).toEqual(["1000 1"]);
    for (const flags of ["A", "FA", "A"]) member.stage.send(from(1000, flags));
    expect(member.told()).toEqual(["1000 7"]);
  });

  test("sync_persist_mode: of persistent services the templates alone, of others all", () => {
    const member = new Member([WEB, STICKY], withSysctl({ sync_persist_mode: 1 })).master();
    const visit = (): void => {
      for (const flags of ["S", "A", "A", "FA"])
        member.stage.send(tcp({ from: `${CLIENT}:1001`, to: `${VIP}:81`, flags }));
    };
    visit();
    expect(member.told()).toEqual(["0 0", "0 1", "0 1", "0 1"]);
    open(member, 1000, 3);
    expect(member.told()).toEqual(["1000 1"]);
    member.configure({ sync_persist_mode: 0 });
    visit();
    expect(member.told()).toContain("1001 7");
  });

  test("period 0: a template counts its own occasions", () => {
    const member = new Member([STICKY], withSysctl({ sync_threshold: [2, 0] })).master();
    for (const port of [1001, 1002, 1003])
      member.stage.send(tcp({ from: `${CLIENT}:${port}`, to: `${VIP}:81`, flags: "S" }));
    expect(member.told()).toEqual(["0 0"]);
  });

  test("a template that is prolonged counts as if it were at the threshold", () => {
    const member = new Member([STICKY], withSysctl({ sync_threshold: [9, 0] })).master();
    for (const flags of ["S", "A"])
      member.stage.send(tcp({ from: `${CLIENT}:1001`, to: `${VIP}:81`, flags }));
    member.stage.run(299_000);
    expect(member.told()).toEqual([]);
    member.stage.run(2000);
    expect(member.told()).toEqual(["0 1"]);
  });

  test("a packet that is scheduled for itself is not told of, but the template it hangs on is", () => {
    const sysctl = withSysctl({ sync_threshold: [0, 1] });
    const send = (member: Member): string[] => {
      for (const port of [1, 2]) member.stage.send(udp({ from: `${CLIENT}:${port}`, to: `${VIP}:53` }));
      return member.told();
    };
    const once: ServiceConfig = { ...DNS, isOnePacket: true };
    expect(send(new Member([once], sysctl).master())).toEqual([]);
    const pinned: ServiceConfig = { ...once, persistence: { timeout: seconds(300) } };
    expect(send(new Member([pinned], sysctl).master())).toEqual(["0 0", "0 0"]);
    const remembered = new Member([DNS], sysctl).master();
    expect(send(remembered)).toEqual(["1 0", "2 0"]);
  });

  test("settings change while it runs", () => {
    const member = new Member([WEB]).master();
    open(member, 1000, 3);
    member.configure({ sync_version: 0, sync_threshold: [4, 0] });
    member.stage.send(from(1000, "A"));
    member.configure({ sync_threshold: [0, 1] });
    member.stage.send(from(1000, "A"));
    member.sync.flush();
    const reader = new MessageReader();
    const versions = member.sent.map((message) => {
      expect(reader.attach(message)).toBeUndefined();
      return reader.version;
    });
    expect(versions).toEqual([1, 0, 1]);
    expect(member.told()).toEqual(["1000 1", "1000 1", "1000 1"]);
  });

  test("sync_qlen_max lets more wait than between two flushes usually may", () => {
    const sysctl = withSysctl({ sync_threshold: [0, 1], sync_qlen_max: 5000 });
    const member = new Member([WEB], sysctl).master(380);
    open(member, 1000, 1 + 10 * 5100);
    expect(member.sent).toHaveLength(5000);
  });

  test("version 0 leaves IPv6 out", () => {
    const told = (version: SyncVersion): string[] => {
      const member = new Member([WEB6], withSysctl({ sync_version: version })).master();
      for (const flags of ["S", "A", "A"])
        member.stage.send(tcp({ from: "[2001:db8:1::2]:1000", to: `[${VIP6}]:80`, flags }));
      return member.told();
    };
    expect(told(1)).toEqual(["1000 1"]);
    expect(told(0)).toEqual([]);
  });
});

describe("backup_only", () => {
  const ask = tcp({ from: `${CLIENT}:1000`, to: `${VIP}:80`, flags: "A" });
  const PACKETS: readonly [string, Uint8Array][] = [
    ["of a connection it was told of", ask],
    ["that would begin one", tcp({ from: `${CLIENT}:2000`, to: `${VIP}:80`, flags: "S" })],
    ["UDP", udp({ from: `${CLIENT}:2000`, to: `${VIP}:53` })],
    ["to a port without a service", tcp({ from: `${CLIENT}:2000`, to: `${VIP}:9`, flags: "S" })],
    ["echo", echo({ from: CLIENT, to: VIP })],
    ["an ICMP error about its connection", icmp({ from: CLIENT, to: VIP, type: 3, code: 3, payload: tcp({ from: `${VIP}:80`, to: `${CLIENT}:1000`, flags: "A" }) })],
    ["an ICMP error about none", icmp({ from: CLIENT, to: VIP, type: 3, code: 3, payload: tcp({ from: `${VIP}:80`, to: `${CLIENT}:9`, flags: "A" }) })],
    ["of another protocol", ip({}, CLIENT, VIP, 47, new Uint8Array(8))],
  ]; // biome-ignore format: a table
  const CHANGED = PACKETS.map(([what]) => what);
  const passedBy = (member: Member): string[] =>
    PACKETS.flatMap(([what, bytes]) => (member.stage.send(bytes).verdict === "pass" ? [what] : []));

  test("while it is a backup, packets from clients pass, known connections' included", () => {
    const member = new Member([WEB, DNS], withSysctl({ backup_only: 1 })).backup().hear();
    const before = member.rows;
    expect(passedBy(member)).toEqual(CHANGED);
    expect(member.rows).toEqual(before);
  });

  test.each<[string, (member: Member) => void]>([
    ["without the setting", (member) => member.configure({ backup_only: 0 })],
    ["when it has stopped to be a backup", (member) => member.sync.stop("backup")],
  ])("%s it directs", (_, change) => {
    const member = new Member([WEB, DNS], withSysctl({ backup_only: 1 })).backup().hear();
    change(member);
    expect(passedBy(member)).toEqual([]);
  });

  test("a master that is no backup directs", () => {
    expect(passedBy(new Member([WEB, DNS], withSysctl({ backup_only: 1 })).master())).toEqual([]);
  });

  test("what comes from a known connection's server is translated, as in IPVS", () => {
    const member = new Member([WEB], withSysctl({ backup_only: 1 })).backup().hear();
    const { verdict, bytes } = member.stage.send(tcp({ from: `${A}:80`, to: `${CLIENT}:1000`, flags: "A" }));
    expect(verdict).toBe("to-client");
    expect(bytes.subarray(12, 16)).toEqual(Uint8Array.from(VIP.split("."), Number));
  });

  test("masqueraded connections go on, and begin", () => {
    const member = new Member([WEB]);
    const settings = { ...IPVS_SETTINGS, ...withSysctl({ backup_only: 1 }) };
    member.stage.apply([WEB], { settings, masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP] }] });
    member.backup();
    const far = "198.51.100.1:80";
    const { verdict } = member.stage.send(tcp({ from: `${A}:2000`, to: far, flags: "S" }));
    expect(verdict).toBe("to-server");
    const answer = member.stage.send(tcp({ from: far, to: `${VIP}:2000`, flags: "SA" }));
    expect(answer.verdict).toBe("to-client");
  });
});

test("what a backup learnt goes where the master's went at some time: any history, both families, all protocols", () => {
  const all = [WEB, WEB6, DNS, SIGNALS, STICKY];
  const client = fc.integer({ min: 0, max: 2 });
  const flags = fc.constantFrom("S", "A", "A", "A", "PA", "FA", "R");
  const step = fc.record({
    client,
    service: fc.integer({ min: 0, max: all.length - 1 }),
    flags,
    chunk: fc.constantFrom(1, 10, 0, 0, 7, 14),
    count: fc.constantFrom(1, 1, 3, 50),
    waitMs: fc.constantFrom(0, 0, 100, 61_000),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const [one, other] = [new Member(all).master(), new Member(all).backup()];
      const keyOf = ({ protocol, client: { address, port }, virtual }: Listed) =>
        `${protocol} ${address}:${port} ${virtual.port}`;
      const serverOf = (row: Listed) => `${keyOf(row)} ${row.destination.address}:${row.destination.port}`;
      // A port that is used again begins a connection that nobody is told of for its first packets: the backup still has the
      // one before.
      const servers = new Set<string>();
      for (const { client: number, service: index, flags: letters, chunk, count, waitMs } of steps) {
        for (let sent = 0; sent < count; sent++) one.stage.send(packet(all[index]!, number, letters, chunk));
        one.sync.flush();
        other.sync.receive(one.sent.splice(0), other.stage.now);
        for (const row of one.stage.connections()) servers.add(serverOf(row));
        for (const { stage } of [one, other]) stage.run(waitMs);
      }
      expect(census(other.stage.director)).toEqual([]);
      for (const row of other.stage.connections()) expect(servers).toContain(serverOf(row));
      expect(other.backupCounters).toMatchObject({ faultyMessages: 0, overflowEntries: 0 });
    }),
    { numRuns: 300 },
  );
});
type Listed = ReturnType<Stage["connections"]>[number];

function packet(
  { protocol, address, port }: ServiceConfig,
  number: number,
  flags: string,
  chunk: number,
): Uint8Array {
  const isV6 = parseAddress(address)!.family === 6;
  const from = isV6 ? `[2001:db8:1::${number + 2}]:1000` : `202.100.1.${number + 2}:1000`;
  const to = isV6 ? `[${address}]:${port}` : `${address}:${port}`;
  if (protocol === "tcp") return tcp({ from, to, flags });
  return protocol === "udp"
    ? udp({ from, to })
    : sctp({ from, to, chunks: [{ type: chunk, value: new Array<number>(16).fill(0) }] });
}
