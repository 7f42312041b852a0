/**
 * Sixth stage: new addresses, ports, hops and checksums, as `nat/rewrite.ts` writes them, in place: before the program begins the
 * kernel gives a packet that shares its bytes with another, which is being captured say, bytes of its own. Sums are carried
 * along by what the director computed when it cached the flow; that of the transport by the kernel's function, which alone
 * knows which packets have a partial checksum or a sum over all of it.
 *
 * One packet in so many is copied for the audit, before and after.
 */

import { Protocol } from "../../../wire/flow.ts";
import {
  add,
  and,
  at,
  branch,
  call,
  exit,
  goTo,
  label,
  load,
  mapValue,
  mov,
  mul,
  or,
  type Place,
  shiftLeft,
  shiftRight,
  store,
  sub,
  toNetwork,
  xor,
} from "../asm/instruction.ts";
import { AUDITED_BYTES_MAX, Audit, Control, Flow, FlowKey, NewsKind } from "../maps/layout.ts";
import {
  CONTEXT,
  ETHERNET_BYTES,
  type Family,
  further,
  Helper,
  NEIGHBOUR_BYTES,
  SLOW_PATH,
  STACK,
  type Stage,
} from "./context.ts";
import { type FamilyPlaces, PLACES } from "./family.ts";
import { copy } from "./memory.ts";
import { discardNews, reserveNews, submitNews } from "./news.ts";

const PORTS_BYTES = 4;
/** Flags of bpf_l4_csum_replace. */
const PSEUDO_HEADER = 1 << 4;
const ZERO_MEANS_NONE = 1 << 5;
/** No IP header checksum balances the addresses' change in a sum over the whole packet (Linux 6.16). */
const IS_IPV6 = 1 << 7;
/** What one hop less adds to a sum over the header: TTL is the low byte of its word, as a little-endian machine reads it. */
const HOP_DELTA = 0xfffe;
/** Numbers in sequence times this are spread evenly in their higher bits: 2^32 through the golden ratio. */
const SCATTER = 0x61c88647;

export interface RewriteOptions {
  /** The kernel knows IS_IPV6. */
  readonly hasIpv6Flag: boolean;
}

/** Leaves the packet rewritten; r8 the copy for the audit, or 0. */
export function rewrite(family: Family, options: RewriteOptions): Stage {
  const places = PLACES[family];
  const name = (what: string): string => `IPv${family} ${what}`;
  const { transportAt, addressesAt, addressBytes } = places;
  return [
    ...beginAudit(places),
    load(4, "r2", CONTEXT.data),
    load(4, "r3", CONTEXT.dataEnd),
    mov("r4", "r2"),
    add("r4", transportAt + PORTS_BYTES),
    branch("r4", ">", "r3", name("failed")), // never: it was read
    ...(family === 4 ? hops4 : hops6),
    ...copy(at("r7", Flow.at.source), at("r2", addressesAt), addressBytes),
    ...copy(at("r7", Flow.at.destination), at("r2", addressesAt + addressBytes), addressBytes),
    ...copy(at("r7", Flow.at.sourcePort), at("r2", transportAt), PORTS_BYTES),

    // Transport checksum: at 16 in TCP, at 6 in UDP, where zero would mean that there is none.
    load(1, "r1", further(STACK.key, FlowKey.at.protocol)),
    branch("r1", "==", Protocol.udp, name("UDP checksum")),
    ...changeChecksum(name("TCP"), transportAt + 16, flagsOf(family, options), name("rewritten")),
    goTo(name("rewritten")),
    label(name("UDP checksum")),
    ...changeChecksum(
      name("UDP"),
      transportAt + 6,
      flagsOf(family, options) | ZERO_MEANS_NONE,
      name("rewritten"),
    ),
    label(name("rewritten")),
    ...endAudit(family),
  ];
}

const flagsOf = (family: Family, { hasIpv6Flag }: RewriteOptions): number =>
  family === 6 && hasIpv6Flag ? IS_IPV6 : 0;

/** Four bytes in front of the addresses: TTL, protocol and checksum of IPv4 ... */
const hops4: Stage = [
  load(4, "r1", at("r2", ETHERNET_BYTES + 8)),
  mov("r4", "r1"),
  shiftRight("r4", 16),
  xor("r4", 0xffff),
  load(2, "r3", at("r7", Flow.at.addressDelta)),
  add("r4", "r3"),
  add("r4", HOP_DELTA),
  ...[1, 2].flatMap(() => [mov("r3", "r4"), shiftRight("r3", 16), and("r4", 0xffff), add("r4", "r3")]),
  xor("r4", 0xffff),
  shiftLeft("r4", 16),
  and("r1", 0xffff),
  sub("r1", 1),
  or("r1", "r4"),
  store(4, at("r2", ETHERNET_BYTES + 8), "r1"),
];

