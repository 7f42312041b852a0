/**
 * The connection table: fixed-size records of 32-bit words in one buffer, chained hash buckets and a timer wheel of
 * indexes, all in the same buffer. Nothing is allocated after construction, so the garbage collector never sees a
 * connection, and the buffer may be shared memory or a mapped file. The next process finds its entries in such a file
 * again: of what is there it believes the records alone, one by one (take-over.ts), and makes everything else anew.
 *
 * A connection has two tuples: the original one (client to virtual service) and the reply one (destination to client).
 * Each is a node in the same hash table, so one look-up with one hash function finds a connection from either side and
 * says which side it was. Node number = 2 x record + (0 original, 1 reply).
 *
 * Expiry is O(1): touching an entry only stores its deadline; the wheel slot it sits in is looked at when its time
 * comes and the entry is moved on if it was touched meanwhile. An entry is moved at once only when its deadline
 * comes nearer (ESTABLISHED to CLOSE).
 *
 * A persistence template is an entry of the same kind under a key of its own: it has only the first node, which no packet
 * finds.
 *
 * Memory: 112 bytes a record and 8 to 16 bytes of buckets a connection (8 when the capacity is a power of two), IPv4 and
 * IPv6 alike.
 */
import { KeyedHash } from "../base/keyed-hash.ts";
import type { Flow } from "../wire/flow.ts";
import { type MemoryPart, ownMemory } from "./memory-part.ts";

/** Time unit of deadlines: 10 ms, IPVS's own resolution at HZ=100; 32 bits of it wrap after 497 days. */
export const TICK_MS = 10;

/** Life of an entry that goes when the one it hangs on goes: a tick more than any other may have, 31 days; then again. */
export const BOUND_TICKS = 267_840_001;

const RECORD_WORDS = 28;
/** Word offsets inside a record. Addresses are host-order words; IPv4 uses the first of four. */
const CLIENT = 0;
const VIRTUAL = 4;
const DESTINATION = 8;
/** Client port << 16 | virtual port. */
const ORIGINAL_PORTS = 12;
/** Destination port << 16 | source port: the port the server sees the client on, normally the client's own. */
const REPLY_PORTS = 13;
/** protocol | family << 8 | state << 16 | flags << 24; a template's family has TEMPLATE added. */
const KIND = 14;
/** Next node + 1 in the bucket chain, for the original (even) and the reply node (odd). */
const NEXT = 15;
/** Neighbours in the wheel slot, record + 1; the first one's previous is 0. */
const WHEEL_PREVIOUS = 17;
const WHEEL_NEXT = 18;
/** Tick at which the entry is dead unless touched. */
const DEADLINE = 19;
/** Ticks of life given by a touch. */
const TIMEOUT = 20;
/** Wheel slot the entry sits in, NO_SLOT when in none. */
const SLOT = 21;
/** Number of its destination. */
const SERVER = 22;
/** Record + 1 of the entry this one was announced by or is pinned to; 0 none. */
const CONTROLLER = 23;
const CONTROLLED_COUNT = 24;
/** Packets from the client, up to IN_PACKETS_MAX | number of the address the server sees the client at << 16; 0 its own. */
const IN_PACKETS_AND_SOURCE = 25;
/** Incremented each time the record is used again, so that a stale handle can be told. */
const GENERATION = 26;
/** First sequence number of the client's stream, where something is put in front of it; or an application's own word. */
const SEQUENCE = 27;

/** Packets from a client are counted up to this. */
export const IN_PACKETS_MAX = 0xffff;
const TEMPLATE = 0x80;
/**
 * Addresses besides their own under which servers may see clients. Four times what a configuration may have: connections
 * keep the addresses of those before.
 */
export const SOURCES_MAX = 4096;

const SLOT_COUNT = 8192;
/** A wheel slot covers 16 ticks = 160 ms; the wheel turns once in 22 minutes. */
const SLOT_TICKS = 16;
const NO_SLOT = -1;

/** Words in front of everything: what a process that takes the memory over must know. */
const HEADER_WORDS = 16;
const MAGIC_AT = 0;
const COUNT_AT = 1;
const FREE_AT = 2;
const HIGH_WATER_AT = 3;
const CAPACITY_AT = 4;
/** "vsn2": to be changed with every change of the layout, so that nobody misreads another version's records. */
const MAGIC = 0x76736e32;
export const CONNECTIONS_MAX = 1 << 24;
const SOURCE_NUMBERS = SOURCES_MAX + 1;
/** Records for which memory is asked at a time. */
const RECORDS_RESERVED = 2048;

