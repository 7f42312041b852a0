/**
 * SipHash-1-3 of one 32-bit word, cut to 32 bits: Linux's hsiphash of four bytes on 64-bit machines, which mh
 * uses (Aumasson and Bernstein, "SipHash: a fast short-input PRF"; include/linux/siphash.h). 64-bit words are
 * pairs of 32-bit halves, because BigInt allocates.
 */

/**
 * @param word - hashed as four bytes, little-endian
 * @param key - both 64-bit words of the key; IPVS's are equal and below 2^32
 * @returns the low half of the hash, signed, because V8 would box an unsigned one
 */
export function sipHashWord(word: number, key: number): number {
  let high0 = 0x736f6d65;
  let low0 = 0x70736575 ^ key;
  let high1 = 0x646f7261;
  let low1 = 0x6e646f6d ^ key;
  let high2 = 0x6c796765;
  let low2 = 0x6e657261 ^ key;
  // The message is one block: the length in the top byte, then the four bytes.
  const blockHigh = 4 << 24;
  let high3 = 0x74656462 ^ blockHigh;
  let low3 = 0x79746573 ^ key ^ word;
  for (let round = 0; round < 4; round++) {
    let low = (low0 + low1) | 0;
    high0 = (high0 + high1 + carry(low, low0)) | 0;
    low0 = low;
    low = ((low1 << 13) | (high1 >>> 19)) ^ low0;
    high1 = ((high1 << 13) | (low1 >>> 19)) ^ high0;
    low1 = low;
    low = (low2 + low3) | 0;
    high2 = (high2 + high3 + carry(low, low2)) | 0;
    low2 = low;
    low = ((low3 << 16) | (high3 >>> 16)) ^ low2;
    high3 = ((high3 << 16) | (low3 >>> 16)) ^ high2;
    low3 = low;
    // v0 is turned by 32 bits here: its halves change places, and v3 is added to the turned one.
    low = (high0 + low3) | 0;
    const turned = (low0 + high3 + carry(low, high0)) | 0;
    low0 = low;
    high0 = turned;
    low = ((low3 << 21) | (high3 >>> 11)) ^ low0;
    high3 = ((high3 << 21) | (low3 >>> 11)) ^ high0;
    low3 = low;
    low = (low2 + low1) | 0;
    high2 = (high2 + high1 + carry(low, low2)) | 0;
    low2 = low;
    low = ((low1 << 17) | (high1 >>> 15)) ^ low2;
    high1 = ((high1 << 17) | (low1 >>> 15)) ^ high2;
    low1 = low;
    low = low2;
    low2 = high2;
    high2 = low;
    if (round === 0) {
      // One round for the block, then three to finish.
      low0 ^= word;
      high0 ^= blockHigh;
      low2 ^= 0xff;
    }
  }
  return low0 ^ low1 ^ low2 ^ low3;
}

/** 1 when a sum of two 32-bit words ran over, told by the sum being less than one of them. */
const carry = (sum: number, summand: number): number => (sum >>> 0 < summand >>> 0 ? 1 : 0);
