/** A repeatable source of chance for replays, simulations and tests; never for secrets. */
import type { RandomU32 } from "./environment.ts";

/** xorshift32 (Marsaglia 2003): period 2^32 - 1. @param seed - any integer; 0 counts as 1 */
export function seededRandom(seed: number): RandomU32 {
  // Signed, because V8 keeps no larger number without allocating.
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
