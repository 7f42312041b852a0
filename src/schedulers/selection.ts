/**
 * What several schedulers share: who may be chosen, what a load is, the cheapest of all, chance below a
 * bound.
 */
import type { RandomU32 } from "../base/environment.ts";
import type { Destination } from "../nat/destination.ts";

/** Neither quiesced nor overloaded. */
export const isEligible = (destination: Destination): boolean =>
  destination.weight > 0 && !destination.isOverloaded;

/** True when somebody may take a connection: asked before a long search that could only be in vain. */
export function isAnyEligible(destinations: readonly Destination[]): boolean {
  for (let i = 0; i < destinations.length; i++) if (isEligible(destinations[i]!)) return true;
  return false;
}

/** IPVS's measure of load: an inactive connection counts 1/256 of an active one. */
export const overhead = (destination: Destination): number =>
  destination.activeConnections * 256 + destination.inactiveConnections;

/** What one connection more would make of the active ones: the measure of sed and nq. */
export const delay = (destination: Destination): number => destination.activeConnections + 1;

/**
 * The smallest cost per weight among the eligible; the first in the list wins ties. Compared by
 * cross-multiplication: cost < 2^33 and weight < 2^31 leave doubles inexact only beyond 2^53, where a
 * tie-break in the last place is of no consequence.
 */
export function cheapest(
  destinations: readonly Destination[],
  cost: (destination: Destination) => number,
): Destination | undefined {
  let best: Destination | undefined;
  let bestCost = 0;
  for (let i = 0; i < destinations.length; i++) {
    const destination = destinations[i]!;
    if (!isEligible(destination)) continue;
    const itsCost = cost(destination);
    if (best === undefined || bestCost * destination.weight > itsCost * best.weight) {
      best = destination;
      bestCost = itsCost;
    }
  }
  return best;
}

/** Sum of the weights of the eligible. */
export function eligibleWeight(destinations: readonly Destination[]): number {
  let total = 0;
  for (let i = 0; i < destinations.length; i++) {
    const destination = destinations[i]!;
    if (isEligible(destination)) total += destination.weight;
  }
  return total;
}

/** A uniform whole number in [0, bound), to a relative error of bound / 2^32. */
export const randomBelow = (randomU32: RandomU32, bound: number): number =>
  Math.floor((randomU32() / 4_294_967_296) * bound);

/** @param a - may be 0, and so may b: the other is then the result */
export function greatestCommonDivisor(a: number, b: number): number {
  let high = a;
  let low = b;
  while (low !== 0) {
    const rest = high % low;
    high = low;
    low = rest;
  }
  return high;
}
