/** What the API needs of the daemon: handed in by whoever composes the two. */

import type { Daemon, DaemonStatus, ReloadResult } from "../control/daemon.ts";
import type { TraceLine } from "../control/datapath-protocol.ts";
import type { ConnectionStatus } from "../control/director-status.ts";
import type { Edit, EditOutcome } from "../control/edit.ts";
import type { Estate } from "../control/predecessor.ts";
import type { TraceFilter } from "../control/trace-filter.ts";
import type { HostConfig } from "../datapath/tun/host/host-config.ts";
import type { DirectorConfig, ServiceKey } from "../nat/configuration.ts";

export interface ProcessStatus {
  readonly version: string;
  readonly pid: number;
  readonly configFile: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly reloadedAt?: string;
}

/** GET /v1/status */
export interface Status extends DaemonStatus {
  readonly daemon: ProcessStatus;
}

/** GET /v1/settings */
export interface Settings {
  readonly director: DirectorConfig["settings"];
  readonly host: HostConfig;
}

export interface Operations {
  readonly sync: Pick<Daemon["sync"], "start" | "stop" | "list">;
  status(): Promise<Status>;
  connections(limit: number): Promise<ConnectionStatus[]>;
  settings(): Settings;
  /** @throws never for an edit that cannot be made: that is its outcome. */
  edit(edits: readonly Edit[]): Promise<EditOutcome[]>;
  /** @throws ApiError when there is no such service. */
  zero(service?: ServiceKey): Promise<void>;
  trace(filter: TraceFilter, onLine: (line: TraceLine) => void): ReturnType<Daemon["trace"]>;
  /** Read the configuration file again. @throws ApiError when it has mistakes. */
  reload(options?: { readonly discardEdits?: boolean }): Promise<ReloadResult>;
  /** Begin to end. @param options.flush - keep no connection, and put the host back */
  stop(options: { readonly flush: boolean }): void;
  /**
   * Let another process take over, and end when it hung up.
   * @throws ApiError when that cannot be
   */
  handOver(pid: number, hungUp: Promise<unknown>): Promise<Estate>;
}

/** A refusal with a code for programs and a message for people. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly code: string;
  readonly details: unknown;

  constructor(status: number, code: string, message: string, details?: unknown) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

/** @param problem - what was found and wanted */
export const badRequest = (problem: string): ApiError => new ApiError(400, "bad-request", problem);
