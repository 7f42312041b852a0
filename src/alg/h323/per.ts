/**
 * A reader of aligned PER (ITU-T X.691) that keeps offsets and no values. A type is a function that moves the reader behind
 * an encoding of it; types of the grammar are put together from the few below. Whatever is not to be read ends the
 * reading: the reader is then lost, moves no more, and what it noted before counts. Lengths in front of a part are
 * believed only inside their surroundings, and a reader that is lost inside the part goes on behind it.
 *
 * Left out, and the end of the reading: lengths of 16384 and more (fragments), more than 64 extensions.
 */
import type { Unit } from "../engine/unit.ts";

/** Move behind an encoding of the type. */
export type PerType = (reader: PerReader) => void;

/** Of one message; more of them are not noted. */
export const NOTES_MAX = 120;
/** Parts inside parts. The grammar has fewer; it must not be the message that decides. */
const DEPTH_MAX = 12;
const FRAGMENT_AT = 0xc0;

export class PerReader {
  /** What was noted: its name in the grammar, and offset in the unit or value. */
  readonly notes: string[] = [];
  readonly values = new Float64Array(NOTES_MAX);
  noteCount = 0;
  isLost = false;
  #unit: Unit | undefined;
  /** Position, and end of the innermost part, in bits of the unit. */
  #at = 0;
  #end = 0;
  #depth = 0;

  /** Read the type from this offset in the unit on. @param end - offset behind what may be read */
  read(type: PerType, unit: Unit, at: number, end: number): void {
    this.#unit = unit;
    this.#at = at * 8;
    this.#end = Math.min(end, unit.length) * 8;
    this.#depth = 0;
    this.noteCount = 0;
    this.isLost = false;
    type(this);
  }

  lose(): void {
    this.isLost = true;
  }

