/**
 * Synchronisation messages of Linux IPVS (ip_vs_sync.c as described by the project's reference, section 8): many entries
 * in one UDP datagram, big endian.
 *
 *  version 1, 8 bytes                          version 0, 4 bytes
 * +----------+--------+---------------+       +----------+--------+---------------+
 * | 0        | syncid | size          |       | entries  | syncid | size          |
 * +----------+--------+---------------+       +----------+--------+---------------+
 * | entries  | 1      | 0             |
 * +----------+--------+---------------+
 *
 *  entry, version 1: 36 bytes, IPv6 72, and options       entry, version 0: 24 bytes
 * +--------+----------+-----+-----------+       +----------+----------+---------------+
 * | family | protocol | 0:4 | size:12   |       | 0        | protocol | client port   |
 * +--------+----------+-----+-----------+       +----------+----------+---------------+
 * | flags                               |       | virtual port        | dest. port    |
 * +-------------------+-----------------+       +---------------------+---------------+
 * | state             | client port     |       | client, virtual, destination address |
 * +-------------------+-----------------+       +---------------------+---------------+
 * | virtual port      | dest. port      |       | flags               | state         |
 * +-------------------+-----------------+       +---------------------+---------------+
 * | mark                                |        and 24 bytes if a sequence flag is set
 * +-------------------------------------+
 * | timeout, seconds                    |
 * +-------------------------------------+
 * | client, virtual, destination address|
 * +-------------------------------------+
 *
 * Options of version 1: type, length of the data, data. An entry begins at a multiple of four bytes.
 */
import { SEQUENCE_BYTES, SyncEntry } from "./entry.ts";

export type SyncVersion = 0 | 1;

export const SYNC_ID_AT = 1;
const SIZE_AT = 2;
const ENTRY_COUNT_AT = 4;
const VERSION_AT = 5;
const SPARE_AT = 6;
const HEADER_BYTES = { 0: 4, 1: 8 } as const;
/** Entries that the count's byte can tell. */
const ENTRIES_MAX = 255;

const FAMILY_6 = 1;
const ENTRY_SIZE_AT = 2;
const ENTRY_SIZE_MASK = 0x0fff;
const FLAGS_AT = 4;
const STATE_AT = 8;
const CLIENT_PORT_AT = 10;
const VIRTUAL_PORT_AT = 12;
const DESTINATION_PORT_AT = 14;
const MARK_AT = 16;
const TIMEOUT_AT = 20;
const ADDRESSES_AT = 24;
const ENTRY_BYTES = { 4: 36, 6: 72 } as const;

const ENTRY_0_BYTES = 24;
const ENTRY_0 = {
  clientPort: 2,
  virtualPort: 4,
  destinationPort: 6,
  addresses: 8,
  flags: 20,
  state: 22,
} as const;

const OptionType = { sequence: 1, engineData: 2, engineName: 3 } as const;
/** Who does not know an option with this bit passes over it. */
const OPTION_MAY_BE_SKIPPED = 0x40;
const ENGINE_NAME_BYTES_MAX = 16;
/** Room for the largest entry: IPv6 with every option. */
export const MESSAGE_BYTES_MIN =
  HEADER_BYTES[1] + ENTRY_BYTES[6] + (2 + SEQUENCE_BYTES) + (2 + 255) + (2 + ENGINE_NAME_BYTES_MAX);

/** Why a message, or the rest of one, was not read. */
export type MessageFault =
  /** Shorter than a header. */
  | "too-short"
  /** The size field is not the length of the datagram. */
  | "wrong-size"
  /** An entry ends behind the message, or is smaller than its own fields. */
  | "cut-entry"
  /** Neither IPv4 nor IPv6, or a version of entries nobody has defined. */
  | "unknown-entry"
  /** An option twice, of an impossible length, or ending behind its entry. */
  | "bad-option";

