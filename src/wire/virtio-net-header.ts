/**
 * The ten-byte header a TUN device opened with IFF_VNET_HDR puts before every packet (virtio 1.2 section 5.1.6; Linux
 * include/uapi/linux/virtio_net.h). TUN uses host byte order, which is little endian on the machines supported.
 *
 *  byte 0      1           2           4           6            8             10
 *     +--------+-----------+-----------+-----------+------------+-------------+
 *     | flags  | GSO type  | hdr_len   | gso_size  | csum_start | csum_offset |
 *     +--------+-----------+-----------+-----------+------------+-------------+
 *
 * `csum_start` counts from the IP header; the checksum to complete lies `csum_offset` bytes behind it. Left out:
 * num_buffers (mergeable receive buffers) and the hash report, which TUN does not use by default.
 */
import type { Gso } from "./packet.ts";

export const VIRTIO_NET_HEADER_BYTES = 10;

export const VIRTIO_FLAGS_AT = 0;
export const VIRTIO_GSO_TYPE_AT = 1;
export const VIRTIO_HEADER_LENGTH_AT = 2;
export const VIRTIO_GSO_SIZE_AT = 4;
export const VIRTIO_CHECKSUM_START_AT = 6;
export const VIRTIO_CHECKSUM_OFFSET_AT = 8;

export const VirtioFlag = {
  /** The checksum field holds only the pseudo-header sum; the rest is still to be added. */
  needsChecksum: 1,
  /** The checksum was verified; nobody needs to do it again. */
  dataValid: 2,
} as const;

/** Set in the GSO type beside tcp4 or tcp6 when the segments carry ECN's CWR on the first one only. */
export const VIRTIO_GSO_ECN = 0x80;

const LITTLE_ENDIAN = true;
const EMPTY = new DataView(new ArrayBuffer(0));

export class VirtioNetHeader {
  #view: DataView = EMPTY;
  #at = 0;

  /** Aim this reusable view. False, and unchanged, unless ten bytes lie inside [at, end). */
  attach(view: DataView, at: number, end: number): boolean {
    if (end > view.byteLength || at < 0 || end - at < VIRTIO_NET_HEADER_BYTES) return false;
    this.#view = view;
    this.#at = at;
    return true;
  }

  /** Bits of VirtioFlag. */
  get flags(): number {
    return this.#view.getUint8(this.#at + VIRTIO_FLAGS_AT);
  }
  get needsChecksum(): boolean {
    return (this.flags & VirtioFlag.needsChecksum) !== 0;
  }
  /** Kind of super-packet, without the ECN bit; may be a number Gso does not name. */
  get gsoType(): number {
    return this.#view.getUint8(this.#at + VIRTIO_GSO_TYPE_AT) & ~VIRTIO_GSO_ECN;
  }
  get hasEcn(): boolean {
    return (this.#view.getUint8(this.#at + VIRTIO_GSO_TYPE_AT) & VIRTIO_GSO_ECN) !== 0;
  }
  /** Bytes of all headers from IP on; a hint from the kernel, a demand to it. */
  get headerLengthBytes(): number {
    return this.#view.getUint16(this.#at + VIRTIO_HEADER_LENGTH_AT, LITTLE_ENDIAN);
  }
  /** Payload bytes of one segment. */
  get gsoSizeBytes(): number {
    return this.#view.getUint16(this.#at + VIRTIO_GSO_SIZE_AT, LITTLE_ENDIAN);
  }
  /** Offset from the IP header of the first byte the checksum covers: the transport header. */
  get checksumStart(): number {
    return this.#view.getUint16(this.#at + VIRTIO_CHECKSUM_START_AT, LITTLE_ENDIAN);
  }
  /** Offset of the checksum field behind checksumStart: 16 for TCP, 6 for UDP. */
  get checksumOffset(): number {
    return this.#view.getUint16(this.#at + VIRTIO_CHECKSUM_OFFSET_AT, LITTLE_ENDIAN);
  }

  /** An ordinary packet whose checksums are whole. */
  clear(): void {
    for (let i = 0; i < VIRTIO_NET_HEADER_BYTES; i++) this.#view.setUint8(this.#at + i, 0);
  }

  /** Say that the checksum at `start + offset`, counted from the IP header, is still partial. */
  setPartialChecksum(start: number, offset: number): void {
    this.#view.setUint8(this.#at + VIRTIO_FLAGS_AT, VirtioFlag.needsChecksum);
    this.#view.setUint16(this.#at + VIRTIO_CHECKSUM_START_AT, start, LITTLE_ENDIAN);
    this.#view.setUint16(this.#at + VIRTIO_CHECKSUM_OFFSET_AT, offset, LITTLE_ENDIAN);
  }

  /** Say that this is a super-packet. */
  setSegmentation(type: Gso, headerLengthBytes: number, segmentBytes: number, hasEcn: boolean): void {
    this.#view.setUint8(this.#at + VIRTIO_GSO_TYPE_AT, hasEcn ? type | VIRTIO_GSO_ECN : type);
    this.#view.setUint16(this.#at + VIRTIO_HEADER_LENGTH_AT, headerLengthBytes, LITTLE_ENDIAN);
    this.#view.setUint16(this.#at + VIRTIO_GSO_SIZE_AT, segmentBytes, LITTLE_ENDIAN);
  }
}
