/** Part of several stages: room in the ring buffer of news, and what becomes of it. */
import { call, mapOf, mov, type Register } from "../asm/instruction.ts";
import { Helper, type Stage } from "./context.ts";

/** BPF_RB_NO_WAKEUP. Wakes nobody: the packet loop looks by itself. */
const NO_WAKEUP = 1;

/** Leaves the address of so many bytes in r0, or 0: there is no room. */
export const reserveNews = (bytes: number): Stage => [
  mapOf("r1", "news"),
  mov("r2", bytes),
  mov("r3", 0),
  call(Helper.ringReserve),
];

export const submitNews = (room: Register): Stage => end(room, Helper.ringSubmit);
export const discardNews = (room: Register): Stage => end(room, Helper.ringDiscard);

const end = (room: Register, helper: number): Stage => [mov("r1", room), mov("r2", NO_WAKEUP), call(helper)];
