/**
 * One direction of a TCP connection with an application module: its bytes in order, unit by unit (lines, messages, PDUs: the
 * module says how it is cut), and the numbering of what was changed. It sees two streams of sequence numbers: the *original*
 * one of the sender, and the *rewritten* one that the receiver gets.
 *
 * Where a unit is replaced there is a **piece**: an original range, and the bytes that stand for it. It is remembered until
 * the receiver has acknowledged it, so that a repetition gets the same bytes. Everything else is passed on as it is.
 *
 * An incomplete unit that may have to be replaced is **held**: its bytes are not passed on. In their place goes the byte in
 * front of them once more, as in a keep-alive; its answer, which acknowledges everything in front of the unit, is turned into
 * one that acknowledges what is held. So a sender that waits for an acknowledgment before it says the rest (Nagle's
 * algorithm) gets one, and a receiver that is gone acknowledges nothing. When the unit is whole it becomes a piece, and
 * stands in for its *last* byte, which is never acknowledged before the receiver has all of it: as long as it has not, the
 * sender repeats that byte.
 *
 * A segment before its turn is dropped, and everything that asks for room that is not there; the sender repeats it.
 * Sequence numbers are signed 32-bit words and compared by the sign of their difference (RFC 9293 section 3.4).
 */

/** Pieces that may wait to be acknowledged. */
export const PIECES_MAX = 4;
/** By how much a replacement may be longer than the longest unit, at least. */
const GROWTH_BYTES_MIN = 128;

/** Longest replacement of a unit. */
export const pieceBytesMax = (unitBytesMax: number): number =>
  unitBytesMax + Math.max(GROWTH_BYTES_MIN, unitBytesMax >> 2);

/** Memory of one direction. */
export const streamBytes = (unitBytesMax: number): number =>
  unitBytesMax + PIECES_MAX * pieceBytesMax(unitBytesMax);

/** Reads the units of a stream. The beginning of the stream that is looked at stands in `bytes` from `at` on. */
export interface UnitReader {
  /** As StreamShape.measure. */
  measure(bytes: Uint8Array, at: number, length: number): number;
  /** As StreamShape.mayChange. */
  mayChange(bytes: Uint8Array, at: number, length: number): boolean;
  /**
   * Read a whole unit.
   * @param out - where a replacement is to be written, `room` bytes at most
   * @returns bytes written; 0: the unit stays
   */
  read(bytes: Uint8Array, at: number, length: number, out: Uint8Array, outAt: number, room: number): number;
}

export class Stream {
  /** Is the first number known? */
  isKnown = false;
  /** Nothing is read any more. */
  isOpaque = false;
  /** It went on where another process stopped, and nothing has come since. */
  isResumed = false;
  /** Original number of the stream's first byte. */
  first = 0;
  /** Original number of the first byte that has not been here. */
  edge = 0;
  /** Bytes written by the last `emit`, and the original number behind what they stand for. */
  emittedBytes = 0;
  emittedEnd = 0;
  readonly #reader: UnitReader;
  /** Rewritten less original, behind all pieces. */
  #delta = 0;
  /** What is known of the unit; `#lead` bytes in front of it, which are none, are held with it. */
  readonly #unit: Uint8Array;
  #lead = 0;
  #unitBytes = 0;
  /** All of it, its lead included; 0: not known yet. */
  #totalBytes = 0;
  /** Original number of #unit's first byte. */
  #unitStart = 0;
  /** The unit's beginning is not passed on yet. */
  #isHeld = false;
  /** The unit's beginning is passed on, so it cannot be replaced. */
  #isPassed = false;
  /** So many bytes are to be passed on unread. */
  #skipBytes = 0;
  /** The rewritten stream's last byte in front of #unit. */
  #byteBefore = 0;
  /** Or all up to the next end of a unit. */
  #isSkipping = false;
  readonly #endByte: number;
  // Pieces, oldest first.
  #count = 0;
  readonly #pieceBytesMax: number;
  readonly #start = new Int32Array(PIECES_MAX);
  readonly #end = new Int32Array(PIECES_MAX);
  /** Original number up to which bytes were held before the last segment of the unit came. */
  readonly #heldEnd = new Int32Array(PIECES_MAX);
  /** Rewritten less original, before the piece. */
  readonly #deltaBefore = new Int32Array(PIECES_MAX);
  readonly #length = new Int32Array(PIECES_MAX);
  /** The rewritten stream's last byte in front of the piece. */
  readonly #before = new Uint8Array(PIECES_MAX);
  readonly #bytes: Uint8Array;

