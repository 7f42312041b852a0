/**
 * One direction of a TCP connection with an application module: its bytes in order, line by line, and the numbering of what
 * was changed. It sees two streams of sequence numbers: the *original* one of the sender, and the *rewritten* one that the
 * receiver gets.
 *
 * Where a line is replaced there is a **piece**: an original range, and the bytes that stand for it. It is remembered until
 * the receiver has acknowledged it, so that a repetition gets the same bytes. Everything else is passed on as it is.
 *
 * An incomplete line that may have to be replaced is **held**: its bytes are not passed on. In their place goes a byte the
 * receiver has long had, as in a keep-alive; its answer, which acknowledges everything in front of the line, is turned into
 * one that acknowledges what is held. So a sender that waits for an acknowledgment before it says the rest (Nagle's
 * algorithm) gets one, and a receiver that is gone acknowledges nothing. When the line is whole it becomes a piece, and
 * stands in for its *last* byte, which is never acknowledged before the receiver has all of it: as long as it has not, the
 * sender repeats that byte.
 *
 * A segment before its turn is dropped, and everything that asks for room that is not there; the sender repeats it.
 * Sequence numbers are signed 32-bit words and compared by the sign of their difference (RFC 9293 section 3.4).
 */

/** Longer lines are passed on unread. */
export const LINE_BYTES_MAX = 512;
/** Bytes that may stand for a line. */
export const PIECE_BYTES_MAX = 640;
/** Pieces that may wait to be acknowledged. */
export const PIECES_MAX = 4;

const LINE_FEED = 0x0a;

/** Reads the lines of a stream. */
export interface LineReader {
  /** May a line with this beginning have to be replaced? */
  mayReplace(line: Uint8Array, length: number): boolean;
  /**
   * Read a whole line, its end included.
   * @param out - where a replacement is to be written, PIECE_BYTES_MAX at most
   * @returns bytes written; 0: the line stays
   */
  read(line: Uint8Array, length: number, out: Uint8Array, outAt: number): number;
}

export class Stream {
  /** Is the first number known? */
  isKnown = false;
  /** Nothing is read any more. */
  isOpaque = false;
  /** Original number of the stream's first byte. */
  first = 0;
  /** Original number of the first byte that has not been here. */
  edge = 0;
  /** Bytes written by the last `emit`, and the original number behind what they stand for. */
  emittedBytes = 0;
  emittedEnd = 0;
  readonly #reader: LineReader;
  /** Rewritten less original, behind all pieces. */
  #delta = 0;
  readonly #line = new Uint8Array(LINE_BYTES_MAX);
  #lineBytes = 0;
  #lineStart = 0;
  /** The line's beginning is not passed on yet. */
  #isHeld = false;
  /** The line's beginning is passed on, so it cannot be replaced. */
  #isPassed = false;
  /** The line is too long, or its beginning was never seen. */
  #isSkipped = false;
  // Pieces, oldest first.
  #count = 0;
  readonly #start = new Int32Array(PIECES_MAX);
  readonly #end = new Int32Array(PIECES_MAX);
  /** Original number up to which bytes were held before the last segment of the line came. */
  readonly #heldEnd = new Int32Array(PIECES_MAX);
  /** Rewritten less original, before the piece. */
  readonly #deltaBefore = new Int32Array(PIECES_MAX);
  readonly #length = new Int32Array(PIECES_MAX);
  readonly #bytes = new Uint8Array(PIECES_MAX * PIECE_BYTES_MAX);

  constructor(reader: LineReader) {
    this.#reader = reader;
  }

  /** Forget everything. */
  reset(): void {
    this.isKnown = false;
    this.isOpaque = false;
    this.edge = 0;
    this.#delta = 0;
    this.#count = 0;
    this.#nextLine();
  }

  /** The first byte has this number. @param isBeginning - of a line: the stream's first */
  begin(sequence: number, isBeginning: boolean): void {
    this.reset();
    this.isKnown = true;
    this.first = sequence | 0;
    this.edge = this.first;
    this.#isSkipped = !isBeginning;
  }

  /**
   * Read bytes that have not been here, the first of them at `edge`, and move the edge behind them.
   * @returns how many; fewer than `count` where there is no room for another piece: the rest did not come
   */
  take(bytes: Uint8Array, from: number, count: number): number {
    const taken = this.isOpaque ? this.#takeOpaque(bytes, from, count) : this.#takeLines(bytes, from, count);
    const before = this.edge;
    this.edge = (before + taken) | 0;
    if (taken > 0 && !this.isOpaque) this.#endSegment(before);
    return taken;
  }

