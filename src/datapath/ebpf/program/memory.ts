/** Part of several stages: looking into maps, and moving words about. */
import { add, branch, call, load, mapOf, mov, type Place, type Register, store } from "../asm/instruction.ts";
import { further, Helper, SLOW_PATH, STACK, type Stage } from "./context.ts";

/**
 * Address of an array's element in r0.
 * @param index - register with its number; not r1, r2
 * @param otherwise - where to go when there is none
 */
export const element = (map: string, index: Register, otherwise = SLOW_PATH): Stage => [
  store(4, STACK.index, index),
  ...look(map, STACK.index, otherwise),
];

/** Address of a hash's value in r0. @param key - on the stack */
export const look = (map: string, key: Place, otherwise: string): Stage => [
  mov("r2", "r10"),
  add("r2", key.offset),
  mapOf("r1", map),
  call(Helper.mapLookup),
  branch("r0", "==", 0, otherwise),
];

/** Through r1. @param bytes - 2, or a multiple of 4, by which both places are aligned */
export const copy = (from: Place, to: Place, bytes: number): Stage => {
  if (bytes === 2) return [load(2, "r1", from), store(2, to, "r1")];
  return wordsOf(bytes).flatMap((at) => [load(4, "r1", further(from, at)), store(4, further(to, at), "r1")]);
};

export const zeros = (to: Place, bytes: number): Stage =>
  wordsOf(bytes).map((at) => store(4, further(to, at), 0));

/** Where each word begins. */
const wordsOf = (bytes: number): number[] => Array.from({ length: bytes / 4 }, (_, word) => word * 4);
