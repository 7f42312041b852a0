import { describe, expect, it } from "vitest";
import type { InterfaceAddress } from "../netlink/interface-address.ts";
import type { Link } from "../netlink/link.ts";
import { MAIN_TABLE, type Route } from "../netlink/route.ts";
import { describe as text } from "./host-change.ts";
import type { HostConfig } from "./host-config.ts";
import type { HostFacts } from "./host-facts.ts";
import { findHostIssues } from "./host-issue.ts";
import { planHost } from "./host-plan.ts";
import { prefixOf } from "./prefix.ts";
import { clientMtu } from "./route-mtu.ts";
import type { Territory } from "./territory.ts";

const CONFIG: HostConfig = {
  device: "vs0",
  routingTable: 7683,
  rulePriority: 7683,
  announce: "auto",
  mtu: "auto",
  processor: "auto",
};
const VIP = "202.103.106.5";
const RIPS = ["172.16.0.2", "172.16.0.3"];

const LINKS: Link[] = ["lo", "outside", "inside", "vs0"].map((name, at) => ({
  index: at + 1,
  name,
  mtu: name === "inside" ? 1400 : 1500,
  group: 0,
  isUp: true,
  isLoopback: name === "lo",
  hasNeighbours: name !== "lo" && name !== "vs0",
  isEthernet: name !== "lo" && name !== "vs0",
  master: 0,
  hardwareAddress: new Uint8Array(6),
}));
const OUTSIDE = 2;
const INSIDE = 3;

const address = (text: string, prefixLength: number, device: number): InterfaceAddress => ({
  family: text.includes(":") ? 6 : 4,
  address: text,
  prefixLength,
  device,
});

const route = (destination: string, device: number, more: Partial<Route> = {}): Route => ({
  family: destination.includes(":") ? 6 : 4,
  type: "unicast",
  destination,
  prefixLength: destination.includes(":") ? 128 : 32,
  table: MAIN_TABLE,
  device,
  protocol: 2,
  ...more,
});

const ADDRESSES = [
  address("202.100.1.1", 24, OUTSIDE),
  address("172.16.0.1", 24, INSIDE),
  address("2001:db8:1::1", 64, OUTSIDE),
];

function facts(more: Partial<HostFacts> = {}): HostFacts {
  return {
    links: LINKS,
    addresses: ADDRESSES,
    routes: [],
    rules: [],
    proxies: [],
    routesTo: new Map(RIPS.map((rip) => [rip, route(rip, INSIDE)])),
    sysctls: new Map([
      ["net/ipv4/ip_forward", "0"],
      ["net/ipv4/conf/all/rp_filter", "0"],
      ["net/ipv4/conf/default/rp_filter", "0"],
    ]),
    ...more,
  };
}

const territory = (
  virtual: readonly string[],
  rips: readonly string[],
  more: Partial<Territory> = {},
): Territory => ({
  virtual: virtual.map(prefixOf),
  sources: [],
  servers: rips.map((address) => ({ address, sees: "all" })),
  behind: [],
  ...more,
});

const planned = (vips: string[], rips: string[], from: HostFacts, config = CONFIG): string[] =>
  planHost(config, territory(vips, rips), from).map(text);

