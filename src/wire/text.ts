/**
 * One line for one IP packet, in the manner of tcpdump:
 *
 *     202.100.1.2:3456 > 202.103.106.5:80 tcp S seq 1 win 65535 len 0 <mss 1460,sackOK> ttl 64
 *     202.103.106.5 > 202.100.1.2 icmp port unreachable [202.100.1.2:53 > 202.103.106.5:9 udp] len 36 ttl 64
 *     [2001:db8:1::2]:40000 > [2001:db8:5::5]:53 udp len 3000 frag 7:1232@0+ ttl 64
 *
 * TCP flags are the letters FSRPAUEC, "-" for none. `len` is the payload of the transport header as far as it is there;
 * `frag` is identification:bytes@offset, with "+" when more follow. `ttl` is the hop limit, too. What is wrong with a
 * packet stands in parentheses at the end. Any bytes give a line; nothing throws. Not for the packet path.
 *
 * Left out: payloads, IPv4 options, and whether transport checksums are right (those of a partial checksum are not).
 */
import { formatAddress, formatEndpoint, formatIpv4 } from "./address.ts";
import { Protocol } from "./flow.ts";
import { pptpCallId } from "./gre.ts";
import { IcmpType, IcmpView } from "./icmp.ts";
import { Icmpv6Type, Icmpv6View } from "./icmpv6.ts";
import { Ipv4View } from "./ipv4.ts";
import { Ipv6View } from "./ipv6.ts";
import { Ipv6Extensions } from "./ipv6-extensions.ts";
import { OptionWalk } from "./option-walk.ts";
import { SctpChunk, SctpView } from "./sctp.ts";
import { TCP_OPTION_BYTES, TcpFlag, TcpOption, TcpView } from "./tcp.ts";
import { UDP_HEADER_BYTES, UdpView } from "./udp.ts";

const FLAG_LETTERS: readonly (readonly [bit: number, letter: string])[] = [
  [TcpFlag.fin, "F"],
  [TcpFlag.syn, "S"],
  [TcpFlag.rst, "R"],
  [TcpFlag.psh, "P"],
  [TcpFlag.ack, "A"],
  [TcpFlag.urg, "U"],
  [TcpFlag.ece, "E"],
  [TcpFlag.cwr, "C"],
];

/** What is said of an IP header, of either version; [at, end) is what follows it. */
interface Header {
  readonly family: 4 | 6;
  readonly source: Int32Array;
  readonly destination: Int32Array;
  readonly protocol: number;
  readonly ttl: number;
  readonly at: number;
  readonly end: number;
  readonly fragment:
    | { readonly identification: number; readonly offset: number; readonly more: boolean }
    | undefined;
  readonly problems: readonly string[];
}

/** The line for an IP packet. @param bytes - from the IP header on; what follows the packet is ignored. */
export function formatPacket(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = readHeader(view, 0, view.byteLength);
  if (typeof header === "string") return `(${header}, ${count(bytes.length)})`;
  const { fragment, end, at } = header;
  const parts = [formatTuple(view, header), isLaterFragment(header) ? "" : formatMessage(view, header)];
  if (fragment !== undefined) {
    const more = fragment.more ? "+" : "";
    parts.push(`frag ${fragment.identification}:${end - at}@${fragment.offset}${more}`);
  }
  parts.push(`ttl ${header.ttl}`);
  if (header.problems.length > 0) parts.push(`(${header.problems.join(", ")})`);
  return parts.filter((part) => part !== "").join(" ");
}

function readHeader(view: DataView, from: number, end: number): Header | string {
  if (from >= end) return "empty";
  const version = view.getUint8(from) >> 4;
  if (version === 4) return readIpv4(view, from, end);
  if (version === 6) return readIpv6(view, from, end);
  return `not ip: version ${version}`;
}

function readIpv4(view: DataView, from: number, end: number): Header | string {
  const ip = new Ipv4View();
  if (!ip.attach(view, from, end)) return "malformed ipv4";
  const problems: string[] = [];
  if (!ip.isComplete) problems.push("truncated");
  if (!ip.isChecksumValid) problems.push("bad ip checksum");
  return {
    family: 4,
    source: Int32Array.of(ip.source),
    destination: Int32Array.of(ip.destination),
    protocol: ip.protocol,
    ttl: ip.ttl,
    at: ip.payloadAt,
    end: ip.payloadEnd,
    fragment: ip.isFragment
      ? { identification: ip.identification, offset: ip.fragmentOffsetBytes, more: ip.hasMoreFragments }
      : undefined,
    problems,
  };
}

function readIpv6(view: DataView, from: number, end: number): Header | string {
  const ip = new Ipv6View();
  if (!ip.attach(view, from, end)) return "malformed ipv6";
  const problems: string[] = [];
  if (!ip.isComplete) problems.push("truncated");
  const chain = new Ipv6Extensions();
  const outcome = chain.walk(view, from + 6, ip.payloadAt, ip.payloadEnd);
  if (outcome !== "ok") problems.push(`${outcome} extension headers`);
  return {
    family: 6,
    source: words(view, ip.sourceAt),
    destination: words(view, ip.destinationAt),
    protocol: chain.protocol,
    ttl: ip.hopLimit,
    at: chain.upperAt,
    end: ip.payloadEnd,
    fragment:
      chain.fragmentHeaderAt < 0
        ? undefined
        : {
            identification: chain.identification,
            offset: chain.fragmentOffsetBytes,
            more: chain.hasMoreFragments,
          },
    problems,
  };
}

