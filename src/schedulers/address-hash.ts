/** The hashes by which IPVS's hashing schedulers place an address (reference 3.10, 3.15). */

/** The golden ratio's multiplier of Linux 4.7 and later (include/linux/hash.h). */
export const GOLDEN_RATIO_32 = 0x61c88647;
/** IP_VS_SH_TAB_BITS, IP_VS_DH_TAB_BITS: buckets of sh and dh, as bits of a hash. */
export const BUCKET_BITS = 8;

/** Linux's hash_32. @param bits - of the result, 1..32 */
export const hash32 = (value: number, bits: number): number =>
  Math.imul(value, GOLDEN_RATIO_32) >>> (32 - bits);

/**
 * An address as one word: IPv4 as it is, IPv6 with its four words xored. Different IPv6 addresses that fold
 * alike get the same server, as in IPVS.
 * @param at - 0: the flow's source; 4: its destination
 */
export const foldAddress = (words: Int32Array, at: number): number =>
  words[at]! ^ words[at + 1]! ^ words[at + 2]! ^ words[at + 3]!;
