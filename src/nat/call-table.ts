/**
 * The persistence templates that a Call-ID pins: from its bytes to the template's record in the connection table, which
 * holds the rest of the key. As in IPVS (ip_vs_pe_sip.c), client network, virtual address and port, family and protocol must
 * be equal as well; unlike there the hash has a secret key, because clients choose Call-IDs.
 *
 * An entry is in two hash chains: by Call-ID, and by record, for its removal. Memory: 288 bytes an entry, 18 MiB for the
 * default bound, none of it before the first entry, and then as it is touched. Records and Call-IDs may lie in memory that
 * the next process finds again; it believes those and makes the chains anew.
 */
import { KeyedHash } from "../base/keyed-hash.ts";
import { isSameAddress } from "../wire/address.ts";
import type { ConnectionTable } from "./connection-table.ts";
import { type MemoryPart, ownMemory } from "./memory-part.ts";
import { CALL_ID_BYTES_MAX } from "./sip-call-id.ts";

/** Calls remembered at a time. */
export const CALLS_MAX = 65_536;

/** Word offsets inside an entry. */
const RECORD = 0;
/** Of the Call-ID. */
const HASH = 1;
/** Next entry + 1 in the chain of Call-IDs, or in the list of free entries. */
const NEXT_CALL = 2;
/** Next entry + 1 in the chain of records. */
const NEXT_RECORD = 3;
const ENTRY_WORDS = 4;
/** One octet of length and the Call-ID. */
const TEXT_BYTES = 1 + CALL_ID_BYTES_MAX;
/** In the record's place of an entry that is free. */
const FREE = -1;
/** Words in front of the entries; the first one has the entries ever used. */
const HEADER_WORDS = 4;

export class CallTable {
  readonly capacity: number;
  readonly #hash: KeyedHash;
  readonly #bucketCount: number;
  readonly #memory: MemoryPart | undefined;
  #header: Int32Array = new Int32Array(HEADER_WORDS);
  #entries: Int32Array = new Int32Array(0);
  #texts: Uint8Array = new Uint8Array(0);
  #callBuckets = new Int32Array(0);
  #recordBuckets = new Int32Array(0);
  #free = 0;
  /** Live entries. */
  count = 0;

  /**
   * @param keys - two secret random words for the hash
   * @param capacity - most calls at a time, at least 1
   * @param memory - bytesFor(capacity): zeroes, or what a table before left; default: its own, when it is needed
   */
  constructor(keys: readonly [number, number], capacity = CALLS_MAX, memory?: MemoryPart) {
    this.#hash = new KeyedHash(keys[0], keys[1]);
    this.capacity = capacity;
    this.#bucketCount = 2 ** Math.ceil(Math.log2(2 * capacity));
    this.#memory = memory;
    if (memory?.reserve(0, HEADER_WORDS * 4))
      this.#header = new Int32Array(memory.buffer, memory.at, HEADER_WORDS);
  }

  /** Bytes of entries and Call-IDs. */
  static bytesFor(capacity = CALLS_MAX): number {
    return 4 * (HEADER_WORDS + capacity * ENTRY_WORDS) + capacity * TEXT_BYTES;
  }

