/**
 * The library: the director as a pure core, for simulation, tests and programs of one's own. The daemon, its datapath
 * and its API are not part of it.
 *
 * @example
 *   const director = new Director({ settings, schedulers: SCHEDULERS, randomU32: seededRandom(1), hopChange: -1, now });
 *   for (const service of services) director.addService(service);
 *   const verdict = director.receive(packet, now); // edited in place
 */

export { APPLICATIONS } from "./alg/registry.ts";
export {
  type Milliseconds,
  milliseconds,
  type RandomU32,
  type Seconds,
  seconds,
} from "./base/environment.ts";
export { seededRandom } from "./base/seeded-random.ts";
export type {
  ApplicationModuleExports,
  ModuleAnnouncement,
  ModuleDialogue,
  ModuleLineRule,
  ModuleSide,
} from "./control/application-plugin.ts";
export { type Config, type ConfigResult, parseConfig } from "./control/config/config.ts";
export { type ConfigIssue, formatIssue } from "./control/config/issue.ts";
export { DirectorControl } from "./control/director-control.ts";
export type * from "./control/director-status.ts";
export type { NewConnection, SchedulerModule, SchedulerServer } from "./control/scheduler-plugin.ts";
export type * from "./nat/configuration.ts";
export type { Scheduler, SchedulerRegistry } from "./nat/contracts/scheduler.ts";
export { Director, type DirectorOptions } from "./nat/director.ts";
export { DROP_REASONS, type DropReason } from "./nat/drop-reason.ts";
export { DEFAULT_TIMEOUTS, IPVS_TIMEOUTS } from "./nat/timeouts.ts";
export type { Verdict } from "./nat/verdict.ts";
export { SCHEDULERS } from "./schedulers/registry.ts";
export { Packet } from "./wire/packet.ts";
export { formatPacket } from "./wire/text.ts";
