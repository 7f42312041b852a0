/**
 * What lblc and lblcr remember: for each destination address of packets the set of real servers that serve it
 * (ip_vs_lblc.c, ip_vs_lblcr.c; reference 3.7, 3.8). Each set is a list, newest member first.
 *
 * IPVS collects as this does, by the same rule at the same times; but there a cache may grow without bound
 * between two collections, and its buckets can be computed by whoever chooses the addresses. Here it is
 * bounded (when it is full, new addresses are scheduled without being remembered) and the hash has a secret
 * key.
 */
import type { Milliseconds } from "../base/environment.ts";
import { KeyedHash } from "../base/keyed-hash.ts";
import type { SchedulerContext } from "../nat/contracts/scheduler.ts";
import type { Destination } from "../nat/destination.ts";
import type { Flow } from "../wire/flow.ts";

/** Collection begins above this many entries. */
const ENTRIES_WANTED = 16_384;
export const ENTRIES_MAX = 2 * ENTRIES_WANTED;
/** Of all sets together. */
const MEMBERS_MAX = 2 * ENTRIES_MAX;
const BUCKET_COUNT = 16_384;

const MINUTE_MS = 60_000;
const COLLECTION_MS = MINUTE_MS;
/** Every thirtieth collection looks for expired entries instead of too many. */
const COLLECTIONS_PER_FULL = 30;
/** An entry used since is never removed for being one too many. */
const FRESH_MS = 6 * MINUTE_MS;

export const NONE = -1;

export class LocalityCache {
  readonly #hash: KeyedHash;
  readonly #expirationSeconds: () => number;
  readonly #buckets = new Int32Array(BUCKET_COUNT).fill(NONE);
  // Entries. Typed arrays of this size are given memory as they are touched.
  readonly #words = new Int32Array(4 * ENTRIES_MAX);
  /** Next in the bucket, or in the list of free ones. */
  readonly #nextEntry = new Int32Array(ENTRIES_MAX);
  readonly #firstMember = new Int32Array(ENTRIES_MAX);
  readonly #usedAtMs = new Float64Array(ENTRIES_MAX);
  readonly #setChangedAtMs = new Float64Array(ENTRIES_MAX);
  #freeEntry = NONE;
  #entryHighWater = 0;
  #entryCount = 0;
  // Members.
  readonly #destinations: Destination[] = [];
  readonly #nextMember = new Int32Array(MEMBERS_MAX);
  #freeMember = NONE;
  // Collection.
  #collectAtMs: number;
  #collectionCount = 1;
  /** Bucket after which the next collection begins. */
  #rover = 0;

  /** @param expirationSeconds - how long an entry lives unused, as it is set now */
  constructor(
    { randomU32, now }: Pick<SchedulerContext, "randomU32" | "now">,
    expirationSeconds: () => number,
  ) {
    this.#expirationSeconds = expirationSeconds;
    this.#hash = new KeyedHash(randomU32(), randomU32());
    this.#collectAtMs = now() + COLLECTION_MS;
  }

  /** Addresses remembered. */
  get size(): number {
    return this.#entryCount;
  }

  /** The entry of the flow's destination address, which counts as used now; or NONE. */
  use({ words }: Flow, now: Milliseconds): number {
    for (
      let entry = this.#buckets[this.#bucketOf(words, 4)]!;
      entry !== NONE;
      entry = this.#nextEntry[entry]!
    ) {
      const at = entry * 4;
      const known = this.#words;
      if (
        known[at] === words[4] &&
        known[at + 1] === words[5] &&
        known[at + 2] === words[6] &&
        known[at + 3] === words[7]
      ) {
        this.#usedAtMs[entry] = now;
        return entry;
      }
    }
    return NONE;
  }