/** ... and the hop limit of IPv6, the last of the four. */
const hops6: Stage = [
  load(1, "r1", at("r2", ETHERNET_BYTES + 7)),
  sub("r1", 1),
  store(1, at("r2", ETHERNET_BYTES + 7), "r1"),
];

/** Addresses are part of the pseudo-header, ports are not: a partial checksum follows the first alone. */
function changeChecksum(name: string, checksumAt: number, flags: number, end: string): Stage {
  const change = (delta: number, flagsOfIt: number): Stage => [
    mov("r1", "r6"),
    mov("r2", checksumAt),
    mov("r3", 0),
    load(2, "r4", at("r7", delta)),
    mov("r5", flagsOfIt),
  ];
  return [
    ...change(Flow.at.addressDelta, flags | PSEUDO_HEADER),
    branch("r4", "==", 0, `${name} ports`),
    call(Helper.changeTransportChecksum),
    label(`${name} ports`),
    ...change(Flow.at.portDelta, flags),
    branch("r4", "==", 0, end),
    call(Helper.changeTransportChecksum),
  ];
}

/**
 * Whether this packet is one of those that are audited: r8 is room for its headers, or 0. Drawn by its number and the time,
 * scattered, which is as good as the kernel's random numbers here and costs 20 ns less.
 */
function beginAudit({ family, headerBytes }: FamilyPlaces): Stage {
  const name = (what: string): string => `IPv${family} audit ${what}`;
  return [
    load(8, "r0", STACK.now),
    add("r0", "r8"),
    mul("r0", SCATTER),
    toNetwork(32, "r0"), // the well scattered bits lowest
    mapValue("r1", "control", 0),
    load(4, "r1", at("r1", Control.at.auditMask)),
    and("r0", "r1"),
    mov("r8", 0),
    branch("r0", "!=", 0, name("not")),
    ...reserveNews(Audit.bytes),
    branch("r0", "==", 0, name("not")),
    mov("r8", "r0"),
    store(4, at("r8", Audit.at.kind), NewsKind.audit),
    load(4, "r1", at("r7", Flow.at.record)),
    store(4, at("r8", Audit.at.record), "r1"),
    load(4, "r1", at("r7", Flow.at.generation)),
    store(4, at("r8", Audit.at.generation), "r1"),
    load(1, "r1", at("r7", Flow.at.direction)),
    store(2, at("r8", Audit.at.direction), "r1"),
    ...auditedBytes(name("before"), headerBytes),
    store(2, at("r8", Audit.at.headerBytes), "r4"),
    ...copyHeaders(at("r8", Audit.at.before)),
    label(name("not")),
  ];
}

function endAudit(family: Family): Stage {
  const name = (what: string): string => `IPv${family} audit ${what}`;
  return [
    branch("r8", "==", 0, name("done")),
    ...auditedBytes(name("after"), PLACES[family].headerBytes),
    ...copyHeaders(at("r8", Audit.at.after)),
    ...submitNews("r8"),
    label(name("done")),
  ];
}

/** r4: bytes of the headers, options apart. */
const auditedBytes = (name: string, headerBytes: number): Stage => [
  mov("r4", headerBytes + 20),
  load(1, "r1", further(STACK.key, FlowKey.at.protocol)),
  branch("r1", "!=", Protocol.udp, name),
  mov("r4", headerBytes + 8),
  label(name),
];

const copyHeaders = ({ base, offset }: Place): Stage => [
  mov("r1", "r6"),
  mov("r2", ETHERNET_BYTES),
  mov("r3", base),
  add("r3", offset),
  and("r4", AUDITED_BYTES_MAX - 1),
  call(Helper.loadBytes),
];

/** Last stage: out by the interface and to the neighbour that were found at the beginning. */
export const send = (family: Family): Stage => [
  load(4, "r1", STACK.device),
  mov("r2", "r10"),
  add("r2", STACK.neighbour.offset),
  mov("r3", NEIGHBOUR_BYTES),
  mov("r4", 0),
  call(Helper.redirectToNeighbour),
  exit,
  // Nothing was changed, but it is counted.
  label(`IPv${family} failed`),
  branch("r8", "==", 0, SLOW_PATH),
  ...discardNews("r8"),
  goTo(SLOW_PATH),
];
