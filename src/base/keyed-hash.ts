/**
 * HalfSipHash-1-3 over 32-bit words: a keyed hash, so that whoever picks addresses and ports cannot also pick the
 * bucket they fall into (Aumasson and Bernstein, "SipHash: a fast short-input PRF"; the 32-bit variant and the 1-3
 * rounds are those Linux uses for its own hash tables, include/linux/siphash.h). Words instead of bytes, because every
 * key of ours is made of words; the result is therefore not the one the byte version gives.
 */
export class KeyedHash {
  readonly #key0: number;
  readonly #key1: number;
  #v0 = 0;
  #v1 = 0;
  #v2 = 0;
  #v3 = 0;

  /** @param key0 - secret, any 32 bits. @param key1 - secret, any 32 bits. */
  constructor(key0: number, key1: number) {
    this.#key0 = key0 | 0;
    this.#key1 = key1 | 0;
  }

  /** Begin a new hash. */
  start(): void {
    this.#v0 = this.#key0;
    this.#v1 = this.#key1;
    this.#v2 = 0x6c796765 ^ this.#key0;
    this.#v3 = 0x74656462 ^ this.#key1;
  }

  /** Add one 32-bit word. */
  add(word: number): void {
    this.#v3 ^= word;
    this.#round();
    this.#v0 ^= word;
  }

  /** @returns the hash as a signed 32-bit integer. */
  finish(): number {
    this.#v2 ^= 0xff;
    this.#round();
    this.#round();
    this.#round();
    return this.#v1 ^ this.#v3;
  }

  #round(): void {
    let v0 = this.#v0;
    let v1 = this.#v1;
    let v2 = this.#v2;
    let v3 = this.#v3;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    this.#v0 = v0;
    this.#v1 = v1;
    this.#v2 = (v2 << 16) | (v2 >>> 16);
    this.#v3 = v3;
  }
}
