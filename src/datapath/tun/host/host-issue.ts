/**
 * What would keep the director from working on this host, or surprise its operator: found before anything is changed, by
 * a pure function, each with what to do about it.
 */

import { MAIN_TABLE } from "../netlink/route.ts";
import { type HostConfig, ROUTE_PROTOCOL } from "./host-config.ts";
import type { HostFacts } from "./host-facts.ts";
import { deviceName } from "./host-plan.ts";
import { addressBits, contains, familyOf, formatPrefix, type Prefix } from "./prefix.ts";

export interface HostIssue {
  /** `error`: would not work at all. `warning`: some clients would not be served. `note`: by design of NAT. */
  readonly severity: "error" | "warning" | "note";
  readonly code:
    | "vip-configured"
    | "vip-routed"
    | "table-taken"
    | "no-ipv6"
    | "no-such-interface"
    | "no-route"
    | "server-is-local"
    | "same-subnet"
    | "hairpin";
  readonly message: string;
}

/** @param vips - virtual addresses, textual. @param rips - addresses of real servers. */
export function findHostIssues(
  config: HostConfig,
  vips: readonly string[],
  rips: readonly string[],
  facts: HostFacts,
): HostIssue[] {
  return [
    ...vips.flatMap((vip) => [...vipConfigured(vip, facts), ...vipRouted(config, vip, facts)]),
    ...missingIpv6(vips, facts),
    ...tableTaken(config, facts),
    ...missingInterfaces(config, facts),
    ...rips.flatMap((rip) => unreachableServer(rip, facts)),
    ...sharedSubnets(vips, rips, facts),
  ];
}

function vipConfigured(vip: string, facts: HostFacts): HostIssue[] {
  const own = facts.addresses.find(({ address }) => address === vip);
  if (own === undefined) return [];
  const device = deviceName(own.device, facts) ?? "an interface";
  const message =
    `The virtual address ${vip} is configured on ${device}, so the kernel takes its packets itself and the director ` +
    `never sees them; remove it: ip address del ${vip}/${own.prefixLength} dev ${device}`;
  return [{ severity: "error", code: "vip-configured", message }];
}

function vipRouted(config: HostConfig, vip: string, facts: HostFacts): HostIssue[] {
  const bits = addressBits(familyOf(vip));
  const other = facts.routes.find(
    (it) => it.type === "unicast" && it.destination === vip && it.prefixLength === bits && it.table === MAIN_TABLE &&
      deviceName(it.device, facts) !== config.device,
  ); // biome-ignore format: a condition reads as one
  if (other === undefined) return [];
  const device = deviceName(other.device, facts) ?? "elsewhere";
  const message = `The virtual address ${vip} is routed to ${device} already; remove that route: ip route del ${vip}`;
  return [{ severity: "error", code: "vip-routed", message }];
}

function missingIpv6(vips: readonly string[], facts: HostFacts): HostIssue[] {
  const vip = vips.find((it) => familyOf(it) === 6);
  if (vip === undefined || facts.sysctls.has("net/ipv6/conf/all/forwarding")) return [];
  const message = `The virtual address ${vip} needs IPv6, and the kernel has none (no /proc/sys/net/ipv6)`;
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

/** Subnets in which real servers are neighbours of each other or of clients: answers there do not pass the director. */
function sharedSubnets(vips: readonly string[], rips: readonly string[], facts: HostFacts): HostIssue[] {
  const subnets = new Map<string, { subnet: Prefix; device: number; servers: string[] }>();
  for (const rip of rips) {
    const way = facts.routesTo.get(rip);
    const subnet = facts.addresses.find((it) => it.device === way?.device && contains(it, rip));
    if (way === undefined || way.gateway !== undefined || subnet === undefined) continue;
    const name = formatPrefix(subnet);
    const entry = subnets.get(name) ?? { subnet, device: way.device, servers: [] };
    entry.servers.push(rip);
    subnets.set(name, entry);
  }
  return [...subnets].flatMap(([name, { subnet, device, servers }]) => {
    const issues: HostIssue[] = [];
    const list = servers.join(", ");
    const isClientSide = vips.some((vip) => contains(subnet, vip)) || hasDefaultRoute(device, subnet, facts);
    if (isClientSide)
      issues.push({
        severity: "warning",
        code: "same-subnet",
        message:
          `Real servers (${list}) are in ${name}, where clients come from as well: they answer clients in ${name} ` +
          "directly, past the director, and those connections hang. Put the servers into a subnet of their own",
      });
    if (servers.length > 1)
      issues.push({
        severity: "note",
        code: "hairpin",
        message:
          `Real servers (${list}) share ${name}: one that connects to its own virtual service cannot be served by ` +
          "another, because the answer goes past the director",
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