  /**
   * Take over what a table before left.
   * @param isOf - may this record have a Call-ID?
   * @returns entries that are none, or one too many for their record
   */
  takeOver(isOf: (record: number) => boolean): number {
    const highWater = Math.max(0, Math.min(this.#highWater, this.capacity));
    let lostCount = 0;
    let usedCount = 0;
    if (highWater > 0) this.#allocate();
    while (usedCount < highWater && this.#reserve(usedCount)) usedCount++;
    this.#header[0] = usedCount;
    for (let entry = 0; entry < usedCount; entry++) {
      const entryAt = entry * ENTRY_WORDS;
      const record = this.#entries[entryAt + RECORD]!;
      const textAt = entry * TEXT_BYTES;
      const length = this.#texts[textAt]!;
      if (record !== FREE && length > 0 && isOf(record) && this.#entryOf(record) < 0) {
        this.#entries[entryAt + HASH] = this.#hashCall(this.#texts, textAt + 1, length);
        this.#link(entry);
        continue;
      }
      if (record !== FREE) lostCount++;
      this.#release(entry);
    }
    return lostCount;
  }

  /**
   * The template of this Call-ID and key, or -1.
   * @param bytes - the Call-ID lies in [at, at + length)
   * @param client - the client's network, four words; `virtual` likewise from `virtualAt` on
   */
  find(
    bytes: Uint8Array,
    at: number,
    length: number,
    table: ConnectionTable,
    family: number,
    protocol: number,
    client: Int32Array,
    virtual: Int32Array,
    virtualAt: number,
    virtualPort: number,
  ): number {
    if (this.count === 0) return -1;
    const { words } = table;
    const hash = this.#hashCall(bytes, at, length);
    for (let link = this.#callBuckets[hash & (this.#bucketCount - 1)]!; link !== 0; ) {
      const entryAt = (link - 1) * ENTRY_WORDS;
      const record = this.#entries[entryAt + RECORD]!;
      if (
        this.#entries[entryAt + HASH] === hash &&
        table.virtualPort(record) === virtualPort &&
        table.protocol(record) === protocol &&
        table.family(record) === family &&
        isSameAddress(words, table.clientAt(record), client, 0) &&
        isSameAddress(words, table.virtualAt(record), virtual, virtualAt) &&
        this.#isCall(link - 1, bytes, at, length)
      )
        return record;
      link = this.#entries[entryAt + NEXT_CALL]!;
    }
    return -1;
  }

  /**
   * Remember a template that is not here yet.
   * @param length - of the Call-ID, 1..CALL_ID_BYTES_MAX
   * @returns false, nothing remembered, when the table is full
   */
  insert(record: number, bytes: Uint8Array, at: number, length: number): boolean {
    if (this.count === this.capacity) return false;
    if (this.#entries.length === 0) this.#allocate();
    let entry = this.#free - 1;
    if (entry >= 0) this.#free = this.#entries[entry * ENTRY_WORDS + NEXT_CALL]!;
    else {
      entry = this.#highWater;
      if (!this.#reserve(entry)) return false;
      this.#entries[entry * ENTRY_WORDS + RECORD] = FREE;
      this.#header[0] = entry + 1;
    }
    const textAt = entry * TEXT_BYTES;
    this.#texts[textAt] = length;
    for (let i = 0; i < length; i++) this.#texts[textAt + 1 + i] = bytes[at + i]!;
    const entryAt = entry * ENTRY_WORDS;
    this.#entries[entryAt + HASH] = this.#hashCall(bytes, at, length);
    this.#entries[entryAt + RECORD] = record;
    this.#link(entry);
    return true;
  }

  /** Forget a template, if it is here. */
  remove(record: number): void {
    const entry = this.#entryOf(record);
    if (entry < 0) return;
    const hash = this.#entries[entry * ENTRY_WORDS + HASH]!;
    this.#unlink(this.#callBuckets, hash & (this.#bucketCount - 1), NEXT_CALL, entry);
    this.#unlink(this.#recordBuckets, record & (this.#bucketCount - 1), NEXT_RECORD, entry);
    this.#release(entry);
    this.count--;
  }

  /** A template's Call-ID, one character a byte; undefined if it has none here. Allocates; not for the packet path. */
  callId(record: number): string | undefined {
    const entry = this.#entryOf(record);
    if (entry < 0) return undefined;
    const textAt = entry * TEXT_BYTES + 1;
    return String.fromCharCode(...this.#texts.subarray(textAt, textAt + this.#texts[textAt - 1]!));
  }

  /**
   * Copy a template's Call-ID.
   * @param target - with room for CALL_ID_BYTES_MAX
   * @returns its length; 0: the template has none here
   */
  copy(record: number, target: Uint8Array): number {
    const entry = this.#entryOf(record);
    if (entry < 0) return 0;
    const textAt = entry * TEXT_BYTES;
    const length = this.#texts[textAt]!;
    for (let i = 0; i < length; i++) target[i] = this.#texts[textAt + 1 + i]!;
    return length;
  }

  get #highWater(): number {
    return this.#header[0]!;
  }

  /** Put an entry with record and hash into both chains. */
  #link(entry: number): void {
    const entries = this.#entries;
    const entryAt = entry * ENTRY_WORDS;
    const callBucket = entries[entryAt + HASH]! & (this.#bucketCount - 1);
    const recordBucket = entries[entryAt + RECORD]! & (this.#bucketCount - 1);
    entries[entryAt + NEXT_CALL] = this.#callBuckets[callBucket]!;
    entries[entryAt + NEXT_RECORD] = this.#recordBuckets[recordBucket]!;
    this.#callBuckets[callBucket] = entry + 1;
    this.#recordBuckets[recordBucket] = entry + 1;
    this.count++;
  }

  #release(entry: number): void {
    this.#entries[entry * ENTRY_WORDS + RECORD] = FREE;
    this.#entries[entry * ENTRY_WORDS + NEXT_CALL] = this.#free;
    this.#free = entry + 1;
  }

  /** See to it that there is memory for this entry. */
  #reserve(entry: number): boolean {
    const memory = this.#memory;
    if (memory === undefined) return true;
    const entryBytes = ENTRY_WORDS * 4;
    const textsAt = HEADER_WORDS * 4 + this.capacity * entryBytes;
    return (
      memory.reserve(HEADER_WORDS * 4 + entry * entryBytes, entryBytes) &&
      memory.reserve(textsAt + entry * TEXT_BYTES, TEXT_BYTES)
    );
  }

  #allocate(): void {
    const { capacity } = this;
    const { buffer, at } = this.#memory ?? ownMemory(CallTable.bytesFor(capacity));
    const entriesAt = at + HEADER_WORDS * 4;
    this.#entries = new Int32Array(buffer, entriesAt, capacity * ENTRY_WORDS);
    this.#texts = new Uint8Array(buffer, entriesAt + capacity * ENTRY_WORDS * 4, capacity * TEXT_BYTES);
    this.#callBuckets = new Int32Array(this.#bucketCount);
    this.#recordBuckets = new Int32Array(this.#bucketCount);
  }

  #entryOf(record: number): number {
    if (this.count === 0) return -1;
    let link = this.#recordBuckets[record & (this.#bucketCount - 1)]!;
    while (link !== 0 && this.#entries[(link - 1) * ENTRY_WORDS + RECORD] !== record)
      link = this.#entries[(link - 1) * ENTRY_WORDS + NEXT_RECORD]!;
    return link - 1;
  }

  #unlink(buckets: Int32Array, bucket: number, next: number, entry: number): void {
    const entries = this.#entries;
    const after = entries[entry * ENTRY_WORDS + next]!;
    if (buckets[bucket] === entry + 1) {
      buckets[bucket] = after;
      return;
    }
    let linkAt = (buckets[bucket]! - 1) * ENTRY_WORDS + next;
    while (entries[linkAt] !== entry + 1) linkAt = (entries[linkAt]! - 1) * ENTRY_WORDS + next;
    entries[linkAt] = after;
  }

  /** Four bytes a word, the last one filled up with zeros; the length keeps apart what only they would make equal. */
  #hashCall(bytes: Uint8Array, at: number, length: number): number {
    const hash = this.#hash;
    const end = at + length;
    hash.start();
    let i = at;
    for (; i + 4 <= end; i += 4)
      hash.add((bytes[i]! << 24) | (bytes[i + 1]! << 16) | (bytes[i + 2]! << 8) | bytes[i + 3]!);
    let rest = 0;
    for (let shift = 24; i < end; i++, shift -= 8) rest |= bytes[i]! << shift;
    hash.add(rest);
    hash.add(length);
    return hash.finish();
  }

  #isCall(entry: number, bytes: Uint8Array, at: number, length: number): boolean {
    const textAt = entry * TEXT_BYTES;
    if (this.#texts[textAt] !== length) return false;
    for (let i = 0; i < length; i++) if (this.#texts[textAt + 1 + i] !== bytes[at + i]) return false;
    return true;
  }
}
