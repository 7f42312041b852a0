/** rr: in turn, weights above zero ignored (net/netfilter/ipvs/ip_vs_rr.c as described by the reference, 3.1). */
import type { Scheduler } from "../nat/contracts/scheduler.ts";
import { isEligible } from "./selection.ts";

export const roundRobin = (): Scheduler => {
  /** Index of the destination used last; -1: the head of the list, before the first. */
  let last = -1;
  return {
    name: "rr",
    get position() {
      return last;
    },
    set position(position) {
      last = position;
    },
    pick(destinations) {
      const count = destinations.length;
      for (let step = 1; step <= count; step++) {
        const index = (last + step) % count;
        const destination = destinations[index]!;
        if (isEligible(destination)) {
          last = index;
          return destination;
        }
      }
      return undefined;
    },
    changed(change, _destinations, index) {
      if (change === "added" && last >= 0) last++;
      // The predecessor takes the place of a removed one, so nobody is skipped.
      if (change === "removed" && index <= last) last--;
    },
  };
};
