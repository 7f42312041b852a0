import { describe, expect, it } from "vitest";
import { IPVS_DEFAULTS } from "../../nat/ipvs-settings.ts";
import { DEFAULT_TIMEOUTS, IPVS_TIMEOUTS } from "../../nat/timeouts.ts";
import { SCHEDULERS } from "../../schedulers/registry.ts";
import { parseConfig } from "./config.ts";
import { formatIssue } from "./issue.ts";

const FOUNDING = `services:
  - listen: tcp://202.103.106.5:80
    scheduler: wrr
    servers:
      - { address: 172.16.0.2:80, weight: 1 }
      - { address: 172.16.0.3:8000, weight: 2 }
  - listen: tcp://202.103.106.5:21
    app: ftp
    servers: [172.16.0.3:21]
`;

const accepted = (text: string) => {
  const result = parseConfig(text);
  if (!result.ok) throw new Error(result.issues.map((issue) => formatIssue("x", "error", issue)).join("\n"));
  return result;
};
const refused = (text: string) => {
  const result = parseConfig(text);
  if (result.ok) throw new Error("accepted");
  return result.issues.map(
    ({ path, line, column, found, wanted }) => `${line}:${column} ${path}: ${found} / ${wanted}`,
  );
};
/** A service with these lines below `listen`. */
const service = (lines: string, listen = "tcp://10.0.0.1:80") => `services:\n  - listen: ${listen}\n${lines}`;

