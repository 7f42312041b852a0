/** A director on the memory of one before: everything it had goes on, and nothing else, whatever the memory says. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { census } from "../../test/support/census.ts";
import { bytes, echo, sctp, tcp, udp } from "../../test/support/packet-builder.ts";
import { checkPacket, from, to, valid } from "../../test/support/packet-check.ts";
import { destination, IPVS_SETTINGS, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import { milliseconds, seconds } from "../base/environment.ts";
import { seededRandom } from "../base/seeded-random.ts";
import type { DirectorConfig, ServiceConfig } from "./configuration.ts";
import { ConnectionTable } from "./connection-table.ts";
import { directorBytes, TABLE_AT } from "./director-memory.ts";
import { type MemoryPart, ownMemory } from "./memory-part.ts";

const CAPACITY = 64;
const VIP = "202.103.106.5";
const VIP6 = "2001:db8:5::5";
const CLIENT = "202.100.1.2";
const A = destination("172.16.0.2", 80);
const B = destination("172.16.0.3", 8000);
const A6 = destination("fd00:16::2", 80);
const POOL = "10.9.0.1";
const BEHIND = "172.16.0.0/24";
const OUTSIDE = "198.51.100.7";

const web = service("tcp", VIP, 80, "rr", A, B);
const SERVICES: readonly ServiceConfig[] = [
  web,
  { ...service("tcp", VIP6, 80, "rr", A6), fullNat: { sources: ["fd00:9::1"], clients: "all" } },
  { ...service("udp", VIP, 53, "rr", A, B), fullNat: { sources: [POOL], clients: "all" } },
  { ...service("sctp", VIP, 99, "rr", A), persistence: { timeout: seconds(300) } },
  {
    ...service("tcp", VIP, 443, "rr", A, B),
    persistence: { timeout: seconds(300), netmask: "255.255.255.0" },
  },
  { ...service("udp", VIP, 5060, "rr", A, B), persistence: { timeout: seconds(300), engine: "sip" } },
  { ...service("tcp", VIP, 21, "rr", B), app: "ftp" },
  { ...service("tcp", VIP, 81, "rr", A), proxyProtocol: "v2" },
];
const REST: Partial<DirectorConfig> = {
  marks: [{ mark: 7, destination: `${VIP}/32`, ports: { first: 7000, last: 7999 } }],
  masquerade: [{ from: [BEHIND], sources: [VIP] }],
};
const MARKED: ServiceConfig = { ...service("tcp", "0.0.0.0", 0, "rr", A), protocol: "fwmark", mark: 7 };
const ALL = [...SERVICES, MARKED];

const memory = (capacity = CAPACITY): MemoryPart => ownMemory(directorBytes(capacity));

/** A director with a configuration on this memory. */
function begin(
  on: MemoryPart,
  services: readonly ServiceConfig[] = ALL,
  now = 1_000_000,
  rest: Partial<DirectorConfig> = REST,
): Stage {
  const options = {
    memory: on,
    connectionsMax: CAPACITY,
    now: milliseconds(now),
    randomU32: seededRandom(now),
  };
  const stage = new Stage([], options);
  stage.apply(services, rest);
  stage.director.endTakeOver();
  return stage;
}

