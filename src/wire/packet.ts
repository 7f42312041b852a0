/**
 * One IP packet inside a reusable buffer, as a datapath hands it to the director.
 *
 * The buffer keeps HEADROOM_BYTES free before the IP header, so that a link-layer or virtio-net header can be put in
 * front and an ICMP error can be built around the packet without a second buffer. The director edits in place.
 */

/** Free bytes a datapath leaves before the IP header. */
export const HEADROOM_BYTES = 128;
/** Largest IP packet: the 16-bit total length of IPv4; IPv6 jumbograms are not supported. */
export const PACKET_BYTES_MAX = 65_575;
/** Size of a packet buffer: headroom, the largest packet (40 bytes of IPv6 header + 65535) and slack for growth. */
export const BUFFER_BYTES = HEADROOM_BYTES + PACKET_BYTES_MAX + 297;

/** Generic segmentation offload kinds, as numbered by virtio-net (virtio 1.2 section 5.1.6). */
export const Gso = { none: 0, tcp4: 1, udpFragment: 3, tcp6: 4, udp: 5 } as const;
export type Gso = (typeof Gso)[keyof typeof Gso];

export class Packet {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Offset of the first byte of the IP header. */
  at = HEADROOM_BYTES;
  /** Bytes of the IP packet, header included; `at + length <= bytes.length`. */
  length = 0;
  /** True when the TCP/UDP checksum field holds only the pseudo-header sum (virtio NEEDS_CSUM). */
  isChecksumPartial = false;
  /** Super-packet kind; `none` for an ordinary packet. */
  gso: Gso = Gso.none;
  /** Payload bytes of one segment of a super-packet; 0 when `gso` is none. */
  gsoBytes = 0;
  /**
   * Largest fragment this packet arrived in, IP header included, when it was reassembled; 0 otherwise. Whoever sends
   * the packet cuts it into pieces no larger than this again.
   */
  fragmentBytesMax = 0;
  /** IPv6: identification the packet's fragments carried, for cutting it again; IPv4 keeps its own in the header. */
  fragmentIdentification = 0;

  /** @param bytes - the buffer; shared memory is fine. Default: a fresh one of BUFFER_BYTES. */
  constructor(bytes: Uint8Array = new Uint8Array(BUFFER_BYTES)) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The IP packet as it stands: a view, not a copy. Allocates; not for the packet path. */
  toBytes(): Uint8Array {
    return this.bytes.subarray(this.at, this.at + this.length);
  }

  /** Fill with a copy of one IP packet and clear all metadata. @returns false, unchanged, if it is larger than the room. */
  load(packet: Uint8Array): boolean {
    if (packet.length > this.bytes.length - HEADROOM_BYTES) return false;
    this.bytes.set(packet, HEADROOM_BYTES);
    this.reset(HEADROOM_BYTES, packet.length);
    return true;
  }

  /** Aim at bytes already in the buffer and clear all metadata. */
  reset(at: number, length: number): void {
    this.at = at;
    this.length = length;
    this.isChecksumPartial = false;
    this.gso = Gso.none;
    this.gsoBytes = 0;
    this.fragmentBytesMax = 0;
    this.fragmentIdentification = 0;
  }
}
