/**
 * wlc, the default: the smallest overhead per weight among the eligible; the first in the list wins ties
 * (ip_vs_wlc.c; reference 3.4).
 */
import type { Scheduler } from "../nat/contracts/scheduler.ts";
import { cheapest, overhead } from "./selection.ts";

export const weightedLeastConnection = (): Scheduler => ({
  name: "wlc",
  pick: (destinations) => cheapest(destinations, overhead),
});
