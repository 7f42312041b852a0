/**
 * dh: one of 256 buckets by the packet's destination address, of use where one service has many virtual
 * addresses (ip_vs_dh.c; reference 3.9). Buckets go to the destinations in turn, whatever their weights; one
 * that may take no connection is not replaced by another: the connection is refused.
 */
import type { Scheduler } from "../nat/contracts/scheduler.ts";
import { BUCKET_BITS, foldAddress, hash32 } from "./address-hash.ts";
import { isEligible } from "./selection.ts";

export const destinationHashing = (): Scheduler => ({
  name: "dh",
  position: 0, // one virtual address has one pick
  // Bucket k belongs to element k modulo n of the list: there is nothing to store.
  pick(destinations, flow) {
    if (destinations.length === 0) return undefined;
    const bucket = hash32(foldAddress(flow.words, 4), BUCKET_BITS);
    const destination = destinations[bucket % destinations.length]!;
    return isEligible(destination) ? destination : undefined;
  },
});