  /** @param endByte - what every unit ends with; -1: there is no such byte, and what was lost track of stays lost */
  constructor(reader: UnitReader, unitBytesMax: number, endByte: number) {
    this.#reader = reader;
    this.#endByte = endByte;
    this.#unit = new Uint8Array(unitBytesMax);
    this.#pieceBytesMax = pieceBytesMax(unitBytesMax);
    this.#bytes = new Uint8Array(PIECES_MAX * this.#pieceBytesMax);
  }

  /** Forget everything. */
  reset(): void {
    this.isKnown = false;
    this.isOpaque = false;
    this.isResumed = false;
    this.edge = 0;
    this.#delta = 0;
    this.#count = 0;
    this.#skipBytes = 0;
    this.#isSkipping = false;
    this.#nextUnit();
  }

  /** The first byte has this number. @param isBeginning - of a unit: the stream's first */
  begin(sequence: number, isBeginning: boolean): void {
    this.reset();
    this.isKnown = true;
    if (!isBeginning) this.#loseTrack();
    this.first = sequence | 0;
    this.edge = this.first;
  }

  /** Go on in the middle: what the process before had seen ended at `edge`, where a unit ended too. */
  resume(edge: number, shift: number): void {
    this.reset();
    this.isKnown = true;
    this.isResumed = true;
    this.first = edge;
    this.edge = edge;
    this.#delta = shift;
  }

  /** It went on in the middle, and what comes is behind that: nothing between was seen, and nothing was changed in it. */
  skipTo(sequence: number): void {
    this.edge = sequence;
    this.#nextUnit();
    this.#loseTrack();
  }

  /** Nothing is held, begun, or waits to be acknowledged. */
  get isQuiet(): boolean {
    return this.isKnown && this.#count === 0 && this.#unitBytes === 0 && this.#skipBytes === 0;
  }

  /** By how much the receiver counts higher, behind everything. */
  get shift(): number {
    return this.#delta;
  }

  /**
   * Read bytes that have not been here, the first of them at `edge`, and move the edge behind them.
   * @returns how many; fewer than `count` where there is no room for another piece: the rest did not come
   */
  take(bytes: Uint8Array, from: number, count: number): number {
    const before = this.edge;
    const read = this.isOpaque ? 0 : this.#takeUnits(bytes, from, count);
    this.edge = (before + read) | 0;
    if (!this.isOpaque) {
      if (read > 0) this.#endSegment(before);
      return read;
    }
    const unread = read === count ? 0 : this.#takeOpaque(bytes, from + read, count - read);
    this.edge = (this.edge + unread) | 0;
    return read + unread;
  }

