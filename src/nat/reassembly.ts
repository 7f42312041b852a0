/**
 * Reassembly of IPv4 and IPv6 fragments (RFC 791 section 3.2, RFC 8200 section 4.5, RFC 5722), so that the director
 * itself only ever sees whole packets, as IPVS does. Fragments may come in any order.
 *
 * Memory is one block store of fixed size. When it is full, or there are too many datagrams, the oldest unfinished
 * datagram is given up: an attacker's fragments then push out each other as well, and a datagram that is completed
 * quickly gets through. Every datagram waits the same time, so the list in order of arrival is also in order of expiry.
 *
 * Left out: ICMP "fragment reassembly time exceeded"; fragments whose unfragmentable part exceeds HEADER_BYTES_MAX.
 */
import type { KeyedHash } from "../base/keyed-hash.ts";
import { finish, sum } from "../wire/checksum.ts";
import type { Flow } from "../wire/flow.ts";
import { IPV6_HEADER_BYTES } from "../wire/ipv6.ts";
import { HEADROOM_BYTES, type Packet } from "../wire/packet.ts";

const BLOCK_BYTES = 2048;
/** Room for the IP header of a datagram's first fragment, with options or extension headers. */
const HEADER_BYTES_MAX = 256;
/** Fragments one datagram may come in: 64 KiB at an MTU of 576 makes 119. */
const FRAGMENTS_MAX = 128;
const DATAGRAM_BYTES_MAX = 65_535;
const FRAGMENT_HEADER_BYTES = 8;

// Words of a datagram's record.
const KEY = 0; // 4 source, 4 destination, identification, protocol (IPv4 only) | family << 8
const KEY_WORDS = 10;
const FIRST_FRAGMENT = 10; // block + 1 of the fragment with the lowest offset
const RECEIVED = 11; // payload bytes here so far
const TOTAL = 12; // payload bytes of the whole datagram, -1 until the last fragment came
const HEADER = 13; // bytes of the header kept, 0 until the first fragment came
const LARGEST = 14; // largest fragment, IP header included
const OLDER = 15; // datagram + 1
const NEWER = 16;
const CHAIN = 17; // datagram + 1 in the same bucket, or in the free list
const FRAGMENT_COUNT = 18;
const NEXT_HEADER_OFFSET = 19; // IPv6: offset in the kept header of the octet that named the fragment header
const DEADLINE = 20; // milliseconds, modulo 2^32
const DATAGRAM_WORDS = 21;

// Words of a block's record; all but the first word matter in a fragment's first block only.
const NEXT_BLOCK = 0; // block + 1 of the same fragment, or in the free list
const NEXT_FRAGMENT = 1; // block + 1 of the fragment behind
const OFFSET = 2;
const LENGTH = 3;
const BLOCK_WORDS = 4;

export type FragmentOutcome = "held" | "complete" | "bad-fragment" | "fragments-full";

export class Reassembly {
  readonly #blocks: Uint8Array;
  readonly #blockWords: Int32Array;
  readonly #datagrams: Int32Array;
  readonly #headers: Uint8Array;
  readonly #buckets: Int32Array;
  readonly #hash: KeyedHash;
  #freeBlock: number;
  #freeDatagram: number;
  #oldest = 0;
  #newest = 0;
  /** How long a datagram may wait for its last fragment; takes effect for those that begin from now on. */
  timeoutMs: number;
  /** Datagrams waiting for fragments. */
  waitingCount = 0;
  /** Datagrams given up to make room for newer ones. */
  evictedCount = 0;

  /** @param memoryBytes - payload memory, at least 64 KiB; the bookkeeping adds about a fifth. */
  constructor(memoryBytes: number, timeoutMs: number, hash: KeyedHash) {
    const blockCount = Math.max(32, Math.floor(memoryBytes / BLOCK_BYTES));
    const datagramCount = Math.max(16, blockCount >> 1);
    this.#blocks = new Uint8Array(blockCount * BLOCK_BYTES);
    this.#blockWords = new Int32Array(blockCount * BLOCK_WORDS);
    this.#datagrams = new Int32Array(datagramCount * DATAGRAM_WORDS);
    this.#headers = new Uint8Array(datagramCount * HEADER_BYTES_MAX);
    this.#buckets = new Int32Array(2 ** Math.ceil(Math.log2(datagramCount)));
    this.#hash = hash;
    this.timeoutMs = timeoutMs;
    for (let i = 0; i < blockCount; i++) this.#blockWords[i * BLOCK_WORDS] = i + 2 > blockCount ? 0 : i + 2;
    for (let i = 0; i < datagramCount; i++)
      this.#datagrams[i * DATAGRAM_WORDS + CHAIN] = i + 2 > datagramCount ? 0 : i + 2;
    this.#freeBlock = 1;
    this.#freeDatagram = 1;
  }

