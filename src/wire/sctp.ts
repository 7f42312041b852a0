/**
 * SCTP common header and the kinds of the first two chunks, RFC 9260 section 3: as much as a director needs to follow
 * an association.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-------------------------------+-------------------------------+
 * |          Source Port          |       Destination Port        |
 * +-------------------------------+-------------------------------+
 * |                       Verification Tag                        |
 * +---------------------------------------------------------------+
 * |              Checksum (CRC32c, little endian)                 |
 * +---------------+---------------+-------------------------------+
 * |  Chunk Type   |  Chunk Flags  |  Chunk Length (header incl.)  |
 * +---------------+---------------+-------------------------------+
 * |          Chunk Value, padded to a multiple of four bytes      |
 * +---------------------------------------------------------------+
 *
 * Left out: everything inside chunks, for which alg/sctp.ts is.
 */
export const SCTP_HEADER_BYTES = 12;
export const SCTP_CHUNK_HEADER_BYTES = 4;

export const SCTP_SOURCE_PORT_AT = 0;
export const SCTP_DESTINATION_PORT_AT = 2;
export const SCTP_VERIFICATION_TAG_AT = 4;
export const SCTP_CHECKSUM_AT = 8;
export const SCTP_CHUNK_AT = 12;

export const SctpChunk = {
  data: 0,
  init: 1,
  initAck: 2,
  sack: 3,
  heartbeat: 4,
  heartbeatAck: 5,
  abort: 6,
  shutdown: 7,
  shutdownAck: 8,
  error: 9,
  cookieEcho: 10,
  cookieAck: 11,
  shutdownComplete: 14,
  asconfAck: 0x80,
  pad: 0x84,
  asconf: 0xc1,
} as const;

/** Types of parameters (RFC 9260 section 3.3, RFC 5061 section 4.2, RFC 4820 section 3); each begins with type and length. */
export const SctpParameter = {
  ipv4Address: 5,
  ipv6Address: 6,
  hostName: 11,
  pad: 0x8005,
  supportedExtensions: 0x8008,
  setPrimaryAddress: 0xc004,
} as const;

const EMPTY = new DataView(new ArrayBuffer(0));

export class SctpView {
  #view: DataView = EMPTY;
  #at = 0;
  #end = 0;

  /** Aim this reusable view. False, and unchanged, unless the common header lies inside [at, end). */
  attach(view: DataView, at: number, end: number): boolean {
    if (end > view.byteLength || end - at < SCTP_HEADER_BYTES) return false;
    this.#view = view;
    this.#at = at;
    this.#end = end;
    return true;
  }

  get sourcePort(): number {
    return this.#view.getUint16(this.#at + SCTP_SOURCE_PORT_AT);
  }
  get destinationPort(): number {
    return this.#view.getUint16(this.#at + SCTP_DESTINATION_PORT_AT);
  }
  /** 0..2^32-1. */
  get verificationTag(): number {
    return this.#view.getUint32(this.#at + SCTP_VERIFICATION_TAG_AT);
  }
  /** 0..2^32-1, the CRC as crc32c() computes it. */
  get checksum(): number {
    return this.#view.getUint32(this.#at + SCTP_CHECKSUM_AT, true);
  }
  /** Type of the first chunk, or -1 when there is no whole chunk header. */
  get firstChunkType(): number {
    return this.#chunkTypeAt(this.#at + SCTP_CHUNK_AT);
  }
  /** Type of the second chunk, or -1 when there is none or the first one's length is impossible. */
  get secondChunkType(): number {
    const firstAt = this.#at + SCTP_CHUNK_AT;
    if (this.firstChunkType < 0) return -1;
    const lengthBytes = this.#view.getUint16(firstAt + 2);
    if (lengthBytes < SCTP_CHUNK_HEADER_BYTES) return -1;
    return this.#chunkTypeAt(firstAt + ((lengthBytes + 3) & ~3));
  }

  #chunkTypeAt(at: number): number {
    return this.#end - at < SCTP_CHUNK_HEADER_BYTES ? -1 : this.#view.getUint8(at);
  }
}