/** One connection of every kind, and what hangs on them. */
function busy(on: MemoryPart): Stage {
  const stage = begin(on);
  const send = (...packets: readonly Uint8Array[]): void => {
    for (const packet of packets) expect(stage.send(packet).verdict).toMatch(/^to-/);
  };
  for (const port of [4000, 4001]) {
    send(tcp({ from: `${CLIENT}:${port}`, to: `${VIP}:80`, flags: "S" }));
    send(tcp({ from: `${CLIENT}:${port}`, to: `${VIP}:80`, flags: "A" }));
  }
  send(tcp({ from: `[2001:db8:1::2]:4000`, to: `[${VIP6}]:80`, flags: "S" }));
  send(udp({ from: `${CLIENT}:4000`, to: `${VIP}:53` }));
  send(sctp({ from: `${CLIENT}:4000`, to: `${VIP}:99` }));
  for (const port of [4000, 4001]) send(tcp({ from: `${CLIENT}:${port}`, to: `${VIP}:443`, flags: "S" }));
  send(udp({ from: `${CLIENT}:5060`, to: `${VIP}:5060`, payload: sip("one@here") }));
  send(udp({ from: `${CLIENT}:5061`, to: `${VIP}:5060`, payload: sip("another@here") }));
  send(tcp({ from: `${CLIENT}:4000`, to: `${VIP}:81`, flags: "S" }));
  send(tcp({ from: `${CLIENT}:4000`, to: `${VIP}:7001`, flags: "S" }));
  send(tcp({ from: "172.16.0.9:5000", to: `${OUTSIDE}:25`, flags: "S" }));
  send(echo({ from: "172.16.0.9", to: OUTSIDE, id: 9, seq: 1 }));
  ftp(send);
  expect(census(stage.director)).toEqual([]);
  return stage;
}

/** A control connection on which the server announced a port. */
function ftp(send: (...packets: readonly Uint8Array[]) => void): void {
  const client = { from: `${CLIENT}:4021`, to: `${VIP}:21` };
  const server = { from: "172.16.0.3:8000", to: `${CLIENT}:4021` };
  send(tcp({ ...client, flags: "S", seq: 100 }));
  send(tcp({ ...server, flags: "SA", seq: 500, ack: 101 }));
  send(tcp({ ...client, flags: "A", seq: 101, ack: 501 }));
  const asked = new TextEncoder().encode("PASV\r\n");
  send(tcp({ ...client, flags: "PA", seq: 101, ack: 501, payload: asked }));
  const text = "227 Entering Passive Mode (172,16,0,3,200,10).\r\n";
  const payload = new TextEncoder().encode(text);
  send(tcp({ ...server, flags: "PA", seq: 501, ack: 107, payload }));
}

const sip = (callId: string): Uint8Array =>
  new TextEncoder().encode(`INVITE sip:x SIP/2.0\r\nCall-ID: ${callId}\r\n\r\n`);

/** Entries by their record, without what may differ. */
const entries = (stage: Stage) =>
  stage
    .connections()
    .map((entry) => JSON.stringify(entry))
    .sort();

