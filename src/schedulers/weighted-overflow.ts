/**
 * ovf: the highest weight among the eligible whose active connections are not more than their weight; nobody
 * when all are past it (ip_vs_ovf.c; reference 3.13). The test lets one more in than the weight says, as in
 * IPVS; UDP entries are never active and so never overflow.
 */
import type { Scheduler } from "../nat/contracts/scheduler.ts";
import type { Destination } from "../nat/destination.ts";
import { isEligible } from "./selection.ts";

export const weightedOverflow = (): Scheduler => ({
  name: "ovf",
  pick(destinations) {
    let best: Destination | undefined;
    for (let i = 0; i < destinations.length; i++) {
      const destination = destinations[i]!;
      const { weight, activeConnections } = destination;
      if (!isEligible(destination) || activeConnections > weight) continue;
      if (weight > (best?.weight ?? 0)) best = destination;
    }
    return best;
  },
});