/** Reads a message entry by entry. Any bytes are legal input. */
export class MessageReader {
  /** What `next` read last. */
  readonly entry = new SyncEntry();
  version: SyncVersion = 1;
  syncId = 0;
  /** Entries passed over, in the message at hand, for an option that must be understood and is not. */
  skippedCount = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(this.#bytes.buffer);
  #at = 0;
  #leftCount = 0;

  /** Aim this reusable reader at a datagram, which is read in place. */
  attach(bytes: Uint8Array): MessageFault | undefined {
    this.#leftCount = 0;
    this.skippedCount = 0;
    if (bytes.length < HEADER_BYTES[0]) return "too-short";
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (view.getUint16(SIZE_AT) !== bytes.length) return "wrong-size";
    this.#bytes = bytes;
    this.#view = view;
    this.version = isVersion1(view) ? 1 : 0;
    this.syncId = view.getUint8(SYNC_ID_AT);
    this.#leftCount = view.getUint8(this.version === 1 ? ENTRY_COUNT_AT : 0);
    this.#at = HEADER_BYTES[this.version];
    return undefined;
  }

  /** @returns "entry": there is one in `entry`; "end": there are no more; or why the rest cannot be read. */
  next(): "entry" | "end" | MessageFault {
    while (this.#leftCount > 0) {
      this.#leftCount--;
      const outcome = this.version === 1 ? this.#next1() : this.#next0();
      if (outcome === "skip") this.skippedCount++;
      else {
        if (outcome !== "entry") this.#leftCount = 0;
        return outcome;
      }
    }
    return "end";
  }

  #next1(): "entry" | "skip" | MessageFault {
    const { entry } = this;
    const view = this.#view;
    const at = this.#at;
    if (at + ENTRY_BYTES[4] > view.byteLength) return "cut-entry";
    const versionAndSize = view.getUint16(at + ENTRY_SIZE_AT);
    if (versionAndSize > ENTRY_SIZE_MASK) return "unknown-entry";
    const end = at + versionAndSize;
    if (end > view.byteLength) return "cut-entry";
    const type = view.getUint8(at);
    if ((type & FAMILY_6) === 0 && type !== 0) return "unknown-entry";
    entry.family = type === 0 ? 4 : 6;
    const optionsAt = at + ENTRY_BYTES[entry.family];
    if (optionsAt > end) return "cut-entry";
    entry.protocol = view.getUint8(at + 1);
    entry.flags = view.getInt32(at + FLAGS_AT);
    entry.state = view.getUint16(at + STATE_AT);
    entry.clientPort = view.getUint16(at + CLIENT_PORT_AT);
    entry.virtualPort = view.getUint16(at + VIRTUAL_PORT_AT);
    entry.destinationPort = view.getUint16(at + DESTINATION_PORT_AT);
    entry.mark = view.getUint32(at + MARK_AT);
    entry.timeoutSeconds = view.getUint32(at + TIMEOUT_AT);
    this.#readAddresses(at + ADDRESSES_AT);
    this.#at = at + ((versionAndSize + 3) & ~3);
    return this.#readOptions(optionsAt, end);
  }

