/** Time and allocation of a short operation, measured many at a time. */
import { median, spread } from "./sample.ts";

export interface Timing {
  /** Median over the samples. */
  readonly ns: number;
  /** Half the range as a share of the median. */
  readonly spread: number;
  /** JavaScript heap bytes allocated per operation. */
  readonly heapBytes: number;
}

const SAMPLES = 9;
const WARM_UP_MS = 300;
/** Few enough that what they allocate stays below one young generation, so that no collection hides it. */
const ALLOCATION_CALLS = 20_000;

/**
 * @param run - does the operation `count` times
 * @param seconds - measuring time, warm-up apart
 */
export function timing(run: (count: number) => void, seconds: number): Timing {
  let count = 1000;
  const warmUntil = performance.now() + WARM_UP_MS;
  for (;;) {
    const elapsed = millisecondsOf(() => run(count));
    const isLong = elapsed >= (seconds * 1000) / SAMPLES;
    if (isLong && performance.now() >= warmUntil) break;
    if (!isLong) count *= 2;
  }
  const samples: number[] = [];
  for (let i = 0; i < SAMPLES; i++) samples.push((millisecondsOf(() => run(count)) * 1e6) / count);
  return { ns: median(samples), spread: spread(samples), heapBytes: heapBytesOf(run) };
}

function heapBytesOf(run: (count: number) => void): number {
  const grown = (count: number): number => {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    run(count);
    return process.memoryUsage().heapUsed - before;
  };
  const samples: number[] = [];
  // What reading the heap's size costs is in both terms.
  for (let i = 0; i < 5; i++) samples.push((grown(ALLOCATION_CALLS) - grown(1)) / ALLOCATION_CALLS);
  return Math.max(0, Math.round(median(samples)));
}

export function millisecondsOf(action: () => void): number {
  const start = performance.now();
  action();
  return performance.now() - start;
}

export function collectGarbage(): void {
  if (globalThis.gc === undefined) throw new Error("Cannot collect garbage: start node with --expose-gc");
  globalThis.gc();
}
