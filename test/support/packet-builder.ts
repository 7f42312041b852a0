/**
 * IP packets for tests, composed from text addresses and defaults: every builder returns one complete IPv4 or IPv6
 * packet with correct lengths and checksums, unless told otherwise. The family follows from the addresses.
 *
 *     tcp({ from: "202.100.1.2:3456", to: "202.103.106.5:80", flags: "S" })
 *     fragment(udp({ from: "[2001:db8::1]:53", to: "[2001:db8::2]:5353", payload: bytes(3000) }), 1280)
 *
 * Checksums are computed the plain, slow way here, on purpose: the code under test is not used to judge itself.
 */
import { type Family, parseAddress, parseEndpoint } from "../../src/wire/address.ts";

export interface IpFields {
  /** TTL or hop limit; default 64. */
  ttl?: number;
  /** Type of service or traffic class; default 0. */
  tos?: number;
  /** IPv4, 16 bits; for IPv6 only fragment() uses one. Default 1. */
  identification?: number;
  /** IPv4 only; default false. */
  dontFragment?: boolean;
  /** IPv4 only: option bytes, padded with zeros to a multiple of four. */
  ipOptions?: readonly number[];
  /** IPv6 only: extension headers, outermost first; `body` follows the next-header octet and is used as it is. */
  extensions?: readonly { header: number; body: readonly number[] }[];
}

/** Of the transport header: right, pseudo-header sum only (NEEDS_CSUM), zero, or off by one. */
export type ChecksumKind = "full" | "partial" | "none" | "wrong";

interface TransportFields extends IpFields {
  /** Endpoint text, such as "1.2.3.4:80" or "[::1]:80". */
  from: string;
  to: string;
  /** Default: nothing. */
  payload?: Uint8Array | string;
  checksum?: ChecksumKind;
}

export interface TcpFields extends TransportFields {
  /** Letters of FSRPAUEC; default "A". */
  flags?: string;
  seq?: number;
  ack?: number;
  window?: number;
  urgentPointer?: number;
  /** Option bytes, padded with zeros to a multiple of four. */
  options?: readonly number[];
}

export interface IcmpFields extends IpFields {
  /** Address text without a port. */
  from: string;
  to: string;
  type: number;
  /** Default 0. */
  code?: number;
  /** The 32 bits behind the checksum; default 0. */
  rest?: number;
  payload?: Uint8Array | string;
  checksum?: ChecksumKind;
}

const TCP_FLAG_LETTERS = "FSRPAUEC";
const TCP = 6;
const UDP = 17;
const GRE = 47;
const SCTP = 132;
const ICMP = 1;
const ICMPV6 = 58;
const FRAGMENT_HEADER = 44;

export function tcp(fields: TcpFields): Uint8Array {
  const options = padded(fields.options ?? []);
  const payload = toBytes(fields.payload);
  const [segment, view] = room(20 + options.length + payload.length);
  view.setUint32(4, fields.seq ?? 1);
  view.setUint32(8, fields.ack ?? 0);
  view.setUint8(12, (20 + options.length) << 2);
  view.setUint8(13, tcpFlags(fields.flags ?? "A"));
  view.setUint16(14, fields.window ?? 65_535);
  view.setUint16(18, fields.urgentPointer ?? 0);
  segment.set(options, 20);
  segment.set(payload, 20 + options.length);
  return transport(fields, TCP, segment, 16);
}

export function udp(fields: TransportFields): Uint8Array {
  const payload = toBytes(fields.payload);
  const [datagram, view] = room(8 + payload.length);
  view.setUint16(4, datagram.length);
  datagram.set(payload, 8);
  return transport(fields, UDP, datagram, 6);
}