/** "source > destination protocol", with ports where the packet has them. */
function formatTuple(view: DataView, header: Header): string {
  const { family, source, destination, at, end, protocol } = header;
  const name = protocolName(protocol);
  if (!hasPorts(protocol) || isLaterFragment(header) || end - at < 4) {
    return `${formatAddress(family, source)} > ${formatAddress(family, destination)} ${name}`;
  }
  const from = formatEndpoint(family, source, 0, view.getUint16(at));
  return `${from} > ${formatEndpoint(family, destination, 0, view.getUint16(at + 2))} ${name}`;
}

/** What the transport header says beyond ports. */
function formatMessage(view: DataView, header: Header): string {
  const { at, end, protocol } = header;
  switch (protocol) {
    case Protocol.tcp:
      return formatTcp(view, at, end);
    case Protocol.udp:
      return formatUdp(view, at, end);
    case Protocol.sctp:
      return formatSctp(view, at, end);
    case Protocol.icmp:
      return formatIcmp(view, at, end);
    case Protocol.icmp6:
      return formatIcmpv6(view, at, end);
    case Protocol.gre:
      return formatGre(view, at, end);
    default:
      return `len ${end - at}`;
  }
}

function formatTcp(view: DataView, at: number, end: number): string {
  const tcp = new TcpView();
  if (!tcp.attach(view, at, end)) return `(malformed tcp, ${count(end - at)})`;
  const flags = FLAG_LETTERS.filter(([bit]) => (tcp.flags & bit) !== 0).map(([, letter]) => letter);
  const ack = tcp.flags & TcpFlag.ack ? ` ack ${tcp.acknowledgment}` : "";
  const urgent = tcp.flags & TcpFlag.urg ? ` urg ${tcp.urgentPointer}` : "";
  const options = formatTcpOptions(view, tcp.optionsAt, tcp.payloadAt);
  const length = `len ${end - tcp.payloadAt}`;
  return `${flags.join("") || "-"} seq ${tcp.sequence}${ack} win ${tcp.window}${urgent} ${length}${options}`;
}

function formatTcpOptions(view: DataView, from: number, end: number): string {
  const walk = new OptionWalk();
  const texts: string[] = [];
  for (walk.start(view, from, end); walk.next(); ) {
    if (walk.kind !== TcpOption.noOperation) texts.push(formatTcpOption(view, walk));
  }
  if (walk.isMalformed) texts.push("malformed");
  return texts.length === 0 ? "" : ` <${texts.join(",")}>`;
}

function formatTcpOption(view: DataView, { at, kind, lengthBytes }: OptionWalk): string {
  if (kind === TcpOption.mss && lengthBytes === TCP_OPTION_BYTES.mss) return `mss ${view.getUint16(at + 2)}`;
  if (kind === TcpOption.windowScale && lengthBytes === TCP_OPTION_BYTES.windowScale) {
    return `wscale ${view.getUint8(at + 2)}`;
  }
  if (kind === TcpOption.sackPermitted && lengthBytes === TCP_OPTION_BYTES.sackPermitted) return "sackOK";
  if (kind === TcpOption.timestamps && lengthBytes === TCP_OPTION_BYTES.timestamps) {
    return `ts ${view.getUint32(at + 2)}:${view.getUint32(at + 6)}`;
  }
  if (kind === TcpOption.sack && lengthBytes % 8 === 2) {
    const blocks: string[] = [];
    for (let block = at + 2; block < at + lengthBytes; block += 8) {
      blocks.push(`${view.getUint32(block)}-${view.getUint32(block + 4)}`);
    }
    return `sack ${blocks.join(" ")}`;
  }
  return `option ${kind}`;
}

function formatUdp(view: DataView, at: number, end: number): string {
  const udp = new UdpView();
  if (!udp.attach(view, at, end)) return `(malformed udp, ${count(end - at)})`;
  const problem = udp.lengthBytes < UDP_HEADER_BYTES ? ` (udp length ${udp.lengthBytes})` : "";
  return `len ${end - udp.payloadAt}${problem}`;
}

function formatSctp(view: DataView, at: number, end: number): string {
  const sctp = new SctpView();
  if (!sctp.attach(view, at, end)) return `(malformed sctp, ${count(end - at)})`;
  const chunks = [sctp.firstChunkType, sctp.secondChunkType].filter((type) => type >= 0).map(chunkName);
  return `${chunks.join(",") || "-"} tag ${sctp.verificationTag} len ${end - at}`;
}

