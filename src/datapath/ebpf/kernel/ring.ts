/**
 * The reading end of a ring buffer (Linux: kernel/bpf/ringbuf.c, Documentation/bpf/ringbuf.rst), without system calls. The
 * kernel's pages: the reader's position, which is ours to write; the writer's; the data, mapped twice in a row, so that
 * no entry is ever cut.
 *
 *  byte 0      4      8
 *     +--------+------+----------------------
 *     | length | page | entry ...              length: bit 31 still being written, bit 30 given up
 *     +--------+------+----------------------
 */
import { mapMemory } from "../../system-call.ts";
import type { BpfMap } from "./bpf.ts";

const PAGE_BYTES = 4096;
const HEADER_BYTES = 8;
const IS_BUSY = 1 << 31;
const IS_DISCARDED = 1 << 30;
const LENGTH_BITS = 0x3fffffff;

export class Ring {
  readonly #reader: BigUint64Array;
  readonly #writer: Int32Array;
  readonly #words: Int32Array;
  readonly #data: DataView;
  readonly #mask: number;
  /** Lower half of the reader's position, which is what the writer's is compared with. */
  #position: number;

  constructor(map: BpfMap) {
    const bytes = map.shape.entriesMax;
    this.#reader = new BigUint64Array(mapMemory(map.descriptor, PAGE_BYTES, 0, true));
    const rest = mapMemory(map.descriptor, PAGE_BYTES + 2 * bytes, PAGE_BYTES, false);
    this.#writer = new Int32Array(rest, 0, 2);
    this.#words = new Int32Array(rest, PAGE_BYTES);
    this.#data = new DataView(rest, PAGE_BYTES);
    this.#mask = bytes - 1;
    this.#position = Number(BigInt.asIntN(32, this.#reader[0]!));
  }

  /** Is there something? One look at memory. */
  get hasNews(): boolean {
    return Atomics.load(this.#writer, 0) !== this.#position;
  }

  /** Hand over everything that is there. @param take - gets the data and where in it an entry begins */
  drain(take: (data: DataView, at: number) => void): void {
    if (!this.hasNews) return;
    const start = this.#position;
    const end = Atomics.load(this.#writer, 0);
    while (this.#position !== end) {
      const at = this.#position & this.#mask;
      const header = Atomics.load(this.#words, at / 4);
      if ((header & IS_BUSY) !== 0) break;
      if ((header & IS_DISCARDED) === 0) take(this.#data, at + HEADER_BYTES);
      this.#position = (this.#position + HEADER_BYTES + aligned(header & LENGTH_BITS)) | 0;
    }
    const read = BigInt((this.#position - start) >>> 0);
    Atomics.store(this.#reader, 0, this.#reader[0]! + read);
  }
}

const aligned = (bytes: number): number => (bytes + 7) & ~7;
