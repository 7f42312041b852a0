/**
 * Properties of the wire layer. Every case is a seed that a small generator expands, because building byte arrays one
 * arbitrary at a time would take minutes; fast-check prints the seed of a failure.
 */
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { readCapture } from "../../src/wire/capture.ts";
import { CaptureError } from "../../src/wire/capture-record.ts";
import {
  finish,
  fold,
  pseudoHeaderSum4,
  pseudoHeaderSum6,
  sum,
  udpChecksum,
  updateChecksum,
  updateChecksum32,
  updatePartialChecksum32,
} from "../../src/wire/checksum.ts";
import { EtherPayload } from "../../src/wire/ethernet.ts";
import { IcmpView } from "../../src/wire/icmp.ts";
import { Icmpv6View } from "../../src/wire/icmpv6.ts";
import { Ipv4View } from "../../src/wire/ipv4.ts";
import { Ipv6View } from "../../src/wire/ipv6.ts";
import { Ipv6Extensions } from "../../src/wire/ipv6-extensions.ts";
import { findIp, frameIp, LinkType } from "../../src/wire/link-layer.ts";
import { pcapFileHeader, pcapRecord } from "../../src/wire/pcap.ts";
import { SctpView } from "../../src/wire/sctp.ts";
import { TcpView } from "../../src/wire/tcp.ts";
import { formatPacket } from "../../src/wire/text.ts";
import { UdpView } from "../../src/wire/udp.ts";
import { bytes, echo, fragment, icmp, plainChecksum, sctp, tcp, udp } from "../support/packet-builder.ts";
import { checkPacket, from, payload, to, valid, validPartial } from "../support/packet-check.ts";

const RUNS = 100_000;
/** Each takes about a second alone; a busy machine may take a while. */
const TIMEOUT_MS = 60_000;

/** Run a property over seeds; `random(n)` gives an integer below n. */
function forSeeds(check: (random: (below: number) => number) => void, numRuns = RUNS): void {
  fc.assert(
    fc.property(fc.integer(), (seed) => check(generator(seed))),
    { numRuns },
  );
}

/** Mulberry32: 32 bits of state, good enough to vary test input. */
function generator(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((((mixed ^ (mixed >>> 14)) >>> 0) * below) / 0x1_0000_0000) | 0;
  };
}

function randomBytes(random: (below: number) => number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = random(256);
  return bytes;
}

/** Sixteen bits, often 0 or 0xffff: the two zeros of ones' complement arithmetic are where mistakes hide. */
function edgyWord(random: (below: number) => number): number {
  const kind = random(4);
  return kind === 0 ? 0 : kind === 1 ? 0xffff : random(0x10000);
}

function edgyWord32(random: (below: number) => number): number {
  return (edgyWord(random) << 16) | edgyWord(random);
}