function formatIcmp(view: DataView, at: number, end: number): string {
  const icmp = new IcmpView();
  if (!icmp.attach(view, at, end)) return `(malformed icmp, ${count(end - at)})`;
  const length = `len ${end - icmp.embeddedAt}`;
  if (icmp.isEcho) {
    const kind = icmp.type === IcmpType.echoRequest ? "request" : "reply";
    return `echo ${kind} id ${icmp.identifier} seq ${icmp.sequence} ${length}`;
  }
  const name = ICMP_NAMES.get(icmp.type * 256 + icmp.code) ?? `type ${icmp.type} code ${icmp.code}`;
  if (!icmp.isError) return `${name} ${length}`;
  let detail = "";
  if (icmp.type === IcmpType.destinationUnreachable && icmp.code === 4) detail = ` mtu ${icmp.nextHopMtu}`;
  if (icmp.type === IcmpType.redirect) detail = ` to ${formatIpv4(icmp.gateway)}`;
  return `${name}${detail} ${formatQuotation(view, icmp.embeddedAt, end)} ${length}`;
}

function formatIcmpv6(view: DataView, at: number, end: number): string {
  const icmp = new Icmpv6View();
  if (!icmp.attach(view, at, end)) return `(malformed icmp6, ${count(end - at)})`;
  const length = `len ${end - icmp.embeddedAt}`;
  if (icmp.isEcho) {
    const kind = icmp.type === Icmpv6Type.echoRequest ? "request" : "reply";
    return `echo ${kind} id ${icmp.identifier} seq ${icmp.sequence} ${length}`;
  }
  const name = ICMPV6_NAMES.get(icmp.type * 256 + icmp.code) ?? `type ${icmp.type} code ${icmp.code}`;
  if (!icmp.isError) return `${name} ${length}`;
  const detail = icmp.type === Icmpv6Type.packetTooBig ? ` mtu ${icmp.mtu}` : "";
  return `${name}${detail} ${formatQuotation(view, icmp.embeddedAt, end)} ${length}`;
}

/** The tuple of the packet an ICMP error is about; that the quotation is cut is normal and not mentioned. */
function formatQuotation(view: DataView, from: number, end: number): string {
  const header = readHeader(view, from, end);
  return typeof header === "string" ? `[${header}]` : `[${formatTuple(view, header)}]`;
}

function formatGre(view: DataView, at: number, end: number): string {
  const callId = pptpCallId(view, at, end - at);
  return callId < 0 ? `len ${end - at}` : `call ${callId} len ${end - at}`;
}

function isLaterFragment(header: Header): boolean {
  return header.fragment !== undefined && header.fragment.offset > 0;
}

function hasPorts(protocol: number): boolean {
  return protocol === Protocol.tcp || protocol === Protocol.udp || protocol === Protocol.sctp;
}

function protocolName(protocol: number): string {
  return PROTOCOL_NAMES.get(protocol) ?? `protocol ${protocol}`;
}

function chunkName(type: number): string {
  return CHUNK_NAMES.get(type) ?? `chunk ${type}`;
}

function words(view: DataView, at: number): Int32Array {
  return Int32Array.from({ length: 4 }, (_, i) => view.getInt32(at + i * 4));
}

function count(bytes: number): string {
  return bytes === 1 ? "1 byte" : `${bytes} bytes`;
}

const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(Protocol).map(([name, number]) => [number, name]),
);

const CHUNK_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(SctpChunk).map(([name, type]) => [type, name]),
);

/** By type * 256 + code. */
const ICMP_NAMES: ReadonlyMap<number, string> = new Map([
  [0x300, "network unreachable"],
  [0x301, "host unreachable"],
  [0x302, "protocol unreachable"],
  [0x303, "port unreachable"],
  [0x304, "fragmentation needed"],
  [0x305, "source route failed"],
  [0x309, "network prohibited"],
  [0x30a, "host prohibited"],
  [0x30d, "administratively prohibited"],
  [0x400, "source quench"],
  [0x500, "redirect network"],
  [0x501, "redirect host"],
  [0xb00, "ttl exceeded"],
  [0xb01, "reassembly time exceeded"],
  [0xc00, "parameter problem"],
  [0xd00, "timestamp request"],
  [0xe00, "timestamp reply"],
]);

const ICMPV6_NAMES: ReadonlyMap<number, string> = new Map([
  [0x100, "no route"],
  [0x101, "administratively prohibited"],
  [0x102, "beyond scope"],
  [0x103, "address unreachable"],
  [0x104, "port unreachable"],
  [0x105, "source address failed policy"],
  [0x106, "reject route"],
  [0x200, "packet too big"],
  [0x300, "hop limit exceeded"],
  [0x301, "reassembly time exceeded"],
  [0x400, "parameter problem"],
  [0x401, "unrecognized next header"],
  [0x402, "unrecognized option"],
  [Icmpv6Type.routerSolicitation * 256, "router solicitation"],
  [Icmpv6Type.routerAdvertisement * 256, "router advertisement"],
  [Icmpv6Type.neighbourSolicitation * 256, "neighbour solicitation"],
  [Icmpv6Type.neighbourAdvertisement * 256, "neighbour advertisement"],
  [Icmpv6Type.redirect * 256, "redirect"],
  [Icmpv6Type.multicastListenerReport2 * 256, "multicast listener report"],
]);
