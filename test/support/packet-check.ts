/**
 * Checks of an IP packet that compose; the failure names everything that is wrong and shows the packet.
 *
 *     checkPacket(sent, valid(), from("202.100.1.2:3456"), to("172.16.0.3:8000"), ttl(63), tcpFlags("S"));
 *     checkPacket(error, valid(), icmpType(3, 4), quoting(from("202.100.1.2:3456"), to("202.103.106.5:80")));
 *
 * Checksums are computed by the plain definitions of packet-builder.ts, not by the code under test.
 */
import { formatAddress, parseAddress } from "../../src/wire/address.ts";
import { Ipv4View } from "../../src/wire/ipv4.ts";
import { Ipv6View } from "../../src/wire/ipv6.ts";
import { Ipv6Extensions } from "../../src/wire/ipv6-extensions.ts";
import { TcpView } from "../../src/wire/tcp.ts";
import { formatPacket } from "../../src/wire/text.ts";
import { plainChecksum, plainCrc32c, pseudoHeader } from "./packet-builder.ts";

/** What the checks look at. */
export interface PacketFacts {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly family: 4 | 6;
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** The transport header, or the data of a later fragment, lies in [at, end). */
  readonly at: number;
  readonly end: number;
  readonly ttl: number;
  readonly tos: number;
  readonly fragment:
    | { readonly identification: number; readonly offset: number; readonly more: boolean }
    | undefined;
  /** What is wrong with lengths and the IPv4 header checksum. */
  readonly headerProblems: readonly string[];
}

/** @returns what is wrong, or undefined. */
export type PacketCheck = (facts: PacketFacts) => string | undefined;

const TCP = 6;
const UDP = 17;
const SCTP = 132;
const ICMP = 1;
const ICMPV6 = 58;
const QUOTATION_AT = 8;
const CHECKSUM_AT: ReadonlyMap<number, number> = new Map([
  [TCP, 16],
  [UDP, 6],
]);

