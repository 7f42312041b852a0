/** What the director asks of a scheduler. One object per virtual service, with the state of that service. */
import type { Flow } from "../../wire/flow.ts";
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
}

/** Makes the scheduler of one service. */
export type SchedulerFactory = () => Scheduler;

/** Schedulers by name. */
export type SchedulerRegistry = Readonly<Record<string, SchedulerFactory>>;
