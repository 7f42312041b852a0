/**
 * The fast path's program on its own, with few and many connections and services: what a packet costs in the kernel
 * (BPF_PROG_TEST_RUN, each packet on another flow, so that nothing is in the processor's caches that would not be), what it
 * costs to cache a connection and to forget it, and what it costs the director to look at all of them.
 */
import { milliseconds } from "../../src/base/environment.ts";
import { EbpfFlowCache } from "../../src/datapath/ebpf/flow-cache.ts";
import { whyNoFastPath } from "../../src/datapath/ebpf/probe.ts";
import type { Director } from "../../src/nat/director.ts";
import { Packet } from "../../src/wire/packet.ts";
import { foundingDirector, seeded } from "../nat/directors.ts";
import { ACK, makePacket, SYN } from "../nat/packets.ts";
import { median, three } from "../sample.ts";
import { table } from "../table.ts";
import { millisecondsOf } from "../timing.ts";

const VIP = "202.103.106.5";
const FIRST_PORT = 10_000;
/** Connections, services. */
const CASES = [
  [1_000, 1],
  [100_000, 1],
  [1_000_000, 1],
  [100_000, 1_000],
] as const;
const READINGS = 4_000;
const ETHERNET_BYTES = 14;
/** Neither far from the kernel's clock nor expired. */
const NOW = milliseconds(1_000_000);

export function fastPathBenchmark(): string {
  const why = whyNoFastPath();
  if (why !== undefined) return `The fast path\nnot measured: ${why}`;
  const rows = CASES.map(([connections, services]) => measure(connections, services));
  const header = [
    "connections",
    "services",
    "hit ns",
    "miss ns",
    "cache us",
    "forget us",
    "look at all, idle ms",
  ];
  return `The fast path: a packet in the kernel, a connection in the director\n${table(header, rows)}`;
}

function measure(connectionCount: number, serviceCount: number): string[] {
  const director = foundingDirector(NOW);
  for (let number = 0; number < serviceCount; number++) addService(director, FIRST_PORT + number);
  const cache = new EbpfFlowCache({
    table: director.connections,
    findWay: () => ({ device: 1, mtuBytes: 1500 }),
    originNs: Number(process.hrtime.bigint()) - NOW * 1e6,
    onWarning: (message) => console.log(message),
  });
  try {
    const packet = new Packet();
    const open = (number: number): void => {
      packet.load(segment(number, serviceCount, SYN));
      director.receive(packet, NOW);
    };
    // Half of them without a cache, for comparison.
    const half = connectionCount / 2;
    const bareMs = millisecondsOf(() => {
      for (let number = 0; number < half; number++) open(number);
    });
    director.cached.cache = cache;
    const cachedMs = millisecondsOf(() => {
      for (let number = half; number < connectionCount; number++) open(number);
    });
    for (let number = 0; number < half; number++) cache.install(number, 3, NOW / 10, NOW / 10);
    const hits: number[] = [];
    const misses: number[] = [];
    const random = seeded(1);
    for (let reading = 0; reading < READINGS; reading++) {
      const number = random() % connectionCount;
      hits.push(run(cache, segment(number, serviceCount, ACK)));
      misses.push(run(cache, segment(number, serviceCount, ACK, FIRST_PORT - 1)));
    }
    const lookMs = millisecondsOf(() => {
      for (let record = 0; record < connectionCount; record++) director.cached.catchUp(record);
    });
    const idleMs = Math.min(
      lookMs,
      millisecondsOf(() => {
        for (let record = 0; record < connectionCount; record++) director.cached.catchUp(record);
      }),
    );
    const forgetMs = millisecondsOf(() => {
      for (let record = 0; record < connectionCount; record++) cache.withdraw(record);
    });
    return [
      three(connectionCount),
      three(serviceCount),
      three(median(hits)),
      three(median(misses)),
      three(((cachedMs - bareMs) / half) * 1000),
      three((forgetMs / connectionCount) * 1000),
      three(idleMs),
    ];
  } finally {
    director.cached.cache = undefined;
    cache.close();
  }
}

function addService(director: Director, port: number): void {
  director.addService({
    protocol: "tcp",
    address: VIP,
    port,
    scheduler: "rr",
    destinations: [{ address: "172.16.0.2", port: 80, weight: 1, upperThreshold: 0, lowerThreshold: 0 }],
  });
}

/** A segment of the client with this number. */
function segment(number: number, serviceCount: number, tcpFlags: number, port?: number): Uint8Array {
  const client = `10.${(number >> 16) & 0xff}.${(number >> 8) & 0xff}.${number & 0xff}`;
  const to = `${VIP}:${port ?? FIRST_PORT + (number % serviceCount)}`;
  return makePacket({ from: `${client}:3456`, to, protocol: "tcp", tcpFlags, bytes: 60 });
}

/** Nanoseconds of one run. */
function run(cache: EbpfFlowCache, packet: Uint8Array): number {
  const frame = new Uint8Array(ETHERNET_BYTES + packet.length);
  frame[12] = 0x08;
  frame.set(packet, ETHERNET_BYTES);
  return cache.program.run(frame).durationNs;
}
