/** Defence modes as seen from outside, after section 4.9 of the project's reference. */
import { afterEach, describe, expect, test } from "vitest";
import { census } from "../../test/support/census.ts";
import { sctp, tcp, udp } from "../../test/support/packet-builder.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import { seconds } from "../base/environment.ts";
import type { DefenceMode, IpvsSettings, ServiceConfig } from "./configuration.ts";
import { IPVS_DEFAULTS } from "./ipvs-settings.ts";

const VIP = "202.103.106.5";
const SERVER = "172.16.0.2";
const CLIENT = "202.100.1.2";
const SERVICES: ServiceConfig[] = (["tcp", "udp", "sctp"] as const).map((protocol) =>
  service(protocol, VIP, 80, "rr", destination(SERVER, 80)),
);

const stages: Stage[] = [];
afterEach(() => {
  for (const { director } of stages.splice(0)) expect(census(director)).toEqual([]);
});

function begin(ipvs: Partial<IpvsSettings>, connectionsMax = 4096, services = SERVICES): Stage {
  const stage = new Stage(services, { connectionsMax, ipvs: { ...IPVS_DEFAULTS, ...ipvs } });
  stages.push(stage);
  return stage;
}

const syn = (port: number) => tcp({ from: `${CLIENT}:${port}`, to: `${VIP}:80`, flags: "S" });
const ask = (port: number) => udp({ from: `${CLIENT}:${port}`, to: `${VIP}:80` });

/** "sd" for a packet that was sent on and one that was dropped. */
const played = (stage: Stage, count: number, from = 1000): string =>
  Array.from({ length: count }, (_, i) => stage.send(syn(from + i)).verdict)
    .map((verdict) => (verdict === "drop defence" ? "d" : verdict === "to-server" ? "s" : "?"))
    .join("");

describe("drop_packet", () => {
  test.each([
    [0, 10, "ssssssssssss"],
    [1, 10, "ssssssssssss"],
    [3, 4, "dsssdsssdsss"],
    [3, 1, "dddddddddddd"],
  ] as const)("mode %i, am_droprate %i: %s", (drop_packet, am_droprate, wanted) => {
    const stage = begin({ drop_packet, am_droprate });
    expect(played(stage, 12)).toBe(wanted);
    expect(stage.count("defence")).toBe([...wanted].filter((letter) => letter === "d").length);
  });

  test("automatic: one of amemthresh / (amemthresh - available), while memory is low", () => {
    const stage = begin({ drop_packet: 1, amemthresh: 1000 });
    const { defence } = stage.director;
    defence.availablePages = 800;
    expect(played(stage, 5)).toBe("sssss");
    stage.run(1000);
    expect(defence.mode("drop_packet")).toBe(2);
    expect(played(stage, 10, 2000)).toBe("dssssdssss");
    defence.availablePages = 1000;
    stage.run(1000);
    expect(defence.mode("drop_packet")).toBe(1);
    expect(played(stage, 10, 3000)).toBe("ssssssssss");
  });

  test("automatic: one of am_droprate while the table is nearly full, from 15/16 on", () => {
    const stage = begin({ drop_packet: 1, am_droprate: 3 }, 32);
    expect(played(stage, 29)).toBe("s".repeat(29));
    stage.run(1000);
    expect(played(stage, 1, 2000)).toBe("s");
    stage.run(1000);
    expect(played(stage, 3, 3000)).toBe("dss");
  });

  test("touches what would begin a connection, and nothing else", () => {
    const stage = begin({});
    stage.send(syn(4000));
    const ipvs = { ...IPVS_DEFAULTS, drop_packet: 3, am_droprate: 1 } as const;
    stage.apply(SERVICES, { settings: { ...stage.director.settings, ipvs } });
    expect(stage.send(syn(4000)).verdict).toBe("to-server");
    expect(stage.send(tcp({ from: `${SERVER}:80`, to: `${CLIENT}:4000`, flags: "SA" })).verdict).toBe(
      "to-client",
    );
    expect(stage.send(tcp({ from: `${CLIENT}:4001`, to: `${VIP}:81`, flags: "S" })).verdict).toBe("reply");
    expect(stage.send(tcp({ from: `${CLIENT}:4001`, to: `${VIP}:80`, flags: "A" })).verdict).toBe("reply");
    expect(stage.send(syn(4001)).verdict).toBe("drop defence");
  });
});

/** Long enough that every entry was looked at, many times: one in 32 a second, at random. */
const SWEEPS_MS = 50_000;
const sweepAll = (stage: Stage, drop_entry: DefenceMode = 3, ms = SWEEPS_MS): void => {
  const ipvs = { ...IPVS_DEFAULTS, drop_entry };
  stage.apply(SERVICES, { settings: { ...stage.director.settings, ipvs } });
  stage.run(ms);
};