describe("host plan", () => {
  it("is what the founding example needs, virtual addresses last", () => {
    expect(planned([VIP], RIPS, facts())).toEqual([
      "sysctl -w net.ipv4.ip_forward=1   # was 0",
      "sysctl -w net.ipv4.conf.vs0.forwarding=1",
      "sysctl -w net.ipv4.conf.vs0.accept_local=1",
      "ip link set dev vs0 group 7683",
      "ip rule add priority 7683 iif vs0 lookup main suppress_ifgroup 7683 protocol 183",
      "ip rule add priority 7684 iif vs0 unreachable protocol 183",
      "ip route add default dev vs0 table 7683 proto 183",
      "ip rule add priority 7685 from 172.16.0.2 lookup 7683 protocol 183",
      "ip rule add priority 7685 from 172.16.0.3 lookup 7683 protocol 183",
      "ip route add 202.103.106.5/32 dev vs0 proto 183",
    ]);
  });

  it("names every address once, however often it is in use", () => {
    expect(planned([VIP, VIP], [...RIPS, ...RIPS], facts())).toEqual(planned([VIP], RIPS, facts()));
  });

  it("answers for virtual addresses that lie in an interface's subnet", () => {
    const plan = planned(["202.100.1.100", "2001:db8:1::100"], [], facts());
    expect(plan).toContain("ip neighbour add proxy 202.100.1.100 dev outside protocol 183");
    expect(plan).toContain("ip -6 neighbour add proxy 2001:db8:1::100 dev outside protocol 183");
    expect(plan).toContain("sysctl -w net.ipv6.conf.all.proxy_ndp=1");
  });

  it.each([
    ["off", []],
    [["inside"], ["ip neighbour add proxy 202.100.1.100 dev inside protocol 183"]],
  ] as const)("answers where the operator says: %s", (announce, expected) => {
    const plan = planned(["202.100.1.100"], [], facts(), { ...CONFIG, announce });
    expect(plan.filter((line) => line.includes("proxy 2"))).toEqual(expected);
  });

  it("brings routers' ICMP only from where there are routers", () => {
    const routesTo = new Map([
      ["10.5.1.1", route("10.5.1.1", INSIDE, { gateway: "172.16.0.9" })],
      ["10.5.1.2", route("10.5.1.2", INSIDE, { gateway: "172.16.0.9" })],
      ["fd00::2", route("fd00::2", INSIDE, { gateway: "fe80::1" })],
    ]);
    const plan = planned([], ["10.5.1.1", "10.5.1.2", "fd00::2"], facts({ routesTo }));
    expect(plan.filter((line) => line.includes("ipproto"))).toEqual([
      "ip rule add priority 7685 iif inside ipproto icmp lookup 7683 protocol 183",
      "ip -6 rule add priority 7685 iif inside ipproto ipv6-icmp lookup 7683 protocol 183",
    ]);
  });

  it("routes source addresses and marked prefixes, and answers for them", () => {
    const wanted = territory(["202.100.1.64/31", "198.51.100.0/24"], [], { sources: ["172.16.0.250"] });
    const plan = planHost(CONFIG, wanted, facts()).map(text);
    expect(plan.slice(plan.findIndex((line) => line.includes("route add 2")))).toEqual([
      "ip route add 202.100.1.64/31 dev vs0 proto 183",
      "ip route add 198.51.100.0/24 dev vs0 proto 183",
      "ip route add 172.16.0.250/32 dev vs0 proto 183",
      "sysctl -w net.ipv4.neigh.outside.proxy_delay=0",
      "ip neighbour add proxy 202.100.1.64 dev outside protocol 183",
      "ip neighbour add proxy 202.100.1.65 dev outside protocol 183",
      "sysctl -w net.ipv4.neigh.inside.proxy_delay=0",
      "ip neighbour add proxy 172.16.0.250 dev inside protocol 183",
    ]);
  });

  it("tells neighbours of the first 256 addresses of a prefix", () => {
    const plan = planHost(CONFIG, territory(["2001:db8:1::1:0/112"], []), facts()).map(text);
    const proxies = plan.filter((line) => line.includes("neighbour"));
    expect(proxies).toHaveLength(256);
    expect(proxies.at(-1)).toContain("2001:db8:1::1:ff dev outside");
  });

  it.each([
    ["a subnet of its own", "172.16.0.0/24", [["172.16.0.0", 24, INSIDE]], ["from 172.16.0.0/24 iif inside"]],
    ["one host", "172.16.0.9", [["172.16.0.0", 24, INSIDE], ["0.0.0.0", 0, OUTSIDE]], ["from 172.16.0.9 iif inside"]],
    ["two subnets", "172.16.0.0/16", [["172.16.0.0", 24, INSIDE], ["172.16.1.0", 24, OUTSIDE], ["0.0.0.0", 0, OUTSIDE]], ["from 172.16.0.0/16 iif inside", "from 172.16.0.0/16 iif outside"]],
    ["what only the default route leads to", "10.0.0.0/8", [["172.16.0.0", 24, INSIDE], ["0.0.0.0", 0, OUTSIDE]], ["from 10.0.0.0/8 iif outside"]],
    ["nowhere", "10.0.0.0/8", [["172.16.0.0", 24, INSIDE]], []],
    ["the device itself", "10.0.0.0/8", [["10.1.1.1", 32, 4]], []],
  ] as const)("brings what hosts behind the director send: %s", (_, behind, routes, expected) => {
    const from = facts({ routes: routes.map(([to, prefixLength, device]) => route(to, device, { prefixLength })) });
    const plan = planHost(CONFIG, territory([], [], { behind: [prefixOf(behind)] }), from).map(text);
    const rules = plan.filter((line) => line.includes("priority 7685"));
    expect(rules).toEqual(expected.map((it) => `ip rule add priority 7685 ${it} lookup 7683 protocol 183`));
  }); // biome-ignore format: one case, one line

  it("brings the ICMP of routers on the way to hosts behind the director", () => {
    const routes = [route("10.5.0.0", INSIDE, { prefixLength: 16, gateway: "172.16.0.9" })];
    const wanted = territory([], [], { behind: [prefixOf("10.5.0.0/16")] });
    expect(planHost(CONFIG, wanted, facts({ routes })).map(text)).toContain(
      "ip rule add priority 7685 iif inside ipproto icmp lookup 7683 protocol 183",
    );
  });

  it("loosens the device's reverse path filter when it is strict everywhere", () => {
    const sysctls = new Map([
      ["net/ipv4/conf/all/rp_filter", "1"],
      ["net/ipv4/conf/vs0/rp_filter", "0"],
    ]);
    expect(planned([VIP], [], facts({ sysctls }))).toContain(
      "sysctl -w net.ipv4.conf.vs0.rp_filter=2   # was 0",
    );
  });

  it("keeps an IPv6 default route that came with a router advertisement", () => {
    const sysctls = new Map([
      ["net/ipv6/conf/outside/accept_ra", "1"],
      ["net/ipv6/conf/default/disable_ipv6", "0"],
    ]);
    const routes = [route("::", OUTSIDE, { prefixLength: 0, protocol: 9, gateway: "fe80::1" })];
    const plan = planned(["2001:db8:5::5"], [], facts({ sysctls, routes }));
    expect(plan.slice(0, 2)).toEqual([
      "sysctl -w net.ipv6.conf.outside.accept_ra=2   # was 1",
      "sysctl -w net.ipv6.conf.all.forwarding=1",
    ]);
  });

  it("switches IPv6 on for its device where new ones begin without", () => {
    const sysctls = new Map([["net/ipv6/conf/default/disable_ipv6", "1"]]);
    expect(planned(["2001:db8:5::5"], [], facts({ sysctls }))[0]).toBe(
      "sysctl -w net.ipv6.conf.vs0.disable_ipv6=0",
    );
  });

  it("remembers what the kernel changes along with forwarding", () => {
    const sysctls = new Map([
      ["net/ipv4/ip_forward", "0"],
      ["net/ipv4/conf/inside/forwarding", "1"],
      ["net/ipv4/conf/inside/rp_filter", "1"],
    ]);
    expect(planHost(CONFIG, territory([VIP], []), facts({ sysctls }))[0]).toMatchObject({
      alongside: { "net/ipv4/conf/inside/forwarding": "1" },
    });
  });

  it("does not make again what is there", () => {
    const from = facts({
      sysctls: new Map([
        ["net/ipv4/ip_forward", "1"],
        ["net/ipv4/conf/default/rp_filter", "0"],
        ["net/ipv4/conf/default/forwarding", "1"],
        ["net/ipv4/conf/vs0/accept_local", "1"],
      ]),
      links: LINKS.map((link) => ({ ...link, group: link.name === "vs0" ? 7683 : 0 })),
      routes: [route(VIP, 4), route("0.0.0.0", 4, { prefixLength: 0, table: 7683 })],
      rules: [
        { family: 4, priority: 7685, action: "lookup", table: 7683, from: "172.16.0.2", protocol: 183 },
      ],
    });
    expect(planned([VIP], RIPS, from)).toEqual([
      "ip rule add priority 7683 iif vs0 lookup main suppress_ifgroup 7683 protocol 183",
      "ip rule add priority 7684 iif vs0 unreachable protocol 183",
      "ip rule add priority 7685 from 172.16.0.3 lookup 7683 protocol 183",
    ]);
  });

  it("keeps routes into a device without carrier, where the host would not", () => {
    const ignoring = "net/ipv4/conf/default/ignore_routes_with_linkdown";
    const from = facts({ sysctls: new Map([[ignoring, "1"]]) });
    expect(planned([VIP], [], from)).toContain("sysctl -w net.ipv4.conf.vs0.ignore_routes_with_linkdown=0");
    const own = ignoring.replace("default", "vs0");
    const after = facts({ sysctls: new Map([[ignoring, "1"], [own, "0"]]) }); // biome-ignore format: two facts
    expect(planned([VIP], [], after)).not.toContainEqual(expect.stringContaining("linkdown"));
    expect(planned([VIP], [], facts())).not.toContainEqual(expect.stringContaining("linkdown"));
  });

  it("writes a dot inside an interface's name as sysctl does", () => {
    expect(text({ kind: "sysctl", path: "net/ipv4/conf/eth0.5/rp_filter", value: "0" })).toBe(
      "sysctl -w net.ipv4.conf.eth0/5.rp_filter=0",
    );
  });
});

