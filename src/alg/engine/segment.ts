/**
 * A TCP segment of a connection with an application module: its payload read and replaced, its numbers and those of its
 * acknowledgments turned from one side's stream into the other's. See stream.ts for what is done and why.
 *
 * A segment that grew is cut where it would not have fitted before: at its former length, or what every path takes
 * (RFC 791, RFC 8200). What is cut off is as good as lost. A replacement that is longer by itself becomes a super-packet
 * of segments that fit: whoever sends it cuts it.
 *
 * RFC 9293 section 3.10.7: a reset is judged by its sequence number. Data in a SYN (TCP Fast Open) is cut off.
 */

import {
  aligned,
  changeLength,
  cutPayload,
  followChange,
  IP_LENGTH_MAX,
  renumber,
  SackWalk,
  tcpHeaderBytes,
} from "../../nat/tcp-segment.ts";
import { fold, pseudoHeaderSum4, pseudoHeaderSum6, sum } from "../../wire/checksum.ts";
import { type Flow, Protocol } from "../../wire/flow.ts";
import { Gso, type Packet } from "../../wire/packet.ts";
import {
  TCP_ACKNOWLEDGMENT_AT,
  TCP_CHECKSUM_AT,
  TCP_DATA_OFFSET_AT,
  TCP_HEADER_BYTES,
  TCP_SEQUENCE_AT,
  TCP_URGENT_AT,
  TcpFlag,
} from "../../wire/tcp.ts";
import { UNIT_BYTES_MAX } from "./module.ts";
import { pieceBytesMax, type Stream } from "./stream.ts";

/** IP packets that every path takes. */
const ANY_PATH_BYTES = { 4: 576, 6: 1280 } as const;

/** What became of a segment; anything but "passed": drop it. */
export type Passage = "passed" | "malformed" | "badChecksum" | "outOfOrder" | "unacknowledged";

const blocks = new SackWalk();
/** What goes on in a payload's place: as much as fits, or a piece, and at the end what is held. */
const out = new Uint8Array(IP_LENGTH_MAX + pieceBytesMax(UNIT_BYTES_MAX) + UNIT_BYTES_MAX);

/**
 * @param own - the stream the segment belongs to; `opposite` the one it acknowledges
 * @param isOpening - the connection is not established: a SYN begins the stream
 */
export function passSegment(
  packet: Packet,
  flow: Flow,
  own: Stream,
  opposite: Stream,
  isOpening: boolean,
): Passage {
  const { view } = packet;
  const { transportAt, tcpFlags } = flow;
  const tcpBytes = tcpHeaderBytes(view, transportAt);
  const payloadBytes = flow.transportBytes - tcpBytes;
  if (tcpBytes < TCP_HEADER_BYTES || payloadBytes < 0) return "malformed";
  const sequence = view.getInt32(transportAt + TCP_SEQUENCE_AT);
  if ((tcpFlags & TcpFlag.syn) !== 0) {
    if (payloadBytes > 0) cutPayload(packet, flow, payloadBytes);
    // One that comes again, or late, begins nothing.
    const first = (sequence + 1) | 0;
    if (!own.isKnown || (isOpening && own.first !== first)) own.begin(first, true);
    return "passed";
  }
  if (!own.isKnown) own.begin(sequence, false);
  let rewritten = own.rewritten(sequence);
  if ((tcpFlags & TcpFlag.rst) === 0) {
    const urgentEnd = (sequence + view.getUint16(transportAt + TCP_URGENT_AT)) | 0;
    if (payloadBytes > 0 || (tcpFlags & TcpFlag.fin) !== 0) {
      const passage = passPayload(packet, flow, own, sequence, tcpBytes, payloadBytes);
      if (passage !== "passed") return passage;
      rewritten = own.rewritten(sequence);
      // Nothing of it goes on: the byte in front of it, once more, makes the receiver say so.
      if (isProbe) rewritten = (rewritten - 1) | 0;
    } else if (((sequence - own.edge) | 0) < 0) rewritten = (own.rewritten((sequence + 1) | 0) - 1) | 0;
    if ((tcpFlags & TcpFlag.urg) !== 0)
      changeWord(packet, transportAt, TCP_URGENT_AT, (own.rewritten(urgentEnd) - rewritten) & 0xffff);
  }
  let delta = renumber(view, transportAt + TCP_SEQUENCE_AT, rewritten);
  if ((tcpFlags & TcpFlag.ack) !== 0 && opposite.isKnown) {
    delta += shiftBlocks(view, flow, opposite);
    const acknowledgmentAt = transportAt + TCP_ACKNOWLEDGMENT_AT;
    delta += renumber(view, acknowledgmentAt, opposite.acknowledged(view.getInt32(acknowledgmentAt)));
  }
  if (delta !== 0) followChange(packet, transportAt, 0, delta);
  return "passed";
}

/** What the last passPayload left is the byte in front of the segment's first. */
let isProbe = false;

