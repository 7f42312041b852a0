/**
 * Changing a TCP segment in place where something is put into its stream or taken out: lengths, options, checksum. Shared
 * by the PROXY protocol and the application modules.
 */
import { difference32, fold, sum } from "../wire/checksum.ts";
import type { Flow } from "../wire/flow.ts";
import { IPV4_CHECKSUM_AT, IPV4_TOTAL_LENGTH_AT } from "../wire/ipv4.ts";
import { IPV6_PAYLOAD_LENGTH_AT } from "../wire/ipv6.ts";
import { OptionWalk } from "../wire/option-walk.ts";
import { Gso, type Packet } from "../wire/packet.ts";
import { TCP_CHECKSUM_AT, TCP_DATA_OFFSET_AT, TCP_OPTIONS_AT, TcpOption } from "../wire/tcp.ts";
import { applyDelta, applyPartialDelta } from "./rewrite.ts";

/** Largest value of the IP header's length field. */
export const IP_LENGTH_MAX = 0xffff;

/** Take a segment's payload away, all of it. */
export function cutPayload(packet: Packet, flow: Flow, payloadBytes: number): void {
  const payloadAt = flow.transportAt + flow.transportBytes - payloadBytes;
  const delta = ~sum(packet.view, payloadAt, payloadBytes, 0) & 0xffff;
  changeLength(packet, flow, -payloadBytes);
  packet.gso = Gso.none;
  packet.gsoBytes = 0;
  followChange(packet, flow.transportAt, ~payloadBytes & 0xffff, delta);
}

/** Make the IP packet longer or shorter in every place that says how long it is, the TCP checksum apart. */
export function changeLength(packet: Packet, flow: Flow, change: number): void {
  const { view, at } = packet;
  packet.length += change;
  flow.transportBytes += change;
  const lengthAt = at + lengthFieldAt(flow);
  const before = view.getUint16(lengthAt);
  view.setUint16(lengthAt, before + change);
  if (flow.family === 4) applyDelta(view, at + IPV4_CHECKSUM_AT, (~before & 0xffff) + before + change);
}

export function lengthFieldAt(flow: Flow): number {
  return flow.family === 4 ? IPV4_TOTAL_LENGTH_AT : IPV6_PAYLOAD_LENGTH_AT;
}

/** Begin a walk over the segment's options. */
export function startOptions(options: OptionWalk, view: DataView, flow: Flow): void {
  const { transportAt } = flow;
  const tcpBytes = Math.min(tcpHeaderBytes(view, transportAt), flow.transportBytes);
  options.start(view, transportAt + TCP_OPTIONS_AT, transportAt + tcpBytes);
}

const SACK_BLOCKS_AT = 2;
const SACK_BLOCK_BYTES = 8;

/** The blocks of a segment's SACK options (RFC 2018), one after the other. Reusable. */
export class SackWalk {
  /** Offset of the block's left edge in the view; the right one follows. */
  at = 0;
  readonly #options = new OptionWalk();
  #end = 0;

  start(view: DataView, flow: Flow): void {
    this.at = 0;
    this.#end = 0;
    startOptions(this.#options, view, flow);
  }

  /** Go to the next block. @returns false behind the last */
  next(): boolean {
    this.at += SACK_BLOCK_BYTES;
    const options = this.#options;
    while (this.at + SACK_BLOCK_BYTES > this.#end) {
      do if (!options.next()) return false;
      while (options.kind !== TcpOption.sack);
      this.at = options.at + SACK_BLOCKS_AT;
      this.#end = options.at + options.lengthBytes;
    }
    return true;
  }
}

/** Write another sequence or acknowledgment number. @returns the change of the sum */
export function renumber(view: DataView, at: number, after: number): number {
  const before = view.getInt32(at);
  if (before === after) return 0;
  view.setInt32(at, after);
  return difference32(before, after);
}

export function tcpHeaderBytes(view: DataView, transportAt: number): number {
  return (view.getUint8(transportAt + TCP_DATA_OFFSET_AT) >> 4) * 4;
}

/** A change of the sum as it is when the words begin at this offset; at an odd one their bytes are exchanged (RFC 1071). */
export function aligned(delta: number, offset: number): number {
  const folded = fold(delta);
  return (offset & 1) === 0 ? folded : ((folded & 0xff) << 8) | (folded >> 8);
}

/**
 * Carry changes into the TCP checksum.
 * @param pseudoDelta - change of the pseudo-header's sum, its length's
 * @param delta - change of everything else's
 */
export function followChange(packet: Packet, transportAt: number, pseudoDelta: number, delta: number): void {
  const checksumAt = transportAt + TCP_CHECKSUM_AT;
  if (packet.isChecksumPartial) applyPartialDelta(packet.view, checksumAt, pseudoDelta);
  else applyDelta(packet.view, checksumAt, pseudoDelta + delta);
}
