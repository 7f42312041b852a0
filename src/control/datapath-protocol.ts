/**
 * What passes between the main thread and the datapath thread, over a MessagePort: requests with an answer each, and
 * reports that nobody asked for. Plain data only. The main thread rings the loop's bell after every request, because the
 * datapath thread never runs an event loop.
 */
import type { FlowCacheStatus } from "../datapath/ebpf/flow-cache.ts";
import type { Obstacle } from "../datapath/ebpf/probe.ts";
import type { TablePlace } from "../datapath/tun/host/table-file.ts";
import type { DirectorConfig, ServiceKey } from "../nat/configuration.ts";
import type { TakeOver } from "../nat/take-over.ts";
import type { SyncCounters, SyncPart, SyncRole } from "../sync/director-sync.ts";
import type { Change } from "./director-control.ts";
import type { ConnectionStatus, DirectorStatus } from "./director-status.ts";
import type { FastPathInterface } from "./fast-path-interfaces.ts";
import type { OwnApplicationCode } from "./own-applications.ts";
import type { PluginCode } from "./scheduler-plugin.ts";
import type { TraceFilter } from "./trace-filter.ts";

/** What the thread is given to begin with. Descriptors belong to the process, so they can be passed as numbers. */
export interface DatapathBeginning {
  readonly device: {
    readonly name: string;
    readonly index: number;
    readonly descriptor: number;
    readonly offload: "none" | "checksum" | "tcp" | "udp";
  };
  /** Where connections outlive the process; undefined: nowhere. */
  readonly table: TablePlace | undefined;
  readonly settings: DirectorConfig["settings"];
  readonly fastPath: FastPathMode;
  /** Where the fast path outlives the process; undefined: nowhere. */
  readonly pinDirectory: string | undefined;
  /** Where the thread stays; undefined: wherever the scheduler puts it. */
  readonly processor: number | undefined;
}

export interface DeviceStatus {
  readonly name: string;
  readonly state: "up" | "down" | "gone";
  /** What the kernel hands over unsplit. */
  readonly offload: string;
  readonly receivedPackets: number;
  readonly sentPackets: number;
  readonly lostPackets: number;
  readonly refusedPackets: number;
  readonly unreadablePackets: number;
}

/** auto: where the kernel allows it; required: or do not run. */
export type FastPathMode = "auto" | "off" | "required";

/** `off` as configured; `unavailable`: every packet takes the slow path, for this reason. */
export type FastPathStatus =
  | { readonly state: "off" }
  | { readonly state: "unavailable"; readonly obstacle: Obstacle; readonly reason: string }
  | ({
      readonly state: "on";
      /** Why every packet comes to the director for now. */
      readonly suspendedBy: readonly string[];
      /** Services whose servers the kernel chooses now. */
      readonly delegated: number;
      /** Connections that began there. */
      readonly begun: number;
      /** Where it is, and where it should be. */
      readonly interfaces: readonly FastPathInterface[];
      /** How often an interface where it was went away, went down or was replaced. */
      readonly lostInterfaces: number;
    } & FlowCacheStatus);

export interface DatapathStatus {
  readonly director: DirectorStatus;
  readonly device: DeviceStatus;
  readonly fastPath: FastPathStatus;
  /** Mistakes of our own, caught at the edge of the loop. */
  readonly internalErrorCount: number;
}

/** Sizes and addresses of paths, as the main thread reads them from the kernel's routing. */
export interface Paths {
  /** Bytes of the largest packet towards each real server; 0: not known. */
  readonly serverMtus: readonly { readonly address: string; readonly mtuBytes: number }[];
  /** Bytes of the largest packet towards clients; 0: the routers in between say so themselves. */
  readonly clientMtuBytes: number;
  /** Interfaces of the host, and whether the fast path is to see what comes in there. */
  readonly links: readonly {
    readonly index: number;
    readonly name: string;
    readonly mtuBytes: number;
    readonly isSeen: boolean;
  }[];
  /** Changes with everything that ways depend on, the director's own routes and rules apart. */
  readonly routing: string;
  /** The director's own addresses towards the servers, at most one a family. */
  readonly ownAddresses: readonly string[];
}

