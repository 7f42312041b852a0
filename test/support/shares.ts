/** Judging random picks. */
import { expect } from "vitest";

/**
 * Expect letters A, B, C, ... in these shares, within five standard deviations: wrong once in two million
 * runs.
 */
export function expectShares(picks: string, shares: readonly number[]): void {
  shares.forEach((share, i) => {
    const letter = String.fromCharCode(65 + i);
    const made = picks.split(letter).length - 1;
    const deviation = Math.sqrt(picks.length * share * (1 - share));
    const message = `${letter}: ${made} of ${picks.length}, wanted ${share}`;
    expect(Math.abs(made - picks.length * share), message).toBeLessThanOrEqual(5 * deviation);
  });
}
