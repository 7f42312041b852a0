/** What was changed by hand, as a line for people. */
import type { ManualChange } from "../control/edit.ts";

/** `server 10.0.0.1:80 of tcp 192.0.2.1:80: weight 1 -> 5, since 2026-11-23 22:00:00Z (without effect: ...)`. */
export function manualLine({ subject, what, since, dormantBecause }: ManualChange): string {
  const time = since.replace("T", " ").replace(/\.\d+Z$/, "Z");
  const effect = dormantBecause === undefined ? "" : ` (without effect: ${dormantBecause})`;
  return `${subject}: ${what}, since ${time}${effect}`;
}
