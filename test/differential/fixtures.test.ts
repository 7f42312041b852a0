/**
 * Packets by name, through the director alone and through the director with the fast path: equal bytes, equal verdicts,
 * equal connections and counters; and each in the path it is meant for.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { whyNoFastPath } from "../../src/datapath/ebpf/probe.ts";
import {
  bytes,
  fragment,
  type IpFields,
  icmp,
  sctp,
  type TcpFields,
  tcp,
  udp,
} from "../support/packet-builder.ts";
import { destination, service } from "../support/replayed.ts";
import { Twins } from "../support/twins.ts";

const why = whyNoFastPath();

const ENDS = {
  4: { client: "202.100.1.2", vip: "202.103.106.5", server: "172.16.0.2", pooled: "202.103.106.6", pool: "10.9.0.1" },
  6: { client: "[2001:db8:1::2]", vip: "[2001:db8:5::5]", server: "[fd00:16::2]", pooled: "[2001:db8:5::6]", pool: "[fd00:9::1]" },
} as const; // biome-ignore format: a table
type Family = 4 | 6;
const FAMILIES: readonly Family[] = [4, 6];
const bare = (address: string): string => address.replace(/[[\]]/g, "");

const services = FAMILIES.flatMap((family) => {
  const { vip, server, pooled, pool } = ENDS[family];
  return (["tcp", "udp"] as const).flatMap((protocol) => [
    service(protocol, bare(vip), 80, "wrr", destination(bare(server), 8000)),
    {
      ...service(protocol, bare(pooled), 80, "wrr", destination(bare(server), 8001)),
      fullNat: { sources: [bare(pool)], clients: "all" as const },
    },
  ]);
});

type Path = "fast" | "slow";
interface Variation {
  readonly name: string;
  readonly path: Path;
  readonly fields?: IpFields & Partial<TcpFields>;
  /** What is done to the finished packet. */
  readonly change?: (packet: Uint8Array) => Uint8Array;
  readonly only?: Family;
}

const tcpFlags = (["A", "PA", "FA", "F", "R", "RA", "FPUA", "EA", "CA", "", "U", "P"] as const).map(
  (flags): Variation => ({ name: `flags ${flags || "none"}`, path: "fast", fields: { flags } }),
);
const sizes = [0, 1, 2, 3, 7, 8, 63, 64, 511, 1000, 1400].map(
  (length): Variation => ({ name: `${length} bytes`, path: "fast", fields: { payload: bytes(length) } }),
);
const setByte =
  (at: number, value: number) =>
  (packet: Uint8Array): Uint8Array => {
    const changed = packet.slice();
    changed[at] = value;
    return changed;
  };

const COMMON: readonly Variation[] = [
  ...sizes,
  { name: "TTL 255", path: "fast", fields: { ttl: 255 } },
  { name: "TTL 2", path: "fast", fields: { ttl: 2 } },
  { name: "TTL 1", path: "slow", fields: { ttl: 1 } },
  { name: "TTL 0", path: "slow", fields: { ttl: 0 } },
  { name: "type of service", path: "fast", fields: { tos: 0xb8 } },
  { name: "ECN", path: "fast", fields: { tos: 3 } },
  { name: "do not fragment", path: "fast", fields: { dontFragment: true } },
  { name: "identification", path: "fast", fields: { identification: 0xfffe } },
  { name: "a wrong checksum", path: "fast", fields: { checksum: "wrong" } },
  { name: "as large as fits", path: "fast", fields: { payload: bytes(1500 - 60) } },
  { name: "too large", path: "slow", fields: { payload: bytes(1500), dontFragment: true } },
  { name: "too large, to be cut", path: "slow", fields: { payload: bytes(1500) } },
  { name: "padding behind it", path: "fast", change: (packet) => Uint8Array.from([...packet, ...bytes(17)]) },
  { name: "cut off", path: "slow", fields: { payload: bytes(30) }, change: (packet) => packet.subarray(0, -1) },
  { name: "version 5", path: "slow", change: setByte(0, 0x55) },
  { name: "IP options", path: "slow", fields: { ipOptions: [7, 3, 4] }, only: 4 },
  { name: "a wrong header checksum", path: "slow", change: setByte(8, 63), only: 4 },
  { name: "a header of 16 bytes", path: "slow", change: setByte(0, 0x44), only: 4 },
  { name: "a first fragment", path: "slow", fields: { payload: bytes(200) }, change: (packet) => fragment(packet, 120)[0]! },
  { name: "a last fragment", path: "slow", fields: { payload: bytes(200) }, change: (packet) => fragment(packet, 120).at(-1)! },
  { name: "an empty hop-by-hop header", path: "slow", fields: { extensions: [{ header: 0, body: [0, 1, 4, 0, 0, 0, 0] }] }, only: 6 },
  { name: "destination options", path: "slow", fields: { extensions: [{ header: 60, body: [0, 1, 4, 0, 0, 0, 0] }] }, only: 6 },
]; // biome-ignore format: a table

