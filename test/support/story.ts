/**
 * Two hosts that play a dialogue over TCP through the director by the rules of RFC 9293 and RFC 2018, in any order that chance
 * likes. Segments are cut anywhere, lost, repeated, overtaken, cut differently each time and merged; senders wait for
 * acknowledgments (Nagle's algorithm) or do not; packets come with and without offloads.
 *
 * Each side must get what the other said with the right addresses in it, and nothing else; no host must ever be told that
 * something arrived that it did not send. That everything comes at all shows that every acknowledgment comes.
 */
import { expect } from "vitest";
import { seededRandom } from "../../src/base/seeded-random.ts";
import { Gso } from "../../src/wire/packet.ts";
import { TcpFlag, TcpView } from "../../src/wire/tcp.ts";
import { type TcpFields, tcp } from "./packet-builder.ts";
import { checkPacket, valid, validPartial } from "./packet-check.ts";
import type { Stage } from "./stage.ts";

const GSO_BYTES = 40;

/** Who knows whom by what: the packet's ends on both sides of the director, and the lines as said and as heard. */
export interface Place {
  readonly name: string;
  /** Default: tcp. */
  readonly transport?: "tcp" | "udp" | "sctp";
  readonly stage: () => Stage;
  /** The client's end and the server's, as the client sees them; then as the server does. */
  readonly outside: readonly [string, string];
  readonly inside: readonly [string, string];
  /** A character a byte. SCTP: packets from the common header on. */
  readonly said: readonly (readonly ["client" | "server", string, string?])[];
}

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
    let text = "";
    for (const byte of this.#received) text += String.fromCharCode(byte);
    return text;
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
    const size = [1, 2, 3, 7, 20, 60, 200, 1300][this.below(8)]!;
    let end = Math.min(this.written.length, from + size);
    if (this.#isNagle) end = Math.min(end, Math.max(this.#sent, from + 60));
    const hasFin = this.isClosed && end === this.written.length;
    if (end <= from && !hasFin) return undefined;
    this.#sent = Math.max(this.#sent, end + (hasFin ? 1 : 0));
    const payload = Uint8Array.from(this.written.slice(from, end), (one) => one.charCodeAt(0));
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

/** One dialogue, played by a seed. */
export class Story {
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
    const { gso: gsoAfter, gsoBytes: bytesAfter, isChecksumPartial: isPartialAfter } = this.#stage.packet;
    checkPacket(sent.bytes, isPartialAfter ? validPartial() : valid());
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
