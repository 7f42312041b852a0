/**
 * sh: one of 256 buckets by the client's address, with the flag sh-port also by its port (ip_vs_sh.c;
 * reference 3.10).
 *
 * Each destination has as many buckets in a row as its weight, round and round the list. Faithful in what
 * follows from that: weight 0 still has one bucket a round, whose clients are refused (unless sh-fallback);
 * with a total weight above 256 the oldest may have none; an edit moves many clients. maglev has none of
 * these.
 */
import type { Scheduler, SchedulerContext } from "../nat/contracts/scheduler.ts";
import type { Destination } from "../nat/destination.ts";
import type { Flow } from "../wire/flow.ts";
import { BUCKET_BITS, foldAddress, hash32 } from "./address-hash.ts";
import { isAnyEligible, isEligible } from "./selection.ts";

const BUCKET_COUNT = 1 << BUCKET_BITS;

export const sourceHashing = ({ flags }: Pick<SchedulerContext, "flags">): Scheduler => {
  const isPortHashed = flags.includes("sh-port");
  const isFallingBack = flags.includes("sh-fallback");
  /** Index in the list, by bucket. */
  const buckets = new Int32Array(BUCKET_COUNT);
  let isStale = true;

  const home = (flow: Flow): number =>
    hash32((foldAddress(flow.words, 0) + (isPortHashed ? flow.sourcePort : 0)) | 0, BUCKET_BITS);

  /** Index in the list, -1: nobody. */
  const pickOf = (destinations: readonly Destination[], bucket: number): number => {
    if (isStale) {
      fill(buckets, destinations);
      isStale = false;
    }
    const index = buckets[bucket]!;
    if (isEligible(destinations[index]!)) return index;
    if (!isFallingBack || !isAnyEligible(destinations)) return -1;
    // The kernel's search adds the hash to offsets that begin with the hash.
    for (let step = 0; step < BUCKET_COUNT; step++) {
      const other = buckets[(2 * bucket + step) % BUCKET_COUNT]!;
      if (isEligible(destinations[other]!)) return other;
    }
    return -1;
  };

  return {
    name: "sh",
    isPortHashed,
    pick(destinations, flow) {
      return destinations.length === 0 ? undefined : destinations[pickOf(destinations, home(flow))];
    },
    buckets: (destinations) =>
      Int32Array.from({ length: BUCKET_COUNT }, (_, bucket) =>
        destinations.length === 0 ? -1 : pickOf(destinations, bucket),
      ),
    // Filled at the next pick, so that a hundred servers added one by one cost one filling.
    changed() {
      isStale = true;
    },
  };
};

function fill(buckets: Int32Array, destinations: readonly Destination[]): void {
  let index = 0;
  let run = 0;
  for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
    buckets[bucket] = index;
    if (++run < destinations[index]!.weight) continue;
    index = (index + 1) % destinations.length;
    run = 0;
  }
}
