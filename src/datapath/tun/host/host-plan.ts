/**
 * What has to be so on this host for packets to come to the director and back: a pure function of the configuration and
 * of what the host looks like.
 *
 *     to VIP, to source ─► main: VIP dev vs0                                        ─► director
 *     from real server  ─► from RIP lookup T: default dev vs0                       ─► director
 *     from behind       ─► from PREFIX iif <server side> lookup T                   ─► director
 *     ICMP of a router  ─► iif <server side> ipproto icmp lookup T                  ─► director
 *     from director     ─► iif vs0 lookup main, nothing that leads into vs0 again   ─► wire
 *
 * All protocols of a real server come to the director, because later fragments have no ports; it passes on unchanged
 * what is not its business. The local table comes before all of this, so what is addressed to this host is never caught,
 * and link-local neighbour discovery is never forwarded, hence never caught either.
 *
 * A prefix behind the director normally has an address of this host in it. What this host sends itself is none of the
 * director's business, hence the interface in those rules.
 *
 * The rules for routers' ICMP exist only where a real server is behind a router: a rule that names a protocol makes the
 * kernel dissect every packet it routes. The second rule of vs0 ends what would otherwise go round for ever, because the
 * director gives back the hop a packet costs: a packet to a virtual address that the director no longer knows.
 */
import { isDeepStrictEqual } from "node:util";
import type { Family } from "../../../wire/address.ts";
import { MAIN_TABLE, PROTOCOL_RA, type Route } from "../netlink/route.ts";
import type { Rule } from "../netlink/rule.ts";
import {
  changeKey,
  type HostChange,
  type ProxyChange,
  type RouteChange,
  type SysctlChange,
} from "./host-change.ts";
import { DEVICE_GROUP, type HostConfig, ROUTE_PROTOCOL } from "./host-config.ts";
import type { HostFacts } from "./host-facts.ts";
import { addressBits, contains, familyOf, formatPrefix, isHost, overlaps, type Prefix } from "./prefix.ts";
import { announced, attracted, type Territory } from "./territory.ts";

const ICMP = 1;
const ICMPV6 = 58;
const LOOSE_REVERSE_PATH = "2";

/**
 * The changes still to be made, in the order in which to make them: virtual addresses attract packets last. Undo them in
 * the opposite order.
 */
export function planHost(config: HostConfig, territory: Territory, facts: HostFacts): HostChange[] {
  return wantedOnHost(config, territory, facts).filter((change) => !isInPlace(change, facts));
}

/** Everything that has to be so, whether it is already or not. */
export function wantedOnHost(config: HostConfig, territory: Territory, facts: HostFacts): HostChange[] {
  const changes = wanted(config, territory, facts);
  return [...new Map(changes.map((change) => [changeKey(change), change])).values()];
}

function wanted(config: HostConfig, territory: Territory, facts: HostFacts): HostChange[] {
  const prefixes = attracted(territory);
  const everybody = [...prefixes, ...territory.servers, ...territory.behind];
  const families = ([4, 6] as const).filter((family) =>
    everybody.some(({ address }) => familyOf(address) === family),
  );
  return [
    ...families.flatMap((family) => forwarding(config, family, facts)),
    { kind: "link-group", device: config.device, group: DEVICE_GROUP },
    ...families.flatMap((family) => [...deviceRules(config, family), defaultRoute(config, family)]),
    ...senderRules(config, territory, facts),
    ...prefixes.map((prefix) => route(config, prefix, MAIN_TABLE)),
    ...announced(territory).flatMap((address) => announcement(config, address, facts)),
  ];
}

/** While no process is there the device has no carrier, and what leads into it must not be led elsewhere. */
function routesWithoutCarrier(device: string, family: Family, facts: HostFacts): SysctlChange[] {
  const path = (name: string): string => `net/ipv${family}/conf/${name}/ignore_routes_with_linkdown`;
  const isIgnored = ["default", device].some((name) => facts.sysctls.get(path(name)) === "1");
  return isIgnored ? [sysctl(path(device), "0", facts)] : [];
}

