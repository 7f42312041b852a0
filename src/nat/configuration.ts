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

/**
 * IPVS's scheduler flags: hash ports too; take another destination where the hashed one is not available. flag-1 to
 * flag-3 are for schedulers without names for theirs; none of IPVS's own reads them.
 */
export const SCHEDULER_FLAGS = [
  "sh-port", "sh-fallback", "mh-port", "mh-fallback", "flag-1", "flag-2", "flag-3",
] as const; // biome-ignore format: a list to read
export type SchedulerFlag = (typeof SCHEDULER_FLAGS)[number];

/**
 * What becomes of the connections of a server that was removed, at their next packet.
 * `drain`: they go on. `drop`: the client's packets are dropped in silence (IPVS). `reset`: both ends are told (TCP
 * reset, ICMP port unreachable). `expire`: the entry goes; a packet that may begin a connection begins one with another
 * server, any other is rejected (IPVS's expire_nodest_conn). `reschedule`: UDP as `expire`, everything else as `drain`.
 */
export const REMOVAL_POLICIES = ["drain", "drop", "reset", "expire", "reschedule"] as const;
export type RemovalPolicy = (typeof REMOVAL_POLICIES)[number];

/** Of an application module, for protocols that have addresses in their payload. Which there are is for `alg/` to say. */
export type ApplicationName = string;

/** A module of the operator's own, as far as those who name it have to know it. */
export interface OwnApplication {
  readonly name: ApplicationName;
  readonly transports: readonly ServiceProtocol[];
}

/** What a service or a masquerade rule may tell its module; every module obeys only what it knows. */
export interface ApplicationOptions {
  /** ftp: ports of passive transfers that go to the server of the control connection once that one is encrypted. */
  readonly passivePorts?: readonly PassivePorts[];
  /** rpc: the programs that clients may be told the ports of. Default: all. */
  readonly programs?: readonly number[];
  /** h323: who may call an endpoint that has registered. Default: peer, the gatekeeper's side. */
  readonly callers?: "peer" | "anyone";
  /** sip, rtsp: who may send to the media ports that are announced: the other side's address (default), or anyone. */
  readonly mediaFrom?: "peer" | "anyone";
}

export interface PassivePorts extends PortRange {
  /** Server they are for; default: every one. */
  readonly server?: string;
}

export interface PersistenceConfig {
  /** Life of a template after its last new connection, 1..2678400. */
  readonly timeout: Seconds;
  /** Clients that count as one: an IPv4 mask in dotted form, or an IPv6 prefix length as a number. Default: each its own. */
  readonly netmask?: string;
  /** sip: the Call-ID of a SIP request over UDP pins, rather than the client's address alone. */
  readonly engine?: "sip";
}

export interface FullNatConfig {
  /** Addresses that the servers see as the client; all of the service's family. The director's own, routed to it. */
  readonly sources: readonly string[];
  /** Which clients: all, or only the service's own servers, whose answers would not come back (hairpin). */
  readonly clients: "all" | "servers";
}

/** By what a service is found. At most one service has a given key. */
export interface ServiceKey {
  /** fwmark: any protocol, packets that the director's own mark rules gave `mark`. */
  readonly protocol: ServiceProtocol | "fwmark";
  /** Virtual IP address. Of a mark service "0.0.0.0" or "::", which says its family. */
  readonly address: string;
  /** 1..65535; 0: every port that no other service has. Of a mark service: 0. */
  readonly port: number;
  /** 1..4294967295, only of a mark service. */
  readonly mark?: number;
}

export interface ServiceConfig extends ServiceKey {
  /** Last port of a range that begins at `port`; absent: one port. */
  readonly lastPort?: number;
  /** Name in the scheduler registry: "rr", "wrr", ...; "none": no connection is accepted. */
  readonly scheduler: string;
  /** Default: none. */
  readonly schedulerFlags?: readonly SchedulerFlag[];
  readonly persistence?: PersistenceConfig;
  /** UDP: every packet is scheduled for itself and nothing is remembered (ipvsadm's -o). */
  readonly isOnePacket?: boolean;
  /** Default: the one of the settings. */
  readonly removal?: RemovalPolicy;
  readonly fullNat?: FullNatConfig;
  /** TCP: the server is told the client's address by a PROXY protocol version 2 header. */
  readonly proxyProtocol?: "v2";
  /** The module that reads the connections' payload and changes the addresses in it. Not with proxyProtocol. */
  readonly app?: ApplicationName;
  readonly appOptions?: ApplicationOptions;
  /** In the order they were configured. The director keeps them newest first, as IPVS does. */
  readonly destinations: readonly DestinationConfig[];
}

/** Addresses with a common beginning: "10.0.0.0/8". */
export type PrefixText = string;

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Gives packets a mark, for mark services. The first rule that fits a packet counts. */
export interface MarkRule {
  /** 1..4294967295 */
  readonly mark: number;
  /** Default: TCP, UDP and SCTP. */
  readonly protocol?: ServiceProtocol;
  /** Default: anywhere. */
  readonly source?: PrefixText;
  /** Virtual addresses; they are routed to the director. At most 65536 addresses. Says the rule's family. */
  readonly destination: PrefixText;
  /** Destination ports. Default: all. */
  readonly ports?: PortRange;
}

