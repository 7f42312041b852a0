/** From instructions to the bytes that bpf(2) takes: labels become distances, maps' names descriptors. */
import { unreachable } from "../../../base/unreachable.ts";
import {
  ARITHMETIC,
  ATOMIC,
  ATOMICS,
  CALL,
  Class,
  CONDITIONS,
  CONSTANT,
  ConstantKind,
  EXIT,
  GO_TO,
  MEMORY,
  SIZES,
  SLOT_BYTES,
  SOURCE_REGISTER,
  TO_NETWORK,
} from "./encoding.ts";
import type { Instruction, Operand, Program, Register } from "./instruction.ts";

/** A mistake in a program, found before the kernel sees it. */
export class AssemblyError extends Error {
  override readonly name = "AssemblyError";
}

/**
 * @param maps - file descriptors by name; any numbers will do where no kernel is to load the program
 * @throws AssemblyError for a label that is unknown or there twice, a map without a descriptor, a number that does not fit
 */
export function assemble(program: Program, maps: Readonly<Record<string, number>>): Uint8Array {
  const { slots, slotCount } = place(program);
  const bytes = new Uint8Array(slotCount * SLOT_BYTES);
  const view = new DataView(bytes.buffer);
  let slot = 0;
  /** Write one slot. */
  const put = (opcode: number, to: number, from: number, offset: number, immediate: number): void => {
    const byteAt = slot * SLOT_BYTES;
    view.setUint8(byteAt, opcode);
    view.setUint8(byteAt + 1, (from << 4) | to);
    view.setInt16(byteAt + 2, offset, true);
    view.setInt32(byteAt + 4, immediate, true);
    slot++;
  };
  const distance = (target: string): number => {
    const to = slots.get(target);
    if (to === undefined) throw new AssemblyError(`Cannot jump to "${target}": there is no such label`);
    return inRange(to - slot - 1, 16, `the jump to "${target}"`);
  };
  /** An operand as it stands in source field and immediate. */
  const split = (operand: Operand): { from: number; immediate: number; flag: number } => {
    return typeof operand === "number"
      ? { from: 0, immediate: inRange(operand, 32, "the number"), flag: 0 }
      : { from: numberOf(operand), immediate: 0, flag: SOURCE_REGISTER };
  };

  for (const one of program) {
    switch (one.kind) {
      case "label":
      case "note":
        break;
      case "arithmetic": {
        const { from, immediate, flag } = split(one.operand);
        const opcode = ARITHMETIC[one.operation] | flag | (one.bits === 64 ? Class.alu64 : Class.alu);
        put(opcode, numberOf(one.to), from, 0, immediate);
        break;
      }
      case "to-network":
        put(TO_NETWORK, numberOf(one.to), 0, 0, one.bits);
        break;
      case "load": {
        const offset = inRange(one.from.offset, 16, "the offset");
        put(MEMORY | SIZES[one.size] | Class.ldx, numberOf(one.to), numberOf(one.from.base), offset, 0);
        break;
      }
      case "store": {
        const { from, immediate, flag } = split(one.operand);
        const kind = flag === 0 ? Class.st : Class.stx;
        const offset = inRange(one.to.offset, 16, "the offset");
        put(MEMORY | SIZES[one.size] | kind, numberOf(one.to.base), from, offset, immediate);
        break;
      }
      case "atomic": {
        const opcode = ATOMIC | SIZES[one.size] | Class.stx;
        const offset = inRange(one.to.offset, 16, "the offset");
        put(opcode, numberOf(one.to.base), numberOf(one.operand), offset, ATOMICS[one.operation]);
        break;
      }
      case "go-to":
        put(GO_TO, 0, 0, distance(one.target), 0);
        break;
      case "branch": {
        const { from, immediate, flag } = split(one.right);
        const opcode = CONDITIONS[one.condition] | flag | (one.bits === 64 ? Class.jmp : Class.jmp32);
        put(opcode, numberOf(one.left), from, distance(one.target), immediate);
        break;
      }
      case "constant": {
        const low = Number(BigInt.asIntN(32, one.value));
        put(CONSTANT, numberOf(one.to), ConstantKind.number, 0, low);
        put(0, 0, 0, 0, Number(BigInt.asIntN(32, one.value >> 32n)));
        break;
      }
      case "map": {
        const descriptor = maps[one.map];
        if (descriptor === undefined)
          throw new AssemblyError(`Cannot use the map "${one.map}": it has no descriptor`);
        const kind = one.valueOffset === undefined ? ConstantKind.map : ConstantKind.mapValue;
        put(CONSTANT, numberOf(one.to), kind, 0, descriptor);
        put(0, 0, 0, 0, one.valueOffset ?? 0);
        break;
      }
      case "call":
        put(CALL, 0, 0, 0, one.helper);
        break;
      case "exit":
        put(EXIT, 0, 0, 0, 0);
        break;
      default:
        unreachable(one);
    }
  }
  return bytes;
}

/** Slots an instruction fills. */
export const slotsOf = ({ kind }: Instruction): number =>
  kind === "label" || kind === "note" ? 0 : kind === "constant" || kind === "map" ? 2 : 1;

/** Where labels stand, in slots. */
function place(program: Program): { slots: ReadonlyMap<string, number>; slotCount: number } {
  const slots = new Map<string, number>();
  let slotCount = 0;
  for (const one of program) {
    if (one.kind === "label") {
      if (slots.has(one.name))
        throw new AssemblyError(`Cannot place the label "${one.name}": it is there twice`);
      slots.set(one.name, slotCount);
    }
    slotCount += slotsOf(one);
  }
  return { slots, slotCount };
}

const numberOf = (register: Register): number => Number(register.slice(1));

/** @param bits - of a signed field */
function inRange(value: number, bits: 16 | 32, what: string): number {
  // A 32-bit immediate may be written as the unsigned number it looks like.
  const max = bits === 32 ? 2 ** 32 - 1 : 2 ** 15 - 1;
  if (!Number.isInteger(value) || value < -(2 ** (bits - 1)) || value > max)
    throw new AssemblyError(`Cannot encode ${what} ${value}: it does not fit ${bits} bits`);
  return bits === 32 ? value | 0 : value;
}
