/**
 * What a module reads at a time: a line, a message, a PDU of a stream, or a datagram; and what it wants changed in it.
 * Reusable; nothing is allocated for reading or for changes that keep their length.
 *
 * Offsets are those of the unit as it came, whatever was changed in front of them. Reading beyond the end gives -1, which no
 * field can have, so that a length that lies needs no care of the module's.
 */

/** Changes a unit may have. */
export const EDITS_MAX = 128;
/** Bytes that all changes together may write. */
const WRITTEN_BYTES_MAX = 8192;

const DESCRIBED_BYTES_MAX = 1024;
const isText = (byte: number): boolean => (byte >= 0x20 && byte < 0x7f) || (byte >= 9 && byte <= 13);
const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join("");

export class Unit {
  bytes: Uint8Array = new Uint8Array(0);
  /** Offset in `bytes` of the unit's first byte. */
  at = 0;
  /** Bytes of the unit; while it is measured, of what is there of it. */
  length = 0;
  /** A change that cannot be made was asked for: overlapping another, beyond the end, or one too many. */
  isFaulty = false;
  /** By how much the changes make it longer. */
  growth = 0;
  #count = 0;
  readonly #editAt = new Int32Array(EDITS_MAX);
  readonly #editBytes = new Int32Array(EDITS_MAX);
  readonly #writtenAt = new Int32Array(EDITS_MAX);
  readonly #writtenBytes = new Int32Array(EDITS_MAX);
  readonly #written = new Uint8Array(WRITTEN_BYTES_MAX);
  #writtenEnd = 0;

  /** Aim at a unit and forget all changes. */
  aim(bytes: Uint8Array, at: number, length: number): void {
    this.bytes = bytes;
    this.at = at;
    this.length = length;
    this.isFaulty = false;
    this.growth = 0;
    this.#count = 0;
    this.#writtenEnd = 0;
  }

  /** Big-endian unless it says otherwise; -1 beyond the end. */
  u8(at: number): number {
    return at >= 0 && at < this.length ? this.bytes[this.at + at]! : -1;
  }

  u16(at: number): number {
    if (at < 0 || at + 2 > this.length) return -1;
    const from = this.at + at;
    return (this.bytes[from]! << 8) | this.bytes[from + 1]!;
  }

  u16le(at: number): number {
    if (at < 0 || at + 2 > this.length) return -1;
    const from = this.at + at;
    return (this.bytes[from + 1]! << 8) | this.bytes[from]!;
  }

  /** 0..2^32-1 */
  u32(at: number): number {
    if (at < 0 || at + 4 > this.length) return -1;
    return this.u16(at) * 0x10000 + this.u16(at + 2);
  }

  u32le(at: number): number {
    if (at < 0 || at + 4 > this.length) return -1;
    return this.u16le(at + 2) * 0x10000 + this.u16le(at);
  }

  /** A character a byte. Allocates. @param end - at most the unit's */
  text(at = 0, end = this.length): string {
    let text = "";
    for (let i = Math.max(0, at); i < end && i < this.length; i++)
      text += String.fromCharCode(this.bytes[this.at + i]!);
    return text;
  }

  /** Does this text stand there, letters of either case? @param text - capitals */
  has(at: number, text: string): boolean {
    if (at < 0 || at + text.length > this.length) return false;
    return this.beginsLike(text, at, text.length);
  }

  /** As far as both go: is what is there the beginning of this text, or the text that of what is there? */
  beginsLike(text: string, at = 0, count = Math.min(text.length, this.length - at)): boolean {
    for (let i = 0; i < count; i++) {
      const wanted = text.charCodeAt(i);
      const byte = this.bytes[this.at + at + i]!;
      const isLetter = wanted >= 0x41 && wanted <= 0x5a;
      if (byte !== wanted && !(isLetter && byte === wanted + 0x20)) return false;
    }
    return true;
  }

  /** Offset of the first such byte from `at` on; -1: none. */
  find(byte: number, at = 0): number {
    for (let i = Math.max(0, at); i < this.length; i++) if (this.bytes[this.at + i] === byte) return i;
    return -1;
  }

  put8(at: number, value: number): void {
    const from = this.#edit(at, 1, 1);
    if (from >= 0) this.#written[from] = value;
  }

  put16(at: number, value: number): void {
    const from = this.#edit(at, 2, 2);
    if (from < 0) return;
    this.#written[from] = value >> 8;
    this.#written[from + 1] = value;
  }