/** Connections that hosts behind the director open through it leave in the name of `sources`. First fit counts. */
export interface MasqueradeRule {
  /** Whose connections: prefixes of one family, normally the real servers. */
  readonly from: readonly PrefixText[];
  /** Where to; default: anywhere that is not a virtual address. */
  readonly to?: PrefixText;
  /** A virtual address, or a pool of addresses of the director's own. */
  readonly sources: readonly string[];
  /** Ports to take; default 1024..65535. A connection keeps its own port where that is free. */
  readonly ports?: PortRange;
  /** Modules for connections to the ports of their protocols. Default: none. */
  readonly apps?: readonly ApplicationName[];
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
  /** In place of `tcp` while secure_tcp is active. */
  readonly secureTcp: Readonly<Record<TcpState, Seconds>>;
  readonly udp: Seconds;
  readonly sctp: Readonly<Record<SctpState, Seconds>>;
}

/**
 * Linux IPVS's sysctls (net.ipv4.vs.*) under their own names, as far as they mean something here.
 * Defence modes: 0 off; 1 automatic (while memory is low); 3 always. (The kernel shows 2 for 1 while it is active.)
 */
export interface IpvsSettings {
  readonly am_droprate: number;
  /** Pages of 4 KiB: below this much available memory is low. So it is when the connection table is nearly full. */
  readonly amemthresh: number;
  /** 0: a reused client port goes on with the old connection; 1: a closed one begins anew. Bit 2 has no meaning in NAT. */
  readonly conn_reuse_mode: number;
  readonly drop_entry: DefenceMode;
  readonly drop_packet: DefenceMode;
  readonly secure_tcp: DefenceMode;
  /** 1: removed servers' connections expire (as removal policy `expire`, unless the service has its own), and a reused port
   * leaves a server of weight 0. */
  readonly expire_nodest_conn: 0 | 1;
  /** 1: templates of servers with weight 0 pin nobody. */
  readonly expire_quiescent_template: 0 | 1;
  /** Seconds a destination cache entry of lblc or lblcr lives unused. */
  readonly lblc_expiration: number;
  readonly lblcr_expiration: number;
  /** 1: a server's packet of no connection is answered with port unreachable. */
  readonly nat_icmp_send: 0 | 1;
  /** 0: rates stand still. */
  readonly run_estimation: 0 | 1;
  /** 1: an ICMP error about no connection may begin one. */
  readonly schedule_icmp: 0 | 1;
  /** 1: any TCP segment but RST may begin a connection. */
  readonly sloppy_tcp: 0 | 1;
  readonly sloppy_sctp: 0 | 1;
  /** 1: while the director is a backup, packets from clients are passed on as they are. */
  readonly backup_only: 0 | 1;
  /**
   * Threshold and period: others are told of a connection when its packets from the client, modulo the period, are as many
   * as the threshold, which is below the period. Period 0: when they are exactly as many.
   */
  readonly sync_threshold: readonly [threshold: number, period: number];
  /** Seconds: no news that moves the end of an entry's life by less. 0: any. */
  readonly sync_refresh_period: number;
  /** How often news is repeated within the refresh period. */
  readonly sync_retries: 0 | 1 | 2 | 3;
  /** 1: of persistent services others are told of the templates only. */
  readonly sync_persist_mode: 0 | 1;
  /** Of messages sent; both are understood. */
  readonly sync_version: 0 | 1;
  /** Bytes of the system's buffer for messages; 0: not asked for. */
  readonly sync_sock_size: number;
  /** Messages that may wait for the system to take them; more are lost. */
  readonly sync_qlen_max: number;
}
export type DefenceMode = 0 | 1 | 3;

/** What cannot change while the director runs: sizes of its tables. */
export interface DirectorLimits {
  /** Bound of the connection table. */
  readonly connectionsMax: number;
  /** Bytes of memory for fragments waiting for the rest of their datagram. */
  readonly fragmentBytesMax: number;
}

export interface DirectorSettings extends DirectorLimits {
  readonly timeouts: Timeouts;
  /** A packet to a VIP port without a service: answer (TCP RST, ICMP port unreachable) or say nothing. */
  readonly unserved: "reject" | "drop";
  /** Bound on replies the director makes itself (RST, ICMP, echo), per second, with a burst of the same size. */
  readonly repliesPerSecondMax: number;
  /** Virtual addresses answer echo requests. */
  readonly answerEcho: boolean;
  /** Connections of removed servers, of services that do not say. */
  readonly removal: RemovalPolicy;
  /** Seconds a datagram may wait for its last fragment. */
  readonly fragmentTimeout: Seconds;
  readonly ipvs: IpvsSettings;
}

export interface DirectorConfig {
  readonly services: readonly ServiceConfig[];
  readonly marks: readonly MarkRule[];
  readonly masquerade: readonly MasqueradeRule[];
  /** Modules besides the built-in ones that services and rules may name. Default: none. */
  readonly applications?: readonly OwnApplication[];
  readonly settings: DirectorSettings;
}