/** Like expect().toBe(), at a fifth of its cost a case. */
function same(found: number, wanted: number): void {
  if (found !== wanted) throw new Error(`found ${found}, wanted ${wanted}`);
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

describe("checksums", { timeout: TIMEOUT_MS }, () => {
  /** Data with a first byte that is not zero, as an IP header or pseudo-header has it. */
  const data = (random: (below: number) => number): Uint8Array => {
    const length = 8 + random(40);
    const bytes =
      random(3) === 0 ? new Uint8Array(length).fill(random(2) * 255) : randomBytes(random, length);
    bytes[0] = 0x45;
    return bytes;
  };

  /** The word that makes the checksum of all zero, the value that RFC 1141 gets wrong. */
  const wordForZero = (view: DataView, at: number): number => {
    view.setUint16(at, 0);
    return finish(sum(view, 0, view.byteLength, 0));
  };

  it("of any range are what the definition says", () => {
    forSeeds((random) => {
      const bytes = randomBytes(random, random(64));
      const at = random(bytes.length + 1);
      const length = random(bytes.length - at + 1);
      const wanted = plainChecksum(bytes.subarray(at, at + length));
      same(finish(sum(viewOf(bytes), at, length, 0)), wanted);
    });
  });

  it("updated for a 16-bit word are the full ones", () => {
    forSeeds((random) => {
      const bytes = data(random);
      const view = viewOf(bytes);
      const at = 2 + 2 * random((bytes.length - 2) >> 1);
      if (random(2) === 0) view.setUint16(at, edgyWord(random));
      const before = view.getUint16(at);
      const old = finish(sum(view, 0, bytes.length, 0));
      const after = random(4) === 0 ? wordForZero(view, at) : edgyWord(random);
      view.setUint16(at, after);
      same(updateChecksum(old, before, after), plainChecksum(bytes));
    });
  });

  it("updated for a 32-bit word are the full ones, and the UDP form is never zero", () => {
    forSeeds((random) => {
      const bytes = data(random);
      const view = viewOf(bytes);
      const at = 2 + 2 * random((bytes.length - 4) >> 1);
      if (random(2) === 0) view.setInt32(at, edgyWord32(random));
      const before = view.getInt32(at);
      const old = udpChecksum(finish(sum(view, 0, bytes.length, 0)));
      view.setInt32(at, edgyWord32(random));
      if (random(4) === 0) view.setUint16(at, wordForZero(view, at));
      const after = view.getInt32(at);
      same(udpChecksum(updateChecksum32(old, before, after)), plainChecksum(bytes) || 0xffff);
    });
  });

  it("that are partial follow addresses, and completed they are the full ones", () => {
    const addresses = { from: "1.2.3.4:5", to: "6.7.8.9:10" };
    const packets = [
      tcp({ ...addresses, payload: bytes(21), checksum: "partial" }),
      tcp({ from: "[2001:db8::1]:5", to: "[2001:db8::2]:10", payload: bytes(22), checksum: "partial" }),
    ];
    forSeeds((random) => {
      const family = random(2);
      const packet = packets[family]!;
      const view = viewOf(packet);
      const [addressesAt, wordCount, transportAt] = family === 0 ? [12, 2, 20] : [8, 8, 40];
      const length = packet.length - transportAt;
      const at = addressesAt + 4 * random(wordCount);
      const before = view.getInt32(at);
      const after = edgyWord32(random);
      view.setInt32(at, after);
      view.setUint16(transportAt, random(0x10000));
      const partial = updatePartialChecksum32(view.getUint16(transportAt + 16), before, after);
      view.setUint16(transportAt + 16, partial);
      const pseudo =
        family === 0 ? pseudoHeaderSum4(view, 0, 6, length) : pseudoHeaderSum6(view, 0, 6, length);
      same(partial, fold(pseudo));
      const completed = finish(sum(view, transportAt, length, 0));
      view.setUint16(transportAt + 16, 0);
      same(completed, finish(sum(view, transportAt, length, pseudo)));
      view.setUint16(transportAt + 16, partial);
    });
  });
});

/** One of each kind, to be damaged. */
const V4 = { from: "202.100.1.2:3456", to: "202.103.106.5:80" };
const V6 = { from: "[2001:db8:1::2]:3456", to: "[2001:db8:5::5]:80" };
const OPTIONS = [2, 4, 5, 180, 4, 2, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 3, 3, 7];
const EXTENSIONS = [
  { header: 0, body: [0, 1, 4, 0, 0, 0, 0] },
  { header: 43, body: [0, 4, 0, 0, 0, 0, 0] },
  { header: 51, body: [2, 0, 0, ...new Array<number>(12).fill(1)] },
];
const SEEDS: readonly Uint8Array[] = [
  tcp({ ...V4, flags: "S", options: OPTIONS, ipOptions: [7, 7, 4, 0, 0, 0, 0] }),
  tcp({ ...V6, flags: "PA", options: OPTIONS, extensions: EXTENSIONS, payload: "x" }),
  udp({ ...V4, payload: bytes(20) }),
  ...fragment(udp({ ...V6, payload: bytes(60) }), 100),
  sctp({ ...V4, chunks: [{ type: 10, value: [1, 2, 3] }, { type: 0 }] }),
  echo({ from: "1.2.3.4", to: "5.6.7.8", payload: "ping" }),
  icmp({ from: "1.2.3.4", to: "5.6.7.8", type: 3, code: 4, rest: 1280, payload: tcp({ ...V4 }) }),
  icmp({ from: "::1", to: "::2", type: 2, rest: 1280, payload: tcp({ ...V6, extensions: EXTENSIONS }) }),
];

/** Random bytes, or a good packet with some bytes changed and perhaps its end cut off. */
function hostileBytes(random: (below: number) => number, seeds = SEEDS): Uint8Array {
  if (random(4) === 0) {
    const bytes = randomBytes(random, random(100));
    if (bytes.length > 0 && random(4) > 0) bytes[0] = random(2) === 0 ? 0x45 + random(4) : 0x60;
    return bytes;
  }
  const seed = seeds[random(seeds.length)]!;
  const bytes = seed.slice(0, random(2) === 0 ? seed.length : random(seed.length + 1));
  for (let i = random(6); i > 0 && bytes.length > 0; i--) bytes[random(bytes.length)] = random(256);
  return bytes;
}

describe("no byte string", { timeout: TIMEOUT_MS }, () => {
  it("makes the text form throw or give more than one line", () => {
    forSeeds((random) => {
      const line = formatPacket(hostileBytes(random));
      if (!/^[\x20-\x7e]+$/.test(line)) throw new Error(`not a line: ${line}`);
    });
  });

  it("makes an accessor of an attached view fail", () => {
    const views = [
      new Ipv4View(),
      new Ipv6View(),
      new TcpView(),
      new UdpView(),
      new IcmpView(),
      new Icmpv6View(),
      new SctpView(),
      new EtherPayload(),
    ];
    const accessors = views.map((view) =>
      Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(view)))
        .filter(([, descriptor]) => descriptor.get !== undefined)
        .map(([name]) => name as keyof typeof view),
    );
    const extensions = new Ipv6Extensions();
    forSeeds((random) => {
      const bytes = hostileBytes(random);
      // The views end with the buffer, so that one byte too far is a RangeError.
      const at = random(2) === 0 ? 0 : random(bytes.length + 2);
      for (const [index, view] of views.entries()) {
        if (view.attach(viewOf(bytes), at, bytes.length))
          for (const name of accessors[index]!) void view[name];
      }
      if (bytes.length < 40) return;
      extensions.walk(viewOf(bytes), 6, 40, bytes.length);
      if (extensions.upperAt > bytes.length) throw new Error(`${extensions.upperAt} of ${bytes.length}`);
    });
  });

  it("makes the search for IP behind a link-layer header throw or point outside", () => {
    const linkTypes = [...Object.values(LinkType), 0, 105];
    const frames = Object.values(LinkType).flatMap((type) => SEEDS.map((seed) => frameIp(type, seed)));
    forSeeds((random) => {
      const frame = hostileBytes(random, frames);
      const at = findIp(linkTypes[random(linkTypes.length)]!, frame);
      if (typeof at === "number" && at >= frame.length) throw new Error(`${at} of ${frame.length}`);
    });
  });

  it("makes a capture file throw anything but CaptureError, or give more bytes than it has", () => {
    const records = SEEDS.slice(0, 3).map((seed, index) => pcapRecord(index, seed));
    const pcap = Uint8Array.from([pcapFileHeader(101), ...records].flatMap((part) => [...part]));
    const files = [pcap, pcapngOf(SEEDS[0]!), pcapngOf(SEEDS[1]!)];
    // Most files end in an error, and a mapped stack trace costs far more than reading them.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    onTestFinished(() => {
      Error.stackTraceLimit = stackTraceLimit;
    });
    forSeeds((random) => {
      const file = hostileBytes(random, files);
      try {
        let total = 0;
        for (const record of readCapture(file)) total += record.bytes.length;
        if (total > file.length) throw new Error(`${total} bytes of ${file.length}`);
      } catch (error) {
        if (!(error instanceof CaptureError)) throw error;
        if (error.offset < 0 || error.offset > file.length) throw error;
      }
    });
  });
});