describe("parseConfig", () => {
  it("reads the founding example", () => {
    const { config, warnings } = accepted(FOUNDING);
    expect(config.director.services).toEqual([
      {
        protocol: "tcp",
        address: "202.103.106.5",
        port: 80,
        scheduler: "wrr",
        destinations: [
          { address: "172.16.0.2", port: 80, weight: 1, upperThreshold: 0, lowerThreshold: 0 },
          { address: "172.16.0.3", port: 8000, weight: 2, upperThreshold: 0, lowerThreshold: 0 },
        ],
      },
      {
        protocol: "tcp",
        address: "202.103.106.5",
        port: 21,
        scheduler: "wlc",
        app: "ftp",
        destinations: [{ address: "172.16.0.3", port: 21, weight: 1, upperThreshold: 0, lowerThreshold: 0 }],
      },
    ]);
    expect(warnings).toEqual([]);
  });

  it("fills in the defaults", () => {
    expect(accepted("services: []").config).toMatchObject({
      director: {
        services: [],
        settings: {
          timeouts: DEFAULT_TIMEOUTS,
          connectionsMax: 1_048_576,
          unserved: "reject",
          repliesPerSecondMax: 1000,
          answerEcho: true,
          removal: "drain",
          ipvs: IPVS_DEFAULTS,
          fragmentBytesMax: 4 * 1024 * 1024,
          fragmentTimeout: 30,
        },
      },
      host: { device: "vs0", announce: "auto" },
    });
  });

  it("refines the profile's time-outs, state by state", () => {
    const { timeouts } = accepted(
      "services: []\ntimeouts: { profile: ipvs, tcp: { established: 1h30m }, secureTcp: { synReceived: 10 }, " +
        "udp: 10, sctp: { closed: 2s } }",
    ).config.director.settings;
    expect(timeouts).toEqual({
      tcp: { ...IPVS_TIMEOUTS.tcp, established: 5400 },
      secureTcp: { ...IPVS_TIMEOUTS.tcp, established: 5400, synReceived: 10 },
      udp: 10,
      sctp: { ...IPVS_TIMEOUTS.sctp, closed: 2 },
    });
  });

  it("gives a server without a port the service's, and writes IPv6 canonically", () => {
    const { services } = accepted(service('    servers: ["[FD00:0:0::2]"]', '"udp://[2001:DB8::0:1]:53"'))
      .config.director;
    expect(services[0]).toMatchObject({
      protocol: "udp",
      address: "2001:db8::1",
      port: 53,
      destinations: [{ address: "fd00::2", port: 53 }],
    });
  });

  it("follows anchors and aliases, and reports mistakes where the anchor is", () => {
    const text = `services:
  - listen: tcp://10.0.0.1:80
    servers: &web [172.16.0.2:80, 172.16.0.3:0]
  - listen: tcp://10.0.0.1:81
    servers: *web
`;
    expect(refused(text)).toEqual([
      '3:35 services[0].servers[1]: "172.16.0.3:0" / a port from 1 to 65535 after the address',
      '3:35 services[1].servers[1]: "172.16.0.3:0" / a port from 1 to 65535 after the address',
    ]);
  });

  it("reports all mistakes at once, in order", () => {
    const text = `services:
  - listen: tcp://10.0.0.1:80
    schedular: wrr
    scheduler: wr
    servers:
      - { address: 172.16.0.2:80, weight: -1 }
      - { address: 172.16.0.3:8000, weigth: 2 }
  - listen: tcp://10.0.0.1:80
    servers: ["[fd00::1]:80"]
unserved: rejct
`;
    expect(refused(text)).toEqual([
      '3:5 services[0].schedular: the unknown key "schedular" / one of listen, scheduler, schedulerFlags, persistence, onePacket, removedServers, fullNat, proxyProtocol, app, servers (did you mean scheduler?)',
      `4:16 services[0].scheduler: "wr" / one of ${Object.keys(SCHEDULERS).join(", ")} (did you mean rr?)`,
      "6:43 services[0].servers[0].weight: -1 / a whole number from 0 to 2147483647",
      '7:37 services[0].servers[1].weigth: the unknown key "weigth" / one of address, weight, upperThreshold, lowerThreshold (did you mean weight?)',
      "8:13 services[1].listen: tcp://10.0.0.1:80 again / each service once (the first is in line 2)",
      "9:15 services[1].servers[0]: IPv6 / an IPv4 address, as the service has",
      '10:11 unserved: "rejct" / one of reject, drop (did you mean reject?)',
    ]);
  });

  it.each([
    ["duplicate server", "    servers: [172.16.0.2, 172.16.0.2:80]", "172.16.0.2:80 again"],
    ["server is a virtual address", "    servers: [10.0.0.1:81]", '"10.0.0.1:81"'],
    [
      "lower threshold above upper",
      "    servers: [{address: 172.16.0.2, upperThreshold: 1, lowerThreshold: 2}]",
      "2",
    ],
    ["lower threshold without upper", "    servers: [{address: 172.16.0.2, lowerThreshold: 2}]", "2"],
    ["weight too large", "    servers: [{address: 172.16.0.2, weight: 2147483648}]", "2147483648"],
    ["weight as text", '    servers: [{address: 172.16.0.2, weight: "1"}]', '"1"'],
    ["server without address", "    servers: [{weight: 1}]", "nothing"],
    ["server as a number", "    servers: [80]", "80"],
    ["servers as a mapping", "    servers: {}", "a mapping"],
    ["servers missing", "    scheduler: rr", "nothing"],
    [
      "flag of another scheduler",
      "    scheduler: sh\n    schedulerFlags: [mh-port]\n    servers: []",
      '"mh-port" with',
    ],
    ["unknown flag", "    scheduler: sh\n    schedulerFlags: [sh-prt]\n    servers: []", '"sh-prt" / one of'],
    ["key twice", "    servers: []\n    servers: []", '"servers" twice'],
  ])("refuses: %s", (_, lines, found) => {
    const issues = refused(service(lines));
    expect(issues).toHaveLength(1);
    expect(issues[0]).toContain(`: ${found}`);
  });

  it("too many servers is one mistake, not one each", () => {
    const servers = Array.from({ length: 5000 }, (_, index) => `172.16.${index >> 8}.${index & 255}`);
    const issues = refused(
      service(`    servers: [172.20.0.1, ${servers.filter((s) => !s.endsWith(".0.0")).join(", ")}]`),
    );
    expect(issues).toEqual(["3:14 services[0].servers: a list of 5000 / at most 4096"]);
  });

  it("warns of weights that the scheduler does not look at", () => {
    const { warnings } = accepted(
      service("    scheduler: rr\n    servers: [{address: 172.16.0.2, weight: 3}]"),
    );
    expect(warnings.map(({ path, wanted }) => ({ path, wanted }))).toEqual([
      { path: "services[0].servers[0].weight", wanted: "the scheduler wrr, or no weight" },
    ]);
  });

  it.each([
    ["tab as indentation", "services:\n\t- listen: x"],
    ["unclosed bracket", "services: ["],
    ["two documents", "services: []\n---\nservices: []\n"],
    ["unknown tag", "services: !!js/function x"],
    ["alias without anchor", "services: *nothing"],
    ["empty", ""],
    ["only a comment", "# nothing"],
    ["a list", "- 1"],
    ["a scalar", "hello"],
  ])("refuses: %s", (_, text) => {
    const [first] = refused(text);
    expect(first).toMatch(/^\d+:\d+ /);
  });

  it("shows the source line with carets", () => {
    const result = parseConfig("services: []\nunserved: maybe # hm\n");
    if (result.ok) throw new Error("accepted");
    expect(formatIssue("f.yaml", "error", result.issues[0]!)).toBe(
      'f.yaml:2:11: error: unserved: found "maybe", wanted one of reject, drop\n' +
        "    2 | unserved: maybe # hm\n" +
        "      |           ^^^^^",
    );
  });
});

