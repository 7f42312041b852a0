/** One packet of a capture file, and what can be wrong with the file; shared by pcap.ts and pcapng.ts. */

export interface CaptureRecord {
  /**
   * Milliseconds since 1970, UTC, with fractions: a double keeps microseconds exactly until the year 2255, nanoseconds
   * to about a quarter of a microsecond. A pcapng record without a time has that of the one before it.
   */
  readonly timestampMs: number;
  /** As in the file; isLinkType() tells whether it is one that link-layer.ts knows. */
  readonly linkType: number;
  /** The captured bytes: a view into the file, not a copy. */
  readonly bytes: Uint8Array;
  /** Bytes the frame had on the wire; more than `bytes.length` when the capture cut it. */
  readonly originalLength: number;
}

/** "truncated": the file ends in mid-record; "malformed": it contradicts itself; "unsupported": another format. */
export type CaptureErrorCode = "truncated" | "malformed" | "unsupported";

/** Thrown while iterating, after all records before the damage were delivered. */
export class CaptureError extends Error {
  override readonly name = "CaptureError";
  readonly code: CaptureErrorCode;
  /** Offset in the file of the record or block that could not be read. */
  readonly offset: number;

  constructor(code: CaptureErrorCode, offset: number, problem: string) {
    super(`Cannot read capture at byte ${offset}: ${problem}`);
    this.code = code;
    this.offset = offset;
  }
}