describe("host issues", () => {
  const issues = (
    vips: string[],
    rips: string[],
    more: Partial<HostFacts> = {},
    config = CONFIG,
    wanted: Partial<Territory> = {},
  ) =>
    findHostIssues(config, territory(vips, rips, wanted), facts(more)).map(
      ({ severity, code }) => `${severity} ${code}`,
    );

  it.each([
    ["nothing", [VIP], ["172.16.0.2"], {}, []],
    ["a virtual address on an interface", ["202.100.1.1"], [], {}, ["error vip-configured"]],
    ["a virtual address routed elsewhere", [VIP], [], { routes: [route(VIP, INSIDE)] }, ["error vip-routed"]],
    ["the same, routed to us", [VIP], [], { routes: [route(VIP, 4)] }, []],
    ["IPv6 where there is none", ["2001:db8:5::5"], [], {}, ["error no-ipv6"]],
    ["somebody's routes in our table", [VIP], [], { routes: [route("10.0.0.0", INSIDE, { table: 7683, protocol: 3 })] }, ["error table-taken"]],
    ["a server without a route", [VIP], ["192.0.2.1"], {}, ["warning no-route"]],
    ["a server that is this host", [VIP], ["172.16.0.1"], { routesTo: new Map([["172.16.0.1", route("172.16.0.1", 1, { type: "local" })]]) }, ["warning server-is-local"]],
    ["a virtual address in the servers' subnet", ["172.16.0.100"], ["172.16.0.2"], {}, ["warning same-subnet"]],
    ["clients from the servers' side", [VIP], ["172.16.0.2"], { routes: [route("0.0.0.0", INSIDE, { prefixLength: 0 })] }, ["warning same-subnet"]],
    ["servers beside each other", [VIP], RIPS, {}, ["note hairpin"]],
  ] as const)("%s", (_, vips, rips, more, expected) => {
    expect(issues([...vips], [...rips], more)).toEqual(expected);
  }); // biome-ignore format: one case, one line

  const near = [route("172.16.0.0", INSIDE, { prefixLength: 24 })];
  it.each([
    ["a source address on an interface", { sources: ["172.16.0.1"] }, {}, ["error vip-configured"]],
    ["a source address routed elsewhere", { sources: ["10.9.9.9"] }, { routes: [route("10.9.9.9", INSIDE)] }, ["error vip-routed"]],
    ["an own address among marked ones", { virtual: ["172.16.0.0/30"] }, {}, ["warning vip-configured"]],
    ["marked addresses that are a subnet here", { virtual: ["172.16.0.0/24"] }, { routes: near }, ["warning vip-configured", "error vip-routed"]],
    ["more marked addresses than neighbours are told of", { virtual: ["2001:db8:1::1:0/112"] }, { sysctls: new Map([["net/ipv6/conf/all/forwarding", "1"]]) }, ["warning too-many-to-announce"]],
    ["hosts behind the director without a route", { behind: ["172.16.0.0/24"] }, {}, ["warning no-route"]],
    ["hosts behind the director", { behind: ["172.16.0.0/24"] }, { routes: near }, []],
    ["servers that see nobody's own address, beside clients", { virtual: ["172.16.0.100"], servers: [["172.16.0.2", "nobody"]] }, {}, []],
    ["servers that see no other server, beside each other", { servers: [["172.16.0.2", "clients"], ["172.16.0.3", "nobody"]] }, {}, []],
    ["one that sees all, beside another", { servers: [["172.16.0.2", "nobody"], ["172.16.0.3", "all"]] }, {}, ["note hairpin"]],
  ] as const)("%s", (_, wanted, more, expected) => {
    const { virtual = [], servers = [], behind = [] } = { virtual: undefined, servers: undefined, behind: undefined, ...wanted };
    const places = servers.map(([one, sees]) => ({ address: one, sees }));
    const rest = { ...wanted, virtual: virtual.map(prefixOf), servers: places, behind: behind.map(prefixOf) };
    expect(issues([], [], more, CONFIG, rest)).toEqual(expected);
  }); // biome-ignore format: one case, one line

  it("an interface that is not there", () => {
    expect(issues([VIP], [], {}, { ...CONFIG, announce: ["outside", "eth9"] })).toEqual([
      "error no-such-interface",
    ]);
  });
});

describe("client MTU", () => {
  const routes = [
    route("0.0.0.0", OUTSIDE, { prefixLength: 0 }),
    route("172.16.0.0", INSIDE, { prefixLength: 24 }),
    route("10.5.0.0", OUTSIDE, { prefixLength: 16, mtu: 1280 }),
    route(VIP, 4, { mtu: 576 }),
  ];

  it.each([
    ["the smallest of all routes", routes, [], 1280],
    ["not of those to servers", routes, ["10.5.1.1"], 1400],
    ["of a default route in any case", routes.slice(0, 2), ["172.16.0.2"], 1500],
    ["not known without routes", [], [], undefined],
  ])("is %s", (_, from, rips, expected) => {
    expect(clientMtu(facts({ routes: from }), "vs0", rips)).toBe(expected);
  });
});
