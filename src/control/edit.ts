/**
 * Changes of the running configuration made by hand (vsadm, API), one command of ipvsadm each. They form a layer of their
 * own above the configuration file: see layers.ts.
 */
import type { DestinationConfig, ServiceConfig, ServiceKey } from "../nat/configuration.ts";

/** A service without its servers, as ipvsadm's -A and -E describe it. */
export type ServiceAttributes = Omit<ServiceConfig, "destinations">;

export type Edit =
  /** A TCP service of port 21 gets the module ftp, as with IPVS when ip_vs_ftp is loaded, unless it is to have another or PROXY. */
  | { readonly kind: "add-service"; readonly service: ServiceAttributes }
  /**
   * Every attribute that ipvsadm knows anew, as its -E: what is absent returns to its default. What only vsnat knows
   * (removal, fullNat, proxyProtocol, app, lastPort) stays where it is absent, because ipvsadm's words cannot say it.
   */
  | { readonly kind: "edit-service"; readonly service: ServiceAttributes }
  | { readonly kind: "delete-service"; readonly service: ServiceKey }
  /** Delete all services. */
  | { readonly kind: "clear" }
  | { readonly kind: "add-server"; readonly service: ServiceKey; readonly server: DestinationConfig }
  | { readonly kind: "edit-server"; readonly service: ServiceKey; readonly server: DestinationConfig }
  | {
      readonly kind: "delete-server";
      readonly service: ServiceKey;
      readonly server: Pick<DestinationConfig, "address" | "port">;
    }
  /** Seconds; 0 leaves one as it is. TCP is the state ESTABLISHED, tcpFin FIN_WAIT. */
  | { readonly kind: "set-timeouts"; readonly tcp: number; readonly tcpFin: number; readonly udp: number };

/** As Linux IPVS answers (ip_vs_ctl.c as described by the project's reference, section 1.8). */
export type EditErrorCode =
  /** The service or server exists. */
  | "EEXIST"
  /** There is no such service. */
  | "ESRCH"
  /** There is no such server, scheduler or persistence engine. */
  | "ENOENT"
  /** Thresholds the wrong way round. */
  | "ERANGE"
  /** Anything else that cannot be: an address nobody can have, another family than the service's. */
  | "EINVAL";

export interface EditFailure {
  readonly code: EditErrorCode;
  /** What was attempted, found and wanted. */
  readonly message: string;
}

/** One outcome an edit, in order; undefined: done. */
export type EditOutcome = EditFailure | undefined;

/** Something that was changed by hand, as `vsnat status` shows it. */
export interface ManualChange {
  /** "service tcp 192.0.2.1:80", "server 10.0.0.1:80 of tcp 192.0.2.1:80" or "timeouts". */
  readonly subject: string;
  /** "added", "removed", "weight 1 -> 5, scheduler wlc -> rr". */
  readonly what: string;
  /** ISO 8601. */
  readonly since: string;
  /** Why it has no effect at present: what it is about is gone from the file. It applies again once that comes back. */
  readonly dormantBecause?: string;
}
