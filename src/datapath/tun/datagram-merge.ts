/**
 * Merging small datagrams that follow each other in one flow into one UDP super-packet (virtio GSO type UDP_L4, Linux 6.2),
 * which the kernel carries as one packet and cuts again where a link or a socket needs it: the write to the device, with
 * the routing and the receiving behind it, is the slow path's largest cost, and is paid once for up to 64 datagrams.
 *
 * Nothing waits for it: what was merged is sent as soon as the device has no more packets to give. Each flow's order is
 * kept. Only datagrams that are alike but for their payload are merged: same addresses, ports, TTL, TOS, "don't fragment"
 * set (so that their identifications mean nothing, RFC 6864), no options, checksum left to the kernel. The sum of a payload
 * that was not checked yet is never covered up, because a datagram with a full checksum is not merged.
 */
import { finish, fold, pseudoHeaderSum4, pseudoHeaderSum6, sum } from "../../wire/checksum.ts";
import { Protocol } from "../../wire/flow.ts";
import {
  IPV4_CHECKSUM_AT,
  IPV4_DONT_FRAGMENT,
  IPV4_FRAGMENT_AT,
  IPV4_HEADER_BYTES,
  IPV4_PROTOCOL_AT,
  IPV4_SOURCE_AT,
  IPV4_TOTAL_LENGTH_AT,
  IPV4_TTL_AT,
} from "../../wire/ipv4.ts";
import {
  IPV6_HEADER_BYTES,
  IPV6_NEXT_HEADER_AT,
  IPV6_PAYLOAD_LENGTH_AT,
  IPV6_SOURCE_AT,
} from "../../wire/ipv6.ts";
import { Gso, HEADROOM_BYTES, Packet } from "../../wire/packet.ts";
import { UDP_CHECKSUM_AT, UDP_HEADER_BYTES, UDP_LENGTH_AT } from "../../wire/udp.ts";

/** Flows being merged at a time; a further one sends the others on their way. */
const GROUP_COUNT = 8;
/** UDP_MAX_SEGMENTS of the kernels that have UDP_L4; newer ones take twice as many. */
const SEGMENTS_MAX = 64;
const SUPER_PACKET_BYTES_MAX = 65_000;
/** IPv4, five header words, or IPv6: the first octet of what may be merged. */
const IPV4_PLAIN = 0x45;

/** Sends a packet that is ready. */
export type Send = (packet: Packet) => boolean;

/** One super-packet in the making. Its packet has headers as they arrived until it is sealed. */
class Group {
  readonly packet = new Packet();
  /** Datagrams in it; 0: free. */
  count = 0;
  /** Payload bytes of every datagram but the last. */
  segmentBytes = 0;
  headerBytes = 0;
}

export class DatagramMerge {
  readonly #send: Send;
  readonly #groups = Array.from({ length: GROUP_COUNT }, () => new Group());
  #openCount = 0;

  constructor(send: Send) {
    this.#send = send;
  }

