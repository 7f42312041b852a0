/** lc: the smallest overhead among the eligible; the first in the list wins ties (ip_vs_lc.c; reference 3.3). */
import type { Scheduler } from "../nat/contracts/scheduler.ts";
import type { Destination } from "../nat/destination.ts";
import { isEligible, overhead } from "./selection.ts";

export const leastConnection = (): Scheduler => ({
  name: "lc",
  pick(destinations) {
    let best: Destination | undefined;
    let bestOverhead = 0;
    for (let i = 0; i < destinations.length; i++) {
      const destination = destinations[i]!;
      if (!isEligible(destination)) continue;
      const itsOverhead = overhead(destination);
      if (best === undefined || itsOverhead < bestOverhead) {
        best = destination;
        bestOverhead = itsOverhead;
      }
    }
    return best;
  },
});