const FULL = `schedulers: { mine: ./my-scheduler.js }
services:
  - listen: tcp://203.0.113.10:8000-8010
    scheduler: mine
    persistence: { timeout: 5m, netmask: 255.255.255.0 }
    fullNat: { sources: [172.16.0.250, 172.16.0.240-172.16.0.242], clients: servers }
    proxyProtocol: v2
    removedServers: reset
    servers: [172.16.0.2, "172.16.0.3:80"]
  - { listen: "udp://203.0.113.10:*", persistence: true, onePacket: true, servers: [172.16.0.2] }
  - listen: fwmark6://7
    persistence: { engine: sip, netmask: 64 }
    servers: ["[fd00::2]"]
marks:
  - { mark: 7, protocol: udp, source: "2001:db8::/32", destination: "2001:db8:5::/120", ports: 80-90 }
masquerade:
  - { from: [172.16.0.0/24], to: 0.0.0.0/0, sources: [202.103.106.5], ports: 20000-29999 }
ipvs:
  drop_entry: 1
  lblc_expiration: 1h
  backup_only: 1
  sync_threshold: [10, 0]
  sync_refresh_period: 2m
  sync_retries: 3
  sync_persist_mode: 1
  sync_version: 0
  sync_sock_size: 65536
  sync_qlen_max: 100
removedServers: expire
`;

