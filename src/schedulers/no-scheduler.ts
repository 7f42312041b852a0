/** none: picks nobody, so that no connection is accepted; a service of IPVS without a scheduler. */
import type { Scheduler } from "../nat/contracts/scheduler.ts";

export const noScheduler = (): Scheduler => ({ name: "none", pick: () => undefined });
