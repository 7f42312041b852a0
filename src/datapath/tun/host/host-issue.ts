/**
 * What would keep the director from working on this host, or surprise its operator: found before anything is changed, by
 * a pure function, each with what to do about it.
 */

import { MAIN_TABLE } from "../netlink/route.ts";
import { type HostConfig, ROUTE_PROTOCOL } from "./host-config.ts";
import type { HostFacts } from "./host-facts.ts";
import { announcingDevices, deviceName, routesTowards } from "./host-plan.ts";
import { addressCount, contains, formatPrefix, isHost, overlaps, type Prefix, prefixOf } from "./prefix.ts";
import { ANNOUNCED_OF_PREFIX_MAX, type ServerPlace, type Territory } from "./territory.ts";

export interface HostIssue {
  /** `error`: would not work at all. `warning`: some clients would not be served. `note`: by design of NAT. */
  readonly severity: "error" | "warning" | "note";
  readonly code:
    | "vip-configured"
    | "vip-routed"
    | "table-taken"
    | "no-ipv6"
    | "no-such-interface"
    | "too-many-to-announce"
    | "no-route"
    | "server-is-local"
    | "same-subnet"
    | "hairpin";
  readonly message: string;
}

export function findHostIssues(config: HostConfig, territory: Territory, facts: HostFacts): HostIssue[] {
  const { virtual, sources, servers, behind } = territory;
  const claims = [
    ...virtual.map((prefix) => ({ noun: "virtual address", prefix })),
    ...sources.map((address) => ({ noun: "source address", prefix: prefixOf(address) })),
  ];
  return [
    ...claims.flatMap((claim) => [
      ...claimedConfigured(claim, facts),
      ...claimedRouted(config, claim, facts),
      ...unannounced(config, claim, facts),
    ]),
    ...missingIpv6(claims, facts),
    ...tableTaken(config, facts),
    ...missingInterfaces(config, facts),
    ...servers.flatMap(({ address }) => unreachableServer(address, facts)),
    ...behind.flatMap((prefix) => unreachablePrefix(config, prefix, facts)),
    ...sharedSubnets(virtual, servers, facts),
  ];
}

/** What the director claims for itself. */
interface Claim {
  readonly noun: string;
  readonly prefix: Prefix;
}

const nameOf = ({ noun, prefix }: Claim): string =>
  isHost(prefix) ? `The ${noun} ${prefix.address}` : `The prefix of ${noun}es ${formatPrefix(prefix)}`;

function claimedConfigured(claim: Claim, facts: HostFacts): HostIssue[] {
  const own = facts.addresses.find(({ address }) => contains(claim.prefix, address));
  if (own === undefined) return [];
  const device = deviceName(own.device, facts) ?? "an interface";
  if (!isHost(claim.prefix)) {
    const message =
      `${nameOf(claim)} has ${own.address} in it, which is configured on ${device}: ` +
      "the kernel takes packets to that one itself, and the director never sees them";
    return [{ severity: "warning", code: "vip-configured", message }];
  }
  const message =
    `${nameOf(claim)} is configured on ${device}, so the kernel takes its packets itself and the director ` +
    `never sees them; remove it: ip address del ${own.address}/${own.prefixLength} dev ${device}`;
  return [{ severity: "error", code: "vip-configured", message }];
}

function claimedRouted(config: HostConfig, claim: Claim, facts: HostFacts): HostIssue[] {
  const { prefix } = claim;
  const other = facts.routes.find(
    (it) => it.type === "unicast" && it.destination === prefix.address && it.prefixLength === prefix.prefixLength &&
      it.table === MAIN_TABLE && deviceName(it.device, facts) !== config.device,
  ); // biome-ignore format: a condition reads as one
  if (other === undefined) return [];
  const device = deviceName(other.device, facts) ?? "elsewhere";
  const remedy = isHost(prefix)
    ? `remove that route: ip route del ${prefix.address}`
    : "mark packets to fewer addresses of it, or remove that route";
  return [
    {
      severity: "error",
      code: "vip-routed",
      message: `${nameOf(claim)} is routed to ${device} already; ${remedy}`,
    },
  ];
}

function unannounced(config: HostConfig, claim: Claim, facts: HostFacts): HostIssue[] {
  const count = addressCount(claim.prefix);
  const [device] = announcingDevices(config, claim.prefix.address, facts);
  if (count <= ANNOUNCED_OF_PREFIX_MAX || device === undefined) return [];
  const message =
    `${nameOf(claim)} has ${count} addresses, and the director answers for the first ${ANNOUNCED_OF_PREFIX_MAX} of ` +
    `them on ${device}: route the prefix to the director where clients come from`;
  return [{ severity: "warning", code: "too-many-to-announce", message }];
}

