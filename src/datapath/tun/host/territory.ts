/**
 * Whose packets the director needs: together with the looks of the host, all that the host's set-up is computed from.
 */
import { addressesIn, formatPrefix, isHost, type Prefix, prefixOf } from "./prefix.ts";

export interface Territory {
  /** Where clients send to: virtual addresses, and the destinations of mark rules. */
  readonly virtual: readonly Prefix[];
  /** Addresses lent to others: servers see clients at them, the outside the hosts behind the director. None of `virtual`. */
  readonly sources: readonly string[];
  readonly servers: readonly ServerPlace[];
  /** Hosts that open connections through the director in its name. */
  readonly behind: readonly Prefix[];
}

export interface ServerPlace {
  readonly address: string;
  /**
   * Whom it sees at their own addresses, so that it needs the director as its gateway: all clients, all but the servers
   * of its services, or nobody.
   */
  readonly sees: "all" | "clients" | "nobody";
}

/** Neighbours are told of so many addresses of a prefix, its first ones. */
export const ANNOUNCED_OF_PREFIX_MAX = 256;

/** Everything that is to be routed to the director, each once. */
export function attracted({ virtual, sources }: Territory): Prefix[] {
  const prefixes = [...virtual, ...sources.map(prefixOf)];
  return [...new Map(prefixes.map((prefix) => [formatPrefix(prefix), prefix])).values()];
}

/** What neighbours may ask for. */
export const announced = (territory: Territory): string[] => [
  ...new Set(
    attracted(territory).flatMap((prefix) =>
      isHost(prefix) ? [prefix.address] : addressesIn(prefix, ANNOUNCED_OF_PREFIX_MAX),
    ),
  ),
];

/** Addresses whose ways the set-up depends on. */
export const targets = ({ servers, behind }: Territory): string[] => [
  ...new Set([...servers, ...behind].map(({ address }) => address)),
];
