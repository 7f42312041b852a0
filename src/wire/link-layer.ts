/**
 * The link-layer header in front of an IP packet in a capture: finding what is behind it, and putting one in front.
 * Link types are those of https://www.tcpdump.org/linktypes.html.
 *
 *  Linux cooked v1 (113), 16 bytes                      v2 (276), 20 bytes
 * +--------+--------+---------+---------+------+       +------+----------+---------+--------+------+-----+---------+
 * | packet | ARPHRD | address | address | type |       | type | reserved | inter-  | ARPHRD | pkt  | adr | address |
 * | type 2 | 2      | bytes 2 | 8       | 2    |       | 2    | 2        | face 4  | 2      | type | len | 8       |
 * +--------+--------+---------+---------+------+       +------+----------+---------+--------+------+-----+---------+
 *
 * Left out: the BSD loopback types, PPP, 802.11 and everything else without an EtherType.
 */
import { ETHERNET_HEADER_BYTES, ETHERNET_TYPE_AT, EtherPayload, EtherType } from "./ethernet.ts";

export const LinkType = {
  ethernet: 1,
  /** Raw IP under the numbers that BSD and OpenBSD gave it. */
  rawBsd: 12,
  rawOpenBsd: 14,
  /** Raw IP, version by its first four bits. */
  raw: 101,
  linuxCooked: 113,
  ipv4: 228,
  ipv6: 229,
  linuxCooked2: 276,
} as const;
export type LinkType = (typeof LinkType)[keyof typeof LinkType];

/** Why there is no IP packet in a frame. */
export type NoIpReason = "unsupported-link-type" | "truncated" | "not-ip";

const COOKED_HEADER_BYTES = 16;
const COOKED_TYPE_AT = 14;
const COOKED2_HEADER_BYTES = 20;
const COOKED2_TYPE_AT = 0;
const COOKED2_INTERFACE_AT = 4;
const COOKED2_ARPHRD_AT = 8;
const ARPHRD_ETHER = 1;

export function isLinkType(linkType: number): linkType is LinkType {
  return Object.values<number>(LinkType).includes(linkType);
}

/**
 * Offset of the IP packet in a captured frame. Whatever follows the packet (Ethernet padding, a check sequence) stays
 * behind it: the IP header's own length tells them apart.
 */
export function findIp(linkType: number, frame: Uint8Array): number | NoIpReason {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  switch (linkType) {
    case LinkType.ethernet:
      return findBehindType(view, ETHERNET_TYPE_AT, ETHERNET_HEADER_BYTES);
    case LinkType.linuxCooked:
      return findBehindType(view, COOKED_TYPE_AT, COOKED_HEADER_BYTES);
    case LinkType.linuxCooked2:
      return findBehindType(view, COOKED2_TYPE_AT, COOKED2_HEADER_BYTES);
    case LinkType.raw:
    case LinkType.rawBsd:
    case LinkType.rawOpenBsd:
    case LinkType.ipv4:
    case LinkType.ipv6:
      return checkVersion(view, 0);
    default:
      return "unsupported-link-type";
  }
}

/**
 * A frame of this link type around an IP packet: a copy, with zero hardware addresses, or the packet itself for the raw
 * types. The EtherType follows the packet's version.
 */
export function frameIp(linkType: LinkType, packet: Uint8Array): Uint8Array {
  const etherType = packet[0]! >> 4 === 6 ? EtherType.ipv6 : EtherType.ipv4;
  switch (linkType) {
    case LinkType.ethernet: {
      const [frame, view] = makeRoom(ETHERNET_HEADER_BYTES, packet);
      view.setUint16(ETHERNET_TYPE_AT, etherType);
      return frame;
    }
    case LinkType.linuxCooked: {
      const [frame, view] = makeRoom(COOKED_HEADER_BYTES, packet);
      view.setUint16(2, ARPHRD_ETHER);
      view.setUint16(COOKED_TYPE_AT, etherType);
      return frame;
    }
    case LinkType.linuxCooked2: {
      const [frame, view] = makeRoom(COOKED2_HEADER_BYTES, packet);
      view.setUint16(COOKED2_TYPE_AT, etherType);
      view.setUint32(COOKED2_INTERFACE_AT, 1);
      view.setUint16(COOKED2_ARPHRD_AT, ARPHRD_ETHER);
      return frame;
    }
    default:
      return packet;
  }
}

function findBehindType(view: DataView, typeAt: number, payloadAt: number): number | NoIpReason {
  const payload = new EtherPayload();
  if (!payload.attachType(view, typeAt, payloadAt, view.byteLength)) return "truncated";
  const { etherType } = payload;
  if (etherType !== EtherType.ipv4 && etherType !== EtherType.ipv6) return "not-ip";
  return checkVersion(view, payload.payloadAt);
}

function checkVersion(view: DataView, at: number): number | NoIpReason {
  if (at >= view.byteLength) return "truncated";
  const version = view.getUint8(at) >> 4;
  return version === 4 || version === 6 ? at : "not-ip";
}

function makeRoom(headerBytes: number, packet: Uint8Array): [Uint8Array, DataView] {
  const frame = new Uint8Array(headerBytes + packet.length);
  frame.set(packet, headerBytes);
  return [frame, new DataView(frame.buffer)];
}