const TCP_ONLY: readonly Variation[] = [
  ...tcpFlags,
  { name: "TCP options", path: "fast", fields: { options: [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8] } },
  { name: "40 bytes of TCP options", path: "fast", fields: { options: new Array<number>(40).fill(1), payload: bytes(5) } },
  { name: "an urgent pointer", path: "fast", fields: { flags: "UA", urgentPointer: 7, payload: bytes(9) } },
  { name: "sequence numbers", path: "fast", fields: { seq: 0xffffffff, ack: 0x80000000 } },
]; // biome-ignore format: a table

const UDP_ONLY: readonly Variation[] = [{ name: "no checksum", path: "slow", fields: { checksum: "none" } }];

describe.skipIf(why !== undefined)(`fixtures (${why ?? "eBPF is there"})`, () => {
  let twins: Twins;
  let port = 2000;
  let count = 0;
  beforeAll(() => {
    twins = new Twins(services);
  });
  afterAll(() => {
    expect(count).toBeGreaterThanOrEqual(200);
    twins.close();
  });

  for (const family of FAMILIES) {
    for (const protocol of ["tcp", "udp"] as const) {
      for (const kind of ["plain", "full NAT"] as const) {
        const { client, server, pool, vip: plain, pooled } = ENDS[family];
        const [vip, serverPort] = kind === "plain" ? [plain, 8000] : [pooled, 8001];
        const build = protocol === "tcp" ? tcp : udp;
        const variations = [...COMMON, ...(protocol === "tcp" ? TCP_ONLY : UDP_ONLY)].filter(
          ({ only }) => only === undefined || only === family,
        );
        test.each(variations)(`IPv${family} ${protocol} ${kind}: $name`, ({ fields, path, change }) => {
          // Each on a connection of its own, so that states do not depend on the order.
          port++;
          const seen = kind === "plain" ? `${client}:${port}` : `${pool}:${port}`;
          const toServer = (more: object): Uint8Array =>
            build({ from: `${client}:${port}`, to: `${vip}:80`, ...more });
          const toClient = (more: object): Uint8Array =>
            build({ from: `${server}:${serverPort}`, to: seen, ...more });
          expect(twins.send(toServer({ flags: "S" })).isFast).toBe(false);
          expect(twins.send(toClient({ flags: "SA" })).isFast).toBe(true);
          expect(twins.send(toServer({ flags: "A" })).isFast).toBe(true);
          for (const packet of [toServer(fields ?? {}), toClient(fields ?? {})]) {
            const { isFast } = twins.send(change ? change(packet) : packet);
            expect(isFast ? "fast" : "slow").toBe(path);
            count++;
          }
          twins.expectSame();
        });
      }
    }

    test(`IPv${family}: what is no packet of a connection takes the slow path`, () => {
      const { client, vip, server } = ENDS[family];
      const strangers = [
        tcp({ from: `${client}:9`, to: `${vip}:80` }),
        tcp({ from: `${client}:9`, to: `${vip}:81`, flags: "S" }),
        udp({ from: `${client}:9`, to: `${client}:9` }),
        tcp({ from: `${server}:8000`, to: `${client}:9` }),
        sctp({ from: `${client}:9`, to: `${vip}:80` }),
        icmp({ from: bare(client), to: bare(vip), type: family === 4 ? 8 : 128 }),
      ];
      for (const packet of strangers) expect(twins.send(packet).isFast).toBe(false);
      twins.expectSame();
    });

    test(`IPv${family}: of a super-packet the segments have to fit`, () => {
      port++;
      const { client, vip } = ENDS[family];
      const of = (more: object): Uint8Array => tcp({ from: `${client}:${port}`, to: `${vip}:80`, ...more });
      twins.send(of({ flags: "S" }));
      expect(twins.send(of({ payload: bytes(3000) }), 1400).isFast).toBe(true);
      expect(twins.send(of({ payload: bytes(3000), dontFragment: true }), 1490).isFast).toBe(false);
      twins.expectSame();
    });
  }
});
