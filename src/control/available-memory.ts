/** Memory that the system could still give at once, as IPVS's automatic defences look at it: free pages and buffers. */
import { readFileSync } from "node:fs";

const KIB_PER_PAGE = 4;

/** @returns pages of 4 KiB; undefined when the system does not say. */
export function availablePages(file = "/proc/meminfo"): number | undefined {
  let text: string;
  try {
    text = readFileSync(file, "latin1");
  } catch {
    return undefined;
  }
  const free = /^MemFree: +(\d+) kB$/m.exec(text);
  const buffers = /^Buffers: +(\d+) kB$/m.exec(text);
  if (free === null || buffers === null) return undefined;
  return Math.floor((Number(free[1]) + Number(buffers[1])) / KIB_PER_PAGE);
}