describe("parseConfig beyond addresses, ports and weights", () => {
  it("reads all there is", () => {
    const result = parseConfig(FULL, "/etc/vsnat");
    if (!result.ok) throw new Error("refused");
    const { director, schedulerPlugins } = result.config;
    const server = { weight: 1, upperThreshold: 0, lowerThreshold: 0 };
    expect(director.services).toEqual([
      {
        protocol: "tcp",
        address: "203.0.113.10",
        port: 8000,
        lastPort: 8010,
        scheduler: "mine",
        persistence: { timeout: 300, netmask: "255.255.255.0" },
        fullNat: {
          sources: ["172.16.0.250", "172.16.0.240", "172.16.0.241", "172.16.0.242"],
          clients: "servers",
        },
        proxyProtocol: "v2",
        removal: "reset",
        destinations: [
          { address: "172.16.0.2", port: 0, ...server },
          { address: "172.16.0.3", port: 80, ...server },
        ],
      },
      {
        protocol: "udp",
        address: "203.0.113.10",
        port: 0,
        scheduler: "wlc",
        persistence: { timeout: 360 },
        isOnePacket: true,
        destinations: [{ address: "172.16.0.2", port: 0, ...server }],
      },
      {
        protocol: "fwmark",
        address: "::",
        port: 0,
        mark: 7,
        scheduler: "wlc",
        persistence: { timeout: 360, netmask: "64", engine: "sip" },
        destinations: [{ address: "fd00::2", port: 0, ...server }],
      },
    ]);
    expect(director.marks).toEqual([
      {
        mark: 7,
        protocol: "udp",
        source: "2001:db8::/32",
        destination: "2001:db8:5::/120",
        ports: { first: 80, last: 90 },
      },
    ]);
    expect(director.masquerade).toEqual([
      {
        from: ["172.16.0.0/24"],
        to: "0.0.0.0/0",
        sources: ["202.103.106.5"],
        ports: { first: 20_000, last: 29_999 },
      },
    ]);
    expect(director.settings.ipvs).toEqual({
      ...IPVS_DEFAULTS,
      drop_entry: 1,
      lblc_expiration: 3600,
      backup_only: 1,
      sync_threshold: [10, 0],
      sync_refresh_period: 120,
      sync_retries: 3,
      sync_persist_mode: 1,
      sync_version: 0,
      sync_sock_size: 65_536,
      sync_qlen_max: 100,
    });
    expect(director.settings.removal).toBe("expire");
    expect(schedulerPlugins).toEqual([{ name: "mine", file: "/etc/vsnat/my-scheduler.js" }]);
    expect(result.warnings).toEqual([]);
  });

  const persistent = (text: string, listen?: string) =>
    service(`    persistence: ${text}\n    servers: []`, listen);
  const fullNat = (text: string) =>
    service(`    fullNat: { sources: ${text} }\n    servers: [172.16.0.2]`, "tcp://10.0.0.1:80");

  it.each([
    ["persistence: false", persistent("false"), "3:18 services[0].persistence: false / true, or"],
    ["a mask of nobody", persistent("{ netmask: 0.0.0.0 }"), "3:29 services[0].persistence.netmask: \"0.0.0.0\" / a mask"],
    ["an IPv6 prefix length for IPv4", persistent("{ netmask: 24 }"), "3:29 services[0].persistence.netmask: 24 / a mask such as"],
    ["an IPv4 mask for IPv6", persistent("{ netmask: 255.0.0.0 }", '"tcp://[fd00::1]:80"'), "3:29 services[0].persistence.netmask: \"255.0.0.0\" / a prefix length"],
    ["SIP over TCP", persistent("{ engine: sip }"), "3:28 services[0].persistence.engine: sip for a tcp service"],
    ["unknown engine", persistent("{ engine: rtp }"), '3:28 services[0].persistence.engine: "rtp" / one of sip'],
    ["one packet of TCP", service("    onePacket: true\n    servers: []"), "3:16 services[0].onePacket: a tcp service"],
    ["one packet and full NAT", service("    onePacket: true\n    fullNat: { sources: [10.0.0.9] }\n    servers: []", "udp://10.0.0.1:80"), "3:16 services[0].onePacket: fullNat as well"],
    ["a module over UDP", service("    app: ftp\n    servers: []", "udp://10.0.0.1:21"), "3:10 services[0].app: a udp service"],
    ["a module and PROXY", service("    proxyProtocol: v2\n    app: ftp\n    servers: []", "tcp://10.0.0.1:21"), "4:10 services[0].app: proxyProtocol as well"],
    ["an unknown module", service("    app: ftq\n    servers: []", "tcp://10.0.0.1:21"), '3:10 services[0].app: "ftq"'],
    ["PROXY over UDP", service("    proxyProtocol: v2\n    servers: []", "udp://10.0.0.1:80"), "3:20 services[0].proxyProtocol: a udp service"],
    ["an unknown removal policy", service("    removedServers: drian\n    servers: []"), "(did you mean drain?)"],
    ["a source that is a server", fullNat("[172.16.0.1-172.16.0.3]"), "3:26 services[0].fullNat.sources[0]: 172.16.0.2, a real server"],
    ["a source of another family", fullNat("[172.16.0.9, 'fd00::1']"), "3:38 services[0].fullNat.sources[1]: IPv6 / an IPv4 address, as the service has"],
    ["no source", fullNat("[]"), "3:25 services[0].fullNat.sources: an empty list / at least 1"],
    ["too many sources", fullNat("[10.1.0.0-10.1.2.255, 10.2.0.0-10.2.1.255]"), "3:47 services[0].fullNat.sources[1]: 1280 source addresses up to here / at most 1024 in all"],
    ["overlapping ranges", service("    servers: []\n  - { listen: 'tcp://10.0.0.1:90-99', servers: [] }", "tcp://10.0.0.1:80-90"), "4:15 services[1].listen: tcp://10.0.0.1:90-99, which shares ports with tcp://10.0.0.1:80-90"],
    ["a port in a range", service("    servers: []\n  - { listen: 'tcp://10.0.0.1:85', servers: [] }", "tcp://10.0.0.1:80-90"), "4:15 services[1].listen: tcp://10.0.0.1:85, which shares ports"],
    ["a mark service twice", "services:\n  - &a { listen: fwmark://7, servers: [] }\n  - *a\nmarks: [{ mark: 7, destination: 10.0.0.1 }]", "2:18 services[1].listen: fwmark://7 again"],
    ["a server twice in a range", service("    servers: [172.16.0.2, 172.16.0.2]", "tcp://10.0.0.1:80-90"), "3:27 services[0].servers[1]: 172.16.0.2 again"],
    ["a server where packets are marked", `${service("    servers: [10.0.1.2]")}\nmarks: [{ mark: 7, destination: 10.0.1.0/24 }]`, '3:15 services[0].servers[0]: "10.0.1.2" / a real server'],
    ["mark 0", "services: []\nmarks: [{ mark: 0, destination: 10.0.0.1 }]", "2:17 marks[0].mark: 0 / a whole number from 1 to 4294967295"],
    ["more than 65536 marked addresses", "services: []\nmarks: [{ mark: 7, destination: 10.0.0.0/15 }]", '2:33 marks[0].destination: "10.0.0.0/15" / at most 65536'],
    ["a mark rule of two families", "services: []\nmarks: [{ mark: 7, source: 'fd00::/8', destination: 10.0.0.0/24 }]", "2:28 marks[0].source: IPv6 / an IPv4 prefix"],
    ["masquerade of two families", "services: []\nmasquerade: [{ from: [172.16.0.0/24, 'fd00::/8'], sources: [10.0.0.9] }]", "2:38 masquerade[0].from[1]: IPv6 / an IPv4 prefix"],
    ["masquerade to another family", "services: []\nmasquerade: [{ from: [172.16.0.0/24], to: '::/0', sources: [10.0.0.9] }]", "2:43 masquerade[0].to: IPv6 / an IPv4 prefix"],
    ["masquerade of everybody", "services: []\nmasquerade: [{ from: [0.0.0.0/0], sources: [10.0.0.9] }]", '2:23 masquerade[0].from[0]: "0.0.0.0/0" / a unicast address'],
    ["masquerade by a server", `${service("    servers: [172.16.0.2]")}\nmasquerade: [{ from: [172.16.0.0/24], sources: [172.16.0.2] }]`, "4:49 masquerade[0].sources[0]: 172.16.0.2, a real server"],
    ["masquerade of a virtual address", `${service("    servers: []")}\nmasquerade: [{ from: [10.0.0.1], sources: [10.0.0.9] }]`, '4:23 masquerade[0].from[0]: "10.0.0.1" / hosts behind'],
    ["a defence mode that is a state", "services: []\nipvs: { drop_entry: 2 }", "2:21 ipvs.drop_entry: 2 / one of 0, 1, 3"],
    ["a threshold that is not below its period", "services: []\nipvs: { sync_threshold: [50, 50] }", '2:25 ipvs.sync_threshold: a list of 2 / [threshold, period], such as [3, 50]'],
    ["a threshold alone", "services: []\nipvs: { sync_threshold: [3] }", '2:25 ipvs.sync_threshold: a list of 1 / [threshold, period], such as [3, 50]'],
    ["a threshold of three numbers", "services: []\nipvs: { sync_threshold: [3, 50, 1] }", '2:25 ipvs.sync_threshold: a list of 3 / [threshold, period], such as [3, 50]'],
    ["a threshold as text", "services: []\nipvs: { sync_threshold: 3 50 }", '2:25 ipvs.sync_threshold: "3 50" / [threshold, period], such as [3, 50]'],
    ["a negative threshold", "services: []\nipvs: { sync_threshold: [-1, 50] }", '2:25 ipvs.sync_threshold: a list of 2 / [threshold, period], such as [3, 50]'],
    ["a negative refresh period", "services: []\nipvs: { sync_refresh_period: -1 }", "2:30 ipvs.sync_refresh_period: -1 / 0, or a time from"],
    ["four retries", "services: []\nipvs: { sync_retries: 4 }", "2:23 ipvs.sync_retries: 4 / one of 0, 1, 2, 3"],
    ["version 2", "services: []\nipvs: { sync_version: 2 }", "2:23 ipvs.sync_version: 2 / one of 0, 1"],
    ["an unknown IPVS setting", "services: []\nipvs: { droprate: 2 }", "(did you mean am_droprate?)"],
    ["a plug-in with a built-in name", "services: []\nschedulers: { wlc: ./x.js }", "2:15 schedulers.wlc: wlc / another name"],
    ["a plug-in without a proper name", "services: []\nschedulers: { My Own: ./x.js }", '2:15 schedulers.My Own: the name "My Own" / a name'],
    ["a plug-in that is no module", "services: []\nschedulers: { mine: ./x.py }", '2:21 schedulers.mine: "./x.py" / the path of'],
    ["a plug-in that is not there", `schedulers: { mine: ./x.js }\n${service("    scheduler: mien\n    servers: []")}`, "(did you mean mine?)"],
  ])("refuses: %s", (_, text, expected) => {
    const issues = refused(text);
    expect(issues).toHaveLength(1);
    expect(issues[0]).toContain(expected);
  }); // biome-ignore format: one case, one line

  it.each([
    ["a mark rule without service", "services: []\nmarks: [{ mark: 7, destination: 10.0.0.1 }]", "marks[0].mark"],
    ["a service without mark rule", service("    servers: []", "fwmark://7"), "services[0].listen"],
    ["a rule of the other family", `${service("    servers: []", "fwmark6://7")}\nmarks: [{ mark: 7, destination: 10.0.0.1 }]`, "services[0].listen"],
    ["all ports without persistence", service("    servers: []", "'tcp://10.0.0.1:*'"), "services[0].listen"],
  ])("warns of %s", (_, text, path) => {
    expect(accepted(text).warnings.map((warning) => warning.path)).toContain(path);
  }); // biome-ignore format: one case, one line

  it("lets a service have the ports that no other has", () => {
    const text = service("    servers: []\n  - { listen: 'tcp://10.0.0.1:*', persistence: 60, servers: [] }");
    expect(accepted(text).warnings).toEqual([]);
  });

  it("masquerades behind a virtual address, without any service too", () => {
    const text = "services: []\nmasquerade: [{ from: [172.16.0.0/24], sources: [203.0.113.10] }]";
    expect(accepted(text).warnings).toEqual([]);
  });
});

