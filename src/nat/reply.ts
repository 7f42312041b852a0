/**
 * Packets the director makes itself, in the buffer of the packet they answer: TCP resets (RFC 9293 section 3.10.7.1),
 * ICMP and ICMPv6 errors (RFC 792, RFC 1122 section 3.2.2, RFC 1812 section 4.3, RFC 4443) and echo replies. Headers are those
 * of a Linux host: TTL 64, RST with "don't fragment" and identification 0, ICMP errors with the offender's TOS at
 * precedence "internetwork control" and as much of the offender as fits 576 (IPv6: 1280) bytes.
 */
import { finish, pseudoHeaderSum4, pseudoHeaderSum6, sum } from "../wire/checksum.ts";
import { type Flow, Protocol } from "../wire/flow.ts";
import { ICMP_HEADER_BYTES, isIcmpError } from "../wire/icmp.ts";
import { isIcmpv6Error } from "../wire/icmpv6.ts";
import { IPV4_HEADER_BYTES } from "../wire/ipv4.ts";
import { IPV6_HEADER_BYTES } from "../wire/ipv6.ts";
import type { Packet } from "../wire/packet.ts";
import { TCP_HEADER_BYTES, TcpFlag } from "../wire/tcp.ts";

const ICMP_TOTAL_BYTES_MAX = 576;
const ICMP6_TOTAL_BYTES_MAX = 1280;

/** An error to send: ICMP type, code and the 32 bits behind them. */
export interface IcmpError {
  readonly type4: number;
  readonly code4: number;
  readonly type6: number;
  readonly code6: number;
}
export const PORT_UNREACHABLE: IcmpError = { type4: 3, code4: 3, type6: 1, code6: 4 };
export const TOO_BIG: IcmpError = { type4: 3, code4: 4, type6: 2, code6: 0 };
export const HOPS_EXCEEDED: IcmpError = { type4: 11, code4: 0, type6: 3, code6: 0 };
/** IPv6: parameter problem, unrecognised next header; its pointer is the fixed header's next-header octet. */
export const PROTOCOL_UNREACHABLE: IcmpError = { type4: 3, code4: 2, type6: 4, code6: 1 };

export class ReplyMaker {
  readonly #hops: number;
  #identification: number;

  /**
   * @param hops - TTL of the replies; one more than wanted when the kernel will decrement it once
   * @param identification - of the first ICMP message; then counted up
   */
  constructor(hops: number, identification: number) {
    this.#hops = hops;
    this.#identification = identification & 0xffff;
  }

  /** Replace a TCP segment by the reset that answers it. @returns false, unchanged, if it is a reset itself. */
  reset(packet: Packet, flow: Flow): boolean {
    const { view } = packet;
    const flags = flow.tcpFlags;
    if ((flags & TcpFlag.rst) !== 0) return false;
    const tcpAt = flow.transportAt;
    const hasAck = (flags & TcpFlag.ack) !== 0;
    const sequence = view.getUint32(tcpAt + 4);
    const acknowledgement = view.getUint32(tcpAt + 8);
    const payloadBytes = Math.max(0, flow.transportBytes - (view.getUint8(tcpAt + 12) >> 4) * 4);
    const spaceBytes =
      payloadBytes + ((flags & TcpFlag.syn) !== 0 ? 1 : 0) + ((flags & TcpFlag.fin) !== 0 ? 1 : 0);

    const headerBytes = flow.family === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    packet.reset(packet.at, headerBytes + TCP_HEADER_BYTES);
    this.#ipHeader(packet, flow, Protocol.tcp, 0, flow.words, 4);
    if (flow.family === 4) view.setUint16(packet.at + 6, 0x4000);
    const at = packet.at + headerBytes;
    view.setUint16(at, flow.destinationPort);
    view.setUint16(at + 2, flow.sourcePort);
    view.setUint32(at + 4, hasAck ? acknowledgement : 0);
    view.setUint32(at + 8, hasAck ? 0 : (sequence + spaceBytes) >>> 0);
    view.setUint16(at + 12, 0x5000 | TcpFlag.rst | (hasAck ? 0 : TcpFlag.ack));
    view.setUint16(at + 14, 0);
    view.setUint32(at + 16, 0);
    this.#finishIpv4(packet, flow, 0);
    view.setUint16(at + 16, transportChecksum(packet, flow.family, at, TCP_HEADER_BYTES, Protocol.tcp));
    return true;
  }

  /**
   * Replace a packet by an ICMP error about it.
   * @param rest - the word behind type, code and checksum, e.g. the next hop's MTU
   * @param source - address words to send from; by default the offender's destination
   * @returns false, unchanged, if no error may be sent about this packet
   */
  error(
    packet: Packet,
    flow: Flow,
    kind: IcmpError,
    rest: number,
    source: Int32Array = flow.words,
    sourceAt = 4,
  ): boolean {
    if (flow.fragmentOffset !== 0 || !mayBeAnswered(packet, flow)) return false;
    const { view } = packet;
    const isIpv4 = flow.family === 4;
    const headerBytes = isIpv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    const totalMax = isIpv4 ? ICMP_TOTAL_BYTES_MAX : ICMP6_TOTAL_BYTES_MAX;
    const quotedBytes = Math.min(packet.length, totalMax - headerBytes - ICMP_HEADER_BYTES);
    const tos = isIpv4 ? (view.getUint8(packet.at + 1) & 0x1e) | 0xc0 : 0;
    const at = packet.at - ICMP_HEADER_BYTES;
    packet.reset(at - headerBytes, headerBytes + ICMP_HEADER_BYTES + quotedBytes);
    const protocol = isIpv4 ? Protocol.icmp : Protocol.icmp6;
    this.#ipHeader(packet, flow, protocol, tos, source, sourceAt);
    this.#finishIpv4(packet, flow, this.#nextIdentification());
    view.setUint8(at, isIpv4 ? kind.type4 : kind.type6);
    view.setUint8(at + 1, isIpv4 ? kind.code4 : kind.code6);
    view.setUint16(at + 2, 0);
    const isPointer = !isIpv4 && kind === PROTOCOL_UNREACHABLE;
    view.setUint32(at + 4, isPointer ? 6 : rest >>> 0);
    const icmpBytes = ICMP_HEADER_BYTES + quotedBytes;
    view.setUint16(at + 2, icmpChecksum(packet, flow.family, at, icmpBytes));
    return true;
  }