  #next0(): "entry" | MessageFault {
    const { entry } = this;
    const view = this.#view;
    const at = this.#at;
    let end = at + ENTRY_0_BYTES;
    if (end > view.byteLength) return "cut-entry";
    entry.family = 4;
    entry.protocol = view.getUint8(at + 1);
    entry.flags = view.getUint16(at + ENTRY_0.flags);
    entry.state = view.getUint16(at + ENTRY_0.state);
    entry.clientPort = view.getUint16(at + ENTRY_0.clientPort);
    entry.virtualPort = view.getUint16(at + ENTRY_0.virtualPort);
    entry.destinationPort = view.getUint16(at + ENTRY_0.destinationPort);
    entry.mark = 0;
    entry.timeoutSeconds = 0;
    this.#readAddresses(at + ENTRY_0.addresses);
    entry.engineName = entry.engineData = entry.sequence = undefined;
    if (entry.hasShiftedSequence) {
      end += SEQUENCE_BYTES;
      if (end > view.byteLength) return "cut-entry";
      entry.sequence = this.#bytes.subarray(end - SEQUENCE_BYTES, end);
    }
    this.#at = end;
    return "entry";
  }

  #readAddresses(at: number): void {
    const { family, client, virtual, destination } = this.entry;
    const wordCount = family === 4 ? 1 : 4;
    for (let i = 0; i < 4; i++) {
      const isUsed = i < wordCount;
      client[i] = isUsed ? this.#view.getInt32(at + i * 4) : 0;
      virtual[i] = isUsed ? this.#view.getInt32(at + (wordCount + i) * 4) : 0;
      destination[i] = isUsed ? this.#view.getInt32(at + (2 * wordCount + i) * 4) : 0;
    }
  }

  #readOptions(from: number, end: number): "entry" | "skip" | MessageFault {
    const { entry } = this;
    entry.engineName = entry.engineData = entry.sequence = undefined;
    let isUnderstood = true;
    let at = from;
    while (at < end) {
      if (at + 2 > end) return "bad-option";
      const type = this.#bytes[at]!;
      const length = this.#bytes[at + 1]!;
      at += 2;
      if (length === 0 || at + length > end) return "bad-option";
      const data = this.#bytes.subarray(at, at + length);
      at += length;
      switch (type & ~OPTION_MAY_BE_SKIPPED) {
        case OptionType.sequence:
          if (entry.sequence !== undefined || length !== SEQUENCE_BYTES) return "bad-option";
          entry.sequence = data;
          break;
        case OptionType.engineData:
          if (entry.engineData !== undefined) return "bad-option";
          entry.engineData = data;
          break;
        case OptionType.engineName:
          if (entry.engineName !== undefined || length > ENGINE_NAME_BYTES_MAX) return "bad-option";
          entry.engineName = data;
          break;
        default:
          isUnderstood &&= (type & OPTION_MAY_BE_SKIPPED) !== 0;
      }
    }
    return isUnderstood ? "entry" : "skip";
  }
}

/** Collects entries into a message until it is full. Adding allocates nothing. */
export class MessageWriter {
  readonly syncId: number;
  readonly version: SyncVersion;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at: number;
  #entryCount = 0;

  /**
   * @param bytesMax - longest message; MESSAGE_BYTES_MIN at least
   * @param syncId - 0..255
   */
  constructor(bytesMax: number, syncId: number, version: SyncVersion = 1) {
    this.#bytes = new Uint8Array(bytesMax);
    this.#view = new DataView(this.#bytes.buffer);
    this.syncId = syncId;
    this.version = version;
    this.#at = HEADER_BYTES[version];
  }

  /** Entries of the message so far. */
  get entryCount(): number {
    return this.#entryCount;
  }

