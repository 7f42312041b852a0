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
        destinations: [{ address: "172.16.0.3", port: 21, weight: 1, upperThreshold: 0, lowerThreshold: 0 }],
      },
    ]);
    expect(warnings.map(({ path, line, column }) => ({ path, line, column }))).toEqual([
      { path: "services[1].app", line: 8, column: 5 },
    ]);
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