  /** @param count - 0..24. @returns 0 when lost */
  bits(count: number): number {
    if (this.isLost || this.#at + count > this.#end) {
      this.lose();
      return 0;
    }
    let value = 0;
    for (let left = count; left > 0; ) {
      const inByte = 8 - (this.#at & 7);
      const taken = Math.min(left, inByte);
      const byte = this.#unit!.u8(this.#at >> 3);
      value = (value << taken) | ((byte >> (inByte - taken)) & ((1 << taken) - 1));
      this.#at += taken;
      left -= taken;
    }
    return value;
  }

  align(): void {
    this.#at = (this.#at + 7) & ~7;
  }

  skip(bits: number): void {
    if (this.#at + bits > this.#end) this.lose();
    else this.#at += bits;
  }

  /** Position in bits of the unit. */
  get bitAt(): number {
    return this.#at;
  }

  isBitSet(at: number): boolean {
    return ((this.#unit!.u8(at >> 3) >> (7 - (at & 7))) & 1) === 1;
  }

  /** A length without an upper bound (X.691 section 11.9.3.5). */
  length(): number {
    this.align();
    const first = this.bits(8);
    if (first < 0x80) return first;
    if (first < FRAGMENT_AT) return ((first & 0x3f) << 8) | this.bits(8);
    this.lose();
    return 0;
  }

  /** A number that is normally small (section 11.6). */
  smallNumber(): number {
    if (this.bits(1) === 0) return this.bits(6);
    this.lose();
    return 0;
  }

  /** A part with its length in front; undefined: it is passed over. */
  part(type: PerType | undefined): void {
    const bytes = this.length();
    const after = this.#at + bytes * 8;
    if (this.isLost || after > this.#end) {
      this.lose();
      return;
    }
    if (type !== undefined && this.#depth < DEPTH_MAX) {
      const end = this.#end;
      this.#end = after;
      this.#depth++;
      type(this);
      this.#depth--;
      this.#end = end;
      this.isLost = false;
    }
    this.#at = after;
  }

  note(name: string, value: number): void {
    if (this.isLost || this.noteCount === NOTES_MAX) return;
    this.notes[this.noteCount] = name;
    this.values[this.noteCount++] = value;
  }
}

// Simple types

export const nothing: PerType = () => {};
/** What is not described, so that nothing behind it can be found. */
export const unknown: PerType = (reader) => reader.lose();
export const boolean: PerType = (reader) => void reader.bits(1);
/** OBJECT IDENTIFIER, an OCTET STRING without bounds, and the like. */
export const octets: PerType = (reader) => reader.skip(reader.length() * 8);

const bitsOf = (range: number): number => 32 - Math.clz32(range - 1);

/** A number within bounds (section 11.5.7). */
export function number(lower: number, upper: number): (reader: PerReader) => number {
  const range = upper - lower + 1;
  if (range < 256) return (reader) => lower + reader.bits(bitsOf(range));
  const isLong = range > 0x10000;
  const bytes = range === 256 ? 1 : 2;
  // How many bytes there are is then a number itself, of 1 to as many as the range needs.
  const lengthBits = bitsOf(Math.ceil(Math.log2(range) / 8));
  return (reader) => {
    const count = isLong ? reader.bits(lengthBits) + 1 : bytes;
    reader.align();
    let value = 0;
    for (let i = 0; i < count; i++) value = value * 256 + reader.bits(8);
    return lower + value;
  };
}

/** OCTET STRING of so many bytes; more than two are aligned. */
export const bytes =
  (count: number): PerType =>
  (reader) => {
    if (count > 2) reader.align();
    reader.skip(count * 8);
  };

/** A string of so many characters, at least one: of OCTET STRING, IA5String and so on. @param bits - of each */
export function text(upper: number, bits = 8): PerType {
  const length = number(1, upper);
  return (reader) => {
    const count = length(reader);
    if (upper * bits > 16) reader.align();
    reader.skip(count * bits);
  };
}

// Types of types

interface Optional {
  readonly optional: PerType;
}
type Component = PerType | Optional;
/** Extensions by number; those left out are passed over. */
type Extensions = { readonly [number: number]: PerType };

export const optional = (type: PerType): Optional => ({ optional: type });

/** SEQUENCE with an extension marker. */
export function sequence(components: readonly Component[], extensions: Extensions = {}): PerType {
  const root = plainSequence(components);
  return (reader) => {
    const isExtended = reader.bits(1) === 1;
    root(reader);
    if (isExtended) extensionsOf(reader, extensions);
  };
}

/** SEQUENCE without one. */
export function plainSequence(components: readonly Component[]): PerType {
  return someOf(components.filter((one) => typeof one === "object").length, components);
}

/**
 * The beginning of a SEQUENCE with an extension marker; the rest ends the reading.
 * @param optionalCount - of the whole root
 */
export function beginning(optionalCount: number, components: readonly Component[]): PerType {
  const root = someOf(optionalCount, components);
  return (reader) => {
    reader.bits(1);
    root(reader);
    reader.lose();
  };
}

function someOf(optionalCount: number, components: readonly Component[]): PerType {
  return (reader) => {
    const present = reader.bits(optionalCount);
    let bit = optionalCount;
    for (const component of components) {
      if (reader.isLost) return;
      if (typeof component === "function") component(reader);
      else if ((present >> --bit) & 1) component.optional(reader);
    }
  };
}

function extensionsOf(reader: PerReader, extensions: Extensions): void {
  const count = reader.smallNumber() + 1;
  const presentAt = reader.bitAt;
  reader.skip(count);
  for (let i = 0; i < count && !reader.isLost; i++) {
    if (reader.isBitSet(presentAt + i)) reader.part(extensions[i]);
  }
}

/** CHOICE with an extension marker. @param extended - alternatives behind the marker, by number from 0 */
export function choice(alternatives: readonly PerType[], extended: Extensions = {}): PerType {
  const root = plainChoice(alternatives);
  return (reader) => {
    if (reader.bits(1) === 0) root(reader);
    else reader.part(extended[reader.smallNumber()]);
  };
}

/** CHOICE without one. */
export function plainChoice(alternatives: readonly PerType[]): PerType {
  const bits = bitsOf(alternatives.length);
  return (reader) => {
    const index = reader.bits(bits);
    if (!reader.isLost) (alternatives[index] ?? unknown)(reader);
  };
}

/** SEQUENCE OF without bounds. @param max - those behind it are read and not noted */
export function listOf(type: PerType, max = Number.POSITIVE_INFINITY): PerType {
  return (reader) => {
    const count = reader.length();
    for (let i = 0; i < count && !reader.isLost; i++) {
      const { noteCount } = reader;
      type(reader);
      if (i >= max) reader.noteCount = noteCount;
    }
  };
}

/** OCTET STRING with an encoding of the type in it. */
export const holding =
  (type: PerType): PerType =>
  (reader) =>
    reader.part(type);

/** Note the value of a number. */
export const noted =
  (name: string, type: (reader: PerReader) => number): PerType =>
  (reader) =>
    reader.note(name, type(reader));

/** Note where an address of so many bytes begins, which is followed by its port; the reader is aligned there. */
export function addressAndPort(name: string, addressBytes: number): PerType {
  const port = number(0, 65_535);
  return (reader) => {
    reader.align();
    const at = reader.bitAt >> 3;
    reader.skip(addressBytes * 8);
    port(reader);
    reader.note(name, at);
  };
}
