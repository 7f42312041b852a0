/** A user's own scheduler: what its module is given and has to give. docs/schedulers.md tells it to people. */
import type { SchedulerPlugin } from "./config/config.ts";

/** A real server of the service, as it is at this moment. One object for as long as the server is in the service. */
export interface SchedulerServer {
  /** Canonical text, IPv6 without brackets. */
  readonly address: string;
  /** 0: the port the client asked for. */
  readonly port: number;
  /** 0 quiesces. */
  readonly weight: number;
  readonly activeConnections: number;
  readonly inactiveConnections: number;
  /** Its upper threshold was reached. */
  readonly isOverloaded: boolean;
  /** It may be picked: it has a weight and is not overloaded. */
  readonly isEligible: boolean;
}

/** The connection that wants a server. Good until `pick` returns. */
export interface NewConnection {
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly clientAddress: string;
  readonly clientPort: number;
  readonly virtualAddress: string;
  readonly virtualPort: number;
  /** Milliseconds on a clock that only goes forward. */
  readonly nowMs: number;
  /** What the service's configuration asks of the scheduler, such as "flag-1". */
  readonly schedulerFlags: readonly string[];
}

/** What the module exports. Each service runs it afresh, so its variables are the service's own. */
export interface SchedulerModule {
  /**
   * @param servers - newest first, frozen
   * @returns one that is eligible, or nothing: the client is refused
   */
  pick(servers: readonly SchedulerServer[], connection: NewConnection): SchedulerServer | undefined;
  /** Before the first pick, and the first after servers came, went or were edited. */
  changed?(servers: readonly SchedulerServer[]): void;
}

/** A module on its way to the datapath thread. */
export interface PluginCode extends SchedulerPlugin {
  /** JavaScript. */
  readonly code: string;
}
