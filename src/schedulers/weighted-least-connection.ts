/**
 * wlc, the default: the smallest overhead per weight among the eligible; the first in the list wins ties (ip_vs_wlc.c;
 * reference 3.4). Compared by cross-multiplication: overhead < 2^33 and weight < 2^31 leave doubles inexact only beyond
 * 2^53, where a tie-break in the last place is of no consequence.
 */
import type { Scheduler } from "../nat/contracts/scheduler.ts";
import type { Destination } from "../nat/destination.ts";
import { isEligible, overhead } from "./selection.ts";

export const weightedLeastConnection = (): Scheduler => ({
  name: "wlc",
  pick(destinations) {
    let best: Destination | undefined;
    let bestOverhead = 0;
    for (let i = 0; i < destinations.length; i++) {
      const destination = destinations[i]!;
      if (!isEligible(destination)) continue;
      const itsOverhead = overhead(destination);
      if (best === undefined || bestOverhead * destination.weight > itsOverhead * best.weight) {
        best = destination;
        bestOverhead = itsOverhead;
      }
    }
    return best;
  },
});
