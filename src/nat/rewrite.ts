/**
 * Changing a packet's addresses and ports in place, checksums carried along incrementally (RFC 1624): a payload that did
 * not change is never read again, and a checksum that was wrong stays wrong by the same amount, as with IPVS.
 *
 * A partial checksum (virtio NEEDS_CSUM) covers the pseudo-header only: it follows the addresses, not the ports. A UDP
 * checksum of zero means "none" and becomes a real one, as IPVS does. SCTP's CRC32c covers no addresses; it is computed
 * anew when a port changed. GRE has none, and as destination port the receiver's call ID.
 */
import {
  crc32c,
  difference32,
  finish,
  fold,
  pseudoHeaderSum4,
  pseudoHeaderSum6,
  sum,
  udpChecksum,
} from "../wire/checksum.ts";
import { type Flow, Protocol } from "../wire/flow.ts";
import { GRE_CALL_ID_AT } from "../wire/gre.ts";
import { ICMP_CHECKSUM_AT } from "../wire/icmp.ts";
import { IPV4_CHECKSUM_AT, IPV4_SOURCE_AT, IPV4_TTL_AT } from "../wire/ipv4.ts";
import { IPV6_HOP_LIMIT_AT, IPV6_SOURCE_AT } from "../wire/ipv6.ts";
import type { Packet } from "../wire/packet.ts";
import { SCTP_CHECKSUM_AT } from "../wire/sctp.ts";
import { TCP_CHECKSUM_AT } from "../wire/tcp.ts";
import { UDP_CHECKSUM_AT } from "../wire/udp.ts";
import { echoIdentifierAt, isEchoProtocol } from "./echo.ts";

/**
 * Give a dissected packet a new source and destination.
 * @param source - address words from `sourceAt` on; `destination` likewise; pass the flow's own words to keep an address
 */
export function rewrite(
  packet: Packet,
  flow: Flow,
  source: Int32Array,
  sourceAt: number,
  sourcePort: number,
  destination: Int32Array,
  destinationAt: number,
  destinationPort: number,
): void {
  const { view, at } = packet;
  const isIpv4 = flow.family === 4;
  const wordCount = isIpv4 ? 1 : 4;
  const addressesAt = at + (isIpv4 ? IPV4_SOURCE_AT : IPV6_SOURCE_AT);
  let addressDelta = 0;
  for (let i = 0; i < wordCount; i++) {
    const before = flow.words[i]!;
    const after = source[sourceAt + i]!;
    if (before !== after) {
      view.setInt32(addressesAt + i * 4, after);
      addressDelta += difference32(before, after);
    }
  }
  const destinationAddressAt = addressesAt + wordCount * 4;
  for (let i = 0; i < wordCount; i++) {
    const before = flow.words[4 + i]!;
    const after = destination[destinationAt + i]!;
    if (before !== after) {
      view.setInt32(destinationAddressAt + i * 4, after);
      addressDelta += difference32(before, after);
    }
  }
  if (isIpv4) applyDelta(view, at + IPV4_CHECKSUM_AT, addressDelta);
  if (!flow.hasPorts) return;
  if (isEchoProtocol(flow.protocol)) {
    rewriteEcho(view, flow, addressDelta, sourcePort, destinationPort);
    return;
  }

  const { transportAt } = flow;
  if (flow.protocol === Protocol.gre) {
    view.setUint16(transportAt + GRE_CALL_ID_AT, destinationPort);
    return;
  }
  let portDelta = 0;
  if (sourcePort !== flow.sourcePort) {
    view.setUint16(transportAt, sourcePort);
    portDelta += (~flow.sourcePort & 0xffff) + sourcePort;
  }
  if (destinationPort !== flow.destinationPort) {
    view.setUint16(transportAt + 2, destinationPort);
    portDelta += (~flow.destinationPort & 0xffff) + destinationPort;
  }

  switch (flow.protocol) {
    case Protocol.tcp:
      if (packet.isChecksumPartial) applyPartialDelta(view, transportAt + TCP_CHECKSUM_AT, addressDelta);
      else applyDelta(view, transportAt + TCP_CHECKSUM_AT, addressDelta + portDelta);
      break;
    case Protocol.udp: {
      const checksumAt = transportAt + UDP_CHECKSUM_AT;
      if (packet.isChecksumPartial) applyPartialDelta(view, checksumAt, addressDelta);
      else if (view.getUint16(checksumAt) === 0) computeUdpChecksum(packet, flow);
      else {
        applyDelta(view, checksumAt, addressDelta + portDelta);
        view.setUint16(checksumAt, udpChecksum(view.getUint16(checksumAt)));
      }
      break;
    }
    case Protocol.sctp:
      // Not by the delta: from 65535 to 0 it is zero, which only one's complement cannot tell.
      if (
        (sourcePort !== flow.sourcePort || destinationPort !== flow.destinationPort) &&
        !packet.isChecksumPartial
      ) {
        const checksumAt = transportAt + SCTP_CHECKSUM_AT;
        view.setUint32(checksumAt, 0);
        // The CRC is transmitted least significant byte first (RFC 9260 appendix A).
        view.setUint32(checksumAt, crc32c(packet.bytes, transportAt, flow.transportBytes), true);
      }
      break;
  }
}

