/**
 * lblc: a destination address stays with the server that had it last; new addresses go by wlc (ip_vs_lblc.c;
 * reference 3.7). For caches behind one service with many virtual addresses: each address is fetched by one
 * cache only. Faithful in that the cached server's overload (thresholds) is not looked at.
 */
import type { SchedulerFactory } from "../nat/contracts/scheduler.ts";
import { isCrowded, LocalityCache, NONE } from "./locality-cache.ts";
import { cheapest, overhead } from "./selection.ts";

export const localityBasedLeastConnection: SchedulerFactory = (context) => {
  const cache = new LocalityCache(context, () => context.ipvs().lblc_expiration);
  return {
    name: "lblc",
    pick(destinations, flow) {
      const now = context.now();
      cache.collect(now);
      const entry = cache.use(flow, now);
      if (entry !== NONE) {
        const cached = cache.destinationOf(cache.firstMember(entry));
        if (cached.isAvailable && cached.weight > 0 && !isCrowded(cached, destinations)) return cached;
      }
      const destination = cheapest(destinations, overhead);
      if (destination === undefined) return undefined;
      if (entry === NONE) cache.add(flow, destination, now);
      else cache.replace(entry, destination);
      return destination;
    },
    changed(change, destinations) {
      if (change === "added") cache.readmit(destinations[0]!);
    },
  };
};
