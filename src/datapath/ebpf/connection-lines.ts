/**
 * The connections' lines in the map, as this process reads and writes them: one cache line a record, shared with the
 * program in the kernel. Times are CLOCK_MONOTONIC there and ticks of the director's clock here.
 */
import { TICK_MS } from "../../nat/connection-table.ts";
import { Connection } from "./maps/layout.ts";

const WORDS = Connection.bytes / 4;
const DOUBLE_WORDS = Connection.bytes / 8;
const TICK_NS = TICK_MS * 1e6;

const GENERATION = Connection.at.generation / 4;
const STATE = Connection.at.state / 4;
const SEEN = Connection.at.lastSeen / 4;
const IN_PACKETS = Connection.at.inPackets / 4;
const ENTERED_SEEN = Connection.at.enteredSeen / 4;
const ENTERED_STATE = Connection.at.enteredState / 4;
const ENTERED_PACKETS = Connection.at.enteredPackets / 4;
const EPOCH = Connection.at.epoch / 4;

export class ConnectionLines {
  readonly #words: Int32Array;
  readonly #doubleWords: BigUint64Array;
  /** What the kernel's clock shows at the director's zero, nanoseconds. */
  originNs: number;

  constructor(memory: ArrayBuffer, originNs: number) {
    this.#words = new Int32Array(memory);
    this.#doubleWords = new BigUint64Array(memory);
    this.originNs = originNs;
  }

  /** 0: there is none in this line. */
  generation(record: number): number {
    return this.#words[record * WORDS + GENERATION]!;
  }

  epoch(record: number): number {
    return this.#words[record * WORDS + EPOCH]!;
  }

  /** Begin a line, or go on with one of the same generation. @param inPackets - from the client so far */
  begin(record: number, generation: number, epoch: number, inPackets: number): void {
    const at = record * WORDS;
    if (this.#words[at + GENERATION] !== generation) {
      this.#words.fill(0, at, at + WORDS);
      this.#words[at + IN_PACKETS] = this.#words[at + ENTERED_PACKETS] = inPackets;
    }
    this.#words[at + EPOCH] = epoch;
    Atomics.store(this.#words, at + GENERATION, generation);
  }

  end(record: number): void {
    Atomics.store(this.#words, record * WORDS + GENERATION, 0);
  }

  state(record: number): number {
    return Atomics.load(this.#words, record * WORDS + STATE);
  }

  /** This is how it stands, and nothing about it is news. */
  tell(record: number, state: number, nowTick: number): void {
    const at = record * WORDS;
    this.#doubleWords[record * DOUBLE_WORDS] = BigInt(Math.floor(nowTick * TICK_NS + this.originNs));
    Atomics.store(this.#words, at + STATE, state);
    this.#words[at + ENTERED_SEEN] = this.#words[at + SEEN]!;
    this.#words[at + ENTERED_STATE] = state;
  }

  hasNews(record: number): boolean {
    const words = this.#words;
    const at = record * WORDS;
    return (
      words[at + SEEN] !== words[at + ENTERED_SEEN] ||
      words[at + STATE] !== words[at + ENTERED_STATE] ||
      words[at + IN_PACKETS] !== words[at + ENTERED_PACKETS]
    );
  }

  /** When the last packet came; from then on it is no news. The state goes with it: ask for that first. */
  takeSeenTick(record: number): number {
    const at = record * WORDS;
    this.#words[at + ENTERED_SEEN] = this.#words[at + SEEN]!;
    return Math.floor((Number(this.#doubleWords[record * DOUBLE_WORDS]) - this.originNs) / TICK_NS);
  }

  takeState(record: number): number {
    const state = this.state(record);
    this.#words[record * WORDS + ENTERED_STATE] = state;
    return state;
  }

  /**
   * Packets from the client since this was last asked.
   * @param until - only of the first so many of the connection, modulo 2^32; default: all
   */
  takeInPackets(record: number, until: number = this.#words[record * WORDS + IN_PACKETS]!): number {
    const at = record * WORDS;
    const taken = (until - this.#words[at + ENTERED_PACKETS]!) | 0;
    if (taken <= 0) return 0;
    this.#words[at + ENTERED_PACKETS] = until | 0;
    return taken;
  }

  /** Packets and bytes each way since it was cached. */
  counts(record: number): { inPackets: number; inBytes: number; outPackets: number; outBytes: number } {
    const count = (place: number): number => Number(this.#doubleWords[record * DOUBLE_WORDS + place / 8]);
    const { inPackets, inBytes, outPackets, outBytes } = Connection.at;
    return {
      inPackets: count(inPackets),
      inBytes: count(inBytes),
      outPackets: count(outPackets),
      outBytes: count(outBytes),
    };
  }
}
