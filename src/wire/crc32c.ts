/**
 * CRC32c (Castagnoli), the checksum of SCTP: RFC 9260 section 6.8 and appendix A. Unlike the Internet checksum it
 * cannot be updated cheaply when a port changes, but it covers no addresses, so only a port change needs it at all.
 */

/** Bits of 0x1edc6f41 mirrored, because the CRC is computed least significant bit first. */
const POLYNOMIAL = 0x82f63b78;
/** Where the checksum sits in an SCTP common header; counted as zero while summing. */
const SCTP_CHECKSUM_AT = 8;
const SCTP_CHECKSUM_BYTES = 4;

const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? POLYNOMIAL : 0);
  return remainder;
});

/** CRC32c of a range, 0..2^32-1. */
export function crc32c(bytes: Uint8Array, from: number, length: number): number {
  return ~step(-1, bytes, from, from + length) >>> 0;
}

/**
 * Checksum of an SCTP packet.
 * @param from - offset of the common header
 * @param length - common header and all chunks, at least 12
 * @returns 0..2^32-1; the field holds it *little endian*: `view.setUint32(from + 8, checksum, true)`.
 */
export function sctpChecksum(bytes: Uint8Array, from: number, length: number): number {
  let remainder = step(-1, bytes, from, from + SCTP_CHECKSUM_AT);
  for (let i = 0; i < SCTP_CHECKSUM_BYTES; i++) remainder = TABLE[remainder & 0xff]! ^ (remainder >>> 8);
  return ~step(remainder, bytes, from + SCTP_CHECKSUM_AT + SCTP_CHECKSUM_BYTES, from + length) >>> 0;
}

function step(remainder: number, bytes: Uint8Array, from: number, end: number): number {
  let crc = remainder;
  for (let at = from; at < end; at++) crc = TABLE[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return crc;
}