/** Apply all checks. @throws Error that lists every failure, the packet in words and in hexadecimal. */
export function checkPacket(bytes: Uint8Array, ...checks: readonly PacketCheck[]): void {
  const facts = readFacts(bytes);
  const problems = typeof facts === "string" ? [facts] : failures(facts, checks);
  if (problems.length === 0) return;
  const hex = [...bytes.subarray(0, 160)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  throw new Error(`packet: ${formatPacket(bytes)}\n  ${problems.join("\n  ")}\n  ${hex}`);
}

/** Lengths agree with each other and with the bytes there are, and every checksum is right. */
export function valid(): PacketCheck {
  return (facts) => joined([...facts.headerProblems, transportProblem(facts)]);
}

/** The same for a packet whose TCP or UDP checksum field holds the pseudo-header sum (NEEDS_CSUM). */
export function validPartial(): PacketCheck {
  return (facts) => {
    const fieldAt = CHECKSUM_AT.get(facts.protocol);
    if (fieldAt === undefined) return `a partial checksum, but protocol ${facts.protocol}`;
    const found = facts.view.getUint16(facts.at + fieldAt);
    const wanted = 0xffff - plainChecksum(pseudoHeaderOf(facts));
    return joined([...facts.headerProblems, differs("partial checksum", found, wanted)]);
  };
}

/** @param text - an address, or an endpoint when the port matters. */
export function from(text: string): PacketCheck {
  return (facts) => differs("source", endpointText(facts, facts.source, 0, text), text);
}

/** @param text - an address, or an endpoint when the port matters. */
export function to(text: string): PacketCheck {
  return (facts) => differs("destination", endpointText(facts, facts.destination, 2, text), text);
}

/** TTL or hop limit. */
export function ttl(wanted: number): PacketCheck {
  return (facts) => differs("ttl", facts.ttl, wanted);
}

/** Type of service or traffic class. */
export function tos(wanted: number): PacketCheck {
  return (facts) => differs("tos", facts.tos, wanted);
}

export function protocol(wanted: number): PacketCheck {
  return (facts) => differs("protocol", facts.protocol, wanted);
}

/** @param wanted - letters in the order FSRPAUEC, such as "SA". */
export function tcpFlags(wanted: string): PacketCheck {
  return ofTcp((tcp) => {
    const found = [..."FSRPAUEC"].filter((_, bit) => tcp.flags & (1 << bit)).join("");
    return differs("tcp flags", found, wanted);
  });
}

export function tcpSequence(wanted: number): PacketCheck {
  return ofTcp((tcp) => differs("sequence number", tcp.sequence, wanted));
}

export function tcpAcknowledgment(wanted: number): PacketCheck {
  return ofTcp((tcp) => differs("acknowledgment number", tcp.acknowledgment, wanted));
}

/** ICMP or ICMPv6 type and code. */
export function icmpType(type: number, code: number): PacketCheck {
  return ({ view, at, end }) => {
    if (end - at < 2) return "no icmp header";
    return differs("icmp type/code", `${view.getUint8(at)}/${view.getUint8(at + 1)}`, `${type}/${code}`);
  };
}

/** The 32 bits behind the checksum of ICMP or ICMPv6: identifier and sequence, or the MTU. */
export function icmpRest(wanted: number): PacketCheck {
  return ({ view, at, end }) => {
    if (end - at < 8) return "no icmp header";
    return differs("icmp rest of header", view.getUint32(at + 4), wanted);
  };
}

/** What is behind the transport header: TCP options are header, an ICMP header has eight bytes. */
export function payload(wanted: Uint8Array | string): PacketCheck {
  return (facts) => {
    const found = facts.bytes.subarray(facts.at + transportHeaderBytes(facts), facts.end);
    const bytes = typeof wanted === "string" ? new TextEncoder().encode(wanted) : wanted;
    if (found.length !== bytes.length) return differs("payload length", found.length, bytes.length);
    const at = found.findIndex((byte, index) => byte !== bytes[index]);
    return at < 0 ? undefined : differs(`payload byte ${at}`, found[at], bytes[at]);
  };
}

/** A piece of a datagram: identification, byte offset, whether more follow. */
export function fragmentOf(identification: number, offset: number, more: boolean): PacketCheck {
  return ({ fragment }) => {
    const wanted = `${identification}@${offset}${more ? "+" : ""}`;
    if (fragment === undefined) return `no fragment, wanted ${wanted}`;
    const found = `${fragment.identification}@${fragment.offset}${fragment.more ? "+" : ""}`;
    return differs("fragment", found, wanted);
  };
}

/** Checks of the packet quoted in an ICMP error; it may be cut short, but its IPv4 header checksum must be right. */
export function quoting(...checks: readonly PacketCheck[]): PacketCheck {
  return (facts) => {
    const quoted = readFacts(facts.bytes.subarray(facts.at + QUOTATION_AT, facts.end));
    if (typeof quoted === "string") return `quotation: ${quoted}`;
    const problems = quoted.headerProblems.filter((problem) => problem.includes("checksum"));
    const all = [...problems, ...failures(quoted, checks)].map((problem) => `quotation: ${problem}`);
    return joined(all);
  };
}

/** Read a packet for custom checks. @returns what prevents it, as text. */
export function readFacts(bytes: Uint8Array): PacketFacts | string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ipv4 = new Ipv4View();
  if (ipv4.attach(view, 0, bytes.length)) return ipv4Facts(bytes, view, ipv4);
  const ipv6 = new Ipv6View();
  if (ipv6.attach(view, 0, bytes.length)) return ipv6Facts(bytes, view, ipv6);
  return `no ip header in ${bytes.length} bytes`;
}

function ipv4Facts(bytes: Uint8Array, view: DataView, ip: Ipv4View): PacketFacts {
  const checksum = plainChecksum(bytes.subarray(0, ip.headerLengthBytes));
  return {
    bytes,
    view,
    family: 4,
    source: formatAddress(4, [ip.source]),
    destination: formatAddress(4, [ip.destination]),
    protocol: ip.protocol,
    at: ip.payloadAt,
    end: ip.payloadEnd,
    ttl: ip.ttl,
    tos: ip.tos,
    fragment: ip.isFragment
      ? { identification: ip.identification, offset: ip.fragmentOffsetBytes, more: ip.hasMoreFragments }
      : undefined,
    headerProblems: [
      differs("total length", ip.totalLengthBytes, bytes.length),
      checksum === 0 ? undefined : `ip header checksum ${ip.checksum} is wrong`,
    ].filter((problem) => problem !== undefined),
  };
}

