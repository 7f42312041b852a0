/** What the director asks of a scheduler. One object per virtual service, with the state of that service. */
import type { Milliseconds, RandomU32 } from "../../base/environment.ts";
import type { Flow } from "../../wire/flow.ts";
import type { IpvsSettings, SchedulerFlag } from "../configuration.ts";
import type { Destination } from "../destination.ts";

export interface Scheduler {
  readonly name: string;
  /**
   * A destination that may take one more connection, or undefined when none may. Called for the first packet of a
   * flow only; runs on the packet path: no allocation.
   * @param destinations - the service's, newest first
   */
  pick(destinations: readonly Destination[], flow: Flow): Destination | undefined;
  /**
   * The list changed or a destination was edited. A destination was added at the head of the list, or was at `index`
   * before it was removed, or is at `index`.
   */
  changed?(change: "added" | "removed" | "edited", destinations: readonly Destination[], index: number): void;
  /**
   * Where it is in its walk, for one whose picks depend on that and the list alone: they can be made ahead, and it can be put
   * back to where it was.
   */
  position?: number;
  /** Likewise for one that picks by Linux's hash_32 of the client's address: indexes in the list, -1 nobody. */
  buckets?(destinations: readonly Destination[]): Int32Array;
  /** The client's port is added to the address. */
  readonly isPortHashed?: boolean;
  /** The service is gone or has another scheduler: give back what was taken. Nothing is asked afterwards. */
  close?(): void;
  /** Of a user's own: why it was given up, with wlc in its place; undefined while it is in use. */
  readonly failure?: string | undefined;
  /** Of a user's own: picks that failed and were made by wlc. */
  readonly failureCount?: number;
}

/** What a scheduler may be told and may ask for. */
export interface SchedulerContext {
  /** The service's `schedulerFlags`. */
  readonly flags: readonly SchedulerFlag[];
  readonly randomU32: RandomU32;
  /** The director's clock: the time of the packet being judged. */
  now(): Milliseconds;
  /** The settings as they are now. */
  ipvs(): Pick<IpvsSettings, "lblc_expiration" | "lblcr_expiration">;
}

/** Makes the scheduler of one service. */
export type SchedulerFactory = (context: SchedulerContext) => Scheduler;

/** Schedulers by name. */
export type SchedulerRegistry = Readonly<Record<string, SchedulerFactory>>;
