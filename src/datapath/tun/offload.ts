/**
 * The virtio-net header that a TUN device with IFF_VNET_HDR puts in front of every packet, to and from a packet's
 * metadata: which checksum is still to be completed, and whether this is a super-packet that the kernel will segment
 * (virtio 1.2 section 5.1.6; Linux include/uapi/linux/virtio_net.h). Little-endian, as the device is told to be.
 *
 *  byte 0      1           2           4           6            8             10
 *     +--------+-----------+-----------+-----------+------------+-------------+
 *     | flags  | GSO type  | hdr_len   | gso_size  | csum_start | csum_offset |
 *     +--------+-----------+-----------+-----------+------------+-------------+
 *
 * `csum_start` counts from the IP header; the checksum to complete lies `csum_offset` bytes behind it. Not here:
 * mergeable buffers, hash reports, segmentation inside UDP tunnels; the device is not asked for them.
 */
import { Ipv6Extensions } from "../../wire/ipv6-extensions.ts";
import { Gso, type Packet } from "../../wire/packet.ts";

export const VIRTIO_HEADER_BYTES = 10;

const GSO_TYPE_AT = 1;
const HEADER_LENGTH_AT = 2;
const GSO_SIZE_AT = 4;
const CHECKSUM_START_AT = 6;
const CHECKSUM_OFFSET_AT = 8;

/** Flag: the checksum field holds only the pseudo-header sum. */
const NEEDS_CHECKSUM = 1;
/** Set in the GSO type of TCP when CWR belongs to the first segment alone. */
const GSO_ECN = 0x80;

const TCP = 6;
const UDP = 17;
const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;
const TCP_HEADER_BYTES = 20;
const TCP_DATA_OFFSET_AT = 12;
const TCP_FLAGS_AT = 13;
const TCP_CWR = 0x80;
const TCP_CHECKSUM_AT = 16;
const UDP_HEADER_BYTES = 8;
const UDP_CHECKSUM_AT = 6;

export class Offload {
  readonly #extensions = new Ipv6Extensions();
  /** What #findTransport found. */
  #protocol = 0;

  /**
   * Read the header at `at` and aim `packet` at what follows it.
   * @param end - offset behind the last byte received.
   * @returns false, packet untouched, when there is no packet or it is a kind of super-packet never asked for.
   */
  read(packet: Packet, at: number, end: number): boolean {
    const { view } = packet;
    const packetAt = at + VIRTIO_HEADER_BYTES;
    if (packetAt >= end) return false;
    const gso = view.getUint8(at + GSO_TYPE_AT) & ~GSO_ECN;
    if (gso !== Gso.none && gso !== Gso.tcp4 && gso !== Gso.tcp6 && gso !== Gso.udp) return false;
    packet.reset(packetAt, end - packetAt);
    packet.isChecksumPartial = (view.getUint8(at) & NEEDS_CHECKSUM) !== 0;
    packet.gso = gso;
    packet.gsoBytes = gso === Gso.none ? 0 : view.getUint16(at + GSO_SIZE_AT, true);
    return true;
  }

  /**
   * Write the header right in front of the packet. Where the transport header begins is read from the packet, because it
   * may not be the one that was received. The ECN bit follows from CWR, as in the kernel's own GRO.
   * @returns false when there is no room, or something is left to the kernel that it does for TCP and UDP only.
   */
  write(packet: Packet): boolean {
    const { view, gso } = packet;
    const at = packet.at - VIRTIO_HEADER_BYTES;
    if (at < 0) return false;
    view.setUint32(at, 0);
    view.setUint32(at + 4, 0);
    view.setUint16(at + 8, 0);
    if (gso === Gso.none && !packet.isChecksumPartial) return true;

    const transportAt = this.#findTransport(packet);
    if (transportAt < 0) return false;
    const start = transportAt - packet.at;
    const isTcp = this.#protocol === TCP;
    if (packet.isChecksumPartial) {
      view.setUint8(at, NEEDS_CHECKSUM);
      view.setUint16(at + CHECKSUM_START_AT, start, true);
      view.setUint16(at + CHECKSUM_OFFSET_AT, isTcp ? TCP_CHECKSUM_AT : UDP_CHECKSUM_AT, true);
    }
    if (gso !== Gso.none) {
      const isEcn = isTcp && (view.getUint8(transportAt + TCP_FLAGS_AT) & TCP_CWR) !== 0;
      const transportBytes = isTcp
        ? (view.getUint8(transportAt + TCP_DATA_OFFSET_AT) >>> 4) * 4
        : UDP_HEADER_BYTES;
      view.setUint8(at + GSO_TYPE_AT, isEcn ? gso | GSO_ECN : gso);
      view.setUint16(at + HEADER_LENGTH_AT, start + transportBytes, true);
      view.setUint16(at + GSO_SIZE_AT, packet.gsoBytes, true);
    }
    return true;
  }

  /** @returns offset of a whole TCP or UDP header in the buffer, or -1. */
  #findTransport(packet: Packet): number {
    const { view, at } = packet;
    const end = at + packet.length;
    if (packet.length < IPV4_HEADER_BYTES) return -1;
    let transportAt: number;
    if (view.getUint8(at) >>> 4 === 4) {
      this.#protocol = view.getUint8(at + 9);
      transportAt = at + (view.getUint8(at) & 0xf) * 4;
    } else {
      if (packet.length < IPV6_HEADER_BYTES) return -1;
      if (this.#extensions.walk(view, at + 6, at + IPV6_HEADER_BYTES, end) !== "ok") return -1;
      this.#protocol = this.#extensions.protocol;
      transportAt = this.#extensions.upperAt;
    }
    if (this.#protocol === TCP) return transportAt + TCP_HEADER_BYTES <= end ? transportAt : -1;
    if (this.#protocol === UDP) return transportAt + UDP_HEADER_BYTES <= end ? transportAt : -1;
    return -1;
  }
}
