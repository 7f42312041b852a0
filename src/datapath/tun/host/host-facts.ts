/** What the host looks like now: all that the plan, the traps and the MTUs are computed from. */
import { readFileSync } from "node:fs";
import type { InterfaceAddress } from "../netlink/interface-address.ts";
import type { Link } from "../netlink/link.ts";
import type { ProxyNeighbour } from "../netlink/proxy.ts";
import type { Route } from "../netlink/route.ts";
import type { Rtnetlink } from "../netlink/rtnetlink.ts";
import type { Rule } from "../netlink/rule.ts";
import { familyOf } from "./prefix.ts";

export interface HostFacts {
  readonly links: readonly Link[];
  readonly addresses: readonly InterfaceAddress[];
  /** Of all tables, both families. */
  readonly routes: readonly Route[];
  readonly rules: readonly Rule[];
  readonly proxies: readonly ProxyNeighbour[];
  /** How packets to each address asked about would go; absent: no route. */
  readonly routesTo: ReadonlyMap<string, Route>;
  /** Path below /proc/sys to value; absent: no such sysctl, or not readable. */
  readonly sysctls: ReadonlyMap<string, string>;
}

/** Of every interface and of `all` and `default`. */
const BOTH_CONF = ["forwarding", "ignore_routes_with_linkdown"];
const IPV4_CONF = [...BOTH_CONF, "rp_filter", "accept_local", "accept_redirects"];
const IPV6_CONF = [...BOTH_CONF, "accept_ra", "proxy_ndp", "disable_ipv6"];

/** @param targets - addresses to find routes to. */
export function readHostFacts(rtnetlink: Rtnetlink, targets: readonly string[]): HostFacts {
  const links = rtnetlink.links();
  const routesTo = new Map<string, Route>();
  for (const target of targets) {
    const route = rtnetlink.routeTo(familyOf(target), target);
    if (route !== undefined) routesTo.set(target, route);
  }
  return {
    links,
    addresses: rtnetlink.addresses(),
    routes: [...rtnetlink.routes(4), ...rtnetlink.routes(6)],
    rules: [...rtnetlink.rules(4), ...rtnetlink.rules(6)],
    proxies: [...rtnetlink.proxies(4), ...rtnetlink.proxies(6)],
    routesTo,
    sysctls: readSysctls(links.map(({ name }) => name)),
  };
}

function readSysctls(devices: readonly string[]): Map<string, string> {
  const paths = ["net/ipv4/ip_forward"];
  for (const device of ["all", "default", ...devices]) {
    paths.push(...IPV4_CONF.map((name) => `net/ipv4/conf/${device}/${name}`));
    paths.push(...IPV6_CONF.map((name) => `net/ipv6/conf/${device}/${name}`));
    paths.push(`net/ipv4/neigh/${device}/proxy_delay`, `net/ipv6/neigh/${device}/proxy_delay`);
  }
  const values = new Map<string, string>();
  for (const path of paths) {
    const value = readSysctl(path);
    if (value !== undefined) values.set(path, value);
  }
  return values;
}

/** @param path - below /proc/sys. @returns undefined when there is no such sysctl or it may not be read. */
export function readSysctl(path: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${path}`, "utf8").trim();
  } catch {
    return undefined;
  }
}
