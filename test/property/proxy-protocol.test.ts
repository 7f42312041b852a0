/**
 * The PROXY header in a stream as a property: a client and a server of TCP, played by the rules of RFC 9293 and RFC 2018
 * but in any order that chance likes, with the director's two functions between them. Segments are lost, repeated, overtaken,
 * cut differently each time and merged; windows close and open; sequence numbers wrap.
 *
 * The server must get the header and then the client's stream, byte by byte as it comes in; the client must never be told
 * that something arrived that did not, nor anything about numbers it never sent.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "../../src/base/seeded-random.ts";
import { ConnectionFlag, ConnectionTable } from "../../src/nat/connection-table.ts";
import { proxyHeaderBytes, proxyToClient, proxyToServer } from "../../src/nat/proxy-protocol.ts";
import { rewrite } from "../../src/nat/rewrite.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { Flow } from "../../src/wire/flow.ts";
import { Gso, Packet } from "../../src/wire/packet.ts";
import { TcpFlag, TcpView } from "../../src/wire/tcp.ts";
import { bytes, type TcpFields, tcp } from "../support/packet-builder.ts";
import { checkPacket, from, to, valid, validPartial } from "../support/packet-check.ts";

const RUNS = 300;
const SERVER_MSS = 536;
const GREETING = "220 ready\r\n";

const PLACES = {
  4: {
    client: "198.51.100.7:40000",
    virtual: "192.0.2.10:25",
    server: "10.0.0.21:2525",
    address: "10.0.0.21",
  },
  6: {
    client: "[2001:db8::7]:40000",
    virtual: "[2001:db8:1::10]:25",
    server: "[2001:db8:2::21]:2525",
    address: "2001:db8:2::21",
  },
} as const;
const HEADERS = {
  4: "0d0a0d0a000d0a515549540a2111000cc6336407c000020a9c400019",
  6: "0d0a0d0a000d0a515549540a2121002420010db800000000000000000000000720010db80001000000000000000000109c400019",
} as const;

/** A packet on its way, as it would lie in a device with offloads. */
interface Sent {
  readonly bytes: Uint8Array;
  readonly isChecksumPartial: boolean;
  /** Payload bytes of a super-packet's segments; 0: an ordinary packet. */
  readonly gsoBytes: number;
}

/** A segment as its receiver reads it. */
interface Segment {
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly window: number;
  readonly options: Uint8Array;
  readonly payload: Uint8Array;
}

/** Packets in flight on one stretch. */
class Path {
  readonly #packets: Sent[] = [];
  readonly #below: (bound: number) => number;
  isKind = false;

  constructor(below: (bound: number) => number) {
    this.#below = below;
  }
  send(packet: Sent): void {
    this.#packets.push(packet);
  }
  /** The next packet to arrive; on an unkind path any one, and one in eight is lost, another one stays for a repetition. */
  receive(): Sent | undefined {
    if (this.isKind || this.#packets.length === 0) return this.#packets.shift();
    const index = this.#below(3) === 0 ? this.#below(this.#packets.length) : 0;
    const fate = this.#below(16);
    if (fate === 0) return this.#packets[index];
    const [packet] = this.#packets.splice(index, 1);
    return fate <= 2 ? undefined : packet;
  }
}

class Story {
  readonly #random: () => number;
  readonly #family: 4 | 6;
  readonly #headerBytes: number;
  /** Client's first sequence number behind its SYN. */
  readonly #first: number;
  readonly #serverFirst: number;
  /** What the server must read: header and data. */
  readonly #expected: Uint8Array;
  readonly #dataBytes: number;
  readonly #speaksFirst: boolean;
  readonly #table = new ConnectionTable(4, [1, 2], 0);
  readonly #record: number;
  readonly #packet = new Packet();
  readonly #flow = new Flow();
  readonly #toDirector: Path;
  readonly #toServer: Path;
  readonly #fromServer: Path;
  readonly #toClient: Path;