/** A section, an interface with options, an enhanced and a simple packet; little endian. */
function pcapngOf(packet: Uint8Array): Uint8Array {
  const padded = (packet.length + 3) & ~3;
  const words = (...values: number[]): number[] => [...new Uint8Array(Uint32Array.from(values).buffer)];
  const data = [...packet, ...new Array<number>(padded - packet.length).fill(0)];
  return Uint8Array.from([
    ...words(0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff, 28),
    ...words(1, 32, 101, 0, 0x00010009, 6, 0, 32),
    ...words(6, 32 + padded, 0, 1, 2, packet.length, packet.length),
    ...data,
    ...words(32 + padded, 3, 16 + padded, packet.length),
    ...data,
    ...words(16 + padded),
  ]);
}

it("what the packet builder makes, the packet checker accepts", { timeout: TIMEOUT_MS }, () => {
  const endpoint = (random: (below: number) => number, family: number): string =>
    family === 4
      ? `${1 + random(200)}.${random(256)}.0.${random(256)}:${random(0x10000)}`
      : `[2001:db8::${(1 + random(0xfffe)).toString(16)}]:${random(0x10000)}`;
  forSeeds((random) => {
    const family = random(2) === 0 ? 4 : 6;
    const fields = { from: endpoint(random, family), to: endpoint(random, family) };
    const data = randomBytes(random, random(40));
    for (const build of [tcp, udp]) {
      const packet = build({ ...fields, payload: data, ttl: 1 + random(255) });
      checkPacket(packet, valid(), from(fields.from), to(fields.to), payload(data));
      checkPacket(build({ ...fields, payload: data, checksum: "partial" }), validPartial());
      expect(() => checkPacket(build({ ...fields, checksum: "wrong" }), valid())).toThrow("checksum");
    }
    checkPacket(sctp(fields), valid(), from(fields.from));
  }, 500);
});
