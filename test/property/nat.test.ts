/**
 * Translation as a property: there and back is the identity, and a checksum carried along is the checksum computed anew.
 * 100,000 packets each, made of a seed, so that a failure names seed and case.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "../../src/base/seeded-random.ts";
import { rewrite } from "../../src/nat/rewrite.ts";
import { formatAddress } from "../../src/wire/address.ts";
import { Flow } from "../../src/wire/flow.ts";
import { Packet } from "../../src/wire/packet.ts";
import { type ChecksumKind, plainChecksum, plainCrc32c, sctp, tcp, udp } from "../support/packet-builder.ts";
import { checkPacket, from, to, valid, validPartial } from "../support/packet-check.ts";
import { destination, service } from "../support/replayed.ts";
import { expectBytes } from "../support/same-bytes.ts";
import { Stage } from "../support/stage.ts";

const CASES_PER_RUN = 500;
const RUNS = 200;

const PROTOCOLS = ["tcp", "udp", "sctp"] as const;
type Protocol = (typeof PROTOCOLS)[number];
/** Every kind of random choice a packet is made of. */
class Chance {
  readonly u32: () => number;
  constructor(seed: number) {
    this.u32 = seededRandom(seed);
  }
  below(bound: number): number {
    return this.u32() % bound;
  }
  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
  /** Few bits set, many bits set, or anything: sums that carry and sums that do not. */
  byte(): number {
    return this.of([0, 0xff, this.below(256)]);
  }
  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.byte());
  }
  port(): number {
    return this.of([1, 80, 65_535, 1 + this.below(65_535)]);
  }
  /** @param site - 1..120: addresses of different sites differ. */
  address(family: 4 | 6, site: number): string {
    if (family === 4) return `${site}.${this.byte()}.${this.byte()}.${this.byte()}`;
    return formatAddress(6, [0x2001_0000 | site, this.u32() | 0, this.u32() | 0, this.u32() | 0]);
  }
}

const endpoint = (family: 4 | 6, address: string, port: number): string =>
  family === 4 ? `${address}:${port}` : `[${address}]:${port}`;

function randomPacket(
  chance: Chance,
  protocol: Protocol,
  source: string,
  target: string,
  checksum: ChecksumKind,
): Uint8Array {
  const isIpv4 = !source.startsWith("[");
  const common = {
    from: source,
    to: target,
    ttl: 2 + chance.below(254),
    tos: chance.byte(),
    identification: chance.below(65_536),
    dontFragment: chance.below(2) === 0,
    checksum,
    ...(isIpv4 && chance.below(4) === 0
      ? { ipOptions: [...chance.bytes(4 * (1 + chance.below(10)))].map(() => 1) }
      : {}),
    ...(!isIpv4 && chance.below(4) === 0
      ? { extensions: [{ header: 60, body: [0, 1, 4, 0, 0, 0, 0] }] }
      : {}),
  };
  const payload = chance.bytes(chance.below(chance.of([2, 40, 200])));
  if (protocol === "udp") return udp({ ...common, payload });
  if (protocol === "sctp")
    return sctp({ ...common, chunks: [{ type: 1, value: [...payload] }], tag: chance.u32() });
  const numbers = { seq: chance.u32(), ack: chance.u32(), window: chance.below(65_536) };
  const options = chance.below(2) === 0 ? [...chance.bytes(4 * chance.below(11))] : [];
  return tcp({ ...common, ...numbers, flags: chance.of(["S", "SA", "SPU", "SEC"]), payload, options });
}

/** Offset of the transport header of a packet made by randomPacket. */
function transportAt(packet: Uint8Array): number {
  if (packet[0]! >> 4 === 4) return (packet[0]! & 15) * 4;
  return packet[6] === 60 ? 48 : 40;
}

/** The packet as whoever got it would send it back, TTL as given; nothing else differs. Checksums stay right. */
function turned(packet: Uint8Array, protocol: Protocol, hops: number): Uint8Array {
  const back = packet.slice();
  const isIpv4 = back[0]! >> 4 === 4;
  const [sourceAt, length] = isIpv4 ? [12, 4] : [8, 16];
  back.set(packet.subarray(sourceAt + length, sourceAt + 2 * length), sourceAt);
  back.set(packet.subarray(sourceAt, sourceAt + length), sourceAt + length);
  const at = transportAt(packet);
  back.set(packet.subarray(at + 2, at + 4), at);
  back.set(packet.subarray(at, at + 2), at + 2);
  back[isIpv4 ? 8 : 7] = hops;
  const view = new DataView(back.buffer);
  if (isIpv4) {
    view.setUint16(10, 0);
    view.setUint16(10, plainChecksum(back.subarray(0, at)));
  }
  if (protocol === "sctp") view.setUint32(at + 8, plainCrc32c(back.subarray(at)), true);
  return back;
}