  /** Replace an echo request by its reply. @returns false, unchanged, if the request's checksum is wrong. */
  echo(packet: Packet, flow: Flow): boolean {
    const { view, bytes } = packet;
    const { transportAt, transportBytes, family } = flow;
    if (!packet.isChecksumPartial && !isIcmpValid(packet, flow)) return false;
    const headerBytes = family === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    const tos = family === 4 ? view.getUint8(packet.at + 1) : 0;
    const fragmentBytesMax = packet.fragmentBytesMax;
    const fragmentIdentification = packet.fragmentIdentification;
    // Options and extension headers are not sent back: the reply's header ends where the ICMP message begins.
    packet.reset(transportAt - headerBytes, headerBytes + transportBytes);
    packet.fragmentBytesMax = fragmentBytesMax;
    packet.fragmentIdentification = fragmentIdentification;
    this.#ipHeader(packet, flow, family === 4 ? Protocol.icmp : Protocol.icmp6, tos, flow.words, 4);
    this.#finishIpv4(packet, flow, this.#nextIdentification());
    bytes[transportAt] = family === 4 ? 0 : 129;
    view.setUint16(transportAt + 2, 0);
    view.setUint16(transportAt + 2, icmpChecksum(packet, family, transportAt, transportBytes));
    return true;
  }

  #nextIdentification(): number {
    this.#identification = (this.#identification + 1) & 0xffff;
    return this.#identification;
  }

  /** Write an IP header at packet.at for packet.length bytes, towards the flow's source. */
  #ipHeader(
    packet: Packet,
    flow: Flow,
    protocol: number,
    tos: number,
    source: Int32Array,
    sourceAt: number,
  ): void {
    const { view, at } = packet;
    if (flow.family === 4) {
      view.setUint16(at, 0x4500 | tos);
      view.setUint16(at + 2, packet.length);
      view.setUint32(at + 4, 0);
      view.setUint8(at + 8, this.#hops);
      view.setUint8(at + 9, protocol);
      view.setUint16(at + 10, 0);
      view.setInt32(at + 12, source[sourceAt]!);
      view.setInt32(at + 16, flow.words[0]!);
      return;
    }
    view.setUint32(at, 0x60000000);
    view.setUint16(at + 4, packet.length - 40);
    view.setUint8(at + 6, protocol);
    view.setUint8(at + 7, this.#hops);
    for (let i = 0; i < 4; i++) {
      view.setInt32(at + 8 + i * 4, source[sourceAt + i]!);
      view.setInt32(at + 24 + i * 4, flow.words[i]!);
    }
  }

  #finishIpv4(packet: Packet, flow: Flow, identification: number): void {
    if (flow.family !== 4) return;
    const { view, at } = packet;
    view.setUint16(at + 4, identification);
    view.setUint16(at + 10, 0);
    view.setUint16(at + 10, ipv4HeaderChecksum(view, at, 20));
  }
}

/** No error about a multicast or unspecified source, a later fragment, or another error (RFC 1122 section 3.2.2). */
function mayBeAnswered(packet: Packet, flow: Flow): boolean {
  if (!isUnicastSource(flow)) return false;
  if (flow.protocol === Protocol.icmp && flow.family === 4)
    return flow.transportBytes >= 1 && !isIcmpError(packet.view.getUint8(flow.transportAt));
  if (flow.protocol === Protocol.icmp6 && flow.family === 6)
    return flow.transportBytes >= 1 && !isIcmpv6Error(packet.view.getUint8(flow.transportAt));
  return true;
}

/** A source a reply may be sent to: neither unspecified, loopback, multicast nor broadcast. */
export function isUnicastSource(flow: Flow): boolean {
  const first = flow.words[0]! >>> 24;
  if (flow.family === 4) return first !== 0 && first !== 127 && first < 224;
  if (first === 0xff) return false;
  const isZeroPrefix = flow.words[0] === 0 && flow.words[1] === 0 && flow.words[2] === 0;
  return !(isZeroPrefix && (flow.words[3] === 0 || flow.words[3] === 1));
}

export function ipv4HeaderChecksum(view: DataView, at: number, bytes: number): number {
  return finish(sum(view, at, bytes, 0));
}

/** Checksum of an ICMP message whose checksum field is zero; ICMPv6 includes the pseudo-header. */
export function icmpChecksum(packet: Packet, family: 4 | 6, at: number, bytes: number): number {
  if (family === 6) return transportChecksum(packet, 6, at, bytes, Protocol.icmp6);
  return finish(sum(packet.view, at, bytes, 0));
}

/** Does the message's checksum hold? */
export function isIcmpValid(packet: Packet, flow: Flow): boolean {
  return icmpChecksum(packet, flow.family, flow.transportAt, flow.transportBytes) === 0;
}

function transportChecksum(
  packet: Packet,
  family: 4 | 6,
  at: number,
  bytes: number,
  protocol: number,
): number {
  const pseudo = family === 4 ? pseudoHeaderSum4 : pseudoHeaderSum6;
  return finish(sum(packet.view, at, bytes, pseudo(packet.view, packet.at, protocol, bytes)));
}
