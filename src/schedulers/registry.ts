/**
 * Every scheduler by its IPVS name. The director and the configuration know schedulers only through this
 * table.
 */
import type { SchedulerRegistry } from "../nat/contracts/scheduler.ts";
import { destinationHashing } from "./destination-hashing.ts";
import { exactMaglev } from "./exact-maglev.ts";
import { leastConnection } from "./least-connection.ts";
import { localityBasedLeastConnection } from "./locality-based-least-connection.ts";
import { maglevHashing } from "./maglev-hashing.ts";
import { neverQueue } from "./never-queue.ts";
import { noScheduler } from "./no-scheduler.ts";
import { replicatedLeastConnection } from "./replicated-least-connection.ts";
import { roundRobin } from "./round-robin.ts";
import { shortestExpectedDelay } from "./shortest-expected-delay.ts";
import { sourceHashing } from "./source-hashing.ts";
import { twoDistinctChoices } from "./two-distinct-choices.ts";
import { twoRandomChoices } from "./two-random-choices.ts";
import { weightedFailOver } from "./weighted-fail-over.ts";
import { weightedLeastConnection } from "./weighted-least-connection.ts";
import { weightedOverflow } from "./weighted-overflow.ts";
import { weightedRoundRobin } from "./weighted-round-robin.ts";

export const SCHEDULERS: SchedulerRegistry = {
  rr: roundRobin,
  wrr: weightedRoundRobin,
  lc: leastConnection,
  wlc: weightedLeastConnection,
  sed: shortestExpectedDelay,
  nq: neverQueue,
  sh: sourceHashing,
  dh: destinationHashing,
  mh: maglevHashing,
  lblc: localityBasedLeastConnection,
  lblcr: replicatedLeastConnection,
  fo: weightedFailOver,
  ovf: weightedOverflow,
  twos: twoRandomChoices,
  none: noScheduler,
  // Beyond IPVS.
  p2c: twoDistinctChoices,
  maglev: exactMaglev,
};