  #takeOpaque(bytes: Uint8Array, from: number, count: number): number {
    if (!this.#isHeld) return count;
    if (this.#count === PIECES_MAX) return 0;
    this.#releaseWith(bytes[from]!, (this.edge + 1) | 0);
    this.#nextUnit();
    return count;
  }

  /**
   * @returns how many were taken; fewer than `count` where a unit might need a piece for which there is no room, or where
   *   nothing is read any more
   */
  #takeUnits(bytes: Uint8Array, from: number, count: number): number {
    let i = 0;
    while (i < count && !this.isOpaque) {
      const end = (this.edge + i + 1) | 0;
      const byte = bytes[from + i]!;
      if (this.#skipBytes > 0) {
        const skipped = Math.min(this.#skipBytes, count - i);
        this.#skipBytes -= skipped;
        i += skipped;
        this.#byteBefore = bytes[from + i - 1]!;
      } else if (this.#isSkipping) {
        this.#isSkipping = byte !== this.#endByte;
        this.#byteBefore = byte;
        i++;
      } else if (this.#count === PIECES_MAX) {
        // Refused before the module is asked anything, so that it never hears the same twice.
        return i;
      } else if (this.#totalBytes > 0) {
        const missing = Math.min(this.#totalBytes - this.#unitBytes, count - i);
        for (let k = 0; k < missing; k++) this.#unit[this.#unitBytes + k] = bytes[from + i + k]!;
        this.#unitBytes += missing;
        i += missing;
        this.#endUnit((this.edge + i) | 0);
      } else if (this.#unitBytes < this.#unit.length) {
        if (this.#unitBytes === 0) this.#unitStart = (end - 1) | 0;
        this.#unit[this.#unitBytes++] = byte;
        i++;
        this.#measure(end);
        this.#endUnit(end);
      } else {
        // Longer than any.
        if (this.#isHeld) this.#releaseWith(byte, end);
        this.#nextUnit();
        this.#byteBefore = byte;
        i++;
        if (byte !== this.#endByte) this.#loseTrack();
      }
    }
    return i;
  }

  /** Nobody can tell any more where a unit begins, unless by the end of the one before. */
  #loseTrack(): void {
    if (this.#endByte < 0) this.isOpaque = true;
    else this.#isSkipping = true;
  }

  /** The unit has one byte more: how long is it? @param end - original number behind it */
  #measure(end: number): void {
    for (;;) {
      const there = this.#unitBytes - this.#lead;
      const measured = this.#reader.measure(this.#unit, this.#lead, there);
      if (measured === 0) return;
      if (measured === -Infinity) {
        if (this.#isHeld) this.#release(end);
        this.isOpaque = true;
        this.#nextUnit();
        return;
      }
      const isUnit = measured > 0 && this.#lead + measured <= this.#unit.length;
      if (isUnit) {
        this.#totalBytes = this.#lead + Math.max(measured, there);
        return;
      }
      const bytes = Math.abs(measured);
      if (measured > 0 || bytes >= there) {
        // None, or one that is too long.
        if (this.#isHeld) this.#release(end);
        const rest = this.#lead + bytes - this.#unitBytes;
        this.#byteBefore = this.#unit[this.#unitBytes - 1]!;
        this.#nextUnit();
        this.#skipBytes = rest;
        return;
      }
      // What is behind these bytes may begin a unit.
      if (this.#isHeld) this.#lead += bytes;
      else {
        this.#byteBefore = this.#unit[bytes - 1]!;
        this.#unit.copyWithin(0, bytes, this.#unitBytes);
        this.#unitBytes -= bytes;
        this.#unitStart = (this.#unitStart + bytes) | 0;
        this.#isPassed = ((this.#unitStart - this.edge) | 0) < 0;
      }
    }
  }

  /** Read the unit if it is whole. */
  #endUnit(end: number): void {
    if (this.#totalBytes === 0 || this.#unitBytes < this.#totalBytes) return;
    const from = this.#lead;
    const length = this.#unitBytes - from;
    if (!this.#isHeld && (this.#isPassed || !this.#reader.mayChange(this.#unit, from, length))) {
      this.#reader.read(this.#unit, from, length, this.#unit, 0, 0);
      this.#byteBefore = this.#unit[this.#unitBytes - 1]!;
      this.#nextUnit();
      return;
    }
    const at = this.#count * this.#pieceBytesMax;
    for (let i = 0; i < from; i++) this.#bytes[at + i] = this.#unit[i]!;
    const room = this.#pieceBytesMax - from;
    const written = this.#reader.read(this.#unit, from, length, this.#bytes, at + from, room);
    if (written > 0) this.#addPiece(end, from + written);
    else if (this.#isHeld) this.#release(end);
    else this.#byteBefore = this.#unit[this.#unitBytes - 1]!;
    this.#nextUnit();
  }

  /** The bytes ended in the middle of a unit. @param before - the edge before they came */
  #endSegment(before: number): void {
    if (this.#unitBytes === 0 || this.#isPassed) return;
    const there = this.#unitBytes - this.#lead;
    if (there > 0 && this.#reader.mayChange(this.#unit, this.#lead, there)) {
      this.#isHeld = true;
      return;
    }
    if (this.#isHeld) {
      const { edge } = this;
      this.edge = before;
      this.#release(edge);
      this.edge = edge;
    }
    this.#isPassed = true;
  }

  /** Pass on what is held as it is, the byte that just came included: its last one must be new. */
  #release(end: number): void {
    this.#copyUnit(this.#count * this.#pieceBytesMax);
    this.#addPiece(end, this.#unitBytes);
    this.#isHeld = false;
  }

  /** Likewise, with a byte that does not belong to it. */
  #releaseWith(byte: number, end: number): void {
    const at = this.#count * this.#pieceBytesMax;
    this.#copyUnit(at);
    this.#bytes[at + this.#unitBytes] = byte;
    this.#addPiece(end, this.#unitBytes + 1);
    this.#isHeld = false;
  }

  #copyUnit(at: number): void {
    for (let i = 0; i < this.#unitBytes; i++) this.#bytes[at + i] = this.#unit[i]!;
  }

  #addPiece(end: number, length: number): void {
    const k = this.#count++;
    this.#start[k] = this.#unitStart;
    this.#end[k] = end;
    this.#heldEnd[k] = this.#isHeld ? this.edge : this.#unitStart;
    this.#deltaBefore[k] = this.#delta;
    this.#length[k] = length;
    this.#before[k] = this.#byteBefore;
    this.#byteBefore = this.#bytes[k * this.#pieceBytesMax + length - 1]!;
    this.#delta = this.#deltaAfter(k);
  }

  #nextUnit(): void {
    this.#lead = 0;
    this.#unitBytes = 0;
    this.#totalBytes = 0;
    this.#isHeld = false;
    this.#isPassed = false;
  }

  /** Is there a beginning of a unit that is not passed on yet? */
  get isHolding(): boolean {
    return this.#isHeld;
  }

  /** Does [from, end) go on as it came, but for its number? */
  isPlain(from: number, end: number): boolean {
    if (this.#isHeld && ((end - this.#unitStart) | 0) > 0) return false;
    for (let k = 0; k < this.#count; k++)
      if (((this.#end[k]! - from) | 0) > 0 && ((end - this.#start[k]!) | 0) > 0) return false;
    return true;
  }

  /**
   * Write what goes on in place of the original bytes [from, end), whose first stands at `at`: `emittedBytes` of them, which
   * stand for what is in front of `emittedEnd`.
   * @param room - bytes that may be written; a piece at the beginning is written whole in any case
   * @param hasEnd - nothing follows (FIN): what is held goes too
   */
  emit(
    from: number,
    end: number,
    bytes: Uint8Array,
    at: number,
    out: Uint8Array,
    room: number,
    hasEnd: boolean,
  ): void {
    this.emittedBytes = 0;
    let next = from;
    for (let k = 0; k < this.#count; k++) {
      const start = this.#start[k]!;
      const pieceEnd = this.#end[k]!;
      if (((pieceEnd - next) | 0) <= 0) continue;
      if (((end - start) | 0) <= 0) break;
      const plain = Math.max(0, (start - next) | 0);
      if (!this.#emitPlain(next, plain, bytes, at + ((next - from) | 0), out, room)) return;
      next = (next + plain) | 0;
      if (((end - pieceEnd) | 0) < 0) {
        // Its last byte is not here.
        this.emittedEnd = end;
        return;
      }
      const length = this.#length[k]!;
      if (this.emittedBytes > 0 && this.emittedBytes + length > room) {
        this.emittedEnd = next;
        return;
      }
      const pieceAt = k * this.#pieceBytesMax;
      for (let i = 0; i < length; i++) out[this.emittedBytes + i] = this.#bytes[pieceAt + i]!;
      this.emittedBytes += length;
      next = pieceEnd;
    }
    const plainEnd = this.#isHeld && ((end - this.#unitStart) | 0) > 0 ? this.#unitStart : end;
    const plain = Math.max(0, (plainEnd - next) | 0);
    if (!this.#emitPlain(next, plain, bytes, at + ((next - from) | 0), out, room)) return;
    this.emittedEnd = end;
    if (!hasEnd || !this.#isHeld || end !== this.edge) return;
    for (let i = 0; i < this.#unitBytes; i++) out[this.emittedBytes + i] = this.#unit[i]!;
    this.emittedBytes += this.#unitBytes;
  }

  /** @returns false when the room ended before they did */
  #emitPlain(
    next: number,
    count: number,
    bytes: Uint8Array,
    at: number,
    out: Uint8Array,
    room: number,
  ): boolean {
    const fitting = Math.min(count, room - this.emittedBytes);
    for (let i = 0; i < fitting; i++) out[this.emittedBytes + i] = bytes[at + i]!;
    this.emittedBytes += Math.max(0, fitting);
    this.emittedEnd = (next + Math.max(0, fitting)) | 0;
    return fitting === count;
  }

  /** Rewritten number of an original one; inside a piece or what is held, that of its beginning. */
  rewritten(sequence: number): number {
    if (this.#isHeld && ((sequence - this.#unitStart) | 0) > 0) return (this.#unitStart + this.#delta) | 0;
    for (let k = this.#count - 1; k >= 0; k--) {
      if (((sequence - this.#end[k]!) | 0) >= 0) return (sequence + this.#deltaAfter(k)) | 0;
      if (((sequence - this.#start[k]!) | 0) > 0) return (this.#start[k]! + this.#deltaBefore[k]!) | 0;
    }
    return (sequence + this.#deltaFirst()) | 0;
  }

  /** The byte in front of `rewritten(sequence)`, where that is the beginning of a piece or of what is held. */
  byteBefore(sequence: number): number {
    for (let k = 0; k < this.#count; k++) if (((sequence - this.#end[k]!) | 0) < 0) return this.#before[k]!;
    return this.#byteBefore;
  }

  /** Original number that a rewritten acknowledgment acknowledges; what it covers is forgotten. */
  acknowledged(acknowledgment: number): number {
    if (this.#isHeld && acknowledgment === ((this.#unitStart + this.#delta) | 0)) return this.edge;
    let original = (acknowledgment - this.#deltaFirst()) | 0;
    for (let k = this.#count - 1; k >= 0; k--) {
      const start = this.#rewrittenStart(k);
      if (((acknowledgment - start) | 0) < 0) continue;
      const isWhole = ((acknowledgment - start - this.#length[k]!) | 0) >= 0;
      original = isWhole ? (acknowledgment - this.#deltaAfter(k)) | 0 : this.#heldEnd[k]!;
      // What was never sent cannot be acknowledged; FIN counts as one.
      if (((original - this.edge) | 0) <= 1) this.#forget(isWhole ? k + 1 : k);
      break;
    }
    return original;
  }

  /** Original number of the left edge of a SACK block: a piece that is not whole is not there. */
  leftEdge(edge: number): number {
    for (let k = this.#count - 1; k >= 0; k--) {
      const inside = (edge - this.#rewrittenStart(k)) | 0;
      if (inside >= this.#length[k]!) return (edge - this.#deltaAfter(k)) | 0;
      if (inside > 0) return this.#end[k]!;
    }
    return (edge - this.#deltaFirst()) | 0;
  }

  /** Likewise of the right edge. */
  rightEdge(edge: number): number {
    for (let k = this.#count - 1; k >= 0; k--) {
      const inside = (edge - this.#rewrittenStart(k)) | 0;
      if (inside >= this.#length[k]!) return (edge - this.#deltaAfter(k)) | 0;
      if (inside > 0) return this.#start[k]!;
    }
    return (edge - this.#deltaFirst()) | 0;
  }

  #rewrittenStart(k: number): number {
    return (this.#start[k]! + this.#deltaBefore[k]!) | 0;
  }

  #deltaAfter(k: number): number {
    return (this.#deltaBefore[k]! + this.#length[k]! - (this.#end[k]! - this.#start[k]!)) | 0;
  }

  /** Before all pieces. */
  #deltaFirst(): number {
    return this.#count > 0 ? this.#deltaBefore[0]! : this.#delta;
  }

  #forget(count: number): void {
    if (count === 0) return;
    this.#count -= count;
    this.#start.copyWithin(0, count);
    this.#end.copyWithin(0, count);
    this.#heldEnd.copyWithin(0, count);
    this.#deltaBefore.copyWithin(0, count);
    this.#length.copyWithin(0, count);
    this.#before.copyWithin(0, count);
    this.#bytes.copyWithin(0, count * this.#pieceBytesMax);
  }
}
