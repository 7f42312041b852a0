/**
 * What the process that takes over must know of a connection that an application module reads: up to where both streams were
 * read, acknowledged and passed on, by how much numbers are shifted from there on, and what the module remembered there. Noted
 * only where nothing is under way, so that whatever comes again behind it is read again, and changed as it was before.
 *
 * One place a dialogue: 0 record + 1, 1 its generation, 2 hash of the module's name, 3 sides that are known (1 to the server, 2
 * to the client), 4-5 edge and shift to the server, 6-7 to the client, 8 the module's memory, and its words from 9 on.
 */
import type { MemoryPart } from "./memory-part.ts";

/** Dialogues with a place; those of others go on unread. */
export const MARKS_MAX = 65_536;
/** Words of its own that a module may have kept. */
export const MARK_MODULE_WORDS = 32;
const MODULE_AT = 2;
const SIDES_AT = 3;
const STREAMS_AT = 4;
const MEMORY_AT = 8;
const PLACE_WORDS = 9 + MARK_MODULE_WORDS;

/** Numbers of a stream: as its sender counts. */
export interface StreamMark {
  /** Of the first byte that is still to be read. */
  readonly edge: number;
  /** By how much the receiver counts higher. */
  readonly shift: number;
}

export interface DialogueMark {
  /** hashOfText of the module's name. */
  readonly module: number;
  /** Undefined: nothing is known of the stream yet. */
  readonly toServer: StreamMark | undefined;
  readonly toClient: StreamMark | undefined;
  readonly memory: number;
  readonly words: Int32Array;
}

export class DialogueMarks {
  readonly #memory: MemoryPart;
  readonly #words: Int32Array;

  constructor(memory: MemoryPart) {
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer, memory.at, MARKS_MAX * PLACE_WORDS);
  }

  static readonly bytes = MARKS_MAX * PLACE_WORDS * 4;

  /** A connection has a module from now on. @returns false when there is no place */
  begin(number: number, record: number, generation: number, module: number): boolean {
    const bytes = PLACE_WORDS * 4;
    if (number >= MARKS_MAX || !this.#memory.reserve(number * bytes, bytes)) return false;
    const at = number * PLACE_WORDS;
    this.#words[at] = 0;
    this.#words.fill(0, at + SIDES_AT, at + PLACE_WORDS);
    this.#words[at + 1] = generation;
    this.#words[at + MODULE_AT] = module;
    this.#words[at] = record + 1;
    return true;
  }

  /** Nothing of a stream is under way. @param side - 0 to the server, 1 to the client */
  noteStream(number: number, side: 0 | 1, edge: number, shift: number): void {
    const at = number * PLACE_WORDS;
    this.#words[at + STREAMS_AT + 2 * side] = edge;
    this.#words[at + STREAMS_AT + 2 * side + 1] = shift;
    this.#words[at + SIDES_AT]! |= 1 << side;
  }

  /** What the module remembers while nothing is under way on either side. @param words - MARK_MODULE_WORDS at most */
  noteMemory(number: number, memory: number, words: Int32Array): void {
    const at = number * PLACE_WORDS + MEMORY_AT;
    this.#words[at] = memory;
    for (let i = 0; i < words.length; i++) this.#words[at + 1 + i] = words[i]!;
  }

  end(number: number): void {
    if (number < MARKS_MAX && this.#memory.reserve(number * PLACE_WORDS * 4, 4))
      this.#words[number * PLACE_WORDS] = 0;
  }

  /** @returns what was noted of this entry's dialogue; undefined: nothing */
  read(number: number, record: number, generation: number): DialogueMark | undefined {
    if (number < 0 || number >= MARKS_MAX) return undefined;
    const place = this.#words.slice(number * PLACE_WORDS, (number + 1) * PLACE_WORDS);
    if (place[0] !== record + 1 || place[1] !== generation) return undefined;
    const stream = (side: 0 | 1): StreamMark | undefined =>
      (place[SIDES_AT]! & (1 << side)) === 0
        ? undefined
        : { edge: place[STREAMS_AT + 2 * side]!, shift: place[STREAMS_AT + 2 * side + 1]! };
    return {
      module: place[MODULE_AT]!,
      toServer: stream(0),
      toClient: stream(1),
      memory: place[MEMORY_AT]!,
      words: place.subarray(MEMORY_AT + 1),
    };
  }
}

/** Do sender and receiver count differently? */
export const isShifted = ({ toServer, toClient }: DialogueMark): boolean =>
  (toServer?.shift ?? 0) !== 0 || (toClient?.shift ?? 0) !== 0;
