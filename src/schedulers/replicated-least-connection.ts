/**
 * lblcr: like lblc, but a destination address owns a set of servers, which grows when its members are crowded
 * and loses its most loaded member when it did not change for as long as an entry lives (ip_vs_lblcr.c; reference 3.8).
 */
import type { SchedulerFactory } from "../nat/contracts/scheduler.ts";
import type { Destination } from "../nat/destination.ts";
import { isCrowded, LocalityCache, NONE } from "./locality-cache.ts";
import { cheapest, isEligible, overhead } from "./selection.ts";

export const replicatedLeastConnection: SchedulerFactory = (context) => {
  const cache = new LocalityCache(context, () => context.ipvs().lblcr_expiration);
  return {
    name: "lblcr",
    pick(destinations, flow) {
      const now = context.now();
      cache.collect(now);
      const entry = cache.use(flow, now);
      if (entry !== NONE) {
        const least = leastLoaded(cache, entry);
        if (cache.isSettled(entry, now)) {
          const most = mostLoaded(cache, entry);
          if (most !== undefined) cache.leave(entry, most, now);
        }
        if (least !== undefined && !isCrowded(least, destinations)) return least;
      }
      const destination = cheapest(destinations, overhead);
      if (destination === undefined) return undefined;
      if (entry === NONE) cache.add(flow, destination, now);
      else cache.join(entry, destination, now);
      return destination;
    },
    changed(change, destinations) {
      if (change === "added") cache.readmit(destinations[0]!);
    },
  };
};

/** The member of the smallest overhead per weight; of two alike the newer. */
function leastLoaded(cache: LocalityCache, entry: number): Destination | undefined {
  let least: Destination | undefined;
  for (let member = cache.firstMember(entry); member !== NONE; member = cache.nextMember(member)) {
    const one = cache.destinationOf(member);
    if (!one.isAvailable || !isEligible(one)) continue;
    if (least === undefined || overhead(least) * one.weight > overhead(one) * least.weight) least = one;
  }
  return least;
}

/** The member of the greatest overhead per weight, available or not; of two alike the newer. */
function mostLoaded(cache: LocalityCache, entry: number): Destination | undefined {
  let most: Destination | undefined;
  for (let member = cache.firstMember(entry); member !== NONE; member = cache.nextMember(member)) {
    const one = cache.destinationOf(member);
    if (one.weight === 0) continue;
    if (most === undefined || overhead(most) * one.weight < overhead(one) * most.weight) most = one;
  }
  return most;
}
