/**
 * The PROXY protocol, version 2 (HAProxy's doc/proxy-protocol.txt section 2.2), for servers that cannot see the client's
 * address: a header in front of the client's stream says who it is. TCP is not terminated for it. The header is put into
 * passing segments, and everything behind it is renumbered.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +---------------------------------------------------------------+
 * |                          0x0d0a0d0a                           |
 * +---------------------------------------------------------------+
 * |                          0x000d0a51                           |
 * +---------------------------------------------------------------+
 * |                          0x5549540a                           |
 * +---------------+---------------+-------------------------------+
 * |  0x21 version | 0x11 TCP/IPv4 |  Bytes that follow: 12 or 36  |
 * | 2, "proxied"  | 0x21 TCP/IPv6 |                               |
 * +---------------+---------------+-------------------------------+
 * |              Client address, one word or four                 |
 * +---------------------------------------------------------------+
 * |              Virtual address, one word or four                |
 * +-------------------------------+-------------------------------+
 * |          Client port          |         Virtual port          |
 * +-------------------------------+-------------------------------+
 *
 * Let F be the first sequence number of the client's stream and N the bytes of the header. The server's SYN+ACK says F.
 * From then on the header is *pending* until the server acknowledges F + N, and meanwhile
 * - every segment at F carries it, an empty one as well: so a server that speaks first hears it with the handshake's last
 *   segment, and whatever the client repeats repeats it;
 * - no other segment may touch F, or a client could put a header of its own there.
 * Otherwise the client's numbers are N too low and the server's acknowledgments N too high for the other side, and that is
 * all there is to know: also for a connection whose beginning this director never saw, which it may go on with.
 *
 * RFC 9293 section 3.10.7: a reset is judged by its sequence number, except in answer to a SYN, where it is judged by its
 * acknowledgment number, and then nothing was renumbered yet. So the acknowledgment of a reset stays as it is.
 *
 * Left out: data in a SYN (TCP Fast Open, RFC 7413) is cut off, and the client sends it again behind the handshake. The
 * sequence numbers that ICMP errors quote stay the server's. The server's window is passed on as it is: until the
 * header is acknowledged, the client may send N bytes more than fit, and sends them again. TLVs.
 */
import { sum } from "../wire/checksum.ts";
import type { Flow } from "../wire/flow.ts";
import { OptionWalk } from "../wire/option-walk.ts";
import type { Packet } from "../wire/packet.ts";
import {
  TCP_ACKNOWLEDGMENT_AT,
  TCP_HEADER_BYTES,
  TCP_OPTION_BYTES,
  TCP_SEQUENCE_AT,
  TCP_URGENT_AT,
  TcpFlag,
  TcpOption,
} from "../wire/tcp.ts";
import { ConnectionFlag, type ConnectionTable } from "./connection-table.ts";
import {
  aligned,
  changeLength,
  cutPayload,
  followChange,
  IP_LENGTH_MAX,
  lengthFieldAt,
  renumber,
  SackWalk,
  startOptions,
  tcpHeaderBytes,
} from "./tcp-segment.ts";

const FIXED_BYTES = 16;

const options = new OptionWalk();
const blocks = new SackWalk();

/** Bytes of the header. Segments to the server may grow by as much, so the client is told of an MTU that much smaller. */
export function proxyHeaderBytes(family: 4 | 6): number {
  return FIXED_BYTES + (family === 4 ? 12 : 36);
}

/**
 * Renumber a client's TCP segment, and put the header into it where it belongs. To be called before `rewrite`, for every
 * packet of a connection with ConnectionFlag.proxy. Where the header is put in, everything in front of it moves into the
 * packet's headroom: `packet.at` and `length`, the flow's `transportAt`, `transportBytes` and `nextHeaderAt` change.
 * @returns false, packet unchanged, when it must be dropped: a malformed header, no room below the 64 KiB of an IP packet,
 *   or data that would stand in the header's place
 */
export function proxyToServer(packet: Packet, flow: Flow, table: ConnectionTable, record: number): boolean {
  const { view } = packet;
  const { transportAt, tcpFlags } = flow;
  const tcpBytes = tcpHeaderBytes(view, transportAt);
  const payloadBytes = flow.transportBytes - tcpBytes;
  if (tcpBytes < TCP_HEADER_BYTES || payloadBytes < 0) return false;
  if ((tcpFlags & TcpFlag.syn) !== 0) {
    if (payloadBytes > 0) cutPayload(packet, flow, payloadBytes); // it would be the stream's first bytes, and the header has to be
    return true;
  }
  const sequence = view.getInt32(transportAt + TCP_SEQUENCE_AT);
  if (table.hasFlag(record, ConnectionFlag.proxyPending)) {
    const offset = (sequence - table.sequence(record)) | 0;
    // Before F there is nothing but what asks for an acknowledgment: a probe of a connection that is idle.
    if (offset < 0) return offset + payloadBytes <= 0;
    if (offset === 0) {
      // A reset must name exactly the number the server expects next, and it is not known to have the header.
      if ((tcpFlags & TcpFlag.rst) !== 0) return true;
      return insertHeader(packet, flow, table, record, tcpBytes);
    }
  }
  const shifted = (sequence + proxyHeaderBytes(flow.family)) | 0;
  followChange(packet, transportAt, 0, renumber(view, transportAt + TCP_SEQUENCE_AT, shifted));
  return true;
}

