/**
 * An FTP control connection through the director as a property: two hosts play TCP by the rules of RFC 9293 and RFC 2018 in
 * any order that chance likes. Segments are cut anywhere, lost, repeated, overtaken, cut differently each time and merged;
 * senders wait for acknowledgments (Nagle's algorithm) or do not; packets come with and without offloads.
 *
 * Each side must get the other's lines with the right addresses in them, and nothing else; no host must ever be told that
 * something arrived that it did not send. That the lines come at all shows that every acknowledgment comes.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "../../src/base/seeded-random.ts";
import type { ServiceConfig } from "../../src/nat/configuration.ts";
import { Gso } from "../../src/wire/packet.ts";
import { TcpFlag, TcpView } from "../../src/wire/tcp.ts";
import { census } from "../support/census.ts";
import { type TcpFields, tcp } from "../support/packet-builder.ts";
import { checkPacket, valid, validPartial } from "../support/packet-check.ts";
import { destination, service } from "../support/replayed.ts";
import { Stage } from "../support/stage.ts";

const RUNS = 400;
const GSO_BYTES = 40;

/** Who knows whom by what: the packet's ends on both sides of the director, and the lines as said and as heard. */
interface Place {
  readonly name: string;
  readonly stage: () => Stage;
  /** The client's end and the server's, as the client sees them; then as the server does. */
  readonly outside: readonly [string, string];
  readonly inside: readonly [string, string];
  readonly said: readonly (readonly ["client" | "server", string, string?])[];
}

const ftp = (address: string, port: number, ...servers: ReturnType<typeof destination>[]): ServiceConfig => ({
  ...service("tcp", address, port, "rr", ...servers),
  app: "ftp",
});

/** Said, and heard if that differs. Long enough for lines of every kind to meet in a segment. */
const SERVED: Place["said"] = [
  ["server", "220-Welcome\r\n220 to 172.16.0.3\r\n"],
  ["client", "USER anonymous\r\n"],
  ["server", "230 Login successful.\r\n"],
  ["client", "PASV\r\n"],
  [
    "server",
    "227 Entering Passive Mode (172,16,0,3,117,54).\r\n",
    "227 Entering Passive Mode (202,103,106,5,117,54).\r\n",
  ],
  ["client", "RETR one\r\n"],
  ["server", "150 Opening.\r\n226 Transfer complete.\r\n"],
  ["client", "pasv\r\n"],
  ["server", "227 172,16,0,3,4,1\r\n", "227 202,103,106,5,4,1\r\n"],
  ["client", "PORT 202,100,1,2,132,209\r\n"],
  ["server", "200 PORT command successful.\r\n"],
  ["client", "EPSV\r\n"],
  ["server", "229 Extended (|1|172.16.0.3|30001|)\r\n", "229 Extended (|||30001|)\r\n"],
  ["client", "QUIT\r\n"],
  ["server", "221 Goodbye.\r\n"],
];
const SERVED6: Place["said"] = [
  ["server", "220 ready\r\n"],
  ["client", "EPSV 2\r\n"],
  ["server", "229 Extended (|2|fd00:16::3|30001|)\r\n", "229 Extended (|||30001|)\r\n"],
  ["client", "EPSV\r\n"],
  ["server", "229 Extended Passive Mode (|||30002|)\r\n"],
  ["client", "QUIT\r\n"],
  ["server", "221 Goodbye.\r\n"],
];
const GOING_OUT: Place["said"] = [
  ["server", "220 ready\r\n"],
  ["client", "PORT 10,0,0,9,156,64\r\n", "PORT 192,0,2,99,156,64\r\n"],
  ["server", "200 PORT command successful.\r\n"],
  ["client", "port  10,0,0,9,156,65\r\n", "port  192,0,2,99,156,65\r\n"],
  ["server", "200 OK\r\n"],
  ["client", "EPRT |1|10.0.0.9|40002|\r\n", "EPRT |1|192.0.2.99|40002|\r\n"],
  ["server", "200 OK\r\n227 Not asked for (10,0,0,9,1,1).\r\n"],
  ["client", "LPRT 4,4,10,0,0,9,2,156,67\r\n", "LPRT 4,4,192,0,2,99,2,156,67\r\n"],
  ["server", "200 OK\r\n"],
  ["client", "PO\r\nQUIT\r\n"],
  ["server", "221 Goodbye.\r\n"],
];