function missingIpv6(claims: readonly Claim[], facts: HostFacts): HostIssue[] {
  const claim = claims.find(({ prefix }) => prefix.family === 6);
  if (claim === undefined || facts.sysctls.has("net/ipv6/conf/all/forwarding")) return [];
  const message = `${nameOf(claim)} needs IPv6, and the kernel has none (no /proc/sys/net/ipv6)`;
  return [{ severity: "error", code: "no-ipv6", message }];
}

function tableTaken({ routingTable }: HostConfig, facts: HostFacts): HostIssue[] {
  if (!facts.routes.some(({ table, protocol }) => table === routingTable && protocol !== ROUTE_PROTOCOL))
    return [];
  const message =
    `Routing table ${routingTable} has routes that are not vsnat's; ` +
    "set host.routingTable to the number of an unused one";
  return [{ severity: "error", code: "table-taken", message }];
}

function missingInterfaces({ announce }: HostConfig, facts: HostFacts): HostIssue[] {
  if (typeof announce === "string") return [];
  return announce
    .filter((name) => !facts.links.some((link) => link.name === name))
    .map((name) => ({
      severity: "error",
      code: "no-such-interface",
      message: `host.announce names ${name}, which is not an interface here: ${facts.links.map((it) => it.name).join(", ")}`,
    }));
}

function unreachableServer(rip: string, facts: HostFacts): HostIssue[] {
  const way = facts.routesTo.get(rip);
  if (way === undefined || (way.type !== "unicast" && way.type !== "local")) {
    const message = `There is no route to the real server ${rip}; its connections will fail until there is one`;
    return [{ severity: "warning", code: "no-route", message }];
  }
  if (way.type !== "local") return [];
  const message = `The real server ${rip} is an address of this host; a director's servers are other hosts`;
  return [{ severity: "warning", code: "server-is-local", message }];
}

function unreachablePrefix(config: HostConfig, prefix: Prefix, facts: HostFacts): HostIssue[] {
  if (routesTowards(config, prefix, facts).length > 0) return [];
  const message = `There is no route to ${formatPrefix(prefix)}; nothing from there is masqueraded until there is one`;
  return [{ severity: "warning", code: "no-route", message }];
}

/** Subnets in which real servers are neighbours of each other or of clients: answers there do not pass the director. */
function sharedSubnets(
  virtual: readonly Prefix[],
  servers: readonly ServerPlace[],
  facts: HostFacts,
): HostIssue[] {
  const subnets = new Map<string, { subnet: Prefix; device: number; servers: ServerPlace[] }>();
  for (const server of servers) {
    const way = facts.routesTo.get(server.address);
    const subnet = facts.addresses.find((it) => it.device === way?.device && contains(it, server.address));
    if (way === undefined || way.gateway !== undefined || subnet === undefined) continue;
    const name = formatPrefix(subnet);
    const entry = subnets.get(name) ?? { subnet, device: way.device, servers: [] };
    entry.servers.push(server);
    subnets.set(name, entry);
  }
  return [...subnets].flatMap(([name, { subnet, device, servers: all }]) => {
    const issues: HostIssue[] = [];
    const listed = (list: readonly ServerPlace[]) => list.map(({ address }) => address).join(", ");
    const direct = all.filter(({ sees }) => sees !== "nobody");
    const isClientSide = virtual.some((it) => overlaps(subnet, it)) || hasDefaultRoute(device, subnet, facts);
    if (isClientSide && direct.length > 0)
      issues.push({
        severity: "warning",
        code: "same-subnet",
        message:
          `Real servers (${listed(direct)}) are in ${name}, where clients come from as well: they answer clients in ${name} ` +
          "directly, past the director, and those connections hang. Put the servers into a subnet of their own, or give " +
          "the service fullNat",
      });
    if (all.length > 1 && all.some(({ sees }) => sees === "all"))
      issues.push({
        severity: "note",
        code: "hairpin",
        message:
          `Real servers (${listed(all)}) share ${name}: one that connects to its own virtual service cannot be served by ` +
          "another, because the answer goes past the director, unless the service has fullNat",
      });
    return issues;
  });
}

const hasDefaultRoute = (device: number, { family }: Prefix, facts: HostFacts): boolean =>
  facts.routes.some(
    (it) =>
      it.prefixLength === 0 &&
      it.family === family &&
      it.device === device &&
      it.table === MAIN_TABLE &&
      it.type === "unicast",
  );
