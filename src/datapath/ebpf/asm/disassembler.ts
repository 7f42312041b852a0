/** From bytes back to instructions: for tests, and for reading what another program loaded. Labels are named by slot. */
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
import type { Instruction, Operand, Program, Register, Size } from "./instruction.ts";

const inverted = <Name extends string>(table: Readonly<Record<Name, number>>): ReadonlyMap<number, Name> =>
  new Map((Object.entries(table) as [Name, number][]).map(([name, code]) => [code, name]));
const ARITHMETIC_NAMES = inverted(ARITHMETIC);
const CONDITION_NAMES = inverted(CONDITIONS);
const ATOMIC_NAMES = inverted(ATOMICS);
const SIZE_BYTES = new Map(Object.entries(SIZES).map(([bytes, code]) => [code, Number(bytes) as Size]));

/**
 * @param maps - names by descriptor; a map that is not among them is named "map <descriptor>"
 * @throws RangeError for bytes that are no instruction this assembler knows
 */
export function disassemble(bytes: Uint8Array, maps: ReadonlyMap<number, string> = new Map()): Program {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: { slot: number; instruction: Instruction }[] = [];
  const targets = new Set<number>();
  const slotCount = bytes.length / SLOT_BYTES;
  for (let slot = 0; slot < slotCount; slot++) {
    const at = slot * SLOT_BYTES;
    const opcode = view.getUint8(at);
    const to = registerOf(view.getUint8(at + 1) & 0x0f);
    const from = registerOf(view.getUint8(at + 1) >> 4);
    const offset = view.getInt16(at + 2, true);
    const immediate = view.getInt32(at + 4, true);
    const targetSlot = slot + 1 + offset;
    const operand: Operand = (opcode & SOURCE_REGISTER) !== 0 ? from : immediate;
    const slotBefore = slot;
    let instruction: Instruction | undefined;
    if (opcode === CONSTANT) {
      const high = view.getInt32(at + SLOT_BYTES + 4, true);
      const kind = view.getUint8(at + 1) >> 4;
      slot++;
      if (kind === ConstantKind.number) {
        const value = (BigInt.asUintN(32, BigInt(high)) << 32n) | BigInt.asUintN(32, BigInt(immediate));
        instruction = { kind: "constant", to, value };
      } else {
        const map = maps.get(immediate) ?? `map ${immediate}`;
        instruction = { kind: "map", to, map, ...(kind === ConstantKind.mapValue && { valueOffset: high }) };
      }
    } else if (opcode === TO_NETWORK) {
      instruction = { kind: "to-network", bits: immediate as 16 | 32 | 64, to };
    } else if (opcode === CALL) instruction = { kind: "call", helper: immediate };
    else if (opcode === EXIT) instruction = { kind: "exit" };
    else if (opcode === GO_TO) {
      targets.add(targetSlot);
      instruction = { kind: "go-to", target: labelOf(targetSlot) };
    } else instruction = ordinary();
    if (instruction === undefined)
      throw new RangeError(
        `Cannot read the instruction in slot ${slotBefore}: opcode 0x${opcode.toString(16)}`,
      );
    found.push({ slot: slotBefore, instruction });

    function ordinary(): Instruction | undefined {
      const size = SIZE_BYTES.get(opcode & 0x18);
      const operation = ARITHMETIC_NAMES.get(opcode & 0xf0);
      switch (opcode & 0x07) {
        case Class.alu:
        case Class.alu64: {
          const bits = (opcode & 0x07) === Class.alu64 ? 64 : 32;
          return operation && { kind: "arithmetic", operation, bits, to, operand };
        }
        case Class.jmp:
        case Class.jmp32: {
          const condition = CONDITION_NAMES.get(opcode & 0xf0);
          const bits = (opcode & 0x07) === Class.jmp ? 64 : 32;
          targets.add(targetSlot);
          return (
            condition && {
              kind: "branch", condition, bits, left: to, right: operand, target: labelOf(targetSlot),
            } // biome-ignore format: one instruction
          );
        }
        case Class.ldx:
          return (opcode & 0xe0) === MEMORY && size !== undefined
            ? { kind: "load", size, to, from: { base: from, offset } }
            : undefined;
        case Class.st:
          return (opcode & 0xe0) === MEMORY && size !== undefined
            ? { kind: "store", size, to: { base: to, offset }, operand: immediate }
            : undefined;
        case Class.stx: {
          const place = { base: to, offset };
          if ((opcode & 0xe0) === MEMORY && size !== undefined)
            return { kind: "store", size, to: place, operand: from };
          const name = ATOMIC_NAMES.get(immediate);
          return (opcode & 0xe0) === ATOMIC && name !== undefined && (size === 4 || size === 8)
            ? { kind: "atomic", operation: name, size, to: place, operand: from }
            : undefined;
        }
        default:
          return undefined;
      }
    }
  }
  return found.flatMap(({ slot, instruction }): Instruction[] =>
    targets.has(slot) ? [{ kind: "label", name: labelOf(slot) }, instruction] : [instruction],
  );
}

const labelOf = (slot: number): string => `at ${slot}`;
const registerOf = (number: number): Register => `r${number}` as Register;
