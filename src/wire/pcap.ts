/**
 * Classic capture files, draft-ietf-opsawg-pcap: reading in either byte order with microseconds or nanoseconds, writing
 * little endian with microseconds.
 *
 *  file header, 24 bytes                                             record header, 16 bytes
 * +-------+---------+---------+------+------+---------+-----------+  +---------+----------+----------+----------+
 * | magic | version | version | zone | sig. | longest | link type |  | seconds | fraction | captured | original |
 * | 4     | major 2 | minor 2 | 4    | 4    | 4       | 4         |  | 4       | 4        | bytes 4  | bytes 4  |
 * +-------+---------+---------+------+------+---------+-----------+  +---------+----------+----------+----------+
 *
 * Left out: the "modified" format of old Linux distributions (magic a1b2cd34), which is refused by name.
 */
import { CaptureError, type CaptureRecord } from "./capture-record.ts";

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const VERSION_MAJOR = 2;
const VERSION_MINOR = 4;
const LINK_TYPE_AT = 20;
/** The upper bits tell of a frame check sequence at the end of each frame, which the IP length leaves out anyway. */
const LINK_TYPE_MASK = 0xffff;
/** What tcpdump writes: larger than any frame. */
const SNAPSHOT_BYTES = 262_144;

/** Units of the fraction field in a millisecond, by magic number. */
const UNITS_PER_MS: ReadonlyMap<number, number> = new Map([
  [MAGIC_MICROSECONDS, 1e3],
  [MAGIC_NANOSECONDS, 1e6],
]);

/** True when the file begins like a classic capture of either byte order. */
export function isPcap(file: Uint8Array): boolean {
  return file.length >= 4 && formatOf(viewOf(file)) !== undefined;
}

/**
 * The records of a classic capture file, in its order, without copying.
 * @throws CaptureError at the record that cannot be read, after those before it were delivered
 */
export function* readPcap(file: Uint8Array): Generator<CaptureRecord, void, undefined> {
  const view = viewOf(file);
  if (file.length < FILE_HEADER_BYTES) {
    throw new CaptureError("truncated", 0, `file header needs 24 bytes, found ${file.length}`);
  }
  const format = formatOf(view);
  if (format === undefined) throw new CaptureError("unsupported", 0, "no pcap magic number");
  const { unitsPerMs, isLittleEndian } = format;
  const major = view.getUint16(4, isLittleEndian);
  if (major !== VERSION_MAJOR) {
    throw new CaptureError("unsupported", 4, `pcap version ${major}, expected ${VERSION_MAJOR}`);
  }
  const linkType = view.getUint32(LINK_TYPE_AT, isLittleEndian) & LINK_TYPE_MASK;

  for (let at = FILE_HEADER_BYTES; at < file.length; ) {
    const left = file.length - at - RECORD_HEADER_BYTES;
    if (left < 0) throw new CaptureError("truncated", at, "the file ends inside a record header");
    const capturedBytes = view.getUint32(at + 8, isLittleEndian);
    if (capturedBytes > left) {
      throw new CaptureError("truncated", at, `the record claims ${capturedBytes} bytes, ${left} are left`);
    }
    const bytesAt = at + RECORD_HEADER_BYTES;
    yield {
      timestampMs:
        view.getUint32(at, isLittleEndian) * 1000 + view.getUint32(at + 4, isLittleEndian) / unitsPerMs,
      linkType,
      bytes: file.subarray(bytesAt, bytesAt + capturedBytes),
      originalLength: view.getUint32(at + 12, isLittleEndian),
    };
    at = bytesAt + capturedBytes;
  }
}

/** The beginning of a capture file whose frames all have this link type. */
export function pcapFileHeader(linkType: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(FILE_HEADER_BYTES));
  view.setUint32(0, MAGIC_MICROSECONDS, true);
  view.setUint16(4, VERSION_MAJOR, true);
  view.setUint16(6, VERSION_MINOR, true);
  view.setUint32(16, SNAPSHOT_BYTES, true);
  view.setUint32(LINK_TYPE_AT, linkType, true);
  return new Uint8Array(view.buffer);
}

/**
 * One record, to be written behind the file header or another record.
 * @param timestampMs - milliseconds since 1970, rounded to microseconds; 0 up to the year 2106
 */
export function pcapRecord(
  timestampMs: number,
  frame: Uint8Array,
  originalLength = frame.length,
): Uint8Array {
  const record = new Uint8Array(RECORD_HEADER_BYTES + frame.length);
  const view = viewOf(record);
  const microseconds = Math.round(timestampMs * 1000);
  view.setUint32(0, Math.floor(microseconds / 1e6), true);
  view.setUint32(4, microseconds % 1e6, true);
  view.setUint32(8, frame.length, true);
  view.setUint32(12, originalLength, true);
  record.set(frame, RECORD_HEADER_BYTES);
  return record;
}

interface Format {
  readonly unitsPerMs: number;
  readonly isLittleEndian: boolean;
}

function formatOf(view: DataView): Format | undefined {
  for (const isLittleEndian of [true, false]) {
    const unitsPerMs = UNITS_PER_MS.get(view.getUint32(0, isLittleEndian));
    if (unitsPerMs !== undefined) return { unitsPerMs, isLittleEndian };
  }
  return undefined;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