function forwarding({ device }: HostConfig, family: Family, facts: HostFacts): SysctlChange[] {
  if (family === 6) {
    return [
      ...routesWithoutCarrier(device, 6, facts),
      // Containers often begin with IPv6 switched off for new interfaces.
      sysctl(`net/ipv6/conf/${device}/disable_ipv6`, "0", facts),
      ...acceptRouterAdvertisements(facts),
      sysctl("net/ipv6/conf/all/forwarding", "1", facts, /^net\/ipv6\/conf\/[^/]+\/forwarding$/),
      sysctl(`net/ipv6/conf/${device}/forwarding`, "1", facts),
    ];
  }
  // The larger of the two values counts. Loose mode is enough: what the director writes has sources from everywhere.
  const isStrict = facts.sysctls.get("net/ipv4/conf/all/rp_filter") === "1";
  const alongside = /^net\/ipv4\/conf\/([^/]+\/forwarding|all\/accept_redirects)$/;
  return [
    ...routesWithoutCarrier(device, 4, facts),
    sysctl("net/ipv4/ip_forward", "1", facts, alongside),
    sysctl(`net/ipv4/conf/${device}/forwarding`, "1", facts),
    sysctl(`net/ipv4/conf/${device}/rp_filter`, isStrict ? LOOSE_REVERSE_PATH : "0", facts),
    // This host's own "fragmentation needed" about packets to clients comes back from the director translated for the
    // server, with this host's address as source: without this the kernel takes it for a forgery, a silent black hole.
    sysctl(`net/ipv4/conf/${device}/accept_local`, "1", facts),
  ];
}

/**
 * A router does not listen to router advertisements unless told to (accept_ra 2): switching forwarding on would take
 * this host's IPv6 default route away.
 */
function acceptRouterAdvertisements(facts: HostFacts): SysctlChange[] {
  const isLearnt = ({ family, prefixLength, protocol }: Route) =>
    family === 6 && prefixLength === 0 && protocol === PROTOCOL_RA;
  const devices = new Set(facts.routes.filter(isLearnt).map(({ device }) => deviceName(device, facts)));
  return [...devices].flatMap((device) => {
    const path = `net/ipv6/conf/${device}/accept_ra`;
    const value = facts.sysctls.get(path);
    return value === "1" || value === "2" ? [sysctl(path, "2", facts)] : [];
  });
}

function deviceRules({ device, rulePriority }: HostConfig, family: Family): HostChange[] {
  const common = { family, inputDevice: device, protocol: ROUTE_PROTOCOL };
  return [
    rule({
      ...common,
      priority: rulePriority,
      action: "lookup",
      table: MAIN_TABLE,
      suppressGroup: DEVICE_GROUP,
    }),
    rule({ ...common, priority: rulePriority + 1, action: "unreachable", table: 0 }),
  ];
}

const defaultRoute = (config: HostConfig, family: Family): RouteChange =>
  route(config, { family, address: family === 4 ? "0.0.0.0" : "::", prefixLength: 0 }, config.routingTable);

/** What servers and hosts behind the director send, and what routers between them and here say. */
function senderRules(config: HostConfig, { servers, behind }: Territory, facts: HostFacts): HostChange[] {
  const common = {
    priority: config.rulePriority + 2,
    action: "lookup",
    table: config.routingTable,
    protocol: ROUTE_PROTOCOL,
  } as const;
  const ways = behind.map((prefix) => ({ prefix, routes: routesTowards(config, prefix, facts) }));
  const known = servers.flatMap(({ address }) => facts.routesTo.get(address) ?? []);
  const routed = [...known, ...ways.flatMap(({ routes }) => routes)].flatMap(
    ({ family, gateway, device }) => {
      const inputDevice = gateway === undefined ? undefined : deviceName(device, facts);
      return inputDevice === undefined ? [] : [{ family, inputDevice }];
    },
  );
  return [
    ...servers.map(({ address: from }) => rule({ family: familyOf(from), ...common, from })),
    ...ways.flatMap(({ prefix, routes }) =>
      namesOf(routes, facts).map((inputDevice) =>
        rule({ family: prefix.family, ...common, from: sourceText(prefix), inputDevice }),
      ),
    ),
    ...routed.map(({ family, inputDevice }) =>
      rule({ family, ...common, inputDevice, ipProtocol: family === 4 ? ICMP : ICMPV6 }),
    ),
  ];
}

/**
 * Routes of the main table towards hosts of a prefix, hence where packets from them come in: those inside the prefix, or
 * the closest around it.
 */
