/**
 * As many small datagrams as the path can take, made and dropped by the kernel, so that both ends cost next to nothing and the
 * figure is the director's (RFC 2544 does the same with a tester in hardware): started by Node inside the client's namespace.
 *
 *   node frames.js DEVICE SERVER_NAMESPACE SERVER_DEVICE ROUTER_MAC ADDRESS PORT FLOWS SERVICES SECONDS
 *
 * First every flow is sent until all have arrived without a loss, so that whoever keeps entries has them all; then it is
 * timed. Prints what was sent in that time, what arrived, how long it was, and what was sent in all.
 *
 * Frames go from the client's device to the director's in batches, as from a network card's queue, and all work on a batch is
 * done by the same processor before the next one begins: nothing is lost by overdriving, and the rate is the reciprocal of what a
 * frame costs. The director's device must have NAPI (`ethtool -K DEVICE gro on`), and drops of what arrives are in front
 * of the server's stack.
 */
import { readFileSync } from "node:fs";
import koffi from "koffi";
import { assemble } from "../../src/datapath/ebpf/asm/assembler.ts";
import type { Program } from "../../src/datapath/ebpf/asm/instruction.ts";
import {
  BpfMap,
  BpfProgram,
  MAP_MAPPABLE,
  MapType,
  ProgramType,
  TcxLink,
} from "../../src/datapath/ebpf/kernel/bpf.ts";
import { expectSuccess, O_CLOEXEC, open } from "../../src/datapath/system-call.ts";
import { Arrivals, FRAME_BYTES, generator, Load, sink } from "./frame-programs.ts";

/** Frames between two looks of the kernel at what they caused. */
const BATCH = 64;
/** Frames a system call, which takes some tenths of a second. */
const PER_CALL = 1 << 18;
/** What is under way to or from a director in user space has arrived by then, or is lost. */
const PATIENCE_MS = 20;
const WARM_UP_MS_MAX = 90_000;
const UDP = 17;

const [device = "", serverNamespace = "", serverDevice = "", routerMac = "", address = "", ...numbers] =
  process.argv.slice(2);
const [port, flows, services, seconds] = numbers.map(Number) as [number, number, number, number];

const libc = koffi.load("libc.so.6");
const setns = libc.func("int setns(int, int)");
const indexOf = libc.func("unsigned int if_nametoindex(const char *)");

const loadMap = arrayOf("load", Load.bytes);
const arrivalsMap = arrayOf("arrivals", Arrivals.bytes);
const load = new DataView(loadMap.memory);
const arrivals = new DataView(arrivalsMap.memory);
const sent = (): number => Number(load.getBigUint64(Load.at.made, true));
const arrived = (): number => Number(arrivals.getBigUint64(Arrivals.at.count, true));

const frame = makeFrame();
describeLoad();
const maker = loadProgram("generator", generator, ProgramType.xdp);
attachSink();
warmUp();
const [sentBefore, arrivedBefore] = [sent(), arrived()];
let tookNs = 0;
while (tookNs < seconds * 1e9) tookNs += send(Number.MAX_SAFE_INTEGER);
pause();
console.log(`sent ${sent() - sentBefore} arrived ${arrived() - arrivedBefore} ns ${tookNs} in all ${sent()}`);

/** Send every flow, until a round of all is without a loss. */
function warmUp(): void {
  const giveUpAt = performance.now() + WARM_UP_MS_MAX;
  for (let lost = 1; lost > 0; ) {
    const arrivedBefore = arrived();
    for (const end = sent() + flows; sent() < end; ) {
      send(end);
      if (performance.now() > giveUpAt)
        throw new Error(`after ${WARM_UP_MS_MAX} ms ${arrived()} of ${sent()} datagrams have arrived`);
    }
    pause();
    lost = flows - (arrived() - arrivedBefore);
  }
}

/** Go on, until so many are sent at most. @returns nanoseconds, without what a call costs before and after */
function send(until: number): number {
  load.setBigUint64(Load.at.until, BigInt(until), true);
  return maker.send(frame, PER_CALL, BATCH) * PER_CALL;
}

function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PATIENCE_MS);
}

/** The first one; the program gives each copy its flow, and both checksums. */
function makeFrame(): Uint8Array {
  const bytes = new Uint8Array(FRAME_BYTES);
  const view = new DataView(bytes.buffer);
  const ownMac = readFileSync(`/sys/class/net/${device}/address`, "utf8").trim();
  for (const [at, mac] of [routerMac, ownMac].entries())
    bytes.set(
      mac.split(":").map((text) => Number.parseInt(text, 16)),
      6 * at,
    );
  view.setUint16(12, 0x0800);
  view.setUint16(14, 0x4500); // version 4, 20 bytes
  view.setUint16(16, FRAME_BYTES - 14);
  view.setUint16(22, (64 << 8) | UDP); // TTL
  bytes.set(address.split(".").map(Number), 30);
  view.setUint16(36, port);
  view.setUint16(38, FRAME_BYTES - 34);
  return bytes;
}

function describeLoad(): void {
  const view = new DataView(frame.buffer);
  const sum = (from: number, to: number): number => {
    let total = 0;
    for (let at = from; at < to; at += 2) total += view.getUint16(at, true);
    return total;
  };
  load.setUint32(Load.at.flows, flows, true);
  load.setUint32(Load.at.services, services, true);
  load.setUint32(Load.at.device, indexOf(device), true);
  load.setUint32(Load.at.ipv4Sum, sum(14, 34), true);
  // Pseudo-header: addresses, protocol, length. The program adds the destination's port, which is not the same for all.
  const pseudoHeader = sum(26, 34) + (UDP << 8) + view.getUint16(38, true);
  load.setUint32(Load.at.udpSum, pseudoHeader + sum(38, FRAME_BYTES), true);
  new Uint8Array(loadMap.memory).set(frame.subarray(0, 48), Load.at.header);
}

function attachSink(): void {
  const here = openNamespace("/proc/self/ns/net");
  enterNamespace(openNamespace(`/var/run/netns/${serverNamespace}`));
  TcxLink.attach(loadProgram("sink", sink, ProgramType.classifier), indexOf(serverDevice));
  enterNamespace(here);
}

function arrayOf(name: string, valueBytes: number): BpfMap {
  return BpfMap.create(name, {
    type: MapType.array,
    keyBytes: 4,
    valueBytes,
    entriesMax: 1,
    flags: MAP_MAPPABLE,
  });
}

function loadProgram(name: string, program: Program, type: number): BpfProgram {
  const maps = { load: loadMap.descriptor, arrivals: arrivalsMap.descriptor };
  return BpfProgram.load(`bench_${name}`, assemble(program, maps), "MIT", type);
}

function openNamespace(path: string): number {
  return expectSuccess(open(path, O_CLOEXEC), "open", `open ${path}`);
}

/** With this thread alone, which is the one that calls the kernel here. */
function enterNamespace(descriptor: number): void {
  expectSuccess(setns(descriptor, 0), "setns", "enter the network namespace");
}