/** Renumber a server's TCP segment, and take from its SYN+ACK what must be known. To be called before `rewrite`. */
export function proxyToClient(packet: Packet, flow: Flow, table: ConnectionTable, record: number): void {
  const { view } = packet;
  const { transportAt, tcpFlags } = flow;
  if ((tcpFlags & (TcpFlag.ack | TcpFlag.rst)) !== TcpFlag.ack) return;
  const headerBytes = proxyHeaderBytes(flow.family);
  const acknowledgment = view.getInt32(transportAt + TCP_ACKNOWLEDGMENT_AT);
  if ((tcpFlags & TcpFlag.syn) !== 0) {
    table.setSequence(record, acknowledgment);
    table.setFlag(record, ConnectionFlag.proxyPending, true);
    lowerSegmentSize(packet, flow, headerBytes);
    return;
  }
  const first = table.sequence(record);
  let shifted = (acknowledgment - headerBytes) | 0;
  if (table.hasFlag(record, ConnectionFlag.proxyPending)) {
    // An older one that comes later is not raised to F: it is harmless, and after 4 GiB it would not be the older one.
    if (((shifted - first) | 0) >= 0) table.setFlag(record, ConnectionFlag.proxyPending, false);
    else shifted = first;
  }
  const delta = renumber(view, transportAt + TCP_ACKNOWLEDGMENT_AT, shifted);
  followChange(packet, transportAt, 0, delta + shiftBlocks(view, flow, first, headerBytes));
}

/** Put the header between the TCP header and the payload. */
function insertHeader(
  packet: Packet,
  flow: Flow,
  table: ConnectionTable,
  record: number,
  tcpBytes: number,
): boolean {
  const { view, bytes } = packet;
  const headerBytes = proxyHeaderBytes(flow.family);
  if (view.getUint16(packet.at + lengthFieldAt(flow)) + headerBytes > IP_LENGTH_MAX) return false;
  const payloadAt = flow.transportAt + tcpBytes;
  bytes.copyWithin(packet.at - headerBytes, packet.at, payloadAt);
  packet.at -= headerBytes;
  flow.transportAt -= headerBytes;
  flow.nextHeaderAt -= headerBytes;
  changeLength(packet, flow, headerBytes);
  const headerAt = payloadAt - headerBytes;
  writeHeader(view, headerAt, flow.family, table, record);
  let delta = sum(view, headerAt, headerBytes, 0);
  if ((flow.tcpFlags & TcpFlag.urg) !== 0) {
    // It counts from the sequence number, which is the header's now.
    const urgentAt = flow.transportAt + TCP_URGENT_AT;
    const before = view.getUint16(urgentAt);
    const after = Math.min(before + headerBytes, 0xffff);
    view.setUint16(urgentAt, after);
    delta += (~before & 0xffff) + after;
  }
  followChange(packet, flow.transportAt, headerBytes, delta);
  return true;
}

function writeHeader(
  view: DataView,
  headerAt: number,
  family: 4 | 6,
  table: ConnectionTable,
  record: number,
): void {
  const { words } = table;
  const wordCount = family === 4 ? 1 : 4;
  view.setUint32(headerAt, 0x0d0a0d0a);
  view.setUint32(headerAt + 4, 0x000d0a51);
  view.setUint32(headerAt + 8, 0x5549540a);
  view.setUint16(headerAt + 12, family === 4 ? 0x2111 : 0x2121);
  view.setUint16(headerAt + 14, wordCount * 8 + 4);
  let at = headerAt + FIXED_BYTES;
  for (let i = 0; i < wordCount; i++, at += 4) view.setInt32(at, words[table.clientAt(record) + i]!);
  for (let i = 0; i < wordCount; i++, at += 4) view.setInt32(at, words[table.virtualAt(record) + i]!);
  view.setUint16(at, table.clientPort(record));
  view.setUint16(at + 2, table.virtualPort(record));
}

/** The largest segment the server takes, so that one with the header in it is no larger. */
function lowerSegmentSize(packet: Packet, flow: Flow, headerBytes: number): void {
  const { view } = packet;
  startOptions(options, view, flow);
  while (options.next()) {
    if (!options.is(TcpOption.mss, TCP_OPTION_BYTES.mss)) continue;
    const at = options.at + 2;
    const before = view.getUint16(at);
    const after = Math.max(before - headerBytes, 1);
    view.setUint16(at, after);
    const delta = (~before & 0xffff) + after;
    followChange(packet, flow.transportAt, 0, aligned(delta, at - flow.transportAt));
  }
}

/**
 * Renumber the blocks of SACK options (RFC 2018). What lies inside the header is nothing to the client: a block that
 * begins there begins at F instead, and one that also ends there is left empty, which no sender takes for news.
 * @param first - F
 * @returns the change of the sum
 */
function shiftBlocks(view: DataView, flow: Flow, first: number, headerBytes: number): number {
  let delta = 0;
  blocks.start(view, flow);
  while (blocks.next()) {
    const { at } = blocks;
    const left = view.getInt32(at);
    const right = view.getInt32(at + 4);
    const beginsInside = (left - first) >>> 0 < headerBytes;
    const endsInside = beginsInside && (right - first) >>> 0 < headerBytes;
    const change =
      renumber(view, at, beginsInside ? first : (left - headerBytes) | 0) +
      renumber(view, at + 4, endsInside ? first : (right - headerBytes) | 0);
    delta += aligned(change, at - flow.transportAt);
  }
  return delta;
}