/** Addresses that live connections of removed services and servers still need. */
export interface DrainingAddresses {
  readonly virtualAddresses: readonly string[];
  readonly serverAddresses: readonly string[];
}

/** What is to be done about the connections when the thread ends. */
export interface Departure {
  /** Entries that the next process could go on with. */
  readonly entries: number;
  /** Of these, connections over which something may still be sent. */
  readonly open: number;
}

/** Requests by name: parameter and answer; `unknown` where there is nothing to answer. */
export interface DatapathRequests {
  /** These schedulers of the user's own, and no others, from the next `apply` on; those at work begin anew if changed. */
  useSchedulers: { params: readonly PluginCode[]; result: unknown };
  /** These application modules of the user's own, and no others, for connections from now on. */
  useApplications: { params: readonly OwnApplicationCode[]; result: unknown };
  /** Make what runs what this says. The settings' limits (DirectorLimits) are those of the start. */
  apply: { params: DirectorConfig; result: Change[] };
  /** What was taken over from the process before; undefined: there was nothing. */
  takeOver: { params: undefined; result: TakeOver | undefined };
  /** The first configuration is applied: move packets from now on. */
  open: { params: undefined; result: unknown };
  departure: { params: undefined; result: Departure };
  draining: { params: undefined; result: DrainingAddresses };
  setPaths: { params: Paths; result: unknown };
  status: { params: undefined; result: DatapathStatus };
  connections: { params: { readonly limit: number }; result: ConnectionStatus[] };
  /** Of one service, or of everything; false: there is no such service. */
  zero: { params: ServiceKey | undefined; result: boolean };
  /** Pages of 4 KiB that the system could still give, for the automatic defences. */
  setAvailablePages: { params: number; result: unknown };
  startTrace: { params: { readonly id: number; readonly filter: TraceFilter }; result: unknown };
  stopTrace: { params: { readonly id: number }; result: unknown };
  /** Take part in synchronisation, in a role that the director does not play yet. */
  startSync: { params: SyncPart; result: unknown };
  stopSync: { params: { readonly role: SyncRole }; result: unknown };
  /** Send what is known, although its message is not full. To be asked for every second. */
  flushSync: { params: undefined; result: SyncCounters };
  receiveSync: { params: { readonly messages: readonly Uint8Array[] }; result: unknown };
  /** @param isKept - the fast path goes on by itself, for the next process */
  stop: { params: { readonly isKept: boolean }; result: unknown };
}
export type DatapathMethod = keyof DatapathRequests;

export type DatapathRequest = {
  [M in DatapathMethod]: {
    readonly id: number;
    readonly method: M;
    readonly params: DatapathRequests[M]["params"];
  };
}[DatapathMethod];

/** One packet as it came and as it went, as text. */
export interface TraceLine {
  /** Milliseconds since 1970. */
  readonly timeMs: number;
  readonly verdict: string;
  readonly before: string;
  /** Absent when nothing is sent. */
  readonly after?: string;
  /** What an application module changed in the payload. */
  readonly rewrites?: readonly { readonly before: string; readonly after: string }[];
  /** Matching packets not shown since the last line, because there were too many. */
  readonly lostCount: number;
}

export type DatapathReport =
  /** It is there, and waits for its beginning. */
  | { readonly kind: "loaded" }
  | { readonly kind: "answer"; readonly id: number; readonly result: unknown }
  | { readonly kind: "failure"; readonly id: number; readonly message: string }
  | { readonly kind: "trace"; readonly id: number; readonly line: TraceLine }
  | { readonly kind: "sync"; readonly message: Uint8Array }
  /** Something the operator should know, once; a note when nothing is wrong. */
  | { readonly kind: "warning" | "note"; readonly message: string }
  | { readonly kind: "internal-error"; readonly message: string; readonly suppressedCount: number }
  | { readonly kind: "ended"; readonly reason: "stopped" | "gone" };