describe("what a director leaves", () => {
  test("is there again: entries, their numbers, sources, templates, Call-IDs, deadlines, counters", () => {
    const on = memory();
    const before = busy(on);
    const wanted = entries(before);
    const counts = [...before.director.services.destinations()].map(countsOf);
    const after = begin(on, ALL, 1_000_000);
    expect(after.director.takeOver).toMatchObject({ damaged: 0, homeless: 0, templates: 4, expected: 1 });
    expect(entries(after)).toEqual(wanted);
    expect([...after.director.services.destinations()].map(countsOf)).toEqual(counts);
    expect(census(after.director)).toEqual([]);
    for (let record = 0; record < before.director.connections.highWater; record++)
      expect(after.director.connections.generation(record)).toBe(
        before.director.connections.generation(record),
      );
  });

  test("goes on: packets of both sides are translated as before, and new connections come to other places", () => {
    const on = memory();
    busy(on);
    const after = begin(on, ALL, 1_030_000);
    const asked = after.send(tcp({ from: `${CLIENT}:4001`, to: `${VIP}:80`, flags: "A", payload: bytes(9) }));
    expect(asked.verdict).toBe("to-server");
    const server = "172.16.0.2:80";
    const answered = after.send(tcp({ from: server, to: `${CLIENT}:4001`, flags: "A", payload: bytes(9) }));
    checkPacket(answered.bytes, valid(), from(`${VIP}:80`), to(`${CLIENT}:4001`));
    const resolved = after.send(udp({ from: "172.16.0.3:8000", to: `${POOL}:4000` }));
    checkPacket(resolved.bytes, valid(), from(`${VIP}:53`), to(`${CLIENT}:4000`));
    const pinned = after.send(tcp({ from: `202.100.1.77:1`, to: `${VIP}:443`, flags: "S" }));
    expect(pinned.verdict).toBe("to-server");
    expect(pinned.bytes[19]).toBe(3);
    const call = { from: "202.100.9.9:5060", to: `${VIP}:5060`, payload: sip("another@here") };
    expect(after.send(udp({ ...call, from: `${CLIENT}:9` })).bytes[19]).toBe(2);
    const data = after.send(tcp({ from: `${CLIENT}:4900`, to: `${VIP}:51210`, flags: "S" }));
    checkPacket(data.bytes, valid(), to("172.16.0.3:51210"));
    expect(census(after.director)).toEqual([]);
  });

  test("runs out when it would have, and at once when that time has passed meanwhile", () => {
    const on = memory();
    busy(on);
    const after = begin(on, ALL, 1_000_000 + 290_000);
    expect(after.director.connections.count).toBeGreaterThan(10);
    after.run(1_000);
    const left = after.connections();
    expect(left.filter(({ protocol }) => protocol === "tcp").map(({ state }) => state)).toContain(
      "ESTABLISHED",
    );
    expect(left.every(({ expiresSeconds }) => expiresSeconds > 0)).toBe(true);
    after.run(900_000);
    expect(after.director.connections.count).toBe(0);
    expect([...after.director.services.destinations()].every(({ isInUse }) => !isInUse)).toBe(true);
    expect(after.director.calls.count).toBe(0);
  });

  test("goes on a third time, and after the free records were used again", () => {
    const on = memory();
    busy(on);
    for (let life = 1; life < 4; life++) {
      const stage = begin(on, ALL, 1_000_000 + life * 100);
      stage.send(tcp({ from: `${CLIENT}:${6000 + life}`, to: `${VIP}:80`, flags: "S" }));
      expect(census(stage.director)).toEqual([]);
    }
    const last = begin(on, ALL, 1_001_000);
    expect(last.connections().filter(({ client }) => client.port > 6000 && client.port < 6009)).toHaveLength(
      3,
    );
  });
});

describe("a connection that a module reads", () => {
  const PASV = new TextEncoder().encode("PASV\r\n");
  const REPLY = "227 Entering Passive Mode (172,16,0,3,200,10).\r\n";
  const HEARD = "227 Entering Passive Mode (202,103,106,5,200,10).\r\n";
  const GROWTH = HEARD.length - REPLY.length;
  const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
  const fromClient = (stage: Stage, seq: number, ack: number, payload?: Uint8Array) =>
    stage.send(
      tcp({ from: `${CLIENT}:4021`, to: `${VIP}:21`, flags: "PA", seq, ack, ...(payload && { payload }) }),
    );
  const fromServer = (stage: Stage, seq: number, ack: number, payload?: Uint8Array) =>
    stage.send(
      tcp({
        from: "172.16.0.3:8000",
        to: `${CLIENT}:4021`,
        flags: "PA",
        seq,
        ack,
        ...(payload && { payload }),
      }),
    );
  const textOf = (packet: Uint8Array): string => new TextDecoder().decode(packet.subarray(40));
  const sequenceOf = (packet: Uint8Array): number =>
    new DataView(packet.buffer, packet.byteOffset).getUint32(24);

  test("is renumbered as before, and read again", () => {
    const on = memory();
    const before = busy(on);
    fromClient(before, 107, 501 + HEARD.length);
    const after = begin(on, ALL, 1_000_100);
    const said = fromServer(after, 501 + REPLY.length, 107, encode("226 Done.\r\n"));
    checkPacket(said.bytes, valid());
    expect([textOf(said.bytes), sequenceOf(said.bytes)]).toEqual(["226 Done.\r\n", 501 + HEARD.length]);
    const at = 501 + REPLY.length + 11;
    expect(fromClient(after, 107, at + GROWTH, PASV).verdict).toBe("to-server");
    const again = fromServer(after, at, 113, encode(REPLY));
    expect(textOf(again.bytes)).toMatch(/^227 Entering Passive Mode \(202,103,106,5,200,1[01]\)/);
    expect(sequenceOf(again.bytes)).toBe(at + GROWTH);
    expect(census(after.director)).toEqual([]);
  });

  test("what was changed and not acknowledged is changed likewise when it comes again", () => {
    const on = memory();
    busy(on);
    const after = begin(on, ALL, 1_000_100);
    const again = fromServer(after, 501, 107, encode(REPLY));
    checkPacket(again.bytes, valid());
    expect([textOf(again.bytes), sequenceOf(again.bytes)]).toEqual([HEARD, 501]);
    fromClient(after, 107, 501 + HEARD.length);
    const third = begin(on, ALL, 1_000_200);
    const said = fromServer(third, 501 + REPLY.length, 107, encode("226 Done.\r\n"));
    expect(sequenceOf(said.bytes)).toBe(501 + HEARD.length);
  });

  test("what comes from further on is passed on with the right numbers, and read from the next line on", () => {
    const on = memory();
    const before = busy(on);
    fromClient(before, 107, 501 + HEARD.length);
    const after = begin(on, ALL, 1_000_100);
    const said = fromServer(after, 501 + REPLY.length + 7, 107, encode("rest\r\n"));
    expect([textOf(said.bytes), sequenceOf(said.bytes)]).toEqual(["rest\r\n", 508 + HEARD.length]);
    const first = fromServer(after, 501 + REPLY.length, 107, encode("226 the"));
    expect([textOf(first.bytes), sequenceOf(first.bytes)]).toEqual(["226 the", 501 + HEARD.length]);
  });
});

