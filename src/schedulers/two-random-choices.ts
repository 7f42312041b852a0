/**
 * twos: two draws by weight, the less loaded of the two (ip_vs_twos.c; reference 3.14).
 *
 * IPVS draws from 0 to the total weight inclusive, which favours the first in the list by one part in total +
 * 1, and both draws may fall on the same one; both are kept. p2c is the same idea without the two.
 */
import type { SchedulerContext, SchedulerFactory } from "../nat/contracts/scheduler.ts";
import type { Destination } from "../nat/destination.ts";
import { eligibleWeight, isEligible, overhead, randomBelow } from "./selection.ts";

export const twoRandomChoices: SchedulerFactory = ({ randomU32 }: SchedulerContext) => ({
  name: "twos",
  pick(destinations) {
    const total = eligibleWeight(destinations);
    if (total === 0) return undefined;
    const first = reached(destinations, randomBelow(randomU32, total + 1));
    const second = reached(destinations, randomBelow(randomU32, total + 1));
    if (first === undefined || second === undefined) return undefined;
    return second.weight * overhead(first) > first.weight * overhead(second) ? second : first;
  },
});

/** The eligible one at which the weights, summed in list order, come up to the number. */
function reached(destinations: readonly Destination[], number: number): Destination | undefined {
  let rest = number;
  for (let i = 0; i < destinations.length; i++) {
    const destination = destinations[i]!;
    if (!isEligible(destination)) continue;
    rest -= destination.weight;
    if (rest <= 0) return destination;
  }
  return undefined;
}
