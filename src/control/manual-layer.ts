/**
 * What was changed by hand, as facts about services and servers: the layer above the configuration file. Plain data, so
 * that it can be kept in a file; merging it with a file's services is all that happens here.
 *
 * A fact says what differs from the file, value by value, so that the file may change everything else under it. A fact
 * about something that the file no longer has stays, without effect, until that comes back.
 */
import { isDeepStrictEqual } from "node:util";
import { seconds } from "../base/environment.ts";
import {
  type DestinationConfig,
  type PersistenceConfig,
  SCHEDULER_FLAGS,
  type ServiceConfig,
  type ServiceKey,
  type Timeouts,
} from "../nat/configuration.ts";
import { nameOf } from "../nat/virtual-service.ts";
import { formatEndpoint } from "./config/endpoint.ts";
import type { ServiceAttributes } from "./edit.ts";

export interface ManualLayer {
  /** In the order in which each was first touched. At most one a key. */
  readonly services: readonly ManualService[];
  readonly timeouts?: ManualTimeouts;
}

export interface ManualService {
  readonly key: ServiceKey;
  /** About the service itself; absent: only about its servers. */
  readonly own?: ServiceFact;
  /** At most one a server. Those that were added are in the order of their adding. */
  readonly servers: readonly ServerFact[];
}

/** `added`: it is there, whatever the file says. `changed`, `removed`: about what the file has. */
export type ServiceFact =
  | { readonly kind: "added"; readonly values: ServiceValues; readonly since: string }
  | { readonly kind: "changed"; readonly values: Patch<ServiceValues>; readonly since: string }
  | { readonly kind: "removed"; readonly since: string };

/** `added` is also what was removed and added again: it is newer than every server of the file. */
export type ServerFact = ServerKey &
  (
    | { readonly kind: "added"; readonly values: ServerValues; readonly since: string }
    | { readonly kind: "changed"; readonly values: Patch<ServerValues>; readonly since: string }
    | { readonly kind: "removed"; readonly since: string }
  );

/** Seconds, of those that were set. */
export interface ManualTimeouts {
  readonly tcp?: number;
  readonly tcpFin?: number;
  readonly udp?: number;
  readonly since: string;
}

export type ServerKey = Pick<DestinationConfig, "address" | "port">;
export type ServiceValues = Omit<ServiceAttributes, keyof ServiceKey>;
export type ServerValues = Omit<DestinationConfig, keyof ServerKey>;
/** The values that differ; null: absent by hand. */
export type Patch<T> = { readonly [Name in keyof T]?: T[Name] | null };

export const NOTHING_MANUAL: ManualLayer = { services: [] };

/** In the order in which they are shown. */
export const SERVICE_VALUES = [
  "scheduler", "schedulerFlags", "persistence", "isOnePacket", "lastPort", "removal", "fullNat", "proxyProtocol",
  "app", "appOptions",
] as const satisfies readonly (keyof ServiceValues)[]; // biome-ignore format: a list to read
export const SERVER_VALUES = [
  "weight",
  "upperThreshold",
  "lowerThreshold",
] as const satisfies readonly (keyof ServerValues)[];

export const isSameServer = (a: ServerKey, b: ServerKey): boolean =>
  a.port === b.port && a.address === b.address;

/** A service's values in the one form that can be compared: what is at its default is absent. */
export function serviceValues(service: ServiceAttributes): ServiceValues {
  const { scheduler, schedulerFlags = [], persistence, isOnePacket, lastPort, removal, fullNat, proxyProtocol, app, appOptions } =
    service; // biome-ignore format: a list to read
  return {
    scheduler,
    ...(schedulerFlags.length > 0 && {
      schedulerFlags: SCHEDULER_FLAGS.filter((flag) => schedulerFlags.includes(flag)),
    }),
    ...(persistence && { persistence: persistenceValue(persistence) }),
    ...(isOnePacket && { isOnePacket }),
    ...(lastPort !== undefined && { lastPort }),
    ...(removal && { removal }),
    ...(fullNat && { fullNat }),
    ...(proxyProtocol && { proxyProtocol }),
    ...(app && { app }),
    ...(appOptions && { appOptions }),
  };
}

