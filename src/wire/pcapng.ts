/**
 * pcapng capture files, draft-ietf-opsawg-pcapng: reading of section header, interface description, enhanced and simple
 * packet blocks; several sections, each in its own byte order; several interfaces, each with its own link type and
 * resolution of time.
 *
 *  every block                                               option, in lists behind the fixed fields
 * +------+--------------+--------------------+--------------+   +--------+----------+--------------------+
 * | type | total length | body, padded to 4  | total length |   | code 2 | length 2 | value, padded to 4 |
 * | 4    | 4            |                    | 4            |   +--------+----------+--------------------+
 * +------+--------------+--------------------+--------------+
 *
 * Left out: writing; the obsolete packet block; names, statistics, secrets and every other block, which are skipped.
 */
import { CaptureError, type CaptureRecord } from "./capture-record.ts";

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const VERSION_MAJOR = 1;

/** Type, length and the repeated length. */
const BLOCK_BYTES_MIN = 12;
const BODY_AT = 8;
const OPTION_END = 0;
const OPTION_RESOLUTION = 9;
const OPTION_TIME_OFFSET = 14;
/** A file that describes more interfaces is an attempt to exhaust memory. */
const INTERFACES_MAX = 65_536;

interface Interface {
  readonly linkType: number;
  /** Longest captured frame, 0 for no limit. */
  readonly snapshotBytes: number;
  readonly unitsPerMs: number;
  readonly offsetMs: number;
}

/** True when the file begins with a section header block. */
export function isPcapng(file: Uint8Array): boolean {
  return file.length >= 4 && viewOf(file).getUint32(0) === SECTION_HEADER;
}

/**
 * The packets of a pcapng file, in its order, without copying.
 * @throws CaptureError at the block that cannot be read, after the packets before it were delivered
 */
export function* readPcapng(file: Uint8Array): Generator<CaptureRecord, void, undefined> {
  const view = viewOf(file);
  let interfaces: Interface[] = [];
  let isLittleEndian = false;
  let timestampMs = 0;

  for (let at = 0; at < file.length; ) {
    const left = file.length - at;
    if (left < BLOCK_BYTES_MIN)
      throw new CaptureError("truncated", at, "the file ends inside a block header");
    // The section header's type reads the same in both byte orders; its body tells which one follows.
    const isSection = view.getUint32(at) === SECTION_HEADER;
    if (isSection) {
      isLittleEndian = readByteOrder(view, at);
      interfaces = [];
    } else if (at === 0) throw new CaptureError("unsupported", 0, "no pcapng section header");
    const blockBytes = view.getUint32(at + 4, isLittleEndian);
    if (blockBytes < BLOCK_BYTES_MIN || blockBytes % 4 !== 0) {
      throw new CaptureError(
        "malformed",
        at,
        `block length ${blockBytes}, expected a multiple of 4 from 12 on`,
      );
    }
    if (blockBytes > left) {
      throw new CaptureError("truncated", at, `the block claims ${blockBytes} bytes, ${left} are left`);
    }
    const repeated = view.getUint32(at + blockBytes - 4, isLittleEndian);
    if (repeated !== blockBytes) {
      throw new CaptureError(
        "malformed",
        at,
        `block length ${blockBytes} at its start, ${repeated} at its end`,
      );
    }
    const block = new Block(file, view, at, blockBytes, isLittleEndian);
    if (isSection) checkVersion(block);
    else if (block.type === INTERFACE_DESCRIPTION) {
      if (interfaces.length === INTERFACES_MAX) {
        throw new CaptureError("unsupported", at, `more than ${INTERFACES_MAX} interfaces`);
      }
      interfaces.push(readInterface(block));
    } else if (block.type === ENHANCED_PACKET) {
      const record = readEnhancedPacket(block, interfaces);
      timestampMs = record.timestampMs;
      yield record;
    } else if (block.type === SIMPLE_PACKET) yield readSimplePacket(block, interfaces, timestampMs);
    at += blockBytes;
  }
}

/** One block whose lengths were checked, and field access that is checked against its body. */
class Block {
  readonly at: number;
  readonly bodyBytes: number;
  readonly #file: Uint8Array;
  readonly #view: DataView;
  readonly #isLittleEndian: boolean;

  constructor(file: Uint8Array, view: DataView, at: number, bytes: number, isLittleEndian: boolean) {
    this.#file = file;
    this.#view = view;
    this.at = at;
    this.bodyBytes = bytes - BLOCK_BYTES_MIN;
    this.#isLittleEndian = isLittleEndian;
  }

