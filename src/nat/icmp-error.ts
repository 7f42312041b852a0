/**
 * Translating an ICMP or ICMPv6 error about a connection of ours. The packet it quotes is one the director sent, so its
 * tuple, turned round, is found in the connection table; both the error's own header and the quotation are put back into
 * the receiver's view. The quoted TCP or UDP checksum stays stale, as with IPVS: nobody can check it in a quotation.
 *
 * IPv4: destination unreachable, source quench, time exceeded, as IPVS; redirect and parameter problem are not
 * translated. IPv6: every error.
 */
import { type Flow, Protocol } from "../wire/flow.ts";
import { GRE_CALL_ID_AT } from "../wire/gre.ts";
import { ICMP_CHECKSUM_AT, ICMP_EMBEDDED_AT, ICMP_TYPE_AT } from "../wire/icmp.ts";
import { IPV4_CHECKSUM_AT, IPV4_DESTINATION_AT, IPV4_SOURCE_AT } from "../wire/ipv4.ts";
import { IPV6_DESTINATION_AT, IPV6_SOURCE_AT } from "../wire/ipv6.ts";
import type { Packet } from "../wire/packet.ts";
import { ConnectionFlag, type ConnectionTable } from "./connection-table.ts";
import { echoIdentifierAt, isEchoProtocol, readEcho } from "./echo.ts";
import { icmpChecksum, ipv4HeaderChecksum } from "./reply.ts";
import { readCallId, type TunnelCalls } from "./tunnel-calls.ts";

const UNREACHABLE = 3;
const SOURCE_QUENCH = 4;
const TIME_EXCEEDED = 11;

/** Is this ICMP message an error that is translated? The message has at least 8 bytes. */
export function isTranslatedError(packet: Packet, flow: Flow): boolean {
  const type = packet.view.getUint8(flow.transportAt + ICMP_TYPE_AT);
  if (flow.family === 6) return type < 128;
  return type === UNREACHABLE || type === SOURCE_QUENCH || type === TIME_EXCEEDED;
}

/**
 * The connection node an error is about: bit 0 is 0 when the error goes to the server, 1 when to the client; -1 none.
 * @param quoted - filled with the quoted packet's flow, turned round
 */
export function findQuoted(
  packet: Packet,
  flow: Flow,
  quoted: Flow,
  table: ConnectionTable,
  calls: TunnelCalls,
): number {
  const end = packet.at + packet.length;
  if (quoted.dissectQuoted(packet.view, flow.transportAt + ICMP_EMBEDDED_AT, end) !== "ok") return -1;
  if (quoted.family !== flow.family) return -1;
  if (quoted.protocol === Protocol.gre)
    return quoted.fragmentOffset === 0 && readCallId(packet.view, quoted) ? calls.findQuoted(quoted) : -1;
  if (!quoted.hasPorts) {
    const isEcho =
      isEchoProtocol(quoted.protocol) && quoted.fragmentOffset === 0 && quoted.transportBytes >= 8;
    if (!isEcho || !readEcho(packet.view, quoted)) return -1;
  }
  quoted.reverse();
  return table.find(quoted);
}

/**
 * Rewrite the error for its receiver.
 * @param node - what findQuoted returned, not -1
 */
export function translateError(
  packet: Packet,
  flow: Flow,
  quoted: Flow,
  table: ConnectionTable,
  node: number,
): void {
  const { view, at } = packet;
  const record = node >> 1;
  const isToServer = (node & 1) === 0;
  const words = table.words;
  const quotedAt = flow.transportAt + ICMP_EMBEDDED_AT;
  const isIpv4 = flow.family === 4;
  const sourceAt = isIpv4 ? IPV4_SOURCE_AT : IPV6_SOURCE_AT;
  const destinationAt = isIpv4 ? IPV4_DESTINATION_AT : IPV6_DESTINATION_AT;
  const source = table.source(record);
  if (isToServer) {
    // The server's own packet had come from destination:port to source:sourcePort.
    writeAddress(view, at + destinationAt, words, table.destinationAt(record), isIpv4);
    writeAddress(view, quotedAt + sourceAt, words, table.destinationAt(record), isIpv4);
    if (source > 0) {
      writeAddress(view, at + sourceAt, table.sourceWords, source * 4, isIpv4);
      writeAddress(view, quotedAt + destinationAt, table.sourceWords, source * 4, isIpv4);
    }
    writePorts(view, quoted, table.destinationPort(record), table.sourcePort(record));
  } else {
    // Which router on the way to a host outside it was is what traceroute asks.
    if (!table.hasFlag(record, ConnectionFlag.masquerade))
      writeAddress(view, at + sourceAt, words, table.virtualAt(record), isIpv4);
    writeAddress(view, quotedAt + destinationAt, words, table.virtualAt(record), isIpv4);
    if (source > 0) {
      writeAddress(view, at + destinationAt, words, table.clientAt(record), isIpv4);
      writeAddress(view, quotedAt + sourceAt, words, table.clientAt(record), isIpv4);
    }
    writePorts(view, quoted, table.clientPort(record), table.virtualPort(record));
  }
  if (isIpv4) {
    restoreHeaderChecksum(view, quotedAt, quoted.transportAt - quotedAt);
    restoreHeaderChecksum(view, at, flow.transportAt - at);
  }
  const checksumAt = flow.transportAt + ICMP_CHECKSUM_AT;
  view.setUint16(checksumAt, 0);
  view.setUint16(checksumAt, icmpChecksum(packet, flow.family, flow.transportAt, flow.transportBytes));
}

/** Of an echo, the identifier is what there is of ports; `quoted` is turned round, so a request has it as destination. */
function writePorts(view: DataView, quoted: Flow, sourcePort: number, destinationPort: number): void {
  if (isEchoProtocol(quoted.protocol)) {
    view.setUint16(echoIdentifierAt(quoted), quoted.sourcePort === 0 ? sourcePort : destinationPort);
    return;
  }
  if (quoted.protocol === Protocol.gre) {
    view.setUint16(quoted.transportAt + GRE_CALL_ID_AT, destinationPort);
    return;
  }
  view.setUint16(quoted.transportAt, sourcePort);
  view.setUint16(quoted.transportAt + 2, destinationPort);
}

function writeAddress(view: DataView, at: number, words: Int32Array, from: number, isIpv4: boolean): void {
  const count = isIpv4 ? 1 : 4;
  for (let i = 0; i < count; i++) view.setInt32(at + i * 4, words[from + i]!);
}

function restoreHeaderChecksum(view: DataView, at: number, bytes: number): void {
  view.setUint16(at + IPV4_CHECKSUM_AT, 0);
  view.setUint16(at + IPV4_CHECKSUM_AT, ipv4HeaderChecksum(view, at, bytes));
}

/** Protocols whose errors carry connections of ours. */
export const isIcmp = (flow: Flow): boolean =>
  flow.family === 4 ? flow.protocol === Protocol.icmp : flow.protocol === Protocol.icmp6;