describe("drop_entry", () => {
  /** Entries in each state, none of them near its end, each for itself. */
  const tcpPaths: [string, boolean, readonly Uint8Array[]][] = [
    ["SYN_RECV", true, [syn(4000)]],
    ["ESTABLISHED, young", false, [syn(4000), tcp({ from: `${CLIENT}:4000`, to: `${VIP}:80`, flags: "A" })]],
    [
      "FIN_WAIT",
      false,
      [
        syn(4000),
        tcp({ from: `${CLIENT}:4000`, to: `${VIP}:80`, flags: "A" }),
        tcp({ from: `${SERVER}:80`, to: `${CLIENT}:4000`, flags: "FA" }),
      ],
    ],
    [
      "SCTP INIT1 and INIT",
      true,
      [sctp({ from: `${CLIENT}:4000`, to: `${VIP}:80` }), sctp({ from: `${CLIENT}:4000`, to: `${VIP}:80` })],
    ],
    [
      "SCTP, cookie sent",
      false,
      [
        sctp({ from: `${CLIENT}:4000`, to: `${VIP}:80` }),
        sctp({ from: `${SERVER}:80`, to: `${CLIENT}:4000`, chunks: [{ type: 2 }] }),
      ],
    ],
    ["UDP, young", false, [ask(4000)]],
  ];

  test.each(tcpPaths)("%s: dropped %s", (_state, isDropped, path) => {
    const stage = begin({});
    for (const bytes of path) expect(stage.send(bytes).verdict).toMatch(/^to-/);
    sweepAll(stage);
    expect(stage.director.connections.count).toBe(isDropped ? 0 : 1);
  });

  test.each([0, 1] as const)("mode %i without need: nobody", (mode) => {
    const stage = begin({});
    for (let port = 1000; port < 1100; port++) stage.send(syn(port));
    sweepAll(stage, mode);
    expect(stage.director.connections.count).toBe(100);
  });

  test("automatic while the table is nearly full: until it is not", () => {
    const stage = begin({ drop_entry: 1 }, 64);
    for (let port = 1000; port < 1062; port++) stage.send(syn(port));
    stage.run(30_000);
    // Two are looked at each second, so it ends one or two below 60.
    expect([58, 59]).toContain(stage.director.connections.count);
    expect(stage.director.defence.mode("drop_entry")).toBe(1);
  });

  test("a minute of silence after 1 to 8 packets is quiet, of such with n packets every n-th goes", () => {
    // 24 clients each for 1, 2, 4, 8 and 9 packets.
    const counts = [1, 2, 4, 8, 9];
    const stage = begin({});
    for (const count of counts)
      for (let client = 0; client < 24; client++)
        for (let i = 0; i < count; i++) stage.send(ask(1000 * count + client));
    stage.wait(59_000);
    stage.director.advance(stage.now);
    sweepAll(stage, 3, 900);
    expect(stage.director.connections.count).toBe(24 * counts.length);
    // From here on each look at a quiet entry counts, so all but those with nine packets go in the end.
    stage.run(200_000);
    const left = stage.connections().map(({ client }) => Math.floor(client.port / 1000));
    expect(left.filter((count) => count === 9)).toHaveLength(24);
    expect(left.filter((count) => count === 1)).toHaveLength(0);
    const leftOf = (count: number): number => left.filter((one) => one === count).length;
    expect(leftOf(8)).toBeGreaterThan(leftOf(2));
  });

  test("a template goes with its last connection unless one was ever established", () => {
    const persistent = SERVICES.map((one) => ({ ...one, persistence: { timeout: seconds(1000) } }));
    const stage = begin({}, 4096, persistent);
    stage.send(syn(4000));
    stage.send(tcp({ from: `202.100.1.3:4000`, to: `${VIP}:80`, flags: "S" }));
    stage.send(tcp({ from: `202.100.1.3:4000`, to: `${VIP}:80`, flags: "A" }));
    stage.send(tcp({ from: `202.100.1.3:4001`, to: `${VIP}:80`, flags: "S" }));
    expect(stage.connections()).toHaveLength(5);
    const ipvs = { ...IPVS_DEFAULTS, drop_entry: 3 } as const;
    stage.apply(persistent, { settings: { ...stage.director.settings, ipvs } });
    stage.run(30_000);
    const left = stage
      .connections()
      .map(({ client, isTemplate, state }) => [client.address, isTemplate, state]);
    expect(left).toEqual([
      ["202.100.1.3", true, "ASSURED"],
      ["202.100.1.3", false, "ESTABLISHED"],
    ]);
  });
});

describe("secure_tcp", () => {
  const path = [
    syn(4000),
    tcp({ from: `${SERVER}:80`, to: `${CLIENT}:4000`, flags: "SA" }),
    tcp({ from: `${CLIENT}:4000`, to: `${VIP}:80`, flags: "A" }),
    tcp({ from: `${SERVER}:80`, to: `${CLIENT}:4000`, flags: "A" }),
  ];
  const statesOf = (stage: Stage): (string | undefined)[] =>
    path.map((bytes) => {
      stage.send(bytes);
      return stage.connections()[0]?.state;
    });

  test("asks for proof from the server's side", () => {
    expect(statesOf(begin({ secure_tcp: 3 }))).toEqual(["SYN_RECV", "SYNACK", "SYNACK", "ESTABLISHED"]);
    expect(statesOf(begin({ secure_tcp: 0 }))).toEqual([
      "SYN_RECV",
      "SYN_RECV",
      "ESTABLISHED",
      "ESTABLISHED",
    ]);
  });

  test("switched on and off while connections live: from their next packet on, and nobody is lost", () => {
    const stage = begin({ secure_tcp: 1, amemthresh: 1000 });
    const { defence } = stage.director;
    stage.send(path[0]!);
    defence.availablePages = 10;
    stage.run(1000);
    expect(defence.isSecureTcp).toBe(true);
    stage.send(path[1]!);
    expect(stage.connections()[0]!.state).toBe("SYNACK");
    defence.availablePages = 2000;
    stage.run(1000);
    expect(defence.isSecureTcp).toBe(false);
    stage.send(path[2]!);
    expect(stage.connections()[0]!.state).toBe("ESTABLISHED");
  });
});
