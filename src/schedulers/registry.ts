/** Every scheduler by its IPVS name. The director and the configuration know schedulers only through this table. */
import type { SchedulerRegistry } from "../nat/contracts/scheduler.ts";
import { leastConnection } from "./least-connection.ts";
import { roundRobin } from "./round-robin.ts";
import { weightedLeastConnection } from "./weighted-least-connection.ts";
import { weightedRoundRobin } from "./weighted-round-robin.ts";

export const SCHEDULERS: SchedulerRegistry = {
  rr: roundRobin,
  wrr: weightedRoundRobin,
  lc: leastConnection,
  wlc: weightedLeastConnection,
};
