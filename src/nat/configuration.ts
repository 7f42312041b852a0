/**
 * The director's desired state, as plain data: what `control/` parses from YAML and compares with what is running.
 * Addresses are textual (canonical form, IPv6 without brackets), because nothing here is on the packet path.
 */
import type { Seconds } from "../base/environment.ts";

export type ServiceProtocol = "tcp" | "udp" | "sctp";

export interface DestinationConfig {
  /** Real server address, same family as the service. */
  readonly address: string;
  /** 1..65535, or 0: the port the client asked for. */
  readonly port: number;
  /** 0..2147483647; 0 quiesces: existing connections go on, no new ones. */
  readonly weight: number;
  /** No new connections from this many (active + inactive) on; 0: no limit. */
  readonly upperThreshold: number;
  /** New connections again below this many; 0: below three quarters of the upper threshold. */
  readonly lowerThreshold: number;
}

/** IPVS's scheduler flags: hash ports too; take another destination where the hashed one is not available. */
export const SCHEDULER_FLAGS = ["sh-port", "sh-fallback", "mh-port", "mh-fallback"] as const;
export type SchedulerFlag = (typeof SCHEDULER_FLAGS)[number];

export interface ServiceConfig {
  readonly protocol: ServiceProtocol;
  /** Virtual IP address. */
  readonly address: string;
  /** 1..65535. */
  readonly port: number;
  /** Name in the scheduler registry: "rr", "wrr", "lc", "wlc". */
  readonly scheduler: string;
  /** Default: none. */
  readonly schedulerFlags?: readonly SchedulerFlag[];
  /** In the order they were configured. The director keeps them newest first, as IPVS does. */
  readonly destinations: readonly DestinationConfig[];
}

/** TCP states, in IPVS's order; the index is the code stored in the connection table. */
export const TCP_STATES = [
  "none", "established", "synSent", "synReceived", "finWait", "timeWait", "close", "closeWait", "lastAck", "listen",
  "synAck",
] as const; // biome-ignore format: one row reads as the table's header
export type TcpState = (typeof TCP_STATES)[number];

/** SCTP states, in IPVS's order; the index is the code stored in the connection table. */
export const SCTP_STATES = [
  "none", "init1", "init", "cookieSent", "cookieReplied", "cookieWait", "cookie", "cookieEchoed", "established",
  "shutdownSent", "shutdownReceived", "shutdownAckSent", "rejected", "closed",
] as const; // biome-ignore format: one row reads as the table's header
export type SctpState = (typeof SCTP_STATES)[number];

/** Seconds an entry lives after its last packet, by protocol and state. All in 1..2678400. */
export interface Timeouts {
  readonly tcp: Readonly<Record<TcpState, Seconds>>;
  readonly udp: Seconds;
  readonly sctp: Readonly<Record<SctpState, Seconds>>;
}

export interface DirectorSettings {
  readonly timeouts: Timeouts;
  /** Bound of the connection table. */
  readonly connectionsMax: number;
  /** A packet to a VIP port without a service: answer (TCP RST, ICMP port unreachable) or say nothing. */
  readonly unserved: "reject" | "drop";
  /** Bound on replies the director makes itself (RST, ICMP, echo), per second, with a burst of the same size. */
  readonly repliesPerSecondMax: number;
  /** Virtual addresses answer echo requests. */
  readonly answerEcho: boolean;
  /** Packets of connections whose destination was removed: go on, or be dropped as IPVS does by default. */
  readonly removedDestination: "drain" | "drop";
  /** Bytes of memory for fragments waiting for the rest of their datagram. */
  readonly fragmentBytesMax: number;
  /** Seconds a datagram may wait for its last fragment. */
  readonly fragmentTimeout: Seconds;
}

export interface DirectorConfig {
  readonly services: readonly ServiceConfig[];
  readonly settings: DirectorSettings;
}
