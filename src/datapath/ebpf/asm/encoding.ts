/**
 * How instructions are encoded: 8 bytes each, twice that for 64-bit constants (RFC 9669 section 3), in the byte order of
 * little-endian machines.
 *
 *  byte 0        1                   2       3       4       5       6       7
 *      +--------+---------+---------+-------+-------+-------+-------+-------+-------+
 *      | opcode | source  | dest.   |     offset    |           immediate           |
 *      +--------+---------+---------+---------------+-------------------------------+
 *                high 4    low 4
 */
import type { Arithmetic, AtomicOperation, Condition, Size } from "./instruction.ts";

export const SLOT_BYTES = 8;

/** Lowest three bits of an opcode. */
export const Class = { ld: 0, ldx: 1, st: 2, stx: 3, alu: 4, jmp: 5, jmp32: 6, alu64: 7 } as const;
/** The operand is a register. */
export const SOURCE_REGISTER = 0x08;

export const ARITHMETIC: Readonly<Record<Arithmetic, number>> = {
  add: 0x00, sub: 0x10, mul: 0x20, div: 0x30, or: 0x40, and: 0x50,
  lsh: 0x60, rsh: 0x70, mod: 0x90, xor: 0xa0, mov: 0xb0, arsh: 0xc0,
}; // biome-ignore format: a table
/** Byte swap, with SOURCE_REGISTER: to network order. */
export const TO_NETWORK = 0xd0 | SOURCE_REGISTER | Class.alu;

export const CONDITIONS: Readonly<Record<Condition, number>> = {
  "==": 0x10, ">": 0x20, ">=": 0x30, "&": 0x40, "!=": 0x50, "s>": 0x60,
  "s>=": 0x70, "<": 0xa0, "<=": 0xb0, "s<": 0xc0, "s<=": 0xd0,
}; // biome-ignore format: a table
export const GO_TO = 0x00 | Class.jmp;
export const CALL = 0x80 | Class.jmp;
export const EXIT = 0x90 | Class.jmp;

export const SIZES: Readonly<Record<Size, number>> = { 1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18 };
/** Modes of access, the highest three bits. */
export const MEMORY = 0x60;
export const ATOMIC = 0xc0;

/** What an atomic operation's immediate says. */
export const ATOMICS: Readonly<Record<AtomicOperation, number>> = {
  add: 0x00, or: 0x40, and: 0x50, xor: 0xa0, "fetch-add": 0x01, exchange: 0xe1, "compare-exchange": 0xf1,
}; // biome-ignore format: a table

/** A 64-bit constant, in two slots. */
export const CONSTANT = 0x18;
/** What its source field says: a number; a map's descriptor; that and an offset into its value. */
export const ConstantKind = { number: 0, map: 1, mapValue: 2 } as const;