/** Flags of an entry, kept in the top byte of its kind word. */
export const ConnectionFlag = {
  /** Counted in its destination's inactive connections (IPVS's INACTIVE). */
  inactive: 1,
  /** Opened by a host behind the director: "client" is that host, virtual address and destination are both the far end. */
  masquerade: 2,
  /** The server is to get a PROXY protocol header in front of the client's stream. */
  proxy: 4,
  /** It has accepted the connection, but not acknowledged that header yet. */
  proxyPending: 8,
  /** A template that is found by its persistence engine only. */
  engine: 16,
  /** Copied from another director. */
  synchronised: 32,
  /** An application module reads its stream. */
  application: 64,
  /** Announced on its controller, and not yet begun: the port of who opens it is 0. */
  expected: 128,
  /** Of an expected entry, where templates have `engine`: any number of connections may follow. */
  lasting: 16,
  /** Of an expected entry, where others have `proxyPending`: it is the client that listens. */
  ofClient: 8,
} as const;

export class ConnectionTable {
  readonly capacity: number;
  /** Four words for each number of a source address; number 0 is never used. */
  readonly sourceWords: Int32Array;
  /** Its family, 0 while the number is free. */
  readonly sourceFamilies: Uint8Array;
  readonly #memory: MemoryPart;
  readonly #recordsAt: number;
  /** Records for which there is memory. */
  #reserved = 0;
  readonly #header: Int32Array;
  readonly #records: Int32Array;
  readonly #buckets: Int32Array;
  readonly #wheel: Int32Array;
  readonly #bucketMask: number;
  readonly #hash: KeyedHash;
  /** Asked when no record is free, before an entry is refused. @returns true when some that were lent are free again */
  onFull: (() => boolean) | undefined;
  /** Entries nextExpired has ever looked at, for callers that share a budget between calls. */
  lookCount = 0;
  /** Next wheel slot time (tick / SLOT_TICKS) to look at; never wraps, unlike the deadlines. */
  #cursor = 0;

  /**
   * @param capacity - most connections at a time, 1..CONNECTIONS_MAX
   * @param keys - two secret random words for the hash
   * @param nowTick - the present, in ticks
   * @param memory - at least bytesFor(capacity); zeroes, or what a table before left: it is for takeOver then
   */
  constructor(
    capacity: number,
    keys: readonly [number, number],
    nowTick: number,
    memory: MemoryPart = ownMemory(ConnectionTable.bytesFor(capacity)),
  ) {
    const bytes = ConnectionTable.bytesFor(capacity);
    const { buffer, byteLength } = memory;
    if (byteLength < bytes)
      throw new RangeError(`Connection table needs ${bytes} bytes, the memory has ${byteLength}`);
    this.capacity = capacity;
    this.#memory = memory;
    let at = 0;
    const take = (count: number): [ArrayBufferLike, number, number] => {
      const place = memory.at + at;
      at += count * 4;
      return [buffer, place, count];
    };
    this.#header = new Int32Array(...take(HEADER_WORDS));
    this.#wheel = new Int32Array(...take(SLOT_COUNT));
    this.sourceWords = new Int32Array(...take(SOURCE_NUMBERS * 4));
    this.sourceFamilies = new Uint8Array(buffer, take(SOURCE_FAMILY_WORDS)[1], SOURCE_NUMBERS);
    this.#recordsAt = at;
    for (const [from, byteCount] of ConnectionTable.initialParts(capacity))
      if (!memory.reserve(from, byteCount))
        throw new RangeError("Connection table: no memory for its buckets");
    this.#records = new Int32Array(...take(capacity * RECORD_WORDS));
    const bucketCount = bucketsFor(capacity);
    this.#buckets = new Int32Array(...take(bucketCount));
    this.#bucketMask = bucketCount - 1;
    this.#hash = new KeyedHash(keys[0], keys[1]);
    this.#cursor = Math.floor(nowTick / SLOT_TICKS);
    this.#header[MAGIC_AT] = MAGIC;
    this.#header[CAPACITY_AT] = capacity;
  }

