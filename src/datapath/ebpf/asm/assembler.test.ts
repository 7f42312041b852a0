import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AssemblyError, assemble } from "./assembler.ts";
import { disassemble } from "./disassembler.ts";
import { ARITHMETIC, ATOMICS, CONDITIONS } from "./encoding.ts";
import {
  type Arithmetic,
  type AtomicOperation,
  add,
  at,
  atomic,
  branch,
  type Condition,
  call,
  constant,
  exit,
  goTo,
  type Instruction,
  label,
  load,
  mapOf,
  mapValue,
  mov,
  mov32,
  note,
  type Program,
  type Register,
  store,
  toNetwork,
} from "./instruction.ts";
import { formatInstruction, formatProgram } from "./text.ts";

const MAPS = { flows: 7 };
const hex = (program: Program): string => Buffer.from(assemble(program, MAPS)).toString("hex");

describe("encoding, by RFC 9669 and what other assemblers make of it", () => {
  test.each<[string, Instruction, string]>([
    ["r0 = 1", mov("r0", 1), "b700000001000000"],
    ["r6 = r1", mov("r6", "r1"), "bf16000000000000"],
    ["w2 = w3", mov32("r2", "r3"), "bc32000000000000"],
    ["r2 += -40", add("r2", -40), "07020000d8ffffff"],
    ["r1 = be16 r1", toNetwork(16, "r1"), "dc01000010000000"],
    ["r2 = *(u32 *)(r1 + 76)", load(4, "r2", at("r1", 76)), "61124c0000000000"],
    ["r0 = *(u8 *)(r2 + 23)", load(1, "r0", at("r2", 23)), "7120170000000000"],
    ["*(u64 *)(r10 - 8) = r1", store(8, at("r10", -8), "r1"), "7b1af8ff00000000"],
    ["*(u32 *)(r10 - 4) = 0", store(4, at("r10", -4), 0), "620afcff00000000"],
    ["lock add *(u64 *)(r8 + 16), r1", atomic("add", 8, at("r8", 16), "r1"), "db18100000000000"],
    [
      "lock compare-exchange *(u32 *)(r8 + 8), r1",
      atomic("compare-exchange", 4, at("r8", 8), "r1"),
      "c3180800f1000000",
    ],
    ["r1 = 4294967298 ll", constant("r1", 0x1_0000_0002n), "18010000020000000000000001000000"],
    ["r1 = map flows", mapOf("r1", "flows"), "18110000070000000000000000000000"],
    ["r1 = value of flows + 12", mapValue("r1", "flows", 12), "1821000007000000000000000c000000"],
    ["call 1", call(1), "8500000001000000"],
    ["exit", exit, "9500000000000000"],
  ])("%s", (text, instruction, wanted) => {
    expect(hex([instruction])).toBe(wanted);
    expect(formatInstruction(instruction)).toBe(text);
  });

  test("jumps count slots, of which a constant fills two", () => {
    const program = [
      branch("r1", "==", 0, "end"),
      constant("r2", 1n),
      note("no code"),
      goTo("end"),
      label("end"),
      exit,
    ];
    expect(hex(program)).toBe(
      ["1501030000000000", "18020000010000000000000000000000", "0500000000000000", "9500000000000000"].join(
        "",
      ),
    );
  });
});

describe("mistakes", () => {
  test.each<[string, Program, RegExp]>([
    ["a label that is not there", [goTo("nowhere")], /jump to "nowhere": there is no such label/],
    ["a label twice", [label("a"), label("a")], /label "a": it is there twice/],
    ["a map without a descriptor", [mapOf("r1", "ways")], /map "ways": it has no descriptor/],
    ["a number that does not fit", [mov("r1", 2 ** 32)], /4294967296: it does not fit 32 bits/],
    ["an offset that does not fit", [load(1, "r1", at("r2", 40_000))], /40000: it does not fit 16 bits/],
  ])("%s", (_, program, wanted) => {
    expect(() => assemble(program, MAPS)).toThrow(AssemblyError);
    expect(() => assemble(program, MAPS)).toThrow(wanted);
  });
});

test("a listing names what is jumped to and what is called", () => {
  const program = [note("begin"), mov("r0", 0), branch("r1", "!=", 0, "end"), call(1), label("end"), exit];
  expect(formatProgram(program, (helper) => (helper === 1 ? "look-up" : "?"))).toBe(
    ["        ; begin", "     0  r0 = 0", "     1  if r1 != 0 goto end", "     2  call look-up", "end:", "     3  exit"].join("\n"),
  ); // biome-ignore format: a listing
});

const register = fc.integer({ min: 0, max: 10 }).map((number) => `r${number}` as Register);
const immediate = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const operand = fc.oneof(register, immediate);
const offset = fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 });
const place = fc.record({ base: register, offset });
const bits = fc.constantFrom(32 as const, 64 as const);
const size = fc.constantFrom(1 as const, 2 as const, 4 as const, 8 as const);
const nameOf = <Name extends string>(table: Readonly<Record<Name, number>>): fc.Arbitrary<Name> =>
  fc.constantFrom(...(Object.keys(table) as Name[]));
const straight: fc.Arbitrary<Instruction> = fc.oneof(
  fc.record({
    kind: fc.constant("arithmetic" as const),
    operation: nameOf<Arithmetic>(ARITHMETIC),
    bits,
    to: register,
    operand,
  }),
  fc.record({ kind: fc.constant("load" as const), size, to: register, from: place }),
  fc.record({ kind: fc.constant("store" as const), size, to: place, operand }),
  fc.record({
    kind: fc.constant("atomic" as const),
    operation: nameOf<AtomicOperation>(ATOMICS),
    size: fc.constantFrom(4 as const, 8 as const),
    to: place,
    operand: register,
  }),
  fc.record({ kind: fc.constant("constant" as const), to: register, value: fc.bigInt(0n, 2n ** 64n - 1n) }),
  fc.record({ kind: fc.constant("call" as const), helper: fc.nat(200) }),
);
const jump: fc.Arbitrary<Instruction> = fc.record({
  kind: fc.constant("branch" as const),
  condition: nameOf<Condition>(CONDITIONS),
  bits,
  left: register,
  right: operand,
  target: fc.constantFrom("start", "end"),
});

test("what is disassembled assembles to the same bytes", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(straight, jump), { maxLength: 30 }), (body) => {
      const program = [label("start"), ...body, label("end"), exit];
      const code = assemble(program, MAPS);
      expect(assemble(disassemble(code), {})).toEqual(code);
    }),
    { numRuns: 2000 },
  );
});

test("bytes that are no instruction are refused", () => {
  expect(() => disassemble(Uint8Array.of(0xff, 0, 0, 0, 0, 0, 0, 0))).toThrow(/slot 0: opcode 0xff/);
});
