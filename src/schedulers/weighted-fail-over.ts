/**
 * fo: everything to the eligible one of the highest weight; the first in the list wins ties (ip_vs_fo.c;
 * reference 3.12).
 */
import type { Scheduler } from "../nat/contracts/scheduler.ts";
import type { Destination } from "../nat/destination.ts";
import { isEligible } from "./selection.ts";

export const weightedFailOver = (): Scheduler => ({
  name: "fo",
  pick(destinations) {
    let best: Destination | undefined;
    for (let i = 0; i < destinations.length; i++) {
      const destination = destinations[i]!;
      if (isEligible(destination) && destination.weight > (best?.weight ?? 0)) best = destination;
    }
    return best;
  },
});