  /** Bytes a table of this capacity occupies: header, wheel, source addresses, records, buckets. */
  static bytesFor(capacity: number): number {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > CONNECTIONS_MAX)
      throw new RangeError(
        `Cannot make a connection table for ${capacity} connections, expected 1..${CONNECTIONS_MAX}`,
      );
    const fixed = HEADER_WORDS + SLOT_COUNT + SOURCE_NUMBERS * 4 + SOURCE_FAMILY_WORDS;
    return 4 * (fixed + capacity * RECORD_WORDS + bucketsFor(capacity));
  }

  /** The parts that a table of this capacity needs from the beginning: offsets and lengths in bytes. */
  static initialParts(capacity: number): readonly (readonly [at: number, byteCount: number])[] {
    const bucketBytes = bucketsFor(capacity) * 4;
    const total = ConnectionTable.bytesFor(capacity);
    return [
      [0, total - bucketBytes - capacity * RECORD_WORDS * 4],
      [total - bucketBytes, bucketBytes],
    ];
  }

  /**
   * What a table before left in this memory.
   * @returns undefined when it is none, or one of another version; its bounds are possible
   */
  static left({ buffer, at, byteLength }: MemoryPart): { capacity: number; highWater: number } | undefined {
    if (byteLength < HEADER_WORDS * 4) return undefined;
    const header = new Int32Array(buffer, at, HEADER_WORDS);
    const capacity = header[CAPACITY_AT]!;
    const highWater = header[HIGH_WATER_AT]!;
    const isPossible =
      capacity >= 1 && capacity <= CONNECTIONS_MAX && highWater >= 0 && highWater <= capacity;
    return header[MAGIC_AT] === MAGIC && isPossible ? { capacity, highWater } : undefined;
  }

  /**
   * Begin to take over what a table before left: nothing finds or ends its entries until each was restored or discarded.
   * @returns false when the memory for its records is not there any more
   */
  beginTakeOver(): boolean {
    if (!this.#reserve(this.highWater)) return false;
    this.#wheel.fill(0);
    this.#buckets.fill(0);
    this.#header[COUNT_AT] = 0;
    this.#header[FREE_AT] = 0;
    return true;
  }

  /**
   * Let an entry that was left be found again; it has no timer yet, and nothing hangs on it.
   * @returns false, nothing done, when an entry restored before has one of its tuples; expected ones may look alike
   */
  restore(record: number): boolean {
    const at = record * RECORD_WORDS;
    const records = this.#records;
    const isTemplate = this.isTemplate(record);
    if (!isTemplate || !this.hasFlag(record, ConnectionFlag.engine)) {
      if (this.#isTaken(record, 0)) return false;
      this.#link(record * 2, at);
    }
    if (!isTemplate) {
      if (this.#isTaken(record, 1)) {
        this.#unlink(record * 2, at);
        return false;
      }
      this.#link(record * 2 + 1, at);
    }
    this.#header[COUNT_AT]!++;
    records[at + SLOT] = NO_SLOT;
    records[at + CONTROLLED_COUNT] = 0;
    return true;
  }

  /** Is the tuple of one side of an entry, which is not linked yet, another's? */
  #isTaken(record: number, side: number): boolean {
    const at = record * RECORD_WORDS;
    const records = this.#records;
    const key = (records[at + KIND]! >> 8) & 0xff;
    const number = side === 0 ? 0 : this.source(record);
    // biome-ignore format: one tuple
    const node = this.#lookUp(
      key & 0x0f, this.protocol(record), key, records, at + (side === 0 ? CLIENT : DESTINATION),
      side === 0 || number === 0 ? records : this.sourceWords,
      side === 0 ? at + VIRTUAL : number === 0 ? at + CLIENT : number * 4,
      records[at + ORIGINAL_PORTS + side]!,
    );
    if (node < 0) return false;
    return !(
      this.hasFlag(record, ConnectionFlag.expected) && this.hasFlag(node >> 1, ConnectionFlag.expected)
    );
  }

  /**
   * Start the timer of a restored entry where it was; no life is longer than its timeout.
   * @param least - ticks that it has to live at least, as far as its timeout goes
   */
  restoreTimer(record: number, nowTick: number, least: number): void {
    const at = record * RECORD_WORDS;
    const left = Math.min(Math.max(least, this.ticksLeft(record, nowTick)), this.#records[at + TIMEOUT]!);
    this.#records[at + DEADLINE] = (nowTick + left) | 0;
    this.#arm(record, at, Math.floor((nowTick + Math.max(0, left)) / SLOT_TICKS) + 1);
  }

  /** An entry that was left, and is not restored, is none. */
  discard(record: number): void {
    this.#records[record * RECORD_WORDS + KIND] = 0;
  }

  /** All that was left was restored or discarded: the other records are free. */
  endTakeOver(): void {
    const header = this.#header;
    let highWater = this.highWater;
    while (highWater > 0 && !this.isLive(highWater - 1)) highWater--;
    header[HIGH_WATER_AT] = highWater;
    // The lowest are used first.
    let free = 0;
    for (let record = highWater - 1; record >= 0; record--) {
      if (this.isLive(record)) continue;
      this.#records[record * RECORD_WORDS + NEXT] = free;
      free = record + 1;
    }
    header[FREE_AT] = free;
  }

  /** Live entries. */
  get count(): number {
    return this.#header[COUNT_AT]!;
  }

  /** Records ever used; every live entry's number is below it. For a census. */
  get highWater(): number {
    return this.#header[HIGH_WATER_AT]!;
  }

  /**
   * Node whose tuple is this packet's source and destination, or -1. Its lowest bit says which tuple matched:
   * 0 original (a packet to the server), 1 reply (a packet to the client).
   */
  find(flow: Flow): number {
    const { family, protocol, words } = flow;
    const ports = (flow.sourcePort << 16) | flow.destinationPort;
    return this.#lookUp(family, protocol, family, words, 0, words, 4, ports);
  }

  /** Another node with the same tuple, behind this one, or -1: entries that are expected may look alike. */
  findNext(flow: Flow, node: number): number {
    const { family, protocol, words } = flow;
    const ports = (flow.sourcePort << 16) | flow.destinationPort;
    const link = this.#records[(node >> 1) * RECORD_WORDS + NEXT + (node & 1)]!;
    return this.#follow(link, family, protocol | (family << 8), words, 0, words, 4, ports);
  }

  /**
   * Is there an entry, from either side, whose tuple is this? For telling two connections apart on the server side before
   * one is made.
   * @param source - four words from `sourceAt` on; `destination` likewise
   * @param ports - source port << 16 | destination port
   */
  hasTuple(
    family: number,
    protocol: number,
    source: Int32Array,
    sourceAt: number,
    destination: Int32Array,
    destinationAt: number,
    ports: number,
  ): boolean {
    return this.#lookUp(family, protocol, family, source, sourceAt, destination, destinationAt, ports) >= 0;
  }

  /**
   * The template of this client network and virtual address, or -1.
   * @param protocol - 0 for one that serves all protocols
   */
  findTemplate(
    family: number,
    protocol: number,
    client: Int32Array,
    virtual: Int32Array,
    virtualAt: number,
    virtualPort: number,
  ): number {
    const kind = family | TEMPLATE;
    return this.#lookUp(family, protocol, kind, client, 0, virtual, virtualAt, virtualPort) >> 1;
  }

  /**
   * Make an entry for the packet's flow: original tuple from the packet, reply tuple from destination and source. It
   * starts in state 0, without a timer; the caller sets state and timeout and touches it.
   * @param destination - four address words
   * @param source - number of the address the server sees the client at; 0: its own
   * @param sourcePort - port the server sees the client on
   * @param server - number of its destination
   * @param lent - a record that was lent for it; -1: none
   * @returns the record, or -1 when the table is full
   */
  insert(
    flow: Flow,
    destination: Int32Array,
    destinationPort: number,
    source: number,
    sourcePort: number,
    server: number,
    lent = -1,
  ): number {
    const record = lent < 0 ? this.lend() : lent;
    if (record < 0) return -1;
    this.#begin(record, server);
    const { words, family, protocol } = flow;
    this.#write(record, words, words, 4, destination, protocol | (family << 8));
    const at = record * RECORD_WORDS;
    const records = this.#records;
    records[at + ORIGINAL_PORTS] = (flow.sourcePort << 16) | flow.destinationPort;
    records[at + REPLY_PORTS] = (destinationPort << 16) | sourcePort;
    records[at + IN_PACKETS_AND_SOURCE] = source << 16;
    this.#link(record * 2, at);
    this.#link(record * 2 + 1, at);
    return record;
  }

  /**
   * Make a persistence template, likewise without a timer.
   * @param client - four words: the client's network
   * @param isHidden - findTemplate does not find it: a persistence engine does
   * @returns the record, or -1 when the table is full
   */
  insertTemplate(
    family: number,
    protocol: number,
    client: Int32Array,
    virtual: Int32Array,
    virtualAt: number,
    virtualPort: number,
    destination: Int32Array,
    destinationPort: number,
    server: number,
    isHidden: boolean,
  ): number {
    const record = this.lend();
    if (record < 0) return -1;
    this.#begin(record, server);
    const kind = protocol | ((family | TEMPLATE) << 8);
    this.#write(record, client, virtual, virtualAt, destination, kind);
    const at = record * RECORD_WORDS;
    this.#records[at + ORIGINAL_PORTS] = virtualPort;
    this.#records[at + REPLY_PORTS] = destinationPort << 16;
    this.#records[at + IN_PACKETS_AND_SOURCE] = 0;
    if (isHidden) this.setFlag(record, ConnectionFlag.engine, true);
    else this.#link(record * 2, at);
    return record;
  }

  /** Let nothing find this template any more; it runs out. Its ports become 65535, as in IPVS. */
  hideTemplate(record: number): void {
    const at = record * RECORD_WORDS;
    if (!this.hasFlag(record, ConnectionFlag.engine)) this.#unlink(record * 2, at);
    this.setFlag(record, ConnectionFlag.engine, true);
    this.#records[at + ORIGINAL_PORTS] = 0xffff;
    this.#records[at + REPLY_PORTS] = 0xffff << 16;
  }

  /** Take an entry out of buckets and wheel and put its record on the free list. */
  remove(record: number): void {
    const at = record * RECORD_WORDS;
    if (!this.isTemplate(record)) {
      this.#unlink(record * 2, at);
      this.#unlink(record * 2 + 1, at);
    } else if (!this.hasFlag(record, ConnectionFlag.engine)) this.#unlink(record * 2, at);
    const controller = this.#records[at + CONTROLLER]! - 1;
    if (controller >= 0) this.#records[controller * RECORD_WORDS + CONTROLLED_COUNT]!--;
    this.#disarm(at);
    this.#records[at + KIND] = 0;
    this.#header[COUNT_AT]!--;
    this.takeBack(record);
  }

  /** Restart the entry's timer with its current timeout. */
  touch(record: number, nowTick: number): void {
    const at = record * RECORD_WORDS;
    const deadline = nowTick + this.#records[at + TIMEOUT]!;
    this.#records[at + DEADLINE] = deadline | 0;
    const slotTime = Math.floor(deadline / SLOT_TICKS) + 1;
    const slot = this.#records[at + SLOT]!;
    if (slot === NO_SLOT) {
      this.#arm(record, at, slotTime);
      return;
    }
    // How far ahead of the cursor the entry sits: the slot it is in, counted round the wheel.
    const aheadNow = (slot - this.#cursor) & (SLOT_COUNT - 1);
    if (slotTime - this.#cursor < aheadNow) {
      this.#disarm(at);
      this.#arm(record, at, slotTime);
    }
  }

  /** @returns true once the entry's deadline has come. */
  isExpired(record: number, nowTick: number): boolean {
    return ((this.#records[record * RECORD_WORDS + DEADLINE]! - nowTick) | 0) <= 0;
  }

  /** Ticks until the deadline; zero or less when it has passed. */
  ticksLeft(record: number, nowTick: number): number {
    return (this.#records[record * RECORD_WORDS + DEADLINE]! - nowTick) | 0;
  }

  /**
   * The next entry whose deadline has come, out of its wheel slot; the caller removes it or touches it again.
   * @param budget - most entries to look at in this call
   * @returns the record; -1 when none is due; -2 when the budget ran out first
   */
  nextExpired(nowTick: number, budget: number): number {
    const nowSlot = Math.floor(nowTick / SLOT_TICKS);
    // After a long pause one turn of the wheel sees everything.
    if (nowSlot - this.#cursor > SLOT_COUNT) this.#cursor = nowSlot - SLOT_COUNT;
    let left = budget;
    while (this.#cursor <= nowSlot) {
      const link = this.#wheel[this.#cursor & (SLOT_COUNT - 1)]!;
      if (link === 0) {
        this.#cursor++;
        continue;
      }
      if (left-- === 0) return -2;
      this.lookCount++;
      const record = link - 1;
      const at = record * RECORD_WORDS;
      this.#disarm(at);
      if (this.isExpired(record, nowTick)) return record;
      this.#arm(record, at, Math.floor((nowTick + this.ticksLeft(record, nowTick)) / SLOT_TICKS) + 1);
    }
    return -1;
  }

  /** True while the record is a live entry. */
  isLive(record: number): boolean {
    return this.#records[record * RECORD_WORDS + KIND] !== 0;
  }

  protocol(record: number): number {
    return this.#records[record * RECORD_WORDS + KIND]! & 0xff;
  }

  family(record: number): number {
    return (this.#records[record * RECORD_WORDS + KIND]! >> 8) & 0x0f;
  }

  /** Does the byte of its family say that and no more? */
  hasPlainFamily(record: number): boolean {
    return ((this.#records[record * RECORD_WORDS + KIND]! >> 8) & 0xff & ~TEMPLATE & ~0x0f) === 0;
  }

  isTemplate(record: number): boolean {
    return ((this.#records[record * RECORD_WORDS + KIND]! >> 8) & TEMPLATE) !== 0;
  }

  state(record: number): number {
    return (this.#records[record * RECORD_WORDS + KIND]! >> 16) & 0xff;
  }

  setState(record: number, state: number): void {
    const at = record * RECORD_WORDS + KIND;
    this.#records[at] = (this.#records[at]! & ~0xff0000) | (state << 16);
  }

  hasFlag(record: number, flag: number): boolean {
    return ((this.#records[record * RECORD_WORDS + KIND]! >>> 24) & flag) !== 0;
  }

  /** All flags of an entry. */
  flags(record: number): number {
    return this.#records[record * RECORD_WORDS + KIND]! >>> 24;
  }

  setFlag(record: number, flag: number, isSet: boolean): void {
    const at = record * RECORD_WORDS + KIND;
    const bit = flag << 24;
    this.#records[at] = isSet ? this.#records[at]! | bit : this.#records[at]! & ~bit;
  }

  /** Ticks of life a touch gives. */
  setTimeout(record: number, ticks: number): void {
    this.#records[record * RECORD_WORDS + TIMEOUT] = ticks;
  }

  /** Number of the destination. */
  server(record: number): number {
    return this.#records[record * RECORD_WORDS + SERVER]!;
  }

  /** First word of the client address; four words of the whole records array. Likewise the next two. */
  clientAt(record: number): number {
    return record * RECORD_WORDS + CLIENT;
  }

  virtualAt(record: number): number {
    return record * RECORD_WORDS + VIRTUAL;
  }

  destinationAt(record: number): number {
    return record * RECORD_WORDS + DESTINATION;
  }

  /** All records, for reading addresses in place. */
  get words(): Int32Array {
    return this.#records;
  }

  clientPort(record: number): number {
    return this.#records[record * RECORD_WORDS + ORIGINAL_PORTS]! >>> 16;
  }

  virtualPort(record: number): number {
    return this.#records[record * RECORD_WORDS + ORIGINAL_PORTS]! & 0xffff;
  }

  destinationPort(record: number): number {
    return this.#records[record * RECORD_WORDS + REPLY_PORTS]! >>> 16;
  }

  /** All ports of an entry are words of its record; of a template: may it have them? */
  hasTemplatePorts(record: number): boolean {
    const at = record * RECORD_WORDS;
    return (
      this.#records[at + ORIGINAL_PORTS]! >>> 16 === 0 && (this.#records[at + REPLY_PORTS]! & 0xffff) === 0
    );
  }

  /** The port the server sees the client on. */
  sourcePort(record: number): number {
    return this.#records[record * RECORD_WORDS + REPLY_PORTS]! & 0xffff;
  }

  /**
   * Ports that were not known when the entry was made; no other entry may have the tuples they make.
   * @param peer - four words from `peerAt` on: the address of who came, where that was not known either
   */
  setPorts(
    record: number,
    clientPort: number,
    virtualPort: number,
    destinationPort: number,
    sourcePort: number,
    peer: Int32Array,
    peerAt: number,
    isPeerClient: boolean,
  ): void {
    const at = record * RECORD_WORDS;
    this.#unlink(record * 2, at);
    this.#unlink(record * 2 + 1, at);
    for (let i = 0; i < 4; i++) {
      const word = peer[peerAt + i]!;
      if (isPeerClient) this.#records[at + CLIENT + i] = word;
      else this.#records[at + VIRTUAL + i] = this.#records[at + DESTINATION + i] = word;
    }
    this.#records[at + ORIGINAL_PORTS] = (clientPort << 16) | virtualPort;
    this.#records[at + REPLY_PORTS] = (destinationPort << 16) | sourcePort;
    this.#link(record * 2, at);
    this.#link(record * 2 + 1, at);
  }

  /** Number of the address the server sees the client at; 0: the client's own. */
  source(record: number): number {
    return this.#records[record * RECORD_WORDS + IN_PACKETS_AND_SOURCE]! >>> 16;
  }

  /** Count a packet from the client. @returns how many there were, IN_PACKETS_MAX at most */
  countInPacket(record: number): number {
    const at = record * RECORD_WORDS + IN_PACKETS_AND_SOURCE;
    const count = this.#records[at]! & IN_PACKETS_MAX;
    if (count === IN_PACKETS_MAX) return count;
    this.#records[at]!++;
    return count + 1;
  }

  inPackets(record: number): number {
    return this.#records[record * RECORD_WORDS + IN_PACKETS_AND_SOURCE]! & IN_PACKETS_MAX;
  }

  /** @param count - 0..65535 */
  setInPackets(record: number, count: number): void {
    const at = record * RECORD_WORDS + IN_PACKETS_AND_SOURCE;
    this.#records[at] = (this.#records[at]! & ~IN_PACKETS_MAX) | count;
  }

  /** Tells the entries apart that a record holds one after the other: 1 for its first, and one more each time. */
  generation(record: number): number {
    return this.#records[record * RECORD_WORDS + GENERATION]!;
  }

  /** Ticks of life a touch gives. */
  timeout(record: number): number {
    return this.#records[record * RECORD_WORDS + TIMEOUT]!;
  }

  /** The template or other entry that this one hangs on and keeps alive; -1: none. */
  controller(record: number): number {
    return this.#records[record * RECORD_WORDS + CONTROLLER]! - 1;
  }

  setController(record: number, controller: number): void {
    this.#records[record * RECORD_WORDS + CONTROLLER] = controller + 1;
    this.#records[controller * RECORD_WORDS + CONTROLLED_COUNT]!++;
  }

  /** Let an entry that is being taken over hang on none; nobody has counted it yet. */
  clearController(record: number): void {
    this.#records[record * RECORD_WORDS + CONTROLLER] = 0;
  }

  /** Entries that hang on this one. While there are any it may not be removed. */
  controlledCount(record: number): number {
    return this.#records[record * RECORD_WORDS + CONTROLLED_COUNT]!;
  }

  /** First sequence number of the client's stream. */
  sequence(record: number): number {
    return this.#records[record * RECORD_WORDS + SEQUENCE]!;
  }

  setSequence(record: number, word: number): void {
    this.#records[record * RECORD_WORDS + SEQUENCE] = word;
  }

  /** A free record that nobody else gets, for an entry to come, with its generation; -1 when the table is full. */
  lend(): number {
    const header = this.#header;
    const records = this.#records;
    let record = header[FREE_AT]! - 1;
    if (record >= 0) header[FREE_AT] = records[record * RECORD_WORDS + NEXT]!;
    else {
      const next = header[HIGH_WATER_AT]!;
      if (next === this.capacity || (next >= this.#reserved && !this.#reserve(next + 1)))
        return this.onFull?.() === true ? this.lend() : -1;
      header[HIGH_WATER_AT] = next + 1;
      record = next;
    }
    records[record * RECORD_WORDS + GENERATION]!++;
    return record;
  }

  /** A record that was lent, and not used. */
  takeBack(record: number): void {
    this.#records[record * RECORD_WORDS + NEXT] = this.#header[FREE_AT]!;
    this.#header[FREE_AT] = record + 1;
  }

  /** Count a record as used. */
  #begin(record: number, server: number): void {
    this.#header[COUNT_AT]!++;
    const records = this.#records;
    const at = record * RECORD_WORDS;
    records[at + DEADLINE] = 0;
    records[at + TIMEOUT] = 0;
    records[at + SLOT] = NO_SLOT;
    records[at + SERVER] = server;
    records[at + CONTROLLER] = 0;
    records[at + CONTROLLED_COUNT] = 0;
    records[at + SEQUENCE] = 0;
  }

  /** See to it that there is memory for this many records, and for some more. */
  #reserve(count: number): boolean {
    if (count <= this.#reserved) return true;
    const wanted = Math.min(this.capacity, Math.ceil(count / RECORDS_RESERVED) * RECORDS_RESERVED);
    const bytes = RECORD_WORDS * 4;
    const at = this.#recordsAt + this.#reserved * bytes;
    if (!this.#memory.reserve(at, (wanted - this.#reserved) * bytes)) return false;
    this.#reserved = wanted;
    return true;
  }

  #write(
    record: number,
    client: Int32Array,
    virtual: Int32Array,
    virtualAt: number,
    destination: Int32Array,
    kind: number,
  ): void {
    const records = this.#records;
    const at = record * RECORD_WORDS;
    for (let i = 0; i < 4; i++) {
      records[at + CLIENT + i] = client[i]!;
      records[at + VIRTUAL + i] = virtual[virtualAt + i]!;
      records[at + DESTINATION + i] = destination[i]!;
    }
    records[at + KIND] = kind;
  }

  /** @param kind - family as in the entry's kind word */
  #lookUp(
    family: number,
    protocol: number,
    kind: number,
    source: Int32Array,
    sourceAt: number,
    destination: Int32Array,
    destinationAt: number,
    ports: number,
  ): number {
    const hash = this.#hashTuple(family, protocol, source, sourceAt, destination, destinationAt, ports);
    const link = this.#buckets[hash & this.#bucketMask]!;
    const key = protocol | (kind << 8);
    return this.#follow(link, family, key, source, sourceAt, destination, destinationAt, ports);
  }

  /** Look along a chain. @param first - its first node + 1, or 0 @param key - protocol and kind, as in the kind word */
  #follow(
    first: number,
    family: number,
    key: number,
    source: Int32Array,
    sourceAt: number,
    destination: Int32Array,
    destinationAt: number,
    ports: number,
  ): number {
    const records = this.#records;
    let link = first;
    while (link !== 0) {
      const node = link - 1;
      const side = node & 1;
      const at = (node >> 1) * RECORD_WORDS;
      if (
        records[at + ORIGINAL_PORTS + side] === ports &&
        (records[at + KIND]! & 0xffff) === key &&
        this.#isTuple(at, side, source, sourceAt, destination, destinationAt, family)
      )
        return node;
      link = records[at + NEXT + side]!;
    }
    return -1;
  }

  #isTuple(
    at: number,
    side: number,
    source: Int32Array,
    sourceAt: number,
    destination: Int32Array,
    destinationAt: number,
    family: number,
  ): boolean {
    const records = this.#records;
    if (side === 0)
      return (
        sameWords(records, at + CLIENT, source, sourceAt, family) &&
        sameWords(records, at + VIRTUAL, destination, destinationAt, family)
      );
    if (!sameWords(records, at + DESTINATION, source, sourceAt, family)) return false;
    const number = records[at + IN_PACKETS_AND_SOURCE]! >>> 16;
    if (number === 0) return sameWords(records, at + CLIENT, destination, destinationAt, family);
    return sameWords(this.sourceWords, number * 4, destination, destinationAt, family);
  }

  #hashTuple(
    family: number,
    protocol: number,
    source: Int32Array,
    sourceAt: number,
    destination: Int32Array,
    destinationAt: number,
    ports: number,
  ): number {
    const hash = this.#hash;
    hash.start();
    hash.add(source[sourceAt]!);
    hash.add(destination[destinationAt]!);
    if (family === 6) {
      for (let i = 1; i < 4; i++) {
        hash.add(source[sourceAt + i]!);
        hash.add(destination[destinationAt + i]!);
      }
    }
    hash.add(ports);
    hash.add(protocol);
    return hash.finish();
  }

  #hashNode(node: number, at: number): number {
    const records = this.#records;
    const family = (records[at + KIND]! >> 8) & 0x0f;
    const protocol = records[at + KIND]! & 0xff;
    const ports = records[at + ORIGINAL_PORTS + (node & 1)]!;
    if ((node & 1) === 0)
      return this.#hashTuple(family, protocol, records, at + CLIENT, records, at + VIRTUAL, ports);
    const number = records[at + IN_PACKETS_AND_SOURCE]! >>> 16;
    if (number === 0)
      return this.#hashTuple(family, protocol, records, at + DESTINATION, records, at + CLIENT, ports);
    return this.#hashTuple(family, protocol, records, at + DESTINATION, this.sourceWords, number * 4, ports);
  }

  #link(node: number, at: number): void {
    const bucket = this.#hashNode(node, at) & this.#bucketMask;
    this.#records[at + NEXT + (node & 1)] = this.#buckets[bucket]!;
    this.#buckets[bucket] = node + 1;
  }

  #unlink(node: number, at: number): void {
    const records = this.#records;
    const after = records[at + NEXT + (node & 1)]!;
    const bucket = this.#hashNode(node, at) & this.#bucketMask;
    let link = this.#buckets[bucket]!;
    if (link === node + 1) {
      this.#buckets[bucket] = after;
      return;
    }
    while (link !== 0) {
      const linkAt = ((link - 1) >> 1) * RECORD_WORDS + NEXT + ((link - 1) & 1);
      link = records[linkAt]!;
      if (link === node + 1) {
        records[linkAt] = after;
        return;
      }
    }
  }

  #arm(record: number, at: number, slotTime: number): void {
    const records = this.#records;
    const furthest = this.#cursor + SLOT_COUNT - 1;
    const slot = Math.max(this.#cursor, Math.min(slotTime, furthest)) & (SLOT_COUNT - 1);
    const head = this.#wheel[slot]!;
    records[at + SLOT] = slot;
    records[at + WHEEL_PREVIOUS] = 0;
    records[at + WHEEL_NEXT] = head;
    if (head !== 0) records[(head - 1) * RECORD_WORDS + WHEEL_PREVIOUS] = record + 1;
    this.#wheel[slot] = record + 1;
  }

  #disarm(at: number): void {
    const records = this.#records;
    const slot = records[at + SLOT]!;
    if (slot === NO_SLOT) return;
    const previous = records[at + WHEEL_PREVIOUS]!;
    const next = records[at + WHEEL_NEXT]!;
    if (previous === 0) this.#wheel[slot] = next;
    else records[(previous - 1) * RECORD_WORDS + WHEEL_NEXT] = next;
    if (next !== 0) records[(next - 1) * RECORD_WORDS + WHEEL_PREVIOUS] = previous;
    records[at + SLOT] = NO_SLOT;
  }
}

/** At least two buckets a connection, a power of two. */
const bucketsFor = (capacity: number): number => 2 ** Math.ceil(Math.log2(Math.max(2, 2 * capacity)));

const SOURCE_FAMILY_WORDS = Math.ceil(SOURCE_NUMBERS / 4);

/** As isSameAddress, and for IPv4 done after one word: this is asked for every packet. */
function sameWords(a: Int32Array, aAt: number, b: Int32Array, bAt: number, family: number): boolean {
  if (a[aAt] !== b[bAt]) return false;
  if (family === 4) return true;
  return a[aAt + 1] === b[bAt + 1] && a[aAt + 2] === b[bAt + 2] && a[aAt + 3] === b[bAt + 3];
}