describe("another configuration", () => {
  test("a server that is gone: its connections go by the policy of their service", () => {
    for (const removal of ["drain", "drop", "reset", "expire"] as const) {
      const on = memory();
      busy(on);
      const fewer = ALL.map((one) => (one === web ? { ...web, removal, destinations: [A] } : one));
      const after = begin(on, fewer, 1_000_100);
      after.run(200);
      const verdicts = [4000, 4001].map(
        (port) => after.send(tcp({ from: `${CLIENT}:${port}`, to: `${VIP}:80`, flags: "A" })).verdict,
      );
      const ofRemoved = {
        drain: "to-server",
        drop: "drop destination-removed",
        reset: "reply",
        expire: "reply",
      };
      expect(verdicts).toEqual([ofRemoved[removal], "to-server"]);
      expect(census(after.director)).toEqual([]);
    }
  });

  test("a service that is gone: drained, and its address is kept for it", () => {
    const on = memory();
    busy(on);
    const after = begin(on, [], 1_000_100, { settings: { ...IPVS_SETTINGS, removal: "drain" } });
    expect(after.director.connections.count).toBeGreaterThan(10);
    expect(after.send(tcp({ from: `${CLIENT}:4000`, to: `${VIP}:80`, flags: "A" })).verdict).toBe(
      "to-server",
    );
    expect(after.send(tcp({ from: `${CLIENT}:4009`, to: `${VIP}:80`, flags: "S" })).verdict).toBe("reply");
    expect(after.control.draining().virtualAddresses).toContain(VIP);
    expect(after.control.draining().serverAddresses).toContain("172.16.0.2");
    expect(census(after.director)).toEqual([]);
    after.run(1_000_000);
    expect(after.director.connections.count).toBe(0);
    expect(after.control.draining()).toEqual({ virtualAddresses: [], serverAddresses: [] });
  });

  test("servers in another order, and services more than before, keep every connection where it is", () => {
    const on = memory();
    const wanted = entries(busy(on));
    const more = [service("tcp", VIP, 90, "rr", B, A), ...ALL.toReversed()];
    const turned = more.map((one) => ({ ...one, destinations: one.destinations.toReversed() }));
    const after = begin(on, turned);
    expect(entries(after)).toEqual(wanted);
    expect(census(after.director)).toEqual([]);
  });
});

