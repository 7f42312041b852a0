/** A program as text, in the manner of the kernel's own listings: `r1 = *(u32 *)(r6 + 76)`. */
import { unreachable } from "../../../base/unreachable.ts";
import { slotsOf } from "./assembler.ts";
import type { Arithmetic, Instruction, Place, Program, Size } from "./instruction.ts";

/** @param helperName - what a helper's number is called */
export function formatProgram(program: Program, helperName: (helper: number) => string = String): string {
  let slot = 0;
  return program
    .map((one) => {
      if (one.kind === "label") return `${one.name}:`;
      if (one.kind === "note") return `        ; ${one.text}`;
      const line = `${String(slot).padStart(6)}  ${formatInstruction(one, helperName)}`;
      slot += slotsOf(one);
      return line;
    })
    .join("\n");
}

export function formatInstruction(one: Instruction, helperName: (helper: number) => string = String): string {
  switch (one.kind) {
    case "label":
      return `${one.name}:`;
    case "note":
      return `; ${one.text}`;
    case "arithmetic": {
      // As the kernel does: w0..w10 are the lower halves.
      const to = one.bits === 64 ? one.to : one.to.replace("r", "w");
      const operand =
        typeof one.operand === "string" && one.bits === 32 ? one.operand.replace("r", "w") : one.operand;
      return `${to} ${SIGNS[one.operation]} ${operand}`;
    }
    case "to-network":
      return `${one.to} = be${one.bits} ${one.to}`;
    case "load":
      return `${one.to} = ${memory(one.size, one.from)}`;
    case "store":
      return `${memory(one.size, one.to)} = ${one.operand}`;
    case "atomic":
      return `lock ${one.operation} ${memory(one.size, one.to)}, ${one.operand}`;
    case "go-to":
      return `goto ${one.target}`;
    case "branch": {
      const left = one.bits === 64 ? one.left : one.left.replace("r", "w");
      return `if ${left} ${one.condition} ${one.right} goto ${one.target}`;
    }
    case "constant":
      return `${one.to} = ${one.value} ll`;
    case "map":
      return one.valueOffset === undefined
        ? `${one.to} = map ${one.map}`
        : `${one.to} = value of ${one.map} + ${one.valueOffset}`;
    case "call":
      return `call ${helperName(one.helper)}`;
    case "exit":
      return "exit";
    default:
      return unreachable(one);
  }
}

const SIGNS: Readonly<Record<Arithmetic, string>> = {
  mov: "=", add: "+=", sub: "-=", mul: "*=", div: "/=", mod: "%=",
  or: "|=", and: "&=", xor: "^=", lsh: "<<=", rsh: ">>=", arsh: "s>>=",
}; // biome-ignore format: a table

const memory = (size: Size, { base, offset }: Place): string =>
  `*(u${size * 8} *)(${base} ${offset < 0 ? "-" : "+"} ${Math.abs(offset)})`;
