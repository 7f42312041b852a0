/** A virtual service: what clients reach, the scheduler that picks for it, its destinations, newest first. */

import type { SchedulerFlag, ServiceProtocol } from "./configuration.ts";
import type { Scheduler } from "./contracts/scheduler.ts";
import type { Destination } from "./destination.ts";
import { Traffic } from "./traffic.ts";

export class VirtualService {
  readonly protocolName: ServiceProtocol;
  /** IP protocol number. */
  readonly protocol: number;
  readonly family: 4 | 6;
  /** The virtual address in text, and in host-order words. */
  readonly address: string;
  readonly words: Int32Array;
  readonly port: number;
  scheduler: Scheduler;
  /** With which the scheduler was made. */
  schedulerFlags: readonly SchedulerFlag[] = [];
  /** Newest first: new ones are put at the head, as in IPVS; every list-walking scheduler depends on it. */
  readonly destinations: Destination[] = [];
  readonly traffic = new Traffic();
  /** Next service in the same bucket of the service table. */
  nextInBucket: VirtualService | undefined;

  constructor(
    protocolName: ServiceProtocol,
    protocol: number,
    family: 4 | 6,
    address: string,
    words: Int32Array,
    port: number,
    scheduler: Scheduler,
  ) {
    this.protocolName = protocolName;
    this.protocol = protocol;
    this.family = family;
    this.address = address;
    this.words = words;
    this.port = port;
    this.scheduler = scheduler;
  }
}
