/**
 * -b: three bits that every scheduler may read as it likes. sh and mh have names for the first two; to every other
 * scheduler they are flag-1, flag-2 and flag-3, as in ipvsadm.
 */
import type { SchedulerFlag } from "../../nat/configuration.ts";
import { Refusal } from "./refusal.ts";

const GENERIC = ["flag-1", "flag-2", "flag-3"] as const;
/** By scheduler, in the order of the bits. */
const NAMED: Readonly<Record<string, readonly SchedulerFlag[]>> = {
  sh: ["sh-fallback", "sh-port"],
  mh: ["mh-fallback", "mh-port"],
  maglev: ["flag-1", "mh-port"],
};
const KNOWN: readonly string[] = [...GENERIC, ...NAMED.sh!, ...NAMED.mh!];

/** @param text - "sh-port,sh-fallback". @throws Refusal */
export function parseSchedulerFlags(text: string, scheduler: string): SchedulerFlag[] {
  const names = text.split(",").filter((name) => name !== "");
  for (const name of names) {
    if (!KNOWN.includes(name)) throw new Refusal(`invalid scheduler flag \`${name}'`);
    if (bitOf(name, scheduler) < 0) throw new Refusal(`incompatible scheduler flag \`${name}'`);
  }
  return inOrder(names, scheduler);
}

/** Every flag once, under the scheduler's own name for it, in the order of the bits: as ipvsadm lists them. */
export function inOrder(names: readonly string[], scheduler: string): SchedulerFlag[] {
  const bits = names.map((name) => bitOf(name, scheduler));
  return GENERIC.map((name, bit) => NAMED[scheduler]?.[bit] ?? name).filter((_, bit) => bits.includes(bit));
}

/** 0, 1 or 2; -1 when the scheduler has no such flag. */
function bitOf(name: string, scheduler: string): number {
  const own = (NAMED[scheduler] ?? []).indexOf(name as SchedulerFlag);
  return own >= 0 ? own : (GENERIC as readonly string[]).indexOf(name);
}
