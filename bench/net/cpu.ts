/** Processor time spent by the whole machine and by some processes, from /proc (proc(5)); its grain is 10 ms. */
import { readFileSync } from "node:fs";

const NANOSECONDS_PER_TICK = 10_000_000;

export interface CpuTime {
  readonly machineNs: number;
  readonly directorNs: number;
}

/** @param pids - the director's processes; time their threads spent in softirqs counts as theirs */
export function cpuTime(pids: readonly number[]): CpuTime {
  const fields = (path: string): string => readFileSync(path, "utf8");
  const [user, nice, system, , , irq, softirq] = fields("/proc/stat").split(/\s+/).slice(1).map(Number);
  const machineTicks = user! + nice! + system! + irq! + softirq!;
  let directorTicks = 0;
  for (const pid of pids) {
    // The second field, the name in parentheses, may contain blanks.
    const afterName = fields(`/proc/${pid}/stat`).split(") ").at(-1)!.split(" ");
    directorTicks += Number(afterName[11]) + Number(afterName[12]);
  }
  return {
    machineNs: machineTicks * NANOSECONDS_PER_TICK,
    directorNs: directorTicks * NANOSECONDS_PER_TICK,
  };
}