const PLACES: readonly Place[] = [
  {
    name: "a server behind the director",
    stage: () => new Stage([ftp("202.103.106.5", 2121, destination("172.16.0.3", 21))]),
    outside: ["202.100.1.2:34000", "202.103.106.5:2121"],
    inside: ["202.100.1.2:34000", "172.16.0.3:21"],
    said: SERVED,
  },
  {
    name: "one of IPv6",
    stage: () => new Stage([ftp("2001:db8:5::5", 21, destination("fd00:16::3", 21))]),
    outside: ["[2001:db8:1::2]:34000", "[2001:db8:5::5]:21"],
    inside: ["[2001:db8:1::2]:34000", "[fd00:16::3]:21"],
    said: SERVED6,
  },
  {
    name: "a client behind the director",
    stage: () => {
      const stage = new Stage([]);
      stage.apply([], { masquerade: [{ from: ["10.0.0.0/24"], sources: ["192.0.2.99"], apps: ["ftp"] }] });
      return stage;
    },
    outside: ["10.0.0.9:40000", "198.51.100.21:21"],
    inside: ["192.0.2.99:40000", "198.51.100.21:21"],
    said: GOING_OUT,
  },
];

interface Sent {
  readonly bytes: Uint8Array;
  readonly isChecksumPartial: boolean;
  readonly gsoBytes: number;
}

interface Segment {
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly blocks: readonly (readonly [number, number])[];
  readonly payload: Uint8Array;
}

const distance = (from: number, to: number): number => (to - from) | 0;

/** One TCP: its own stream out, the other's in. Offsets count from behind the SYN. */
class Host {
  readonly #random: () => number;
  readonly #first: number;
  readonly #ends: readonly [string, string];
  readonly #isNagle: boolean;
  /** What it says, and where its turns end. */
  written = "";
  #acknowledged = 0;
  #sent = 0;
  #peerFirst = 0;
  isConnected = false;
  readonly #received: number[] = [];
  /** Out of order: by offset. */
  readonly #early = new Map<number, number>();
  isClosed = false;
  hasEnd = false;
  #endAt = -1;

  constructor(random: () => number, ends: readonly [string, string]) {
    this.#random = random;
    this.#ends = ends;
    this.#isNagle = this.below(2) === 0;
    this.#first = [0, 1, 2 ** 32 - 3, 2 ** 31 - 20, 2 ** 32 - 90, random()][this.below(6)]!;
  }

  below(bound: number): number {
    return this.#random() % bound;
  }

