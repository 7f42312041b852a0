/** What the director tells about itself: plain data, made by the datapath thread, read by api, cli and tests. */

import type { DestinationConfig, ServiceConfig, ServiceProtocol } from "../nat/configuration.ts";
import type { DropReason } from "../nat/drop-reason.ts";

/** Totals since start or since they were last zeroed; bytes count IP packets, headers included. */
export interface TrafficCounters {
  readonly connections: number;
  readonly inPackets: number;
  readonly outPackets: number;
  readonly inBytes: number;
  readonly outBytes: number;
}

/** Smoothed per-second values of the 2-second estimator (IPVS's CPS, InPPS, OutPPS, InBPS, OutBPS; bytes, not bits). */
export type TrafficRates = TrafficCounters;

export interface DestinationStatus extends DestinationConfig {
  readonly activeConnections: number;
  readonly inactiveConnections: number;
  readonly isOverloaded: boolean;
  readonly counters: TrafficCounters;
  readonly rates: TrafficRates;
}

export interface ServiceStatus extends Omit<ServiceConfig, "destinations"> {
  readonly counters: TrafficCounters;
  readonly rates: TrafficRates;
  /** In the director's order: newest first. */
  readonly destinations: readonly DestinationStatus[];
}

export interface DirectorStatus {
  readonly connections: { readonly count: number; readonly max: number; readonly createdCount: number };
  /** Packets by verdict kind. */
  readonly verdicts: Readonly<Record<"to-server" | "to-client" | "pass" | "reply" | "held" | "drop", number>>;
  /** Only reasons that occurred. */
  readonly drops: Readonly<Partial<Record<DropReason, number>>>;
  readonly counters: TrafficCounters;
  readonly rates: TrafficRates;
  readonly services: readonly ServiceStatus[];
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface ConnectionStatus {
  readonly protocol: ServiceProtocol;
  /** IPVS's name: "ESTABLISHED", "SYN_RECV", "UDP", ... */
  readonly state: string;
  readonly client: Endpoint;
  readonly virtual: Endpoint;
  readonly destination: Endpoint;
  /** Whole seconds until the entry is removed if no packet comes, rounded up. */
  readonly expiresSeconds: number;
}