/** @param fields - chunks: each with its flags (default 0) and value; default: one INIT without parameters. */
export function sctp(
  fields: Omit<TransportFields, "payload"> & {
    tag?: number;
    chunks?: readonly { type: number; flags?: number; value?: readonly number[] }[];
  },
): Uint8Array {
  const chunks = (fields.chunks ?? [{ type: 1, value: new Array<number>(16).fill(0) }]).flatMap((chunk) => {
    const value = chunk.value ?? [];
    const length = 4 + value.length;
    return [...padded([chunk.type, chunk.flags ?? 0, length >> 8, length & 0xff, ...value])];
  });
  const [packet, view] = room(12 + chunks.length);
  const { from, to } = endpoints(fields);
  view.setUint16(0, from.port);
  view.setUint16(2, to.port);
  view.setUint32(4, fields.tag ?? 0);
  packet.set(chunks, 12);
  if (fields.checksum !== "none") view.setUint32(8, plainCrc32c(packet), true);
  if (fields.checksum === "wrong") view.setUint8(8, view.getUint8(8) ^ 1);
  return ip(fields, from.address, to.address, SCTP, packet);
}

/**
 * A packet of a call of PPTP, RFC 2637 section 4.1.
 * @param fields - addresses without ports; numbers left out are not in the packet
 */
export function gre(
  fields: IpFields & {
    from: string;
    to: string;
    callId: number;
    sequence?: number;
    acknowledgment?: number;
    payload?: Uint8Array | string;
  },
): Uint8Array {
  const { sequence, acknowledgment } = fields;
  const payload = toBytes(fields.payload);
  const numbers = [sequence, acknowledgment].filter((number) => number !== undefined);
  const [packet, view] = room(8 + 4 * numbers.length + payload.length);
  const isSequenced = sequence === undefined ? 0 : 0x1000;
  view.setUint16(0, 0x2001 | isSequenced | (acknowledgment === undefined ? 0 : 0x80));
  view.setUint16(2, 0x880b);
  view.setUint16(4, payload.length);
  view.setUint16(6, fields.callId);
  numbers.forEach((number, index) => {
    view.setUint32(8 + 4 * index, number);
  });
  packet.set(payload, 8 + 4 * numbers.length);
  return ip(fields, fields.from, fields.to, GRE, packet);
}

/** ICMP between IPv4 addresses, ICMPv6 between IPv6 ones; type and code are taken as they are. */
export function icmp(fields: IcmpFields): Uint8Array {
  const payload = toBytes(fields.payload);
  const [message, view] = room(8 + payload.length);
  view.setUint8(0, fields.type);
  view.setUint8(1, fields.code ?? 0);
  view.setUint32(4, fields.rest ?? 0);
  message.set(payload, 8);
  const isIpv6 = addressOf(fields.from).family === 6;
  const pseudo = isIpv6 ? pseudoHeader(fields.from, fields.to, ICMPV6, message.length) : new Uint8Array(0);
  writeChecksum(view, 2, pseudo, message, fields.checksum ?? "full");
  return ip(fields, fields.from, fields.to, isIpv6 ? ICMPV6 : ICMP, message);
}

/** An echo request, or a reply, of either family. */
export function echo(
  fields: Omit<IcmpFields, "type" | "code" | "rest"> & { isReply?: boolean; id?: number; seq?: number },
): Uint8Array {
  const isIpv6 = addressOf(fields.from).family === 6;
  const type = isIpv6 ? (fields.isReply ? 129 : 128) : fields.isReply ? 0 : 8;
  return icmp({ ...fields, type, rest: ((fields.id ?? 1) << 16) | (fields.seq ?? 1) });
}

/**
 * An IP packet of any protocol.
 * @param from - address text; @param to - likewise
 */
export function ip(
  fields: IpFields,
  from: string,
  to: string,
  protocol: number,
  payload: Uint8Array,
): Uint8Array {
  const source = addressOf(from);
  const destination = addressOf(to);
  if (source.family !== destination.family) throw new Error(`families differ: ${from}, ${to}`);
  if (source.family === 4) return ipv4(fields, source.words, destination.words, protocol, payload);
  return ipv6(fields, source.words, destination.words, protocol, payload);
}

