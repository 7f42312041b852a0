/**
 * sed: the smallest (active connections + 1) per weight; inactive ones do not count, so that with short
 * connections all go to the heaviest (ip_vs_sed.c; reference 3.5).
 */
import type { Scheduler } from "../nat/contracts/scheduler.ts";
import { cheapest, delay } from "./selection.ts";

export const shortestExpectedDelay = (): Scheduler => ({
  name: "sed",
  pick: (destinations) => cheapest(destinations, delay),
});