/** Runs a seed's cases; the message of a failure says which case it was. */
function eachCase(seed: number, check: (chance: Chance) => void): void {
  const chance = new Chance(seed);
  for (let index = 0; index < CASES_PER_RUN; index++) {
    try {
      check(chance);
    } catch (error) {
      throw new Error(`seed ${seed}, case ${index}: ${(error as Error).message}`);
    }
  }
}

test("there and back is the identity: 100,000 packets", { timeout: 60_000 }, () => {
  let caseCount = 0;
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), (seed) => {
      const places = ([4, 6] as const).map((family) => {
        const chance = new Chance(seed + family);
        return {
          family,
          vip: chance.address(family, 101),
          port: chance.port(),
          server: chance.address(family, 102),
          serverPort: chance.port(),
        };
      });
      const services = places.flatMap(({ vip, port, server, serverPort }) =>
        PROTOCOLS.map((protocol) => service(protocol, vip, port, "rr", destination(server, serverPort))),
      );
      const stage = new Stage(services, { fragmentBytesMax: 1 });
      eachCase(seed, (chance) => {
        caseCount++;
        const { family, vip, port, server, serverPort } = chance.of(places);
        const protocol = chance.of(PROTOCOLS);
        const checksum =
          protocol === "sctp" ? "full" : chance.of(["full", "full", "partial", "wrong", "none"] as const);
        // TCP has no "none": a zero there is a wrong checksum.
        const client = endpoint(
          family,
          chance.address(family, 1 + chance.below(100)),
          1024 + chance.below(64_000),
        );
        const virtual = endpoint(family, vip, port);
        const real = endpoint(family, server, serverPort);
        const asked = randomPacket(chance, protocol, client, virtual, checksum);
        const hops = asked[family === 4 ? 8 : 7]!;
        const offload = { isChecksumPartial: checksum === "partial" };

        const there = stage.send(asked, offload);
        expect(there.verdict).toBe("to-server");
        checkPacket(there.bytes, from(client), to(real));
        const isRight = checksum === "full" || (protocol === "udp" && checksum === "none");
        if (isRight) checkPacket(there.bytes, valid());
        if (checksum === "partial") checkPacket(there.bytes, validPartial());

        const back = stage.send(turned(there.bytes, protocol, hops), offload);
        expect(back.verdict).toBe("to-client");
        if (isRight) checkPacket(back.bytes, valid());
        const wanted = turned(asked, protocol, hops - 1);
        if (protocol === "udp" && checksum === "none") {
          // The one documented change: no checksum becomes a checksum.
          const at = transportAt(wanted) + 6;
          wanted.set(back.bytes.subarray(at, at + 2), at);
        }
        expectBytes(back.bytes, wanted);
      });
    }),
    { numRuns: RUNS, seed: 1 },
  );
  expect(caseCount).toBeGreaterThanOrEqual(100_000);
});

test("an incremental checksum is the full checksum, a partial one the new pseudo-header's: 100,000 rewrites", {
  timeout: 60_000,
}, () => {
  const packet = new Packet();
  const flow = new Flow();
  let caseCount = 0;
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), (seed) => {
      eachCase(seed, (chance) => {
        caseCount++;
        const family = chance.of([4, 6] as const);
        const protocol = chance.of(PROTOCOLS);
        const checksum = protocol === "sctp" ? "full" : chance.of(["full", "partial"] as const);
        const ends = [0, 1].map(() =>
          endpoint(family, chance.address(family, 1 + chance.below(100)), chance.port()),
        );
        packet.load(randomPacket(chance, protocol, ends[0]!, ends[1]!, checksum));
        packet.isChecksumPartial = checksum === "partial";
        expect(flow.dissect(packet)).toBe("ok");
        // Each of the four parts changes or stays; words of all ones and all zeros are the edges of one's complement.
        const words = Int32Array.from({ length: 8 }, (_, i) => {
          if (family === 4 && i % 4 !== 0) return 0;
          return chance.of([flow.words[i]!, -1, 0, chance.u32() | 0]);
        });
        const ports = [
          chance.of([flow.sourcePort, 0, 65_535, chance.port()]),
          chance.of([flow.destinationPort, 0, chance.port()]),
        ];
        rewrite(packet, flow, words, 0, ports[0]!, words, 4, ports[1]!);
        const made = packet.toBytes();
        const text = (at: number, port: number) => endpoint(family, formatAddress(family, words, at), port);
        checkPacket(
          made,
          from(text(0, ports[0]!)),
          to(text(4, ports[1]!)),
          checksum === "partial" ? validPartial() : valid(),
        );
      });
    }),
    { numRuns: RUNS, seed: 2 },
  );
  expect(caseCount).toBeGreaterThanOrEqual(100_000);
});