  // The client. Offsets into its stream: data in [0, #dataBytes), FIN at #dataBytes.
  #isConnected = false;
  #isGreeted = false;
  #acknowledged = 0;
  #sent = 0;
  #mayBeSent = 0;
  #segmentMax = SERVER_MSS;

  // The server. Offsets as it counts them: the header, the data, FIN.
  readonly #isHere: Uint8Array;
  #isAccepted = false;
  #isReset = false;
  #next = 0;
  #rightEdge: number;
  #duplicate: readonly [number, number] | undefined;
  packetCount = 0;
  headerCount = 0;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    const below = (bound: number): number => this.#below(bound);
    this.#toDirector = new Path(below);
    this.#toServer = new Path(below);
    this.#fromServer = new Path(below);
    this.#toClient = new Path(below);
    this.#family = this.#of([4, 6]);
    this.#headerBytes = proxyHeaderBytes(this.#family);
    this.#first = this.#of([0, 1, 2 ** 32 - 1, 2 ** 32 - 20, 2 ** 32 - 700, 2 ** 31 - 20, this.#random()]);
    this.#serverFirst = this.#random();
    this.#dataBytes = this.#of([0, 1, 5, 600, 2000]);
    this.#speaksFirst = this.#below(2) === 0;
    this.#expected = Uint8Array.from([
      ...Buffer.from(HEADERS[this.#family], "hex"),
      ...bytes(this.#dataBytes),
    ]);
    this.#isHere = new Uint8Array(this.#expected.length + 1);
    // Who waits for the server's greeting asks for no second place for the header: it has to fit the first window.
    this.#rightEdge = this.#of(this.#speaksFirst ? [60, 6000] : [0, 1, 30, 60, 600, 6000]);
    const { client, virtual, address } = PLACES[this.#family];
    this.#packet.load(tcp({ from: client, to: virtual, flags: "S" }));
    this.#flow.dissect(this.#packet);
    this.#record = this.#table.insert(this.#flow, parseAddress(address)!.words, 2525, 0, 40_000, 0);
    this.#table.setFlag(this.#record, ConnectionFlag.proxy, true);
  }

  play(): void {
    for (let steps = 40 + this.#below(200); steps > 0; steps--) this.#step();
    for (const path of [this.#toDirector, this.#toServer, this.#fromServer, this.#toClient])
      path.isKind = true;
    for (let round = 0; round < 200 && this.#acknowledged <= this.#dataBytes; round++) {
      this.#rightEdge = Math.max(this.#rightEdge, this.#next + 2000);
      this.#clientActs();
      this.#serverAnswers();
      for (let i = 0; i < 8; i++) this.#deliver();
    }
    expect(this.#acknowledged, "stream and FIN acknowledged").toBe(this.#dataBytes + 1);
    expect(this.#next, "stream and FIN received").toBe(this.#expected.length + 1);
    this.#clientSends({ flags: "R", seq: this.#dataBytes + 1 });
    for (let i = 0; i < 200; i++) this.#deliver();
    expect(this.#isReset, "the server is reset").toBe(true);
  }

  #step(): void {
    const choice = this.#below(8);
    if (choice === 0) this.#clientActs();
    else if (choice === 1) this.#serverAnswers();
    else this.#deliver();
  }

  #below(bound: number): number {
    return this.#random() % bound;
  }
  #of<T>(list: readonly T[]): T {
    return list[this.#below(list.length)]!;
  }

  // The client

  #clientActs(): void {
    if (!this.#isConnected) {
      const payload = this.#below(4) === 0 ? bytes(this.#dataBytes).subarray(0, 1 + this.#below(64)) : "";
      this.#clientSends({ flags: "S", seq: -1, payload, options: [2, 4, 5, 180, 4, 2, 0, 0] });
      return;
    }
    const kind = this.#below(8);
    if (kind === 0) this.#clientSends({ flags: "A", seq: this.#sent });
    else if (kind === 1)
      this.#clientSends({ flags: "A", seq: this.#acknowledged - 1, payload: this.#of(["", "?"]) });
    else if (this.#isGreeted || !this.#speaksFirst) this.#clientSendsData();
    else this.#clientSends({ flags: "A", seq: 0 });
  }

  /** Something new, or something that is not acknowledged once more, as it happens. */
  #clientSendsData(): void {
    const unacknowledged = this.#sent - this.#acknowledged;
    const at = this.#acknowledged + this.#of([0, unacknowledged, this.#below(unacknowledged + 1)]);
    // A window that is shut is tried with one byte.
    const end = Math.max(this.#mayBeSent, this.#acknowledged + 1);
    const isSuper = this.#below(3) === 0;
    const most = isSuper ? 3 * this.#segmentMax : this.#of([1, 10, this.#segmentMax]);
    const length = Math.max(0, Math.min(most, this.#dataBytes - at, end - at));
    const hasFin = at + length === this.#dataBytes && at + length < end;
    const payload = this.#expected.subarray(this.#headerBytes + at, this.#headerBytes + at + length);
    const gsoBytes = length > this.#segmentMax ? this.#segmentMax : 0;
    this.#clientSends({ flags: hasFin ? "FA" : "A", seq: at, payload }, gsoBytes);
    this.#sent = Math.max(this.#sent, at + length + (hasFin ? 1 : 0));
  }

  /** @param fields - its sequence number counts from the beginning of the stream */
  #clientSends(fields: Partial<TcpFields> & { readonly seq: number }, gsoBytes = 0): void {
    const { client, virtual } = PLACES[this.#family];
    const isChecksumPartial = gsoBytes > 0 || this.#below(2) === 0;
    const options = fields.options ?? this.#of([[], [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]]);
    const checksum = isChecksumPartial ? "partial" : "full";
    const seq = (this.#first + fields.seq) >>> 0;
    const ack = (fields.flags ?? "A").includes("A") ? this.#serverFirst : 0;
    const made = tcp({ from: client, to: virtual, ...fields, seq, ack, options, checksum });
    this.#toDirector.send({ bytes: made, isChecksumPartial, gsoBytes });
  }

  #clientReceives({ flags, acknowledgment, window, options, payload }: Segment): void {
    const acknowledged = (acknowledgment - this.#first) | 0;
    if ((flags & TcpFlag.syn) !== 0) {
      expect(acknowledged, "acknowledgment of the SYN").toBe(0);
      this.#isConnected = true;
      const mss = (options[2]! << 8) | options[3]!;
      expect(mss).toBe(SERVER_MSS - this.#headerBytes);
      this.#segmentMax = mss;
      this.#mayBeSent = Math.max(this.#mayBeSent, window);
      this.#clientSends({ flags: "A", seq: this.#sent });
      return;
    }
    // One that was overtaken by the header's may seem as old as it is; the client takes it for that.
    const isOld = this.#next >= this.#headerBytes;
    expect(acknowledged, "acknowledgment").toBeGreaterThanOrEqual(isOld ? -this.#headerBytes : 0);
    expect(acknowledged, "acknowledgment of what was never sent").toBeLessThanOrEqual(this.#sent);
    if (acknowledged > 0) expect(this.#next).toBeGreaterThanOrEqual(this.#headerBytes + acknowledged);
    this.#acknowledged = Math.max(this.#acknowledged, acknowledged);
    this.#mayBeSent = Math.max(this.#mayBeSent, acknowledged + window);
    const view = new DataView(options.buffer, options.byteOffset, options.byteLength);
    for (let at = 4; at + 8 <= options.length; at += 8) {
      const left = (view.getInt32(at) - this.#first) | 0;
      const right = (view.getInt32(at + 4) - this.#first) | 0;
      expect(left, "left edge").toBeGreaterThanOrEqual(0);
      expect(right, "right edge").toBeGreaterThanOrEqual(left);
      expect(right, "right edge").toBeLessThanOrEqual(this.#sent);
      const told = this.#isHere.subarray(this.#headerBytes + left, this.#headerBytes + right);
      expect(
        told.every((isHere) => isHere === 1),
        "the block is with the server",
      ).toBe(true);
    }
    if (payload.length > 0) {
      this.#isGreeted = true;
      this.#clientSends({ flags: "A", seq: this.#sent });
    }
  }

  // The server

  #serverReceives({ flags, sequence, payload }: Segment): void {
    expect(payload.length, "segment fits the path").toBeLessThanOrEqual(SERVER_MSS);
    const at = (sequence - this.#first) | 0;
    if ((flags & TcpFlag.syn) !== 0) {
      expect([at, payload.length]).toEqual([-1, 0]);
      this.#serverAnswers();
      return;
    }
    if ((flags & TcpFlag.rst) !== 0) {
      if (at === this.#next) this.#isReset = true;
      return;
    }
    this.#isAccepted = true;
    const end = at + payload.length + ((flags & TcpFlag.fin) !== 0 ? 1 : 0);
    if (at >= 0 && at < this.#next && end > at) this.#duplicate = [at, Math.min(end, this.#next)];
    for (let offset = Math.max(at, this.#next); offset < Math.min(end, this.#rightEdge); offset++) {
      // FIN stands behind the last byte and nowhere else.
      const found = offset - at < payload.length ? payload[offset - at] : undefined;
      expect(found, `byte ${offset} of the server's stream`).toBe(this.#expected[offset]);
      this.#isHere[offset] = 1;
    }
    if (at <= 0 && payload.length > 0) this.headerCount++;
    while (this.#isHere[this.#next] === 1) this.#next++;
    if (this.#below(2) === 0 || end === at || at < this.#next) this.#serverAnswers();
  }

  #serverAnswers(): void {
    if (this.#below(3) === 0) {
      this.#rightEdge = Math.max(this.#rightEdge, this.#next + this.#of([0, 1, 20, 600, 6000]));
    }
    const window = this.#rightEdge - this.#next;
    if (!this.#isAccepted) {
      const options = [2, 4, SERVER_MSS >> 8, SERVER_MSS & 0xff, 4, 2, 0, 0];
      this.#serverSends({ flags: "SA", seq: this.#serverFirst - 1, ack: this.#first, options, window });
      return;
    }
    const hasHeader = this.#next >= this.#headerBytes;
    const payload = this.#speaksFirst && hasHeader && this.#below(2) === 0 ? GREETING : "";
    const ack = (this.#first + this.#next) >>> 0;
    this.#serverSends({ flags: "A", seq: this.#serverFirst, ack, window, payload, options: this.#blocks() });
    this.#duplicate = undefined;
  }

  #serverSends(fields: Partial<TcpFields>): void {
    const { client, server } = PLACES[this.#family];
    const isChecksumPartial = this.#below(2) === 0;
    const checksum = isChecksumPartial ? "partial" : "full";
    const seq = fields.seq! >>> 0;
    this.#fromServer.send({
      bytes: tcp({ from: server, to: client, ...fields, seq, checksum }),
      isChecksumPartial,
      gsoBytes: 0,
    });
  }

  /** A SACK option: what was repeated (RFC 2883), and up to two pieces behind a gap. */
  #blocks(): number[] {
    const blocks: (readonly [number, number])[] = this.#duplicate === undefined ? [] : [this.#duplicate];
    for (let at = this.#next; at < this.#isHere.length && blocks.length < 3; at++) {
      if (this.#isHere[at] !== 1) continue;
      let end = at;
      while (this.#isHere[end] === 1) end++;
      blocks.push([at, end]);
      at = end;
    }
    if (blocks.length === 0) return [];
    const option = new DataView(new ArrayBuffer(4 + 8 * blocks.length));
    option.setUint32(0, 0x0101_0500 | (2 + 8 * blocks.length));
    blocks.flat().forEach((offset, i) => {
      option.setUint32(4 + 4 * i, (this.#first + offset) >>> 0);
    });
    return [...new Uint8Array(option.buffer)];
  }

  // In between

  #deliver(): void {
    const asked = this.#toDirector.receive();
    if (asked !== undefined) this.#passToServer(asked);
    const heard = this.#toServer.receive();
    if (heard !== undefined) this.#serverReceives(this.#read(heard));
    const answered = this.#fromServer.receive();
    if (answered !== undefined) this.#passToClient(answered);
    const told = this.#toClient.receive();
    if (told !== undefined) this.#clientReceives(this.#read(told));
  }

  #passToServer(sent: Sent): void {
    this.#load(sent);
    expect(proxyToServer(this.#packet, this.#flow, this.#table, this.#record)).toBe(true);
    const { words } = this.#table;
    const at = this.#table.destinationAt(this.#record);
    rewrite(this.#packet, this.#flow, this.#flow.words, 0, 40_000, words, at, 2525);
    const { client, server } = PLACES[this.#family];
    const made = this.#packet.toBytes().slice();
    checkPacket(made, sent.isChecksumPartial ? validPartial() : valid(), from(client), to(server));
    for (const one of this.#segments(made)) this.#toServer.send({ ...sent, bytes: one, gsoBytes: 0 });
  }

  #passToClient(sent: Sent): void {
    this.#load(sent);
    proxyToClient(this.#packet, this.#flow, this.#table, this.#record);
    const { words } = this.#table;
    rewrite(
      this.#packet,
      this.#flow,
      words,
      this.#table.virtualAt(this.#record),
      25,
      this.#flow.words,
      4,
      40_000,
    );
    const { client, virtual } = PLACES[this.#family];
    const made = this.#packet.toBytes().slice();
    checkPacket(made, sent.isChecksumPartial ? validPartial() : valid(), from(virtual), to(client));
    this.#toClient.send({ ...sent, bytes: made });
  }

  #load(sent: Sent): void {
    this.packetCount++;
    this.#packet.load(sent.bytes);
    this.#packet.isChecksumPartial = sent.isChecksumPartial;
    if (sent.gsoBytes > 0) {
      this.#packet.gso = this.#family === 4 ? Gso.tcp4 : Gso.tcp6;
      this.#packet.gsoBytes = sent.gsoBytes;
    }
    expect(this.#flow.dissect(this.#packet)).toBe("ok");
  }

  /** What the device makes of a packet: itself, or a super-packet's segments. */
  #segments(made: Uint8Array): readonly Uint8Array[] {
    const { gso, gsoBytes } = this.#packet;
    if (gso === Gso.none) return [made];
    const { flags, sequence, acknowledgment, options, payload } = this.#read({
      bytes: made,
      isChecksumPartial: true,
      gsoBytes: 0,
    });
    const { client, server } = PLACES[this.#family];
    const count = Math.ceil(payload.length / gsoBytes);
    return Array.from({ length: count }, (_, i) => {
      const hasFin = (flags & TcpFlag.fin) !== 0 && i === count - 1;
      return tcp({
        from: client,
        to: server,
        flags: hasFin ? "FA" : "A",
        seq: (sequence + i * gsoBytes) >>> 0,
        ack: acknowledgment,
        options: [...options],
        payload: payload.slice(i * gsoBytes, (i + 1) * gsoBytes),
      });
    });
  }

  #read({ bytes: made }: Sent): Segment {
    const view = new DataView(made.buffer, made.byteOffset, made.byteLength);
    const tcpView = new TcpView();
    expect(tcpView.attach(view, this.#family === 4 ? 20 : 40, made.length)).toBe(true);
    const { flags, sequence, acknowledgment, window, optionsAt, payloadAt } = tcpView;
    const options = made.subarray(optionsAt, payloadAt);
    return { flags, sequence, acknowledgment, window, options, payload: made.subarray(payloadAt) };
  }
}

test("header and stream arrive, and the client never knows: 300 connections", { timeout: 120_000 }, () => {
  let packetCount = 0;
  let headerCount = 0;
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), (seed) => {
      const story = new Story(seed);
      story.play();
      packetCount += story.packetCount;
      headerCount += story.headerCount;
    }),
    { numRuns: RUNS, seed: 1 },
  );
  expect(packetCount).toBeGreaterThan(60 * RUNS);
  // Repeated headers are what the numbers could go wrong with.
  expect(headerCount).toBeGreaterThan(1.5 * RUNS);
});