  get type(): number {
    return this.#view.getUint32(this.at, this.#isLittleEndian);
  }

  /** @param offset - in the body, for this and the others. */
  u8(offset: number): number {
    return this.#view.getUint8(this.#check(offset, 1));
  }

  u16(offset: number): number {
    return this.#view.getUint16(this.#check(offset, 2), this.#isLittleEndian);
  }

  u32(offset: number): number {
    return this.#view.getUint32(this.#check(offset, 4), this.#isLittleEndian);
  }

  /** Signed 64 bits as a double, exact up to 2^53. */
  i64(offset: number): number {
    const at = this.#check(offset, 8);
    const high = this.#view.getInt32(this.#isLittleEndian ? at + 4 : at, this.#isLittleEndian);
    const low = this.#view.getUint32(this.#isLittleEndian ? at : at + 4, this.#isLittleEndian);
    return high * 0x1_0000_0000 + low;
  }

  bytes(offset: number, length: number): Uint8Array {
    const at = this.#check(offset, length);
    return this.#file.subarray(at, at + length);
  }

  #check(offset: number, length: number): number {
    if (offset + length > this.bodyBytes) {
      const wanted = `needs ${offset + length} bytes of body, has ${this.bodyBytes}`;
      throw new CaptureError("malformed", this.at, `block of type ${this.type} ${wanted}`);
    }
    return this.at + BODY_AT + offset;
  }
}

function readByteOrder(view: DataView, at: number): boolean {
  if (view.getUint32(at + BODY_AT) === BYTE_ORDER_MAGIC) return false;
  if (view.getUint32(at + BODY_AT, true) === BYTE_ORDER_MAGIC) return true;
  throw new CaptureError("malformed", at, "section header without its byte-order magic number");
}

function checkVersion(block: Block): void {
  const major = block.u16(4);
  if (major !== VERSION_MAJOR) {
    throw new CaptureError("unsupported", block.at, `pcapng version ${major}, expected ${VERSION_MAJOR}`);
  }
}

function readInterface(block: Block): Interface {
  let unitsPerMs = 1e3;
  let offsetMs = 0;
  const optionsFrom = 8;
  for (let at = optionsFrom; at + 4 <= block.bodyBytes; ) {
    const code = block.u16(at);
    const length = block.u16(at + 2);
    if (code === OPTION_END) break;
    if (code === OPTION_RESOLUTION && length === 1) {
      // The high bit chooses a negative power of two, otherwise it is one of ten.
      const exponent = block.u8(at + 4);
      unitsPerMs = (exponent & 0x80 ? 2 ** (exponent & 0x7f) : 10 ** exponent) / 1000;
    }
    if (code === OPTION_TIME_OFFSET && length === 8) offsetMs = block.i64(at + 4) * 1000;
    at += 4 + ((length + 3) & ~3);
  }
  return { linkType: block.u16(0), snapshotBytes: block.u32(4), unitsPerMs, offsetMs };
}

function readEnhancedPacket(block: Block, interfaces: readonly Interface[]): CaptureRecord {
  const source = interfaceOf(block, interfaces, block.u32(0));
  const units = block.u32(4) * 0x1_0000_0000 + block.u32(8);
  return {
    timestampMs: units / source.unitsPerMs + source.offsetMs,
    linkType: source.linkType,
    bytes: block.bytes(20, block.u32(12)),
    originalLength: block.u32(16),
  };
}

/** A simple packet belongs to the first interface, has no time, and its captured length follows from the others. */
function readSimplePacket(
  block: Block,
  interfaces: readonly Interface[],
  timestampMs: number,
): CaptureRecord {
  const { linkType, snapshotBytes } = interfaceOf(block, interfaces, 0);
  const originalLength = block.u32(0);
  const capturedBytes = snapshotBytes === 0 ? originalLength : Math.min(originalLength, snapshotBytes);
  return { timestampMs, linkType, bytes: block.bytes(4, capturedBytes), originalLength };
}

function interfaceOf(block: Block, interfaces: readonly Interface[], index: number): Interface {
  const found = interfaces[index];
  if (found === undefined) {
    const known = `${interfaces.length} described so far`;
    throw new CaptureError("malformed", block.at, `packet of interface ${index}, ${known}`);
  }
  return found;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
