/**
 * The Internet checksum (RFC 1071) on host-order numbers, its incremental update (RFC 1624), the pseudo-header of
 * RFC 9293 section 3.1 and RFC 8200 section 8.1, and *partial* checksums as virtio-net and Linux pass them around.
 *
 * Three kinds of number, kept apart by name:
 * - a **sum** is an unfolded total of 16-bit words, 0..2^32-1; sums are added with `+` and never stored;
 * - a **checksum** is the field of a header: the complement of the folded sum, 0..0xffff;
 * - a **partial checksum** is the same field while the packet waits for hardware (virtio NEEDS_CSUM): it holds the
 *   folded sum of the pseudo-header alone, *not* complemented. Addresses belong to it, ports and payload do not.
 *
 * And CRC32c (Castagnoli), the checksum of SCTP: RFC 9260 section 6.8 and appendix A. It cannot be updated cheaply when
 * a port changes, but it covers no addresses, so that only a port change needs it at all. Nothing here allocates.
 */

/** Bytes summed before folding: 2^14 words of 0xffff plus a folded carry stay below 2^31, a small integer in V8. */
const BYTES_PER_FOLD = 32_768;

/**
 * Sum of the big-endian 16-bit words of a range; an odd last byte counts as the high half of a word (RFC 1071).
 * @param from - offset of the first byte; any alignment
 * @param length - bytes to sum; the range must lie inside `view`
 * @param initial - a sum to continue, such as the pseudo-header's; it must come from an even number of bytes
 *
 * About 2.4 bytes/ns on Node 20, against 1.5 for the same loop over a Uint8Array and 1.1 for a word at a time.
 */
export function sum(view: DataView, from: number, length: number, initial: number): number {
  const end = from + length;
  let total = fold(initial);
  let at = from;
  while (at < end) {
    const stop = end - at > BYTES_PER_FOLD ? at + BYTES_PER_FOLD : end;
    for (; at + 8 <= stop; at += 8) {
      total += view.getUint16(at) + view.getUint16(at + 2) + view.getUint16(at + 4) + view.getUint16(at + 6);
    }
    for (; at + 2 <= stop; at += 2) total += view.getUint16(at);
    if (at < stop) total += view.getUint8(at++) << 8;
    total = fold(total);
  }
  return total;
}

/** One's complement sum of a sum's halves: 0..0xffff, and 0 only for 0. */
export function fold(total: number): number {
  const once = (total & 0xffff) + (total >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** The checksum field for a sum over everything it covers, the field itself counted as zero. */
export function finish(total: number): number {
  return ~fold(total) & 0xffff;
}

/**
 * New value of a checksum field after one 16-bit word changed that begins at an even offset.
 * @param checksum - the field as stored, 0..0xffff
 * @param before - the old word, 0..0xffff
 * @param after - the new word, 0..0xffff
 * @returns the field to store; for UDP through `udpChecksum`.
 * Source: RFC 1624 section 3, equation 3 (not RFC 1141, which can produce 0xffff for 0x0000).
 */
export function updateChecksum(checksum: number, before: number, after: number): number {
  return ~fold((~checksum & 0xffff) + (~before & 0xffff) + after) & 0xffff;
}

/**
 * The same for a 32-bit word (an IPv4 address, a quarter of an IPv6 one) at an even offset.
 * @param before - the old word, signed or unsigned
 * @param after - the new word, signed or unsigned
 */
export function updateChecksum32(checksum: number, before: number, after: number): number {
  return ~fold((~checksum & 0xffff) + difference32(before, after)) & 0xffff;
}

/**
 * New value of a *partial* checksum field after a 32-bit word of the pseudo-header changed, that is, an address.
 * Port changes leave a partial checksum as it is.
 */
export function updatePartialChecksum32(partial: number, before: number, after: number): number {
  return fold(partial + difference32(before, after));
}

/** As stored in a UDP header: zero would mean "no checksum", so 0xffff stands for it (RFC 768). */
export function udpChecksum(checksum: number): number {
  return checksum === 0 ? 0xffff : checksum;
}

/**
 * Sum of the pseudo-header of TCP and UDP over IPv4.
 * @param ipAt - offset of the IPv4 header
 * @param protocol - of the transport header
 * @param transportBytes - transport header and payload
 */
export function pseudoHeaderSum4(
  view: DataView,
  ipAt: number,
  protocol: number,
  transportBytes: number,
): number {
  return addressSum(view, ipAt + 12, 8) + protocol + transportBytes;
}

/**
 * Sum of the pseudo-header of TCP, UDP and ICMPv6 over IPv6. The destination is the one in the header, which is the
 * final one unless a routing header has segments left.
 */
export function pseudoHeaderSum6(
  view: DataView,
  ipAt: number,
  protocol: number,
  transportBytes: number,
): number {
  return addressSum(view, ipAt + 8, 32) + protocol + (transportBytes >>> 16) + (transportBytes & 0xffff);
}

/** The contribution of one word's change to a sum: complement of the old halves plus the new halves. */
export function difference32(before: number, after: number): number {
  return (~before >>> 16) + (~before & 0xffff) + (after >>> 16) + (after & 0xffff);
}

function addressSum(view: DataView, from: number, length: number): number {
  let total = 0;
  for (let at = from; at < from + length; at += 2) total += view.getUint16(at);
  return total;
}

/** Bits of 0x1edc6f41 mirrored, because the CRC is computed least significant bit first. */
const CRC32C_POLYNOMIAL = 0x82f63b78;
const CRC32C_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? CRC32C_POLYNOMIAL : 0);
  return remainder;
});

/**
 * CRC32c of a range, 0..2^32-1. SCTP computes it with its checksum field set to zero and stores it *little endian*:
 * `view.setUint32(at + SCTP_CHECKSUM_AT, crc, true)`.
 */
export function crc32c(bytes: Uint8Array, from: number, length: number): number {
  const end = from + length;
  let crc = -1;
  for (let at = from; at < end; at++) crc = CRC32C_TABLE[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