  /**
   * Take a fragment. When it completes its datagram, `packet` becomes the whole packet (headers repaired, fragment
   * header removed, `fragmentBytesMax` set) and must be dissected again; otherwise `packet` is done with.
   */
  accept(packet: Packet, flow: Flow, nowMs: number): FragmentOutcome {
    const payloadAt = fragmentPayloadAt(flow);
    const length = flow.transportAt + flow.transportBytes - payloadAt;
    const end = flow.fragmentOffset + length;
    if (length <= 0 || end > DATAGRAM_BYTES_MAX || (flow.hasMoreFragments && length % 8 !== 0))
      return "bad-fragment";
    if (flow.fragmentOffset === 0 && !flow.hasMoreFragments) return this.#atomic(packet, flow);
    let datagram = this.#find(flow);
    if (datagram < 0) {
      datagram = this.#create(flow, nowMs);
      if (datagram < 0) return "fragments-full";
    }
    const at = datagram * DATAGRAM_WORDS;
    const refusal = this.#insert(datagram, packet, flow, payloadAt, length);
    if (refusal !== undefined) {
      this.#discard(datagram);
      return refusal;
    }
    if (this.#datagrams[at + TOTAL] !== this.#datagrams[at + RECEIVED] || this.#datagrams[at + HEADER] === 0)
      return "held";
    // Header and data together must fit into the 16 bits of the total length (IPv6: of the payload length).
    const uncountedBytes = flow.family === 6 ? IPV6_HEADER_BYTES + FRAGMENT_HEADER_BYTES : 0;
    const bytes = this.#datagrams[at + HEADER]! + this.#datagrams[at + TOTAL]! - uncountedBytes;
    if (bytes <= DATAGRAM_BYTES_MAX) this.#assemble(datagram, packet, flow.family);
    this.#discard(datagram);
    return bytes <= DATAGRAM_BYTES_MAX ? "complete" : "bad-fragment";
  }

  /** Give up datagrams whose time is over. @returns how many */
  advance(nowMs: number): number {
    let count = 0;
    while (this.#oldest !== 0) {
      const datagram = this.#oldest - 1;
      if (((this.#datagrams[datagram * DATAGRAM_WORDS + DEADLINE]! - nowMs) | 0) > 0) break;
      count++;
      this.#discard(datagram);
    }
    return count;
  }

  /** An IPv6 "atomic" fragment is a whole packet with a superfluous header (RFC 6946): only the header goes. */
  #atomic(packet: Packet, flow: Flow): FragmentOutcome {
    if (flow.family === 4) return "bad-fragment"; // cannot be: such a header says "no fragment"
    removeFragmentHeader(packet, flow.fragmentHeaderAt, flow.nextHeaderAt);
    return "complete";
  }

  #find(flow: Flow): number {
    const key = keyOf(flow);
    let link = this.#buckets[this.#bucket(flow.words, 0, flow.identification)]!;
    while (link !== 0) {
      const at = (link - 1) * DATAGRAM_WORDS;
      if (this.#datagrams[at + 8] === flow.identification && this.#datagrams[at + 9] === key) {
        let i = 0;
        while (i < 8 && this.#datagrams[at + i] === flow.words[i]) i++;
        if (i === 8) return link - 1;
      }
      link = this.#datagrams[at + CHAIN]!;
    }
    return -1;
  }

  #bucket(words: Int32Array, at: number, identification: number): number {
    const hash = this.#hash;
    hash.start();
    for (let i = 0; i < 8; i++) hash.add(words[at + i]!);
    hash.add(identification);
    return hash.finish() & (this.#buckets.length - 1);
  }

  #create(flow: Flow, nowMs: number): number {
    if (this.#freeDatagram === 0) this.#evict();
    if (this.#freeDatagram === 0) return -1;
    const datagram = this.#freeDatagram - 1;
    const words = this.#datagrams;
    const at = datagram * DATAGRAM_WORDS;
    this.#freeDatagram = words[at + CHAIN]!;
    words.set(flow.words, at + KEY);
    words[at + 8] = flow.identification;
    words[at + 9] = keyOf(flow);
    words.fill(0, at + KEY_WORDS, at + DATAGRAM_WORDS);
    words[at + TOTAL] = -1;
    words[at + DEADLINE] = (nowMs + this.timeoutMs) | 0;
    const bucket = this.#bucket(flow.words, 0, flow.identification);
    words[at + CHAIN] = this.#buckets[bucket]!;
    this.#buckets[bucket] = datagram + 1;
    words[at + OLDER] = this.#newest;
    if (this.#newest === 0) this.#oldest = datagram + 1;
    else words[(this.#newest - 1) * DATAGRAM_WORDS + NEWER] = datagram + 1;
    this.#newest = datagram + 1;
    this.waitingCount++;
    return datagram;
  }

  #evict(): void {
    if (this.#oldest === 0) return;
    this.evictedCount++;
    this.#discard(this.#oldest - 1);
  }

  /** @returns why the datagram must be discarded: the fragment contradicts what is here, or there is no room. */
  #insert(
    datagram: number,
    packet: Packet,
    flow: Flow,
    payloadAt: number,
    length: number,
  ): "bad-fragment" | "fragments-full" | undefined {
    const words = this.#datagrams;
    const at = datagram * DATAGRAM_WORDS;
    const offset = flow.fragmentOffset;
    const end = offset + length;
    const total = words[at + TOTAL]!;
    if (total >= 0 && (end > total || (!flow.hasMoreFragments && end !== total))) return "bad-fragment";
    if (words[at + FRAGMENT_COUNT]! >= FRAGMENTS_MAX) return "bad-fragment";
    // Find the neighbours in order of offset.
    let before = 0;
    let link = words[at + FIRST_FRAGMENT]!;
    while (link !== 0) {
      const blockAt = (link - 1) * BLOCK_WORDS;
      const itsOffset = this.#blockWords[blockAt + OFFSET]!;
      const itsEnd = itsOffset + this.#blockWords[blockAt + LENGTH]!;
      if (itsOffset === offset && itsEnd === end) return undefined; // an exact repetition is harmless
      // Overlap: RFC 5722 discards everything, and so does Linux for IPv4.
      if (itsOffset < end && offset < itsEnd) return "bad-fragment";
      if (itsOffset > offset) break;
      before = link;
      link = this.#blockWords[blockAt + NEXT_FRAGMENT]!;
    }
    if (!flow.hasMoreFragments) {
      if (link !== 0) return "bad-fragment";
      words[at + TOTAL] = end;
    }
    if (offset === 0 && !this.#keepHeader(datagram, packet, payloadAt - packet.at, flow))
      return "bad-fragment";
    const first = this.#store(datagram, packet, payloadAt, length);
    if (first === 0) return "fragments-full";
    const blockAt = (first - 1) * BLOCK_WORDS;
    this.#blockWords[blockAt + OFFSET] = offset;
    this.#blockWords[blockAt + LENGTH] = length;
    this.#blockWords[blockAt + NEXT_FRAGMENT] = link;
    if (before === 0) words[at + FIRST_FRAGMENT] = first;
    else this.#blockWords[(before - 1) * BLOCK_WORDS + NEXT_FRAGMENT] = first;
    words[at + RECEIVED]! += length;
    words[at + FRAGMENT_COUNT]!++;
    if (packet.length > words[at + LARGEST]!) words[at + LARGEST] = packet.length;
    return undefined;
  }

  #keepHeader(datagram: number, packet: Packet, bytes: number, flow: Flow): boolean {
    if (bytes > HEADER_BYTES_MAX) return false;
    const from = datagram * HEADER_BYTES_MAX;
    const { bytes: source, at } = packet;
    for (let i = 0; i < bytes; i++) this.#headers[from + i] = source[at + i]!;
    this.#datagrams[datagram * DATAGRAM_WORDS + HEADER] = bytes;
    this.#datagrams[datagram * DATAGRAM_WORDS + NEXT_HEADER_OFFSET] = flow.nextHeaderAt - at;
    return true;
  }

  /** Copy a payload into blocks. @returns the first block + 1; 0 when memory is too small for this datagram alone. */
  #store(datagram: number, packet: Packet, from: number, length: number): number {
    let first = 0;
    let last = 0;
    for (let done = 0; done < length; done += BLOCK_BYTES) {
      while (this.#freeBlock === 0) {
        if (this.#oldest === 0 || this.#oldest - 1 === datagram) {
          this.#freeBlocks(first);
          return 0;
        }
        this.#evict();
      }
      const block = this.#freeBlock;
      const blockAt = (block - 1) * BLOCK_WORDS;
      this.#freeBlock = this.#blockWords[blockAt + NEXT_BLOCK]!;
      this.#blockWords[blockAt + NEXT_BLOCK] = 0;
      if (first === 0) first = block;
      else this.#blockWords[(last - 1) * BLOCK_WORDS + NEXT_BLOCK] = block;
      last = block;
      const bytes = Math.min(BLOCK_BYTES, length - done);
      const to = (block - 1) * BLOCK_BYTES;
      for (let i = 0; i < bytes; i++) this.#blocks[to + i] = packet.bytes[from + done + i]!;
    }
    return first;
  }

  #freeBlocks(first: number): void {
    let block = first;
    while (block !== 0) {
      const at = (block - 1) * BLOCK_WORDS;
      const next = this.#blockWords[at + NEXT_BLOCK]!;
      this.#blockWords[at + NEXT_BLOCK] = this.#freeBlock;
      this.#freeBlock = block;
      block = next;
    }
  }

  #assemble(datagram: number, packet: Packet, family: 4 | 6): void {
    const at = datagram * DATAGRAM_WORDS;
    const headerBytes = this.#datagrams[at + HEADER]!;
    const { bytes, view } = packet;
    for (let i = 0; i < headerBytes; i++)
      bytes[HEADROOM_BYTES + i] = this.#headers[datagram * HEADER_BYTES_MAX + i]!;
    let to = HEADROOM_BYTES + headerBytes;
    for (let link = this.#datagrams[at + FIRST_FRAGMENT]!; link !== 0; ) {
      const length = this.#blockWords[(link - 1) * BLOCK_WORDS + LENGTH]!;
      let block = link;
      for (let done = 0; done < length; done += BLOCK_BYTES) {
        const from = (block - 1) * BLOCK_BYTES;
        const count = Math.min(BLOCK_BYTES, length - done);
        for (let i = 0; i < count; i++) bytes[to + done + i] = this.#blocks[from + i]!;
        block = this.#blockWords[(block - 1) * BLOCK_WORDS + NEXT_BLOCK]!;
      }
      to += length;
      link = this.#blockWords[(link - 1) * BLOCK_WORDS + NEXT_FRAGMENT]!;
    }
    packet.reset(HEADROOM_BYTES, to - HEADROOM_BYTES);
    if (family === 4) {
      view.setUint16(packet.at + 2, packet.length);
      view.setUint16(packet.at + 6, view.getUint16(packet.at + 6) & 0x4000); // "don't fragment" survives
      view.setUint16(packet.at + 10, 0);
      view.setUint16(packet.at + 10, finish(sum(view, packet.at, headerBytes, 0)));
    } else {
      const nextHeaderAt = packet.at + this.#datagrams[at + NEXT_HEADER_OFFSET]!;
      removeFragmentHeader(packet, packet.at + headerBytes - FRAGMENT_HEADER_BYTES, nextHeaderAt);
    }
    packet.fragmentBytesMax = this.#datagrams[at + LARGEST]!;
    packet.fragmentIdentification = this.#datagrams[at + 8]!;
  }

  #discard(datagram: number): void {
    const words = this.#datagrams;
    const at = datagram * DATAGRAM_WORDS;
    for (let link = words[at + FIRST_FRAGMENT]!; link !== 0; ) {
      const next = this.#blockWords[(link - 1) * BLOCK_WORDS + NEXT_FRAGMENT]!;
      this.#freeBlocks(link);
      link = next;
    }
    const bucket = this.#bucket(words, at + KEY, words[at + 8]!);
    if (this.#buckets[bucket] === datagram + 1) this.#buckets[bucket] = words[at + CHAIN]!;
    else {
      let link = this.#buckets[bucket]!;
      while (words[(link - 1) * DATAGRAM_WORDS + CHAIN] !== datagram + 1)
        link = words[(link - 1) * DATAGRAM_WORDS + CHAIN]!;
      words[(link - 1) * DATAGRAM_WORDS + CHAIN] = words[at + CHAIN]!;
    }
    const older = words[at + OLDER]!;
    const newer = words[at + NEWER]!;
    if (older === 0) this.#oldest = newer;
    else words[(older - 1) * DATAGRAM_WORDS + NEWER] = newer;
    if (newer === 0) this.#newest = older;
    else words[(newer - 1) * DATAGRAM_WORDS + OLDER] = older;
    words[at + CHAIN] = this.#freeDatagram;
    this.#freeDatagram = datagram + 1;
    this.waitingCount--;
  }
}

/** Where the fragment's data begins; in IPv6 that may be an extension header, which `flow` has read on through. */
function fragmentPayloadAt(flow: Flow): number {
  return flow.family === 6 ? flow.fragmentHeaderAt + FRAGMENT_HEADER_BYTES : flow.transportAt;
}

/** Only IPv4 counts the protocol among the things that tell datagrams apart (RFC 791 section 3.2, RFC 8200 section 4.5). */
function keyOf(flow: Flow): number {
  return flow.family === 6 ? 6 << 8 : flow.protocol | (4 << 8);
}

/** Take the 8-byte IPv6 fragment header out of a packet, which then begins 8 bytes later in its buffer. */
function removeFragmentHeader(packet: Packet, fragmentHeaderAt: number, nextHeaderAt: number): void {
  const { bytes, view } = packet;
  bytes[nextHeaderAt] = bytes[fragmentHeaderAt]!;
  for (let i = fragmentHeaderAt - 1; i >= packet.at; i--) bytes[i + 8] = bytes[i]!;
  packet.at += 8;
  packet.length -= 8;
  view.setUint16(packet.at + 4, packet.length - 40);
}
