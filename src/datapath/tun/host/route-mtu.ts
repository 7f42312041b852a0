/**
 * How large a packet may be on its way to an address: what its route says, else its interface. The director has to know,
 * because a "fragmentation needed" of the kernel itself would speak of translated addresses.
 */
import { MAIN_TABLE } from "../netlink/route.ts";
import type { Rtnetlink } from "../netlink/rtnetlink.ts";
import type { HostFacts } from "./host-facts.ts";
import { deviceName } from "./host-plan.ts";
import { familyOf, type Prefix } from "./prefix.ts";

/** Bytes of the largest packet towards `destination`; undefined when there is no route. */
export function routeMtu(rtnetlink: Rtnetlink, destination: string): number | undefined {
  const route = rtnetlink.routeTo(familyOf(destination), destination);
  const link = rtnetlink.links().find(({ index }) => index === route?.device);
  if (route === undefined || link === undefined) return undefined;
  return Math.min(link.mtu, route.mtu ?? link.mtu);
}

export interface PrefixMtu extends Prefix {
  readonly mtu: number;
}

/** The same for every route of the main table but the director's own: longest prefix first. */
export function routeMtus(facts: HostFacts, device: string): PrefixMtu[] {
  const links = new Map(facts.links.map((link) => [link.index, link]));
  return facts.routes
    .filter(
      (it) => it.table === MAIN_TABLE && it.type === "unicast" && deviceName(it.device, facts) !== device,
    )
    .flatMap(({ family, destination, prefixLength, mtu, device: index }) => {
      const link = links.get(index);
      if (link === undefined) return [];
      return [{ family, address: destination, prefixLength, mtu: Math.min(link.mtu, mtu ?? link.mtu) }];
    })
    .sort((a, b) => b.prefixLength - a.prefixLength);
}
