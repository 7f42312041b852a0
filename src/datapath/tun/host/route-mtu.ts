/**
 * How large a packet may be on its way to an address: what its route says, else its interface. The director has to know,
 * because a "fragmentation needed" of the kernel itself would speak of translated addresses.
 */
import { MAIN_TABLE } from "../netlink/route.ts";
import type { Rtnetlink } from "../netlink/rtnetlink.ts";
import type { HostFacts } from "./host-facts.ts";
import { contains, familyOf } from "./prefix.ts";

/** Bytes of the largest packet towards `destination`; undefined when there is no route. */
export function routeMtu(rtnetlink: Rtnetlink, destination: string): number | undefined {
  const route = rtnetlink.routeTo(familyOf(destination), destination);
  const link = rtnetlink.links().find(({ index }) => index === route?.device);
  if (route === undefined || link === undefined) return undefined;
  return Math.min(link.mtu, route.mtu ?? link.mtu);
}

/**
 * The largest packet that fits every way to clients, bytes: the smallest MTU of the main table's routes, except those to
 * the real servers' networks and the director's own. One number for all clients, so a client on a link with larger
 * frames is told the smaller size; none is ever told one too large.
 * @returns undefined when there are no such routes.
 */
export function clientMtu(facts: HostFacts, device: string, rips: readonly string[]): number | undefined {
  const mtus = facts.routes.flatMap((route) => {
    const link = facts.links.find(({ index }) => index === route.device);
    const prefix = { ...route, address: route.destination };
    const leadsToServer = route.prefixLength > 0 && rips.some((rip) => contains(prefix, rip));
    const isWay = route.table === MAIN_TABLE && route.type === "unicast" && !leadsToServer;
    if (!isWay || link === undefined || link.name === device || link.isLoopback) return [];
    return [Math.min(link.mtu, route.mtu ?? link.mtu)];
  });
  return mtus.length === 0 ? undefined : Math.min(...mtus);
}