function passPayload(
  packet: Packet,
  flow: Flow,
  own: Stream,
  sequence: number,
  tcpBytes: number,
  payloadBytes: number,
): Passage {
  const { transportAt } = flow;
  const payloadAt = transportAt + tcpBytes;
  const whole = (sequence + payloadBytes) | 0;
  let end = whole;
  isProbe = false;
  if (own.isResumed && ((own.edge - sequence) | 0) < 0) own.skipTo(sequence);
  own.isResumed = false;
  const known = (own.edge - sequence) | 0;
  if (known < 0) {
    if (!own.isOpaque || own.isHolding) return "outOfOrder";
    own.edge = sequence;
  }
  if (((whole - own.edge) | 0) > 0) {
    if (!own.isOpaque && !isChecksumRight(packet, flow)) return "badChecksum";
    const skipped = (own.edge - sequence) | 0;
    own.take(packet.bytes, payloadAt + skipped, payloadBytes - skipped);
    end = own.edge;
    if (end === sequence && payloadBytes > 0) return "unacknowledged";
  }
  let hasFin = (flow.tcpFlags & TcpFlag.fin) !== 0 && end === whole;
  if (end === whole && own.isPlain(sequence, end) && !(hasFin && own.isHolding)) return "passed";
  const room = roomFor(packet, flow, tcpBytes, payloadBytes);
  own.emit(sequence, end, packet.bytes, payloadAt, out, room, hasFin);
  hasFin &&= own.emittedEnd === whole;
  if (own.emittedBytes === 0 && !hasFin) {
    if (own.emittedEnd === sequence) return "unacknowledged";
    out[0] = own.byteBefore(sequence);
    own.emittedBytes = 1;
    isProbe = true;
  }
  if (!hasFin && (flow.tcpFlags & TcpFlag.fin) !== 0) {
    flow.tcpFlags &= ~TcpFlag.fin;
    const word = packet.view.getUint16(transportAt + TCP_DATA_OFFSET_AT);
    changeWord(packet, transportAt, TCP_DATA_OFFSET_AT, word & ~TcpFlag.fin);
  }
  replacePayload(packet, flow, payloadAt, payloadBytes, own.emittedBytes);
  if (packet.gso === Gso.none && own.emittedBytes > room) makeSuperPacket(packet, flow, room);
  return "passed";
}

/** Bytes of payload that the segment may have. */
function roomFor(packet: Packet, flow: Flow, tcpBytes: number, payloadBytes: number): number {
  const headerBytes = flow.transportAt - packet.at + tcpBytes;
  if (packet.gso !== Gso.none) return IP_LENGTH_MAX - headerBytes;
  return Math.max(payloadBytes, ANY_PATH_BYTES[flow.family] - headerBytes);
}

/** Put the first bytes of `out` in the payload's place. */
function replacePayload(packet: Packet, flow: Flow, payloadAt: number, before: number, after: number): void {
  const { bytes, view } = packet;
  let delta = ~sum(view, payloadAt, before, 0) & 0xffff;
  const lengthBefore = flow.transportBytes;
  changeLength(packet, flow, after - before);
  for (let i = 0; i < after; i++) bytes[payloadAt + i] = out[i]!;
  delta += sum(view, payloadAt, after, 0);
  if (packet.gso !== Gso.none && after <= packet.gsoBytes) {
    packet.gso = Gso.none;
    packet.gsoBytes = 0;
  }
  followChange(packet, flow.transportAt, (~lengthBefore & 0xffff) + flow.transportBytes, delta);
}

/** Have it cut into segments of this much payload on its way out. The kernel wants a partial checksum for that. */
function makeSuperPacket(packet: Packet, flow: Flow, segmentBytes: number): void {
  packet.gso = flow.family === 4 ? Gso.tcp4 : Gso.tcp6;
  packet.gsoBytes = segmentBytes;
  if (packet.isChecksumPartial) return;
  const { view, at } = packet;
  const pseudo = flow.family === 4 ? pseudoHeaderSum4 : pseudoHeaderSum6;
  const start = pseudo(view, at, Protocol.tcp, flow.transportBytes);
  view.setUint16(flow.transportAt + TCP_CHECKSUM_AT, fold(start));
  packet.isChecksumPartial = true;
}

/** What was damaged on the way must not be read: it will come again. A partial checksum is this host's own. */
function isChecksumRight(packet: Packet, flow: Flow): boolean {
  if (packet.isChecksumPartial) return true;
  const { view, at } = packet;
  const pseudo = flow.family === 4 ? pseudoHeaderSum4 : pseudoHeaderSum6;
  const start = pseudo(view, at, Protocol.tcp, flow.transportBytes);
  return fold(sum(view, flow.transportAt, flow.transportBytes, start)) === 0xffff;
}

/** Renumber the blocks of SACK options (RFC 2018). A block of which nothing is left is left empty. */
function shiftBlocks(view: DataView, flow: Flow, opposite: Stream): number {
  let delta = 0;
  blocks.start(view, flow);
  while (blocks.next()) {
    const { at } = blocks;
    const left = opposite.leftEdge(view.getInt32(at));
    const right = opposite.rightEdge(view.getInt32(at + 4));
    const change = renumber(view, at, left) + renumber(view, at + 4, ((right - left) | 0) < 0 ? left : right);
    delta += aligned(change, at - flow.transportAt);
  }
  return delta;
}

function changeWord(packet: Packet, transportAt: number, offset: number, after: number): void {
  const before = packet.view.getUint16(transportAt + offset);
  packet.view.setUint16(transportAt + offset, after);
  if (before !== after) followChange(packet, transportAt, 0, (~before & 0xffff) + after);
}