  #takeOpaque(bytes: Uint8Array, from: number, count: number): number {
    if (!this.#isHeld) return count;
    if (!this.#releaseWith(bytes[from]!, (this.edge + 1) | 0)) return 0;
    this.#nextLine();
    return count;
  }

  #takeLines(bytes: Uint8Array, from: number, count: number): number {
    /** Where in these bytes the line begins, and how much of it came before them. */
    let lineAt = 0;
    let bytesBefore = this.#lineBytes;
    for (let i = 0; i < count; i++) {
      const byte = bytes[from + i]!;
      if (!this.#isSkipped) {
        if (this.#lineBytes === 0) this.#lineStart = (this.edge + i) | 0;
        if (this.#lineBytes < LINE_BYTES_MAX) this.#line[this.#lineBytes++] = byte;
        else {
          if (this.#isHeld && !this.#releaseWith(byte, (this.edge + i + 1) | 0)) {
            this.#lineBytes = bytesBefore;
            return lineAt;
          }
          this.#isSkipped = true;
        }
      }
      if (byte !== LINE_FEED) continue;
      if (!this.#isSkipped && !this.#endLine((this.edge + i + 1) | 0)) {
        this.#lineBytes = bytesBefore;
        return lineAt;
      }
      this.#nextLine();
      lineAt = i + 1;
      bytesBefore = 0;
    }
    return count;
  }

  /** A line is whole. @returns false when there is no room to replace it */
  #endLine(end: number): boolean {
    const mayReplace =
      this.#isHeld || (!this.#isPassed && this.#reader.mayReplace(this.#line, this.#lineBytes));
    if (mayReplace && this.#count === PIECES_MAX) return false;
    const at = mayReplace ? this.#count * PIECE_BYTES_MAX : 0;
    const length = this.#reader.read(this.#line, this.#lineBytes, mayReplace ? this.#bytes : NOWHERE, at);
    if (!mayReplace) return true;
    if (length > 0) this.#addPiece(end, length);
    else if (this.#isHeld) {
      this.#copyLine(at);
      this.#addPiece(end, this.#lineBytes);
    }
    return true;
  }

  /** The bytes ended in the middle of a line. @param before - the edge before they came */
  #endSegment(before: number): void {
    if (this.#lineBytes === 0 || this.#isSkipped || this.#isPassed) return;
    const edge = this.edge;
    if (this.#reader.mayReplace(this.#line, this.#lineBytes)) {
      this.#isHeld = true;
      return;
    }
    if (this.#isHeld) {
      // Without room it stays held.
      if (this.#count === PIECES_MAX) return;
      this.#copyLine(this.#count * PIECE_BYTES_MAX);
      this.edge = before;
      this.#addPiece(edge, this.#lineBytes);
      this.edge = edge;
      this.#isHeld = false;
    }
    this.#isPassed = true;
  }

  /** Pass on what is held of the line as it is, with the byte that follows: its last one must be new. */
  #releaseWith(byte: number, end: number): boolean {
    if (this.#count === PIECES_MAX) return false;
    const at = this.#count * PIECE_BYTES_MAX;
    this.#copyLine(at);
    this.#bytes[at + this.#lineBytes] = byte;
    this.#addPiece(end, this.#lineBytes + 1);
    this.#isHeld = false;
    return true;
  }

  #copyLine(at: number): void {
    for (let i = 0; i < this.#lineBytes; i++) this.#bytes[at + i] = this.#line[i]!;
  }

  #addPiece(end: number, length: number): void {
    const k = this.#count++;
    this.#start[k] = this.#lineStart;
    this.#end[k] = end;
    this.#heldEnd[k] = this.#isHeld ? this.edge : this.#lineStart;
    this.#deltaBefore[k] = this.#delta;
    this.#length[k] = length;
    this.#delta = this.#deltaAfter(k);
  }

  #nextLine(): void {
    this.#lineBytes = 0;
    this.#isHeld = false;
    this.#isPassed = false;
    this.#isSkipped = false;
  }

  /** Is there a beginning of a line that is not passed on yet? */
  get isHolding(): boolean {
    return this.#isHeld;
  }

  /** Does [from, end) go on as it came, but for its number? */
  isPlain(from: number, end: number): boolean {
    if (this.#isHeld && ((end - this.#lineStart) | 0) > 0) return false;
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
      const pieceAt = k * PIECE_BYTES_MAX;
      for (let i = 0; i < length; i++) out[this.emittedBytes + i] = this.#bytes[pieceAt + i]!;
      this.emittedBytes += length;
      next = pieceEnd;
    }
    const plainEnd = this.#isHeld && ((end - this.#lineStart) | 0) > 0 ? this.#lineStart : end;
    const plain = Math.max(0, (plainEnd - next) | 0);
    if (!this.#emitPlain(next, plain, bytes, at + ((next - from) | 0), out, room)) return;
    this.emittedEnd = end;
    if (!hasEnd || !this.#isHeld || end !== this.edge) return;
    for (let i = 0; i < this.#lineBytes; i++) out[this.emittedBytes + i] = this.#line[i]!;
    this.emittedBytes += this.#lineBytes;
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
    if (this.#isHeld && ((sequence - this.#lineStart) | 0) > 0) return (this.#lineStart + this.#delta) | 0;
    for (let k = this.#count - 1; k >= 0; k--) {
      if (((sequence - this.#end[k]!) | 0) >= 0) return (sequence + this.#deltaAfter(k)) | 0;
      if (((sequence - this.#start[k]!) | 0) > 0) return (this.#start[k]! + this.#deltaBefore[k]!) | 0;
    }
    return (sequence + this.#deltaFirst()) | 0;
  }

  /** Original number that a rewritten acknowledgment acknowledges; what it covers is forgotten. */
  acknowledged(acknowledgment: number): number {
    if (this.#isHeld && acknowledgment === ((this.#lineStart + this.#delta) | 0)) return this.edge;
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
    this.#bytes.copyWithin(0, count * PIECE_BYTES_MAX);
  }
}

const NOWHERE = new Uint8Array(PIECE_BYTES_MAX);