/**
 * Cut a packet into fragments of at most `maxBytes`, IP header included, in order; every fragment but the last carries a
 * multiple of eight bytes. Works on packets without IPv4 options or IPv6 extension headers.
 */
export function fragment(packet: Uint8Array, maxBytes: number, identification = 1): Uint8Array[] {
  const isIpv4 = packet[0]! >> 4 === 4;
  const headerBytes = isIpv4 ? 20 : 40;
  const payload = packet.subarray(headerBytes);
  const step = (maxBytes - headerBytes - (isIpv4 ? 0 : 8)) & ~7;
  if (step < 8) throw new Error(`no room for eight bytes in a fragment of ${maxBytes}`);
  const fragments: Uint8Array[] = [];
  for (let offset = 0; offset < payload.length; offset += step) {
    const piece = payload.subarray(offset, offset + step);
    const more = offset + step < payload.length ? 1 : 0;
    const extra = isIpv4 ? 0 : 8;
    const [bytes, view] = room(headerBytes + extra + piece.length);
    bytes.set(packet.subarray(0, headerBytes));
    bytes.set(piece, headerBytes + extra);
    if (isIpv4) {
      view.setUint16(2, bytes.length);
      view.setUint16(4, identification);
      view.setUint16(6, (more << 13) | (offset >> 3));
      fixIpv4Checksum(view);
    } else {
      view.setUint16(4, extra + piece.length);
      view.setUint8(40, view.getUint8(6));
      view.setUint8(6, FRAGMENT_HEADER);
      view.setUint16(42, offset | more);
      view.setUint32(44, identification);
    }
    fragments.push(bytes);
  }
  return fragments;
}

/** A payload of this many bytes that differ from their neighbours. */
export function bytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 0xff);
}

/** The Internet checksum by its definition: complement of the sum modulo 65535. 0 for a range that includes a right one. */
export function plainChecksum(...parts: readonly Uint8Array[]): number {
  let total = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i++) total += part[i]! * (i % 2 === 0 ? 256 : 1);
  }
  return 0xffff - (total === 0 ? 0 : total % 0xffff || 0xffff);
}

