/**
 * p2c, beyond IPVS: the less loaded of two different destinations drawn by weight (Mitzenmacher, "The power
 * of two choices in randomized load balancing", 2001).
 *
 * Against wlc: a new, empty server is not flooded, and directors that do not know each other's connections do
 * not all run to the same one. Against twos: the two are never the same, no place in the list is favoured,
 * and with two servers it is exactly least loaded. Load is overhead per weight; of two alike the first drawn
 * is taken, so idle servers share by weight.
 */
import type { SchedulerContext, SchedulerFactory } from "../nat/contracts/scheduler.ts";
import type { Destination } from "../nat/destination.ts";
import { eligibleWeight, isEligible, overhead, randomBelow } from "./selection.ts";

export const twoDistinctChoices: SchedulerFactory = ({ randomU32 }: SchedulerContext) => ({
  name: "p2c",
  pick(destinations) {
    const total = eligibleWeight(destinations);
    const first = drawn(destinations, randomBelow(randomU32, total), undefined);
    if (first === undefined || total === first.weight) return first;
    const second = drawn(destinations, randomBelow(randomU32, total - first.weight), first);
    if (second === undefined) return first;
    return overhead(first) * second.weight > overhead(second) * first.weight ? second : first;
  },
});

/**
 * The eligible one in whose share of the weights, laid end to end in list order, the number lies.
 * @param except - left out
 */
function drawn(
  destinations: readonly Destination[],
  number: number,
  except: Destination | undefined,
): Destination | undefined {
  let rest = number;
  for (let i = 0; i < destinations.length; i++) {
    const destination = destinations[i]!;
    if (destination === except || !isEligible(destination)) continue;
    rest -= destination.weight;
    if (rest < 0) return destination;
  }
  return undefined;
}