/** As many comparisons of servers with mark rules, and as large pools, as a file has room for. */
function manyRules(): string {
  const servers = Array.from({ length: 40_000 }, (_, index) => `172.16.${(index >> 8) & 255}.${index & 255}`);
  const rules = Array.from({ length: 2000 }, (_, index) => `{mark: 1, destination: 10.0.${index & 255}.1}`);
  const pools = Array.from({ length: 5000 }, () => "10.9.0.0-10.9.3.255");
  const service = `{listen: "tcp://10.0.0.1:80", fullNat: {sources: [${pools}]}, servers: [${servers}]}`;
  return `services: [${service}]\nmarks: [${rules}]`;
}

describe("parseConfig with hostile text", () => {
  const bomb = ["a: &a [x, x, x, x, x, x, x, x, x]"];
  for (let level = 0; level < 12; level++) {
    const [from, to] = ["abcdefghijklmn"[level], "abcdefghijklmn"[level + 1]];
    bomb.push(`${to}: &${to} [${Array(9).fill(`*${from}`).join(", ")}]`);
  }
  it.each([
    ["alias bomb", bomb.join("\n")],
    ["alias to itself", "services: &a [*a]"],
    ["deep brackets", "[".repeat(100_000)],
    ["deep mappings", "{a: ".repeat(100_000)],
    ["deep block lists", "- ".repeat(100_000)],
    ["deep complex keys", "? ".repeat(100_000)],
    ["deep indentation", Array.from({ length: 900 }, (_, depth) => `${" ".repeat(depth)}a:`).join("\n")],
    ["many rules and servers", manyRules()],
    ["many keys", Array.from({ length: 60_000 }, (_, key) => `k${key}: 1`).join("\n")],
    ["the same key often", "a:\n".repeat(100_000)],
    ["prototype keys", "__proto__: 1\nconstructor: 2\nservices: []"],
    ["control characters", 'services: "\\e[31m\u{202e}"'],
  ])("refuses %s in bounded time", (_, text) => {
    const started = performance.now();
    const issues = refused(text);
    expect(issues.length).toBeGreaterThan(0);
    for (const issue of issues.slice(0, 10)) expect(issue).not.toMatch(/\p{C}/u);
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});