/** A mask that tells every client from every other is the same as none. */
function persistenceValue({ timeout, netmask, engine }: PersistenceConfig): PersistenceConfig {
  const isPlain = netmask === undefined || netmask === "255.255.255.255" || netmask === "128";
  return { timeout, ...(!isPlain && { netmask }), ...(engine && { engine }) };
}

export const serverValues = ({
  weight,
  upperThreshold,
  lowerThreshold,
}: DestinationConfig): ServerValues => ({
  weight,
  upperThreshold,
  lowerThreshold,
});

export const serviceDifference = (from: ServiceAttributes, to: ServiceValues): Patch<ServiceValues> =>
  difference(SERVICE_VALUES, serviceValues(from), to);

export function serverDifference(from: ServerValues, to: ServerValues): Patch<ServerValues> {
  const patch = difference(SERVER_VALUES, from, to);
  if (patch.upperThreshold === undefined && patch.lowerThreshold === undefined) return patch;
  // They bound each other, so a file may not change one under the other.
  return { ...patch, upperThreshold: to.upperThreshold, lowerThreshold: to.lowerThreshold };
}

function difference<T extends object>(names: readonly (keyof T)[], from: T, to: T): Patch<T> {
  const differing = names.filter((name) => !isDeepStrictEqual(from[name], to[name]));
  return Object.fromEntries(differing.map((name) => [name, to[name] ?? null])) as Patch<T>;
}

export const isEmpty = (patch: object): boolean => Object.keys(patch).length === 0;

/** @returns `values` with the patch over it. */
export function patched<T extends object>(values: T, patch: Patch<T>): T {
  return Object.fromEntries(
    Object.entries({ ...values, ...patch }).filter(([, value]) => value !== null),
  ) as T;
}

/**
 * A service as it is with the facts over the file's.
 * @param file - undefined: the file does not have it
 * @returns undefined: there is none
 */
export function mergeService(
  file: ServiceConfig | undefined,
  { key, own, servers }: ManualService,
): ServiceConfig | undefined {
  if (own?.kind === "removed") return undefined;
  if (own?.kind === "added") {
    return { ...key, ...own.values, destinations: mergeServers(file?.destinations ?? [], servers) };
  }
  if (file === undefined) return undefined;
  const destinations = mergeServers(file.destinations, servers);
  if (own === undefined) return { ...file, destinations };
  return { ...key, ...patched(serviceValues(file), own.values), destinations };
}

function mergeServers(
  file: readonly DestinationConfig[],
  facts: readonly ServerFact[],
): readonly DestinationConfig[] {
  if (facts.length === 0) return file;
  const factOf = new Map(facts.map((fact) => [serverText(fact), fact]));
  const inPlace = file.flatMap((server): DestinationConfig | readonly DestinationConfig[] => {
    const fact = factOf.get(serverText(server));
    if (fact === undefined) return server;
    if (fact.kind !== "changed") return [];
    return { address: server.address, port: server.port, ...patched(serverValues(server), fact.values) };
  });
  const added = facts.flatMap((fact) =>
    fact.kind === "added" ? { address: fact.address, port: fact.port, ...fact.values } : [],
  );
  return [...inPlace, ...added];
}

export const serverText = ({ address, port }: ServerKey): string => formatEndpoint(address, port);

/** "tcp 192.0.2.1:80", "tcp 192.0.2.1:*", "fwmark 7", "fwmark6 7". */
export const serviceText = (key: ServiceKey): string => nameOf({ ...key, lastPort: undefined });

/** IPVS has one table of timeouts, secure_tcp or not; what is set by hand counts in both. */
export function mergeTimeouts(file: Timeouts, manual: ManualTimeouts | undefined): Timeouts {
  if (manual === undefined) return file;
  const { tcp, tcpFin, udp } = manual;
  const states = {
    ...(tcp !== undefined && { established: seconds(tcp) }),
    ...(tcpFin !== undefined && { finWait: seconds(tcpFin) }),
  };
  return {
    ...file,
    tcp: { ...file.tcp, ...states },
    secureTcp: { ...file.secureTcp, ...states },
    ...(udp !== undefined && { udp: seconds(udp) }),
  };
}