  put16le(at: number, value: number): void {
    this.put16(at, ((value & 0xff) << 8) | ((value >> 8) & 0xff));
  }

  put32(at: number, value: number): void {
    const from = this.#edit(at, 4, 4);
    if (from < 0) return;
    for (let i = 0; i < 4; i++) this.#written[from + i] = value >>> (24 - 8 * i);
  }

  put32le(at: number, value: number): void {
    const from = this.#edit(at, 4, 4);
    if (from < 0) return;
    for (let i = 0; i < 4; i++) this.#written[from + i] = value >>> (8 * i);
  }

  /** Put this text, a byte a character, in the place of `count` bytes. */
  replace(at: number, count: number, text: string): void {
    const from = this.#edit(at, count, text.length);
    for (let i = 0; from >= 0 && i < text.length; i++) this.#written[from + i] = text.charCodeAt(i);
  }

  get isChanged(): boolean {
    return this.#count > 0 && !this.isFaulty;
  }

  /**
   * Write the unit as changed.
   * @returns bytes written: `length + growth`; -1: there is no room for them, or it is faulty
   */
  write(out: Uint8Array, outAt: number, room: number): number {
    if (this.isFaulty || this.length + this.growth > room) return -1;
    let to = outAt;
    let from = 0;
    for (let k = 0; k < this.#count; k++) {
      to = this.#copy(this.bytes, this.at + from, this.#editAt[k]! - from, out, to);
      to = this.#copy(this.#written, this.#writtenAt[k]!, this.#writtenBytes[k]!, out, to);
      from = this.#editAt[k]! + this.#editBytes[k]!;
    }
    return this.#copy(this.bytes, this.at + from, this.length - from, out, to) - outAt;
  }

  /** For people, what was read and what became of it: text as it is, of anything else the bytes that changed. Allocates. */
  describe(isAfter: boolean): string {
    const whole = isAfter
      ? new Uint8Array(this.length + this.growth)
      : this.bytes.slice(this.at, this.at + this.length);
    if (isAfter) this.write(whole, 0, whole.length);
    if (whole.every(isText)) return String.fromCharCode(...whole.subarray(0, DESCRIBED_BYTES_MAX));
    const parts = [];
    let growth = 0;
    for (let k = 0; k < this.#count; k++) {
      const at = this.#editAt[k]!;
      const [before, after] = [this.#editBytes[k]!, this.#writtenBytes[k]!];
      const from = isAfter ? at + growth : at;
      parts.push(`${at}: ${hex(whole.subarray(from, from + (isAfter ? after : before)))}`);
      growth += after - before;
    }
    return parts.join(", ").slice(0, DESCRIBED_BYTES_MAX);
  }

  #copy(bytes: Uint8Array, from: number, count: number, out: Uint8Array, to: number): number {
    for (let i = 0; i < count; i++) out[to + i] = bytes[from + i]!;
    return to + count;
  }

  /** @returns where to write; -1: it cannot be */
  #edit(at: number, count: number, length: number): number {
    let k = this.#count;
    while (k > 0 && this.#editAt[k - 1]! >= at + Math.max(1, count)) k--;
    // The same place again: the later change counts.
    const isSame = k > 0 && this.#editAt[k - 1] === at && this.#editBytes[k - 1] === count;
    const isFree = k === 0 || this.#editAt[k - 1]! + this.#editBytes[k - 1]! <= at;
    const hasRoom = this.#writtenEnd + length <= WRITTEN_BYTES_MAX && (isSame || this.#count < EDITS_MAX);
    if (!(isSame || isFree) || !hasRoom || at < 0 || count < 0 || at + count > this.length) {
      this.isFaulty = true;
      return -1;
    }
    if (isSame) {
      k--;
      this.growth += count - this.#writtenBytes[k]!;
    } else {
      for (const list of [this.#editAt, this.#editBytes, this.#writtenAt, this.#writtenBytes])
        list.copyWithin(k + 1, k, this.#count);
      this.#count++;
    }
    this.#editAt[k] = at;
    this.#editBytes[k] = count;
    this.#writtenAt[k] = this.#writtenEnd;
    this.#writtenBytes[k] = length;
    this.#writtenEnd += length;
    this.growth += length - count;
    return this.#writtenAt[k]!;
  }
}