  /** @returns false: it does not fit behind what is there; take that first. Version 0 has no place for IPv6. */
  add(entry: SyncEntry): boolean {
    const aligned = (this.#at + 3) & ~3;
    const size = this.version === 1 ? size1(entry) : size0(entry);
    if (this.#entryCount === ENTRIES_MAX || aligned + size > this.#bytes.length) return false;
    if (this.version === 0 && entry.family === 6) return false;
    this.#bytes.fill(0, this.#at, aligned);
    this.#at = aligned;
    if (this.version === 1) this.#write1(entry, size);
    else this.#write0(entry);
    this.#entryCount++;
    return true;
  }

  /** The message so far, the caller's to keep; the next begins. Undefined when there is none. */
  take(): Uint8Array | undefined {
    if (this.#entryCount === 0) return undefined;
    const view = this.#view;
    view.setUint8(0, this.version === 1 ? 0 : this.#entryCount);
    view.setUint8(SYNC_ID_AT, this.syncId);
    view.setUint16(SIZE_AT, this.#at);
    if (this.version === 1) {
      view.setUint8(ENTRY_COUNT_AT, this.#entryCount);
      view.setUint8(VERSION_AT, 1);
      view.setUint16(SPARE_AT, 0);
    }
    const message = this.#bytes.slice(0, this.#at);
    this.#at = HEADER_BYTES[this.version];
    this.#entryCount = 0;
    return message;
  }

  #write1(entry: SyncEntry, size: number): void {
    const view = this.#view;
    const at = this.#at;
    view.setUint8(at, entry.family === 6 ? FAMILY_6 : 0);
    view.setUint8(at + 1, entry.protocol);
    view.setUint16(at + ENTRY_SIZE_AT, size);
    view.setInt32(at + FLAGS_AT, entry.flags);
    view.setUint16(at + STATE_AT, entry.state);
    view.setUint16(at + CLIENT_PORT_AT, entry.clientPort);
    view.setUint16(at + VIRTUAL_PORT_AT, entry.virtualPort);
    view.setUint16(at + DESTINATION_PORT_AT, entry.destinationPort);
    view.setUint32(at + MARK_AT, entry.mark);
    view.setUint32(at + TIMEOUT_AT, entry.timeoutSeconds);
    this.#writeAddresses(entry, at + ADDRESSES_AT);
    this.#at = at + ENTRY_BYTES[entry.family];
    this.#writeOption(OptionType.sequence, entry.sequence);
    this.#writeOption(OptionType.engineData, entry.engineData);
    this.#writeOption(OptionType.engineName, entry.engineName);
  }

  #write0(entry: SyncEntry): void {
    const view = this.#view;
    const at = this.#at;
    view.setUint8(at, 0);
    view.setUint8(at + 1, entry.protocol);
    view.setUint16(at + ENTRY_0.clientPort, entry.clientPort);
    view.setUint16(at + ENTRY_0.virtualPort, entry.virtualPort);
    view.setUint16(at + ENTRY_0.destinationPort, entry.destinationPort);
    this.#writeAddresses(entry, at + ENTRY_0.addresses);
    view.setUint16(at + ENTRY_0.flags, entry.flags);
    view.setUint16(at + ENTRY_0.state, entry.state);
    this.#at = at + ENTRY_0_BYTES;
    if (entry.sequence !== undefined) this.#append(entry.sequence);
  }

  #writeAddresses({ family, client, virtual, destination }: SyncEntry, at: number): void {
    const wordCount = family === 4 ? 1 : 4;
    for (let i = 0; i < wordCount; i++) {
      this.#view.setInt32(at + i * 4, client[i]!);
      this.#view.setInt32(at + (wordCount + i) * 4, virtual[i]!);
      this.#view.setInt32(at + (2 * wordCount + i) * 4, destination[i]!);
    }
  }

  #writeOption(type: number, data: Uint8Array | undefined): void {
    if (data === undefined) return;
    this.#bytes[this.#at++] = type;
    this.#bytes[this.#at++] = data.length;
    this.#append(data);
  }

  #append(data: Uint8Array): void {
    this.#bytes.set(data, this.#at);
    this.#at += data.length;
  }
}

function isVersion1(view: DataView): boolean {
  return (
    view.byteLength >= HEADER_BYTES[1] &&
    view.getUint8(0) === 0 &&
    view.getUint8(VERSION_AT) === 1 &&
    view.getUint16(SPARE_AT) === 0
  );
}

const optionBytes = (data: Uint8Array | undefined): number => (data === undefined ? 0 : 2 + data.length);

const size1 = ({ family, sequence, engineData, engineName }: SyncEntry): number =>
  ENTRY_BYTES[family] + optionBytes(sequence) + optionBytes(engineData) + optionBytes(engineName);

const size0 = ({ sequence }: SyncEntry): number => ENTRY_0_BYTES + (sequence?.length ?? 0);