/**
 * Add to the TTL or hop limit, the IPv4 checksum with it. The caller has made sure that the result is 0..255.
 */
export function changeHops(packet: Packet, family: 4 | 6, change: number): void {
  const { view, at } = packet;
  if (family === 6) {
    view.setUint8(at + IPV6_HOP_LIMIT_AT, view.getUint8(at + IPV6_HOP_LIMIT_AT) + change);
    return;
  }
  const before = view.getUint16(at + IPV4_TTL_AT);
  const after = before + change * 256;
  view.setUint16(at + IPV4_TTL_AT, after);
  applyDelta(view, at + IPV4_CHECKSUM_AT, (~before & 0xffff) + after);
}

/** The identifier is the source port of a request and the destination port of a reply. ICMP covers no addresses, ICMPv6 does. */
function rewriteEcho(
  view: DataView,
  flow: Flow,
  addressDelta: number,
  sourcePort: number,
  destinationPort: number,
): void {
  const isRequest = flow.destinationPort === 0;
  const before = isRequest ? flow.sourcePort : flow.destinationPort;
  const after = isRequest ? sourcePort : destinationPort;
  const identifierAt = echoIdentifierAt(flow);
  view.setUint16(identifierAt, after);
  const delta = (before === after ? 0 : (~before & 0xffff) + after) + (flow.family === 6 ? addressDelta : 0);
  applyDelta(view, flow.transportAt + ICMP_CHECKSUM_AT, delta);
}

/** Carry a change of the words it covers into a checksum. @param delta - as a sum: complements of the old words, the new words */
export function applyDelta(view: DataView, checksumAt: number, delta: number): void {
  if (delta === 0) return;
  view.setUint16(checksumAt, ~fold((~view.getUint16(checksumAt) & 0xffff) + delta) & 0xffff);
}

/** The same for a partial checksum and the pseudo-header's words. */
export function applyPartialDelta(view: DataView, checksumAt: number, delta: number): void {
  if (delta === 0) return;
  view.setUint16(checksumAt, fold(view.getUint16(checksumAt) + delta));
}

/** A full checksum over the rewritten packet; zero, "none", before. */
function computeUdpChecksum(packet: Packet, flow: Flow): void {
  const { view, at } = packet;
  const { transportAt, transportBytes } = flow;
  const pseudo = flow.family === 4 ? pseudoHeaderSum4 : pseudoHeaderSum6;
  const total = sum(view, transportAt, transportBytes, pseudo(view, at, Protocol.udp, transportBytes));
  view.setUint16(transportAt + UDP_CHECKSUM_AT, udpChecksum(finish(total)));
}