  get heard(): string {
    return String.fromCharCode(...this.#received);
  }
  get isDone(): boolean {
    return this.isClosed && this.#acknowledged > this.written.length;
  }

  open(): Sent {
    return this.#made({ flags: "S", seq: this.#first - 1 });
  }

  /** Something to send: new, or again; undefined: nothing may be sent now. */
  speak(): Sent | undefined {
    if (!this.isConnected) return undefined;
    const isRepetition = this.below(4) === 0 && this.#acknowledged < this.#sent;
    let from = this.#sent;
    if (isRepetition)
      from =
        this.below(3) === 0
          ? this.#acknowledged + this.below(this.#sent - this.#acknowledged)
          : this.#acknowledged;
    else if (this.#isNagle && this.#sent > this.#acknowledged) return undefined;
    // A repetition says nothing new but by being longer, as coalescing senders make it.
    const size = [1, 2, 3, 7, 20, 60, 200][this.below(7)]!;
    let end = Math.min(this.written.length, from + size);
    if (this.#isNagle) end = Math.min(end, Math.max(this.#sent, from + 60));
    const hasFin = this.isClosed && end === this.written.length;
    if (end <= from && !hasFin) return undefined;
    this.#sent = Math.max(this.#sent, end + (hasFin ? 1 : 0));
    const payload = this.written.slice(from, end);
    return this.#made({ flags: hasFin ? "FAP" : "AP", seq: this.#first + from, payload });
  }

  acknowledge(): Sent | undefined {
    return this.isConnected ? this.#made({ flags: "A", seq: this.#first + this.#sent }) : undefined;
  }

  hear(segment: Segment, checkEcho: (heard: string) => void): Sent | undefined {
    const { flags, sequence, acknowledgment, payload, blocks } = segment;
    if ((flags & TcpFlag.syn) !== 0) {
      this.#peerFirst = (sequence + 1) | 0;
      if ((flags & TcpFlag.ack) === 0) return this.#made({ flags: "SA", seq: this.#first - 1 });
      this.isConnected = true;
      return this.acknowledge();
    }
    this.isConnected = true;
    const told = distance(this.#first, acknowledgment);
    expect(told, "acknowledges what was sent").toBeLessThanOrEqual(this.#sent);
    // One that was overtaken may be older than what the director remembers; it is ignored for its age.
    expect(told).toBeGreaterThanOrEqual(-100);
    this.#acknowledged = Math.max(this.#acknowledged, told);
    for (const [left, right] of blocks) {
      expect(distance(left, right), "a block is none, or one").toBeGreaterThanOrEqual(0);
      expect(distance(this.#first, right), "a block of what was sent").toBeLessThanOrEqual(this.#sent);
      if (left !== right) expect(distance(this.#first, left)).toBeGreaterThanOrEqual(-100);
    }
    const at = distance(this.#peerFirst, sequence);
    const isOld = at < this.#received.length && payload.length > 0;
    for (let i = 0; i < payload.length; i++) {
      const offset = at + i;
      if (offset >= this.#received.length) this.#early.set(offset, payload[i]!);
    }
    if ((flags & TcpFlag.fin) !== 0) this.#endAt = at + payload.length;
    for (let next = this.#early.get(this.#received.length); next !== undefined; ) {
      this.#early.delete(this.#received.length);
      this.#received.push(next);
      next = this.#early.get(this.#received.length);
    }
    if (this.#endAt === this.#received.length) this.hasEnd = true;
    checkEcho(this.heard);
    const isOutside = payload.length > 0 || (flags & TcpFlag.fin) !== 0 || isOld;
    return isOutside && this.below(8) > 0 ? this.acknowledge() : undefined;
  }

  #made(fields: Partial<TcpFields>): Sent {
    const received = this.#received.length + (this.hasEnd ? 1 : 0);
    const isChecksumPartial = this.below(2) === 0;
    const payloadBytes = fields.payload?.length ?? 0;
    const [from, to] = this.#ends;
    const isFirst = fields.flags === "S";
    const ack = isFirst ? 0 : (this.#peerFirst + received) >>> 0;
    const options = isFirst || fields.flags === "SA" ? [] : this.#blocks();
    const bytes = tcp({
      from,
      to,
      ...fields,
      seq: fields.seq! >>> 0,
      ack,
      options,
      checksum: isChecksumPartial ? "partial" : "full",
    });
    const isSuper = isChecksumPartial && payloadBytes > GSO_BYTES && this.below(2) === 0;
    return { bytes, isChecksumPartial, gsoBytes: isSuper ? GSO_BYTES : 0 };
  }

  #blocks(): number[] {
    const offsets = [...this.#early.keys()].sort((a, b) => a - b);
    if (offsets.length === 0) return [];
    const left = offsets[0]!;
    let right = left;
    while (this.#early.has(right)) right++;
    const option = new DataView(new ArrayBuffer(12));
    option.setUint32(0, 0x0101_050a);
    option.setUint32(4, (this.#peerFirst + left) >>> 0);
    option.setUint32(8, (this.#peerFirst + right) >>> 0);
    return [...new Uint8Array(option.buffer)];
  }
}

class Story {
  readonly #random: () => number;
  readonly #place: Place;
  readonly #stage: Stage;
  readonly #client: Host;
  readonly #server: Host;
  readonly #toDirector: (readonly ["client" | "server", Sent])[] = [];
  readonly #toHost: (readonly ["client" | "server", Sent])[] = [];
  #turn = 0;
  #isKind = false;
  readonly #heard = { client: "", server: "" };

  constructor(seed: number, place: Place) {
    this.#random = seededRandom(seed);
    this.#place = place;
    this.#stage = place.stage();
    this.#client = new Host(this.#random, place.outside);
    this.#server = new Host(this.#random, [place.inside[1], place.inside[0]]);
  }

  play(): Stage {
    for (let tries = 0; !this.#client.isConnected && tries < 40; tries++) {
      this.#toDirector.push(["client", this.#client.open()]);
      for (let i = 0; i < 6; i++) this.#step();
    }
    for (let step = 0; step < 400 + this.#below(1200); step++) this.#step();
    this.#isKind = true;
    for (let step = 0; step < 6000 && !(this.#client.isDone && this.#server.isDone); step++) this.#step();
    expect(this.#client.heard, "the client heard").toBe(this.#heard.client);
    expect(this.#server.heard, "the server heard").toBe(this.#heard.server);
    expect(this.#turn, "everything was said").toBe(this.#place.said.length);
    expect([this.#client.isDone, this.#server.isDone, this.#client.hasEnd, this.#server.hasEnd]).toEqual([
      true,
      true,
      true,
      true,
    ]);
    return this.#stage;
  }

  #below(bound: number): number {
    return this.#random() % bound;
  }

  #step(): void {
    this.#takeTurn();
    const choice = this.#below(4);
    const who = this.#below(2) === 0 ? "client" : "server";
    if (choice === 0) {
      const said = this.#hostOf(who).speak();
      if (said !== undefined) this.#toDirector.push([who, said]);
    } else if (choice === 1 && this.#below(4) === 0) {
      const said = this.#hostOf(who).acknowledge();
      if (said !== undefined) this.#toDirector.push([who, said]);
    } else if (choice === 2) this.#pass();
    else this.#deliver();
  }

  /** Whose turn it is says its lines once it heard those before. */
  #takeTurn(): void {
    const { said } = this.#place;
    const next = said[this.#turn];
    if (next === undefined) {
      this.#client.isClosed = true;
      this.#server.isClosed = true;
      return;
    }
    const [who, text, heardAs = text] = next;
    const speaker = this.#hostOf(who);
    if (!speaker.isConnected || speaker.heard !== this.#heard[who]) return;
    speaker.written += text;
    this.#heard[who === "client" ? "server" : "client"] += heardAs;
    this.#turn++;
  }

  #hostOf(who: "client" | "server"): Host {
    return who === "client" ? this.#client : this.#server;
  }

  #next<T>(path: T[]): T | undefined {
    if (this.#isKind || path.length === 0) return path.shift();
    const index = this.#below(3) === 0 ? this.#below(path.length) : 0;
    const fate = this.#below(16);
    if (fate === 0) return path[index];
    const [packet] = path.splice(index, 1);
    return fate <= 2 ? undefined : packet;
  }

  #pass(): void {
    const [who, packet] = this.#next(this.#toDirector) ?? [];
    if (who === undefined || packet === undefined) return;
    const { bytes, isChecksumPartial, gsoBytes } = packet;
    const isIpv4 = bytes[0]! >> 4 === 4;
    const gso = gsoBytes === 0 ? Gso.none : isIpv4 ? Gso.tcp4 : Gso.tcp6;
    const sent = this.#stage.send(bytes, { isChecksumPartial, gso, gsoBytes });
    if (sent.verdict === "drop application") return;
    expect(sent.verdict).toBe(who === "client" ? "to-server" : "to-client");
    checkPacket(sent.bytes, isChecksumPartial ? validPartial() : valid());
    const { gso: gsoAfter, gsoBytes: bytesAfter } = this.#stage.packet;
    const other = who === "client" ? "server" : "client";
    for (const one of segmentsOf(sent.bytes, gsoAfter === Gso.none ? 0 : bytesAfter))
      this.#toHost.push([other, { bytes: one, isChecksumPartial, gsoBytes: 0 }]);
  }

  #deliver(): void {
    const [who, packet] = this.#next(this.#toHost) ?? [];
    if (who === undefined || packet === undefined) return;
    const answer = this.#hostOf(who).hear(read(packet.bytes), (heard) =>
      expect(this.#heard[who].startsWith(heard), `${who} heard ${JSON.stringify(heard)}`).toBe(true),
    );
    if (answer !== undefined) this.#toDirector.push([who, answer]);
  }
}

/** What a device makes of a super-packet; the checksums are not looked at again. */
function segmentsOf(bytes: Uint8Array, gsoBytes: number): Uint8Array[] {
  if (gsoBytes === 0) return [bytes];
  const { sequence, payload, flags } = read(bytes);
  const headerBytes = bytes.length - payload.length;
  const count = Math.ceil(payload.length / gsoBytes);
  expect(count, "a super-packet has several segments").toBeGreaterThan(1);
  return Array.from({ length: count }, (_, i) => {
    const part = payload.slice(i * gsoBytes, (i + 1) * gsoBytes);
    const one = Uint8Array.from([...bytes.subarray(0, headerBytes), ...part]);
    const view = new DataView(one.buffer);
    const transportAt = bytes[0]! >> 4 === 4 ? 20 : 40;
    view.setUint32(transportAt + 4, (sequence + i * gsoBytes) >>> 0);
    if (i < count - 1) view.setUint8(transportAt + 13, flags & ~TcpFlag.fin);
    return one;
  });
}

function read(bytes: Uint8Array): Segment {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tcpView = new TcpView();
  expect(tcpView.attach(view, bytes[0]! >> 4 === 4 ? 20 : 40, bytes.length)).toBe(true);
  const { flags, sequence, acknowledgment, optionsAt, payloadAt } = tcpView;
  const blocks: [number, number][] = [];
  if (payloadAt - optionsAt >= 12 && view.getUint8(optionsAt + 2) === 5)
    blocks.push([view.getUint32(optionsAt + 4), view.getUint32(optionsAt + 8)]);
  return { flags, sequence, acknowledgment, blocks, payload: bytes.slice(payloadAt) };
}

test.each(PLACES.map((place) => [place.name, place] as const))(
  "%s, 400 connections",
  { timeout: 240_000 },
  (_, place) => {
    let rewritten = 0;
    let announced = 0;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), (seed) => {
        const { counters } = new Story(seed, place).play().control.status().applications[0]!;
        rewritten += counters.rewritten;
        announced += counters.announced;
        expect([counters.failed, counters.noPlace, counters.foreign, counters.lowPort]).toEqual([0, 0, 0, 0]);
      }),
      { numRuns: RUNS, seed: 1 },
    );
    const changed = place.said.filter(([, , heard]) => heard !== undefined).length;
    expect(rewritten).toBe(changed * RUNS);
    expect(announced).toBeGreaterThanOrEqual(changed * RUNS);
  },
);

test("100,000 lines of nonsense: nothing throws, every counter is right, and nothing is left in the end", {
  timeout: 240_000,
}, () => {
  const random = seededRandom(7);
  const below = (bound: number): number => random() % bound;
  const of = <T>(list: readonly T[]): T => list[below(list.length)]!;
  const addresses = ["202,100,1,2", "172,16,0,3", "172,16,0,2", "202,103,106,5", "999,1,1,1", "1,2,3"];
  const junk = (): string => String.fromCharCode(...Array.from({ length: below(40) }, () => below(256)));
  const numbers = (): string =>
    `${of(addresses)},${of(["117,5", "0,21", "132,20", "256,1"])}${of([below(10), ""])}`;
  const lines = [
    () => "PASV\r\n",
    () => `EPSV${of(["", " 1", " ALL", " x"])}\r\n`,
    () => `PORT ${numbers()}\r\n`,
    () => `227 ${of(["(", "", "2 "])}${numbers()}${of([")", ""])}\r\n`,
    () => `229 (|||${of([0, 1023, 3000, 99_999])}${below(10)}|)\r\n`,
    () =>
      `${of(["EPRT", "eprt"])} |${of([1, 2])}|${of(addresses).replaceAll(",", ".")}|${20_000 + below(4)}|\r\n`,
    () => `LPRT 4,4,${numbers()}\r\n228 6,16,${numbers()},${numbers()},${numbers()}\r\n`,
    () => junk(),
    () => `${of(["227 ", "PORT ", "22", "\n"])}${junk()}`,
    () => "x".repeat(below(700)),
  ];
  const stage = new Stage(
    [
      {
        ...service("tcp", "202.103.106.5", 21, "rr", destination("172.16.0.3", 21)),
        app: "ftp",
      },
    ],
    { connectionsMax: 300 },
  );
  const virtual = "202.103.106.5:21";
  const sequences = new Map<string, number>();
  for (let i = 0; i < 100_000; i++) {
    const client = `202.100.1.${2 + below(2)}:${34_000 + below(20)}`;
    const isClient = below(2) === 0;
    const [from, to] = isClient ? [client, virtual] : ["172.16.0.3:21", client];
    const key = `${from} ${to}`;
    const seq = sequences.get(key) ?? below(2 ** 32);
    const kind = below(80);
    const dataPort = of([29_957, 33_812, 30_000 + below(10), 20_000 + below(4)]);
    if (kind < 10) stage.send(tcp({ from, to, flags: isClient ? "S" : "SA", seq: (seq - 1) >>> 0 }));
    else if (kind === 10) stage.send(tcp({ from, to, flags: of(["R", "FA", "F"]), seq }));
    else if (kind === 11) stage.send(tcp({ from: client, to: `202.103.106.5:${dataPort}`, flags: "S" }));
    else if (kind === 12)
      stage.send(
        tcp({
          from: `172.16.0.3:${of([20, 40_000])}`,
          to: `202.100.1.2:${dataPort}`,
          flags: "S",
        }),
      );
    else if (kind === 13) stage.run(below(4000));
    else {
      const payload = Uint8Array.from(of(lines)(), (letter) => letter.charCodeAt(0));
      const isPartial = below(2) === 0;
      const fields = {
        from,
        to,
        flags: of(["A", "PA", "FA", "UA"]),
        seq: (seq - of([0, 0, 0, 5])) >>> 0,
        ack: below(2 ** 32),
      };
      const sent = stage.send(
        tcp({ ...fields, urgentPointer: below(9), payload, checksum: isPartial ? "partial" : "full" }),
        { isChecksumPartial: isPartial },
      );
      if (sent.verdict.startsWith("to-")) checkPacket(sent.bytes, isPartial ? validPartial() : valid());
      sequences.set(key, (seq + payload.length) >>> 0);
    }
    if (i % 500 === 0) expect(census(stage.director)).toEqual([]);
  }
  const { counters } = stage.control.status().applications[0]!;
  expect(counters).toMatchObject({ failed: 0, unattended: 0 });
  for (const what of ["announced", "begun", "foreign", "lowPort", "rewritten", "outOfOrder"] as const)
    expect(counters[what], what).toBeGreaterThan(10);
  stage.run(7_200_000);
  expect(stage.connections()).toEqual([]);
  expect(census(stage.director)).toEqual([]);
  expect(stage.control.status().applications[0]!.ports).toEqual([]);
});