  /**
   * Remember the flow's destination address, which is not known, with a set of one. Nothing is done when
   * full.
   */
  add({ words }: Flow, destination: Destination, now: Milliseconds): void {
    const isFull = this.#freeEntry === NONE && this.#entryHighWater === ENTRIES_MAX;
    if (isFull || this.#isMembersFull()) return;
    let entry = this.#freeEntry;
    if (entry === NONE) entry = this.#entryHighWater++;
    else this.#freeEntry = this.#nextEntry[entry]!;
    for (let i = 0; i < 4; i++) this.#words[entry * 4 + i] = words[4 + i]!;
    const bucket = this.#bucketOf(words, 4);
    this.#nextEntry[entry] = this.#buckets[bucket]!;
    this.#buckets[bucket] = entry;
    this.#firstMember[entry] = NONE;
    this.#usedAtMs[entry] = now;
    this.#entryCount++;
    this.join(entry, destination, now);
  }

  /** First member of a set, NONE after the last. */
  firstMember(entry: number): number {
    return this.#firstMember[entry]!;
  }

  nextMember(member: number): number {
    return this.#nextMember[member]!;
  }

  destinationOf(member: number): Destination {
    return this.#destinations[member]!;
  }

  /** Put another in the place of a set's first member. */
  replace(entry: number, destination: Destination): void {
    this.#destinations[this.#firstMember[entry]!] = destination;
  }

  /** Make a destination a member, unless it is one or there is no room. */
  join(entry: number, destination: Destination, now: Milliseconds): void {
    const first = this.#firstMember[entry]!;
    for (let member = first; member !== NONE; member = this.#nextMember[member]!)
      if (this.#destinations[member] === destination) return;
    if (this.#isMembersFull()) return;
    let member = this.#freeMember;
    if (member === NONE) {
      member = this.#destinations.length;
      this.#destinations.push(destination);
    } else {
      this.#freeMember = this.#nextMember[member]!;
      this.#destinations[member] = destination;
    }
    this.#nextMember[member] = first;
    this.#firstMember[entry] = member;
    this.#setChangedAtMs[entry] = now;
  }

  /** Take a destination out of a set. */
  leave(entry: number, destination: Destination, now: Milliseconds): void {
    let before = NONE;
    let member = this.#firstMember[entry]!;
    while (member !== NONE && this.#destinations[member] !== destination) {
      before = member;
      member = this.#nextMember[member]!;
    }
    if (member === NONE) return;
    if (before === NONE) this.#firstMember[entry] = this.#nextMember[member]!;
    else this.#nextMember[before] = this.#nextMember[member]!;
    this.#freeMembers(member, member);
    this.#setChangedAtMs[entry] = now;
  }

  /** Whether a set has more than one member and none came or went for as long as an entry may live. */
  isSettled(entry: number, now: Milliseconds): boolean {
    const isShared = this.#nextMember[this.#firstMember[entry]!] !== NONE;
    return isShared && now - this.#setChangedAtMs[entry]! > this.#expirationMs;
  }

  /**
   * A destination that was removed is back, as an object of its own: sets that still name the old one mean
   * it.
   */
  readmit(added: Destination): void {
    const { address, port } = added;
    const members = this.#destinations;
    for (let member = 0; member < members.length; member++) {
      const one = members[member]!;
      if (!one.isAvailable && one.address === address && one.port === port) members[member] = added;
    }
  }

  /** Do the collections that are due. To be called before every use; costs one comparison when none is. */
  collect(now: Milliseconds): void {
    if (now < this.#collectAtMs) return;
    // After a long silence the last half-hour's collections do what all of them would have done.
    const dueCount = Math.floor((now - this.#collectAtMs) / COLLECTION_MS) + 1;
    this.#collectAtMs += Math.max(0, dueCount - COLLECTIONS_PER_FULL) * COLLECTION_MS;
    while (this.#collectAtMs <= now) {
      this.#collectOnce(this.#collectAtMs);
      this.#collectAtMs += COLLECTION_MS;
    }
  }

  #collectOnce(atMs: number): void {
    if (this.#collectionCount % COLLECTIONS_PER_FULL === 0) {
      this.#collectionCount = 1;
      this.#removeUnused(atMs - this.#expirationMs, ENTRIES_MAX);
    } else if (this.#entryCount <= ENTRIES_WANTED) {
      this.#collectionCount++;
    } else {
      const surplus = Math.floor(((this.#entryCount - ENTRIES_WANTED) * 4) / 3);
      this.#removeUnused(atMs - FRESH_MS, Math.min(surplus, ENTRIES_WANTED / 2));
    }
  }

  /**
   * Walk the buckets round from the rover until the goal is reached, to the end of the bucket it is reached
   * in.
   */
  #removeUnused(sinceMs: number, goal: number): void {
    let missing = goal;
    for (let step = 0; step < BUCKET_COUNT && missing > 0; step++) {
      const bucket = (this.#rover = (this.#rover + 1) % BUCKET_COUNT);
      let before = NONE;
      let entry = this.#buckets[bucket]!;
      while (entry !== NONE) {
        const next = this.#nextEntry[entry]!;
        if (this.#usedAtMs[entry]! > sinceMs) {
          before = entry;
        } else {
          if (before === NONE) this.#buckets[bucket] = next;
          else this.#nextEntry[before] = next;
          this.#freeEntryAndSet(entry);
          missing--;
        }
        entry = next;
      }
    }
  }

  #freeEntryAndSet(entry: number): void {
    const first = this.#firstMember[entry]!;
    let last = first;
    while (last !== NONE && this.#nextMember[last] !== NONE) last = this.#nextMember[last]!;
    if (first !== NONE) this.#freeMembers(first, last);
    this.#nextEntry[entry] = this.#freeEntry;
    this.#freeEntry = entry;
    this.#entryCount--;
  }

  /** @param first - of a chain that ends with `last` */
  #freeMembers(first: number, last: number): void {
    // They are named until overwritten, which keeps at most MEMBERS_MAX removed destinations in memory.
    this.#nextMember[last] = this.#freeMember;
    this.#freeMember = first;
  }

  get #expirationMs(): number {
    return this.#expirationSeconds() * 1000;
  }

  #isMembersFull(): boolean {
    return this.#freeMember === NONE && this.#destinations.length === MEMBERS_MAX;
  }

  #bucketOf(words: Int32Array, at: number): number {
    const hash = this.#hash;
    hash.start();
    for (let i = 0; i < 4; i++) hash.add(words[at + i]!);
    return hash.finish() & (BUCKET_COUNT - 1);
  }
}

/**
 * IPVS's rule for leaving a server that has the address cached: it has more active connections than its
 * weight while another has less than half its own.
 */
export function isCrowded(destination: Destination, destinations: readonly Destination[]): boolean {
  if (destination.activeConnections <= destination.weight) return false;
  for (let i = 0; i < destinations.length; i++) {
    const other = destinations[i]!;
    if (other.activeConnections * 2 < other.weight) return true;
  }
  return false;
}
