/** What the director tells about itself: plain data, made by the datapath thread, read by api, cli and tests. */

import type {
  DestinationConfig,
  IpvsSettings,
  ServiceConfig,
  ServiceProtocol,
} from "../nat/configuration.ts";
import type { ApplicationUsage } from "../nat/contracts/application.ts";
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
  /** Persistence templates that pin clients to it. */
  readonly persistentConnections: number;
  readonly isOverloaded: boolean;
  readonly counters: TrafficCounters;
  readonly rates: TrafficRates;
}

export interface ServiceStatus extends Omit<ServiceConfig, "destinations"> {
  readonly counters: TrafficCounters;
  readonly rates: TrafficRates;
  /** Why the scheduler from a plug-in was given up, with wlc in its place; absent: it works, or is none. */
  readonly schedulerFailure?: string;
  /** In the director's order: newest first. */
  readonly destinations: readonly DestinationStatus[];
}

/** One masquerade rule at work. */
export interface MasqueradeStatus {
  readonly connections: number;
  readonly counters: TrafficCounters;
  readonly rates: TrafficRates;
}

/** A defence against floods, by the name of its setting. */
export interface DefenceStatus {
  readonly name: keyof Pick<IpvsSettings, "drop_entry" | "drop_packet" | "secure_tcp">;
  /** 0 off; 1 automatic, not active; 2 automatic, active; 3 always: as the kernel shows it. */
  readonly mode: 0 | 1 | 2 | 3;
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
  /** By rule, in the order of the configuration. */
  readonly masquerade: readonly MasqueradeStatus[];
  readonly defences: readonly DefenceStatus[];
  /** Application modules, whether or not a service has them. */
  readonly applications: readonly ApplicationUsage[];
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface ConnectionStatus {
  /** "ip": a template of a mark service, for all protocols. "icmp": an echo exchange that is masqueraded. "gre": a
   * call of PPTP, with what each end calls it, and how that is shown to the other one, as ports. */
  readonly protocol: ServiceProtocol | "ip" | "icmp" | "gre";
  /** IPVS's name: "ESTABLISHED", "SYN_RECV", "UDP", ...; of templates NONE or ASSURED. */
  readonly state: string;
  /** Of templates: the client's network, port 0. */
  readonly client: Endpoint;
  /** Of a mark service's template: the mark as an IPv4 address, or in the first four bytes of an IPv6 one. */
  readonly virtual: Endpoint;
  readonly destination: Endpoint;
  /** Where the server sees the client, if not at its own address and port. */
  readonly source?: Endpoint;
  readonly isTemplate: boolean;
  /** True of an entry copied from another director by a synchronisation daemon. */
  readonly isSynchronised?: boolean;
  /** Of templates of a persistence engine: its name and what it pins by (SIP: the Call-ID). */
  readonly engine?: { readonly name: "sip"; readonly data: string };
  /** Whole seconds until the entry is removed if no packet comes, rounded up. */
  readonly expiresSeconds: number;
}