function ipv6Facts(bytes: Uint8Array, view: DataView, ip: Ipv6View): PacketFacts | string {
  const chain = new Ipv6Extensions();
  const outcome = chain.walk(view, 6, ip.payloadAt, ip.payloadEnd);
  if (outcome !== "ok") return `${outcome} extension headers`;
  const words = (at: number): number[] => [0, 4, 8, 12].map((offset) => view.getInt32(at + offset));
  const problem = differs("payload length", ip.payloadLengthBytes, bytes.length - 40);
  return {
    bytes,
    view,
    family: 6,
    source: formatAddress(6, words(ip.sourceAt)),
    destination: formatAddress(6, words(ip.destinationAt)),
    protocol: chain.protocol,
    at: chain.upperAt,
    end: ip.payloadEnd,
    ttl: ip.hopLimit,
    tos: ip.trafficClass,
    fragment:
      chain.fragmentHeaderAt < 0
        ? undefined
        : {
            identification: chain.identification,
            offset: chain.fragmentOffsetBytes,
            more: chain.hasMoreFragments,
          },
    headerProblems: problem === undefined ? [] : [problem],
  };
}

/** What is wrong with the transport checksum or length; nothing can be said of fragments. */
function transportProblem(facts: PacketFacts): string | undefined {
  const { protocol, bytes, view, at, end, fragment, family } = facts;
  if (fragment !== undefined) return undefined;
  const message = bytes.subarray(at, end);
  const wrong = (checksum: number): string | undefined =>
    checksum === 0 ? undefined : `checksum of protocol ${protocol} is wrong`;
  switch (protocol) {
    case TCP:
      if (!new TcpView().attach(view, at, end)) return "malformed tcp header";
      return wrong(plainChecksum(pseudoHeaderOf(facts), message));
    case UDP:
      if (message.length < 8) return "malformed udp header";
      if (view.getUint16(at + 4) !== message.length) {
        return differs("udp length", view.getUint16(at + 4), message.length);
      }
      if (view.getUint16(at + 6) === 0) return family === 6 ? "no udp checksum over ipv6" : undefined;
      return wrong(plainChecksum(pseudoHeaderOf(facts), message));
    case ICMP:
      return message.length < 8 ? "malformed icmp header" : wrong(plainChecksum(message));
    case ICMPV6:
      return message.length < 8
        ? "malformed icmpv6 header"
        : wrong(plainChecksum(pseudoHeaderOf(facts), message));
    case SCTP:
      if (message.length < 12) return "malformed sctp header";
      return wrong(view.getUint32(at + 8, true) === plainCrc32c(message) ? 0 : 1);
    default:
      return undefined;
  }
}

function pseudoHeaderOf(facts: PacketFacts): Uint8Array {
  return pseudoHeader(facts.source, facts.destination, facts.protocol, facts.end - facts.at);
}

function ofTcp(check: (tcp: TcpView) => string | undefined): PacketCheck {
  return ({ view, at, end, protocol }) => {
    const tcp = new TcpView();
    if (protocol !== TCP || !tcp.attach(view, at, end)) return "no tcp header";
    return check(tcp);
  };
}

function transportHeaderBytes(facts: PacketFacts): number {
  if (facts.fragment !== undefined && facts.fragment.offset > 0) return 0;
  if (facts.protocol === TCP) return (facts.view.getUint8(facts.at + 12) >> 4) * 4;
  if (facts.protocol === SCTP) return 12;
  const isMessage = facts.protocol === UDP || facts.protocol === ICMP || facts.protocol === ICMPV6;
  return isMessage ? 8 : 0;
}

/** The address alone or with its port, whichever form `wanted` has. */
function endpointText(facts: PacketFacts, address: string, portOffset: number, wanted: string): string {
  if (parseAddress(wanted) !== undefined) return address;
  if (facts.end - facts.at < portOffset + 2) return `${address} without a port`;
  const port = facts.view.getUint16(facts.at + portOffset);
  return facts.family === 4 ? `${address}:${port}` : `[${address}]:${port}`;
}

function failures(facts: PacketFacts, checks: readonly PacketCheck[]): string[] {
  return checks.map((check) => check(facts)).filter((problem) => problem !== undefined);
}

function differs(what: string, found: unknown, wanted: unknown): string | undefined {
  return found === wanted ? undefined : `${what} is ${found}, wanted ${wanted}`;
}

function joined(problems: readonly (string | undefined)[]): string | undefined {
  return problems.filter((problem) => problem !== undefined).join("; ") || undefined;
}
