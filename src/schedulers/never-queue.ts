/** nq: the first eligible one without an active connection, else as sed (ip_vs_nq.c; reference 3.6). */
import type { Scheduler } from "../nat/contracts/scheduler.ts";
import { cheapest, delay, isEligible } from "./selection.ts";

export const neverQueue = (): Scheduler => ({
  name: "nq",
  pick(destinations) {
    for (let i = 0; i < destinations.length; i++) {
      const destination = destinations[i]!;
      if (destination.activeConnections === 0 && isEligible(destination)) return destination;
    }
    return cheapest(destinations, delay);
  },
});
