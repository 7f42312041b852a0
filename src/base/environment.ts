/**
 * What the core takes from outside: time and chance. Nothing below `control/` reads a clock or a random source of its
 * own, so the same code runs in the daemon, over a capture, in a simulation under a seed, and in a browser.
 */

declare const unit: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [unit]: Name };

/** Milliseconds on a monotonic clock of arbitrary origin, or a span of them. */
export type Milliseconds = Branded<number, "ms">;
export type Seconds = Branded<number, "s">;

export const milliseconds = (value: number): Milliseconds => value as Milliseconds;
export const seconds = (value: number): Seconds => value as Seconds;
export const toMilliseconds = (value: Seconds): Milliseconds => (value * 1000) as Milliseconds;

/** Uniform 32-bit integers, 0..2^32-1. Seeded in tests and replays, system entropy in the daemon. */
export type RandomU32 = () => number;