/** CRC32c of an SCTP packet bit by bit, its checksum field (bytes 8 to 11) counted as zero. */
export function plainCrc32c(packet: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < packet.length; i++) {
    crc ^= i >= 8 && i < 12 ? 0 : packet[i]!;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

/** The pseudo-header of either family as bytes. */
export function pseudoHeader(from: string, to: string, protocol: number, length: number): Uint8Array {
  const source = addressOf(from);
  const words = source.family === 4 ? 1 : 4;
  const [header, view] = room(words * 8 + 8);
  for (let i = 0; i < words; i++) {
    view.setInt32(i * 4, source.words[i]!);
    view.setInt32((words + i) * 4, addressOf(to).words[i]!);
  }
  // The IPv4 form has 8 and 16 bits where this has 32 each; the sum is the same.
  view.setUint32(words * 8, length);
  view.setUint32(words * 8 + 4, protocol);
  return header;
}

function transport(
  fields: TransportFields,
  protocol: number,
  segment: Uint8Array,
  checksumAt: number,
): Uint8Array {
  const { from, to } = endpoints(fields);
  const view = new DataView(segment.buffer);
  view.setUint16(0, from.port);
  view.setUint16(2, to.port);
  const pseudo = pseudoHeader(from.address, to.address, protocol, segment.length);
  writeChecksum(view, checksumAt, pseudo, segment, fields.checksum ?? "full");
  if (protocol === UDP && fields.checksum !== "none" && view.getUint16(checksumAt) === 0) {
    view.setUint16(checksumAt, 0xffff);
  }
  return ip(fields, from.address, to.address, protocol, segment);
}

function writeChecksum(
  view: DataView,
  at: number,
  pseudo: Uint8Array,
  message: Uint8Array,
  kind: ChecksumKind,
): void {
  if (kind === "none") return;
  if (kind === "partial") view.setUint16(at, 0xffff - plainChecksum(pseudo));
  else view.setUint16(at, plainChecksum(pseudo, message));
  if (kind === "wrong") view.setUint8(at + 1, view.getUint8(at + 1) ^ 1);
}

function ipv4(
  fields: IpFields,
  source: Int32Array,
  destination: Int32Array,
  protocol: number,
  payload: Uint8Array,
): Uint8Array {
  const options = padded(fields.ipOptions ?? []);
  const headerBytes = 20 + options.length;
  const [packet, view] = room(headerBytes + payload.length);
  view.setUint8(0, 0x40 | (headerBytes / 4));
  view.setUint8(1, fields.tos ?? 0);
  view.setUint16(2, packet.length);
  view.setUint16(4, fields.identification ?? 1);
  view.setUint16(6, fields.dontFragment ? 0x4000 : 0);
  view.setUint8(8, fields.ttl ?? 64);
  view.setUint8(9, protocol);
  view.setInt32(12, source[0]!);
  view.setInt32(16, destination[0]!);
  packet.set(options, 20);
  packet.set(payload, headerBytes);
  fixIpv4Checksum(view);
  return packet;
}

function ipv6(
  fields: IpFields,
  source: Int32Array,
  destination: Int32Array,
  protocol: number,
  payload: Uint8Array,
): Uint8Array {
  const extensions = fields.extensions ?? [];
  const next = [...extensions.map((extension) => extension.header), protocol];
  const chain = extensions.flatMap((extension, index) => [next[index + 1]!, ...extension.body]);
  const [packet, view] = room(40 + chain.length + payload.length);
  view.setUint32(0, 0x6000_0000 | ((fields.tos ?? 0) << 20));
  view.setUint16(4, packet.length - 40);
  view.setUint8(6, next[0]!);
  view.setUint8(7, fields.ttl ?? 64);
  for (let i = 0; i < 4; i++) {
    view.setInt32(8 + i * 4, source[i]!);
    view.setInt32(24 + i * 4, destination[i]!);
  }
  packet.set(chain, 40);
  packet.set(payload, 40 + chain.length);
  return packet;
}

function fixIpv4Checksum(view: DataView): void {
  const headerBytes = (view.getUint8(0) & 0x0f) * 4;
  view.setUint16(10, 0);
  view.setUint16(10, plainChecksum(new Uint8Array(view.buffer, view.byteOffset, headerBytes)));
}

function endpoints(fields: {
  from: string;
  to: string;
}): Record<"from" | "to", { address: string; port: number }> {
  const split = (text: string): { address: string; port: number } => {
    const endpoint = parseEndpoint(text);
    if (endpoint === undefined) throw new Error(`not an endpoint: ${text}`);
    return { address: text.slice(0, text.lastIndexOf(":")).replace(/^\[|\]$/g, ""), port: endpoint.port };
  };
  return { from: split(fields.from), to: split(fields.to) };
}

function addressOf(text: string): { family: Family; words: Int32Array } {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  return address;
}

function tcpFlags(letters: string): number {
  return [...letters].reduce((flags, letter) => {
    const bit = TCP_FLAG_LETTERS.indexOf(letter);
    if (bit < 0) throw new Error(`no such TCP flag: ${letter}`);
    return flags | (1 << bit);
  }, 0);
}

function padded(values: readonly number[]): Uint8Array {
  const padded = new Uint8Array((values.length + 3) & ~3);
  padded.set(values);
  return padded;
}

function toBytes(payload: Uint8Array | string | undefined): Uint8Array {
  return typeof payload === "string" ? new TextEncoder().encode(payload) : (payload ?? new Uint8Array(0));
}

function room(length: number): [Uint8Array, DataView] {
  const bytes = new Uint8Array(length);
  return [bytes, new DataView(bytes.buffer)];
}
