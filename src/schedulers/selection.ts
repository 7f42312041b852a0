/** What several schedulers share: who may be chosen, and the cheapest of them. */
import type { Destination } from "../nat/destination.ts";

/** Neither quiesced nor overloaded. */
export const isEligible = (destination: Destination): boolean =>
  destination.weight > 0 && !destination.isOverloaded;

/** IPVS's measure of load: an inactive connection counts 1/256 of an active one. */
export const overhead = (destination: Destination): number =>
  destination.activeConnections * 256 + destination.inactiveConnections;