  /**
   * Take a packet, to be sent by `flush` at the latest.
   * @returns false when it cannot be merged; the caller sends it, and what is before it in its flow has been sent.
   */
  take(packet: Packet): boolean {
    const headerBytes = mergeableHeaderBytes(packet);
    if (headerBytes === 0) {
      if (this.#openCount > 0 && mayBeDatagram(packet)) this.flush();
      return false;
    }
    const payloadBytes = packet.length - headerBytes;
    for (const group of this.#groups) {
      if (group.count === 0 || !isAlike(group, packet, headerBytes)) continue;
      const isRoom =
        payloadBytes <= group.segmentBytes &&
        group.count < SEGMENTS_MAX &&
        group.packet.length + payloadBytes <= SUPER_PACKET_BYTES_MAX;
      if (!isRoom) {
        this.#seal(group);
        break;
      }
      copy(packet, headerBytes, group.packet, group.packet.length, payloadBytes);
      group.packet.length += payloadBytes;
      group.count++;
      // Only the last datagram of a super-packet may be shorter than the others.
      if (payloadBytes < group.segmentBytes) this.#seal(group);
      return true;
    }
    this.#open(packet, headerBytes, payloadBytes);
    return true;
  }

  /** Send everything that was taken. */
  flush(): void {
    if (this.#openCount === 0) return;
    for (const group of this.#groups) if (group.count > 0) this.#seal(group);
  }

  #open(packet: Packet, headerBytes: number, payloadBytes: number): void {
    if (this.#openCount === GROUP_COUNT) this.flush();
    for (const group of this.#groups) {
      if (group.count > 0) continue;
      group.packet.reset(HEADROOM_BYTES, packet.length);
      group.packet.isChecksumPartial = true;
      copy(packet, 0, group.packet, 0, packet.length);
      group.headerBytes = headerBytes;
      group.segmentBytes = payloadBytes;
      group.count = 1;
      this.#openCount++;
      return;
    }
  }

  /** Finish the headers and send. */
  #seal(group: Group): void {
    const { packet, headerBytes } = group;
    if (group.count > 1) {
      const { view, at } = packet;
      const udpAt = at + headerBytes - UDP_HEADER_BYTES;
      const udpBytes = packet.length - headerBytes + UDP_HEADER_BYTES;
      packet.gso = Gso.udp;
      packet.gsoBytes = group.segmentBytes;
      view.setUint16(udpAt + UDP_LENGTH_AT, udpBytes);
      let pseudo: number;
      if (udpAt - at === IPV4_HEADER_BYTES) {
        view.setUint16(at + IPV4_TOTAL_LENGTH_AT, packet.length);
        view.setUint16(at + IPV4_CHECKSUM_AT, 0);
        view.setUint16(at + IPV4_CHECKSUM_AT, finish(sum(view, at, IPV4_HEADER_BYTES, 0)));
        pseudo = pseudoHeaderSum4(view, at, Protocol.udp, udpBytes);
      } else {
        view.setUint16(at + IPV6_PAYLOAD_LENGTH_AT, udpBytes);
        pseudo = pseudoHeaderSum6(view, at, Protocol.udp, udpBytes);
      }
      view.setUint16(udpAt + UDP_CHECKSUM_AT, fold(pseudo));
    }
    group.count = 0;
    this.#openCount--;
    this.#send(packet);
  }
}

/** Bytes of the IP and UDP headers of a datagram that may be merged; 0 for everything else. */
function mergeableHeaderBytes(packet: Packet): number {
  if (!packet.isChecksumPartial || packet.gso !== Gso.none || packet.fragmentBytesMax !== 0) return 0;
  const { view, at, length } = packet;
  const first = view.getUint8(at);
  let headerBytes: number;
  if (first === IPV4_PLAIN) {
    if (view.getUint8(at + IPV4_PROTOCOL_AT) !== Protocol.udp) return 0;
    if (view.getUint16(at + IPV4_FRAGMENT_AT) !== IPV4_DONT_FRAGMENT) return 0;
    headerBytes = IPV4_HEADER_BYTES + UDP_HEADER_BYTES;
  } else {
    if (first >> 4 !== 6 || view.getUint8(at + IPV6_NEXT_HEADER_AT) !== Protocol.udp) return 0;
    headerBytes = IPV6_HEADER_BYTES + UDP_HEADER_BYTES;
  }
  // An empty datagram cannot be a segment; a UDP length that is not the packet's would be lost.
  if (length <= headerBytes) return 0;
  const udpBytes = view.getUint16(at + headerBytes - UDP_HEADER_BYTES + UDP_LENGTH_AT);
  return udpBytes === length - headerBytes + UDP_HEADER_BYTES ? headerBytes : 0;
}

/** Might the packet belong to a flow that is being merged? */
function mayBeDatagram(packet: Packet): boolean {
  const { view, at } = packet;
  const isIpv4 = view.getUint8(at) >> 4 === 4;
  return !isIpv4 || view.getUint8(at + IPV4_PROTOCOL_AT) === Protocol.udp;
}

/** Everything in the headers but lengths, identification and checksums is equal. */
function isAlike(group: Group, packet: Packet, headerBytes: number): boolean {
  if (group.headerBytes !== headerBytes) return false;
  const { view: a, at: aAt } = group.packet;
  const { view: b, at: bAt } = packet;
  const portsAt = headerBytes - UDP_HEADER_BYTES;
  if (a.getInt32(aAt + portsAt) !== b.getInt32(bAt + portsAt)) return false;
  if (portsAt === IPV4_HEADER_BYTES) {
    return (
      a.getInt32(aAt + IPV4_SOURCE_AT) === b.getInt32(bAt + IPV4_SOURCE_AT) &&
      a.getInt32(aAt + IPV4_SOURCE_AT + 4) === b.getInt32(bAt + IPV4_SOURCE_AT + 4) &&
      a.getUint16(aAt) === b.getUint16(bAt) &&
      a.getUint16(aAt + IPV4_TTL_AT) === b.getUint16(bAt + IPV4_TTL_AT)
    );
  }
  if (a.getInt32(aAt) !== b.getInt32(bAt)) return false;
  if (a.getUint16(aAt + IPV6_NEXT_HEADER_AT) !== b.getUint16(bAt + IPV6_NEXT_HEADER_AT)) return false;
  for (let i = IPV6_SOURCE_AT; i < IPV6_HEADER_BYTES; i += 4)
    if (a.getInt32(aAt + i) !== b.getInt32(bAt + i)) return false;
  return true;
}

/** Copy bytes between packets; offsets count from their IP headers. */
function copy(from: Packet, fromAt: number, to: Packet, toAt: number, byteCount: number): void {
  const source = from.at + fromAt;
  const target = to.at + toAt;
  for (let i = 0; i < byteCount; i++) to.bytes[target + i] = from.bytes[source + i]!;
}