export function routesTowards(config: HostConfig, prefix: Prefix, facts: HostFacts): Route[] {
  const near = facts.routes.filter(
    (it) =>
      it.table === MAIN_TABLE &&
      it.type === "unicast" &&
      it.family === prefix.family &&
      deviceName(it.device, facts) !== config.device &&
      overlaps({ ...it, address: it.destination }, prefix),
  );
  const inside = near.filter((it) => it.prefixLength >= prefix.prefixLength);
  const closest = Math.max(...near.map((it) => it.prefixLength));
  return inside.length > 0 ? inside : near.filter((it) => it.prefixLength === closest);
}

const namesOf = (routes: readonly Route[], facts: HostFacts): string[] => [
  ...new Set(routes.flatMap(({ device }) => deviceName(device, facts) ?? [])),
];

const sourceText = (prefix: Prefix): string => (isHost(prefix) ? prefix.address : formatPrefix(prefix));

/** Answering for an address of the director's on shared segments, and without the delay the kernel puts before it by default. */
function announcement(config: HostConfig, vip: string, facts: HostFacts): HostChange[] {
  const family = familyOf(vip);
  return announcingDevices(config, vip, facts).flatMap((device): HostChange[] => {
    const proxy: ProxyChange = { kind: "proxy", family, address: vip, device, protocol: ROUTE_PROTOCOL };
    if (family === 4) return [sysctl(`net/ipv4/neigh/${device}/proxy_delay`, "0", facts), proxy];
    return [
      sysctl(`net/ipv6/neigh/${device}/proxy_delay`, "0", facts),
      // Of `all`, because the kernel asks that one before it takes a probe addressed to the virtual address itself.
      sysctl("net/ipv6/conf/all/proxy_ndp", "1", facts),
      proxy,
    ];
  });
}

/** Names of the interfaces on which to answer for an address of the director's. */
export function announcingDevices(config: HostConfig, vip: string, facts: HostFacts): string[] {
  if (config.announce === "off") return [];
  if (config.announce !== "auto") return [...config.announce];
  const isShared = ({ device, family, prefixLength }: HostFacts["addresses"][number]) =>
    prefixLength < addressBits(family) &&
    facts.links.some(({ index, hasNeighbours }) => index === device && hasNeighbours);
  const near = facts.addresses.filter((address) => isShared(address) && contains(address, vip));
  return [...new Set(near.map(({ device }) => deviceName(device, facts)))].filter(
    (name) => name !== undefined,
  );
}

/** Is it so already, by whomever? */
export function isInPlace(change: HostChange, facts: HostFacts): boolean {
  switch (change.kind) {
    case "sysctl":
      // A device yet to be made begins with the defaults.
      return (facts.sysctls.get(change.path) ?? defaultOf(change.path, facts)) === change.value;
    case "device":
      return facts.links.some(({ name, index }) => name === change.device && index === change.index);
    case "link-group":
      return facts.links.some(({ name, group }) => name === change.device && group === change.group);
    case "route":
      return facts.routes.some(
        (it) =>
          it.type === "unicast" &&
          it.family === change.family &&
          it.destination === change.destination &&
          it.prefixLength === change.prefixLength &&
          it.table === change.table &&
          deviceName(it.device, facts) === change.device,
      );
    case "rule":
      return facts.rules.some((it) => isDeepStrictEqual(it, change.rule));
    case "proxy":
      return facts.proxies.some(
        (it) => it.address === change.address && deviceName(it.device, facts) === change.device,
      );
  }
}

const defaultOf = (path: string, facts: HostFacts): string | undefined =>
  facts.sysctls.get(path.replace(/\/conf\/[^/]+\//, "/conf/default/"));

export const deviceName = (index: number, facts: HostFacts): string | undefined =>
  facts.links.find((link) => link.index === index)?.name;

/** @param alongside - the sysctls that the kernel changes along with this one. */
function sysctl(path: string, value: string, facts: HostFacts, alongside?: RegExp): SysctlChange {
  const before = facts.sysctls.get(path);
  const others = [...facts.sysctls].filter(([other]) => other !== path && alongside?.test(other));
  return {
    kind: "sysctl",
    path,
    value,
    ...(before === undefined ? {} : { before }),
    ...(others.length === 0 ? {} : { alongside: Object.fromEntries(others) }),
  };
}

const rule = (it: Rule): HostChange => ({ kind: "rule", rule: it });

function route({ device }: HostConfig, prefix: Prefix, table: number): RouteChange {
  const { family, address: destination, prefixLength } = prefix;
  return { kind: "route", family, destination, prefixLength, table, device, protocol: ROUTE_PROTOCOL };
}