describe("memory that nobody left so", () => {
  const on = memory();
  const before = busy(on);
  const { highWater } = before.director.connections;
  const image = new Int32Array(on.buffer).slice();
  const words = new Int32Array(on.buffer);
  /** Words that are worth spoiling: directory, calls, header, sources, records. */
  const places = [...image.keys()].filter((at) => image[at] !== 0);
  const tableAt = TABLE_AT / 4;
  const endAt = tableAt + ConnectionTable.bytesFor(CAPACITY) / 4;

  const restored = (): Stage => begin(on, ALL, 1_000_100);
  const reset = (): void => {
    words.set(image.subarray(0, 14 * 64), 0);
    words.set(image.subarray(tableAt - 8192, endAt), tableAt - 8192);
    for (const at of places) words[at] = image[at]!;
  };

  test("one word of it changed costs at most what it is about, and never a census", () => {
    fc.assert(
      fc.property(fc.nat(places.length - 1), fc.integer(), fc.boolean(), (index, value, isBit) => {
        reset();
        const at = places[index]!;
        words[at] = isBit ? words[at]! ^ (1 << (value & 31)) : value;
        if (ConnectionTable.left({ ...on, at: TABLE_AT }) === undefined) return;
        const stage = restored();
        expect(census(stage.director)).toEqual([]);
        stage.run(300);
        expect(census(stage.director)).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });

  test("any bytes: no error, and what is taken over is a director's", () => {
    const nasty = fc.oneof(
      fc.integer(),
      fc.constantFrom(
        0,
        1,
        -1,
        4,
        6,
        0x406,
        0x606,
        0x8406,
        0x8400,
        0x40000406,
        -0x7ffffbfa,
        28,
        highWater,
        CAPACITY,
      ),
      fc.nat(64),
    );
    const change = fc.tuple(fc.nat(28 * CAPACITY), nasty);
    const recordsAt = tableAt + (before.director.connections.words.byteOffset - TABLE_AT) / 4;
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 200 }), fc.nat(CAPACITY), (changes, marks) => {
        reset();
        words[tableAt + 3] = marks;
        for (const [offset, value] of changes) words[recordsAt + offset] = value;
        const stage = restored();
        expect(census(stage.director)).toEqual([]);
        for (let port = 4000; port < 4004; port++)
          stage.send(tcp({ from: `${CLIENT}:${port}`, to: `${VIP}:80`, flags: "S" }));
        stage.run(1_000);
        expect(census(stage.director)).toEqual([]);
      }),
      { numRuns: 1_000 },
    );
  });

  test("records of other records' words: hung on themselves, in circles, on what is free", () => {
    const controllerAt = 23;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(highWater - 1), fc.integer({ min: -2, max: highWater + 2 }))),
        (links) => {
          reset();
          const { connections: table } = before.director;
          for (const [record, link] of links) table.words[table.clientAt(record) + controllerAt] = link;
          const stage = restored();
          expect(census(stage.director)).toEqual([]);
          stage.run(400_000);
          expect(census(stage.director)).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("two entries with one tuple: the first is kept", () => {
    reset();
    const { connections: table } = before.director;
    const record = before.connections().length - 1;
    table.words.copyWithin(table.clientAt(record), table.clientAt(0), table.clientAt(1));
    const stage = restored();
    expect(stage.director.takeOver?.damaged).toBeGreaterThan(0);
    expect(census(stage.director)).toEqual([]);
  });

  test("of another version or size it is none", () => {
    reset();
    words[tableAt] = 0x76736e31;
    expect(ConnectionTable.left({ ...on, at: TABLE_AT })).toBeUndefined();
    words[tableAt] = 0;
    expect(ConnectionTable.left({ ...on, at: TABLE_AT })).toBeUndefined();
    reset();
    expect(ConnectionTable.left({ ...on, at: TABLE_AT })).toEqual({ capacity: CAPACITY, highWater });
    words[tableAt + 3] = CAPACITY + 1;
    expect(ConnectionTable.left({ ...on, at: TABLE_AT })).toBeUndefined();
  });
});

const countsOf = (one: {
  readonly number: number;
  readonly address: string;
  readonly activeConnections: number;
  readonly inactiveConnections: number;
  readonly persistentConnections: number;
}): string =>
  `${one.number} ${one.address} ${one.activeConnections}+${one.inactiveConnections} ${one.persistentConnections}`;
