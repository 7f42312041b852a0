/**
 * eBPF instructions as plain data, and the small functions that make them (Linux: Documentation/bpf/standardization/
 * instruction-set.rst, RFC 9669). A program is an array of these; labels stand among them, maps are spoken of by name.
 * Nothing here knows a kernel: assembler.ts turns the array into bytes, text.ts into something to read.
 *
 * Left out: signed division, sign-extending moves and loads, calls between programs, the legacy packet loads.
 */

/** Return value; arguments 1 to 5; four that calls preserve; the frame pointer. */
export type Register = "r0" | "r1" | "r2" | "r3" | "r4" | "r5" | "r6" | "r7" | "r8" | "r9" | "r10";
/** Bytes of an access to memory. */
export type Size = 1 | 2 | 4 | 8;
/** A register, or a 32-bit number, which 64-bit operations sign-extend. */
export type Operand = Register | number;

export type Arithmetic =
  | "mov"
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "mod"
  | "or"
  | "and"
  | "xor"
  | "lsh"
  | "rsh"
  | "arsh";
export type Condition = "==" | "!=" | ">" | ">=" | "<" | "<=" | "&" | "s>" | "s>=" | "s<" | "s<=";
export type AtomicOperation = "add" | "or" | "and" | "xor" | "fetch-add" | "exchange" | "compare-exchange";

/** A place in memory: a register with an address, and bytes to add, -32768..32767. */
export interface Place {
  readonly base: Register;
  readonly offset: number;
}

export type Instruction =
  | { readonly kind: "label"; readonly name: string }
  /** Words for the reader of a listing; no code. */
  | { readonly kind: "note"; readonly text: string }
  | {
      readonly kind: "arithmetic";
      readonly operation: Arithmetic;
      readonly bits: 32 | 64;
      readonly to: Register;
      readonly operand: Operand;
    }
  /** Between host and network order; the rest of the register becomes zero. */
  | { readonly kind: "to-network"; readonly bits: 16 | 32 | 64; readonly to: Register }
  | { readonly kind: "load"; readonly size: Size; readonly to: Register; readonly from: Place }
  | { readonly kind: "store"; readonly size: Size; readonly to: Place; readonly operand: Operand }
  | {
      readonly kind: "atomic";
      readonly operation: AtomicOperation;
      readonly size: 4 | 8;
      readonly to: Place;
      readonly operand: Register;
    }
  | { readonly kind: "go-to"; readonly target: string }
  | {
      readonly kind: "branch";
      readonly condition: Condition;
      readonly bits: 32 | 64;
      readonly left: Register;
      readonly right: Operand;
      readonly target: string;
    }
  | { readonly kind: "constant"; readonly to: Register; readonly value: bigint }
  /** The map itself, or, with `valueOffset`, a byte of the value of an array map with one element. */
  | { readonly kind: "map"; readonly to: Register; readonly map: string; readonly valueOffset?: number }
  /** A helper function of the kernel, by number (include/uapi/linux/bpf.h). */
  | { readonly kind: "call"; readonly helper: number }
  | { readonly kind: "exit" };

export type Program = readonly Instruction[];

export const at = (base: Register, offset = 0): Place => ({ base, offset });

export const label = (name: string): Instruction => ({ kind: "label", name });
export const note = (text: string): Instruction => ({ kind: "note", text });

const arithmetic =
  (operation: Arithmetic, bits: 32 | 64 = 64) =>
  (to: Register, operand: Operand): Instruction => ({ kind: "arithmetic", operation, bits, to, operand });
export const mov = arithmetic("mov");
export const add = arithmetic("add");
export const sub = arithmetic("sub");
export const mul = arithmetic("mul");
export const mod = arithmetic("mod");
export const or = arithmetic("or");
export const and = arithmetic("and");
export const xor = arithmetic("xor");
export const shiftLeft = arithmetic("lsh");
export const shiftRight = arithmetic("rsh");
/** The lower half; the upper one becomes zero. */
export const mov32 = arithmetic("mov", 32);

export const toNetwork = (bits: 16 | 32 | 64, to: Register): Instruction => ({
  kind: "to-network",
  bits,
  to,
});

export const load = (size: Size, to: Register, from: Place): Instruction => ({
  kind: "load",
  size,
  to,
  from,
});
export const store = (size: Size, to: Place, operand: Operand): Instruction => {
  return { kind: "store", size, to, operand };
};
export const atomic = (
  operation: AtomicOperation,
  size: 4 | 8,
  to: Place,
  operand: Register,
): Instruction => ({ kind: "atomic", operation, size, to, operand });

export const goTo = (target: string): Instruction => ({ kind: "go-to", target });
/** Jump if it holds, compared as unsigned 64-bit numbers unless the condition says otherwise. */
export const branch = (left: Register, condition: Condition, right: Operand, target: string): Instruction => {
  return { kind: "branch", condition, bits: 64, left, right, target };
};

export const constant = (to: Register, value: bigint): Instruction => ({ kind: "constant", to, value });
export const mapOf = (to: Register, map: string): Instruction => ({ kind: "map", to, map });
export const mapValue = (to: Register, map: string, valueOffset: number): Instruction => {
  return { kind: "map", to, map, valueOffset };
};
export const call = (helper: number): Instruction => ({ kind: "call", helper });
export const exit: Instruction = { kind: "exit" };
