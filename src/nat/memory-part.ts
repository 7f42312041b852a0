/** A part of some memory in which a table lives: its own, or a piece of a mapped file that outlives the process. */

export interface MemoryPart {
  readonly buffer: ArrayBufferLike;
  /** Bytes in front of the part, a multiple of 4. */
  readonly at: number;
  readonly byteLength: number;
  /**
   * Make sure that these bytes of the part are there before they are touched: a file in memory is made of holes, and touching
   * one that cannot be filled ends the process. May run on the packet path, rarely.
   * @returns false when there is no room
   */
  reserve(at: number, byteCount: number): boolean;
}

/** Memory of one's own, zeroed. */
export const ownMemory = (byteLength: number): MemoryPart => ({
  buffer: new ArrayBuffer(byteLength),
  at: 0,
  byteLength,
  reserve: () => true,
});

/** A part of a part. */
export const partOf = (whole: MemoryPart, at: number, byteLength: number): MemoryPart => ({
  buffer: whole.buffer,
  at: whole.at + at,
  byteLength,
  reserve: (from, byteCount) => whole.reserve(at + from, byteCount),
});
