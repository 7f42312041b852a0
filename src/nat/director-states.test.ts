/**
 * The director's states and timers as seen from outside: real segments through `receive`, compared with what a running
 * kernel was recorded to do with the same ones, and every timeout looked at one tick before and at its end.
 */
import { describe, expect, test } from "vitest";
import { seenTransitions } from "../../test/golden/reference/reference-table.ts";
import { census } from "../../test/support/census.ts";
import { sctp, tcp, udp } from "../../test/support/packet-builder.ts";
import { destination, IPVS_SETTINGS, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import { seconds } from "../base/environment.ts";
import type { IpvsSettings, Timeouts } from "./configuration.ts";
import { TICK_MS } from "./connection-table.ts";
import { IPVS_DEFAULTS } from "./ipvs-settings.ts";
import { DEFAULT_TIMEOUTS, IPVS_TIMEOUTS } from "./timeouts.ts";

const VIP = "202.103.106.5";
const SERVER = "172.16.0.2";
const CLIENT = "202.100.1.2";
const SERVICES = [
  service("tcp", VIP, 80, "rr", destination(SERVER, 80)),
  service("udp", VIP, 53, "rr", destination(SERVER, 53)),
  service("sctp", VIP, 2905, "rr", destination(SERVER, 2905)),
];

/** "c:SA": a SYN+ACK from the client; "s:": a segment without flags from the server. */
function segment(text: string, port: number): Uint8Array {
  const [who, flags] = text.split(":");
  const client = `${CLIENT}:${port}`;
  if (who === "c") return tcp({ from: client, to: `${VIP}:80`, flags: flags! });
  return tcp({ from: `${SERVER}:80`, to: client, flags: flags! });
}

test("TCP transitions, timeouts and verdicts are those of a running kernel", () => {
  const stage = new Stage(SERVICES);
  const seen = seenTransitions("tcp-transitions.txt");
  expect(seen).toHaveLength(154);
  const made = seen.map((one, index) => {
    const port = 20_000 + index;
    for (const step of one.reachedBy) stage.send(segment(step, port));
    const stateOf = () => stage.connections().find(({ client }) => client.port === port);
    const from = stateOf()?.state;
    const { verdict } = stage.send(segment(one.segment, port));
    const after = stateOf();
    return {
      ...one,
      from,
      to: after?.state,
      expiresSeconds: after?.expiresSeconds,
      isForwarded: verdict === "to-server" || verdict === "to-client",
    };
  });
  expect(made).toEqual(seen);
  expect(census(stage.director)).toEqual([]);
});

/** Segments that lead to each state that packets can reach. */
const TCP_PATHS: Record<string, readonly string[]> = {
  synReceived: ["c:S"],
  established: ["c:S", "c:A"],
  timeWait: ["c:S", "c:F"],
  close: ["c:S", "c:"],
  closeWait: ["c:S", "c:A", "c:F"],
  finWait: ["c:S", "c:A", "s:F"],
  synSent: ["c:S", "c:F", "s:S"],
};
/** Chunks, "c" from the client, "s" from the server, that lead to each state that packets can reach. */
const SCTP_PATHS: Record<string, readonly string[]> = {
  init1: ["c1"],
  init: ["c1", "c1"],
  cookieSent: ["c1", "s2"],
  cookieReplied: ["c1", "s2", "c10"],
  cookieWait: ["c1", "s1"],
  cookie: ["c1", "s1", "c2"],
  cookieEchoed: ["c1", "s10"],
  established: ["c1", "s2", "c10", "s11"],
  shutdownSent: ["c1", "s2", "c10", "s11", "s7"],
  shutdownReceived: ["c1", "s2", "c10", "s11", "c7"],
  shutdownAckSent: ["c1", "s8"],
  rejected: ["c1", "s6"],
  closed: ["c1", "c6"],
};

const chunk = (text: string): Uint8Array => {
  const chunks = [{ type: Number(text.slice(1)) }];
  const client = `${CLIENT}:4000`;
  if (text.startsWith("c")) return sctp({ from: client, to: `${VIP}:2905`, chunks });
  return sctp({ from: `${SERVER}:2905`, to: client, chunks });
};

describe.each([
  ["default", DEFAULT_TIMEOUTS],
  ["ipvs", IPVS_TIMEOUTS],
])("timeouts of the %s profile", (_name, timeouts) => {
  const cases: [string, number, readonly Uint8Array[]][] = [
    ...Object.entries(TCP_PATHS).map(([state, path]): [string, number, Uint8Array[]] => [
      `TCP ${state}`,
      timeouts.tcp[state as keyof typeof timeouts.tcp],
      path.map((step) => segment(step, 4000)),
    ]),
    ["UDP", timeouts.udp, [udp({ from: `${CLIENT}:4000`, to: `${VIP}:53` })]],
    ...Object.entries(SCTP_PATHS).map(([state, path]): [string, number, Uint8Array[]] => [
      `SCTP ${state}`,
      timeouts.sctp[state as keyof typeof timeouts.sctp],
      path.map(chunk),
    ]),
  ];

  test.each(cases)("%s lives %i s: there one tick before, gone at the end", (_state, seconds, path) => {
    for (const isAtEnd of [false, true]) {
      const stage = new Stage(SERVICES, { timeouts });
      // Off the tick's beginning, so that rounding would show.
      stage.wait(7);
      for (const bytes of path) {
        expect(stage.send(bytes).verdict).toMatch(/^to-(server|client)$/);
      }
      stage.wait(seconds * 1000 - 7 - (isAtEnd ? 0 : TICK_MS));
      expect(stage.connections()).toHaveLength(isAtEnd ? 0 : 1);
      // What the server sends has a connection to belong to, or goes its way untranslated.
      expect(stage.send(answerTo(path[0]!)).verdict).toBe(isAtEnd ? "pass" : "to-client");
    }
  });

  test.each(cases)(
    "%s is off the table by itself within two wheel slots after %i s",
    (_state, seconds, path) => {
      const stage = new Stage(SERVICES, { timeouts });
      for (const bytes of path) stage.send(bytes);
      stage.wait(seconds * 1000 - TICK_MS);
      stage.director.advance(stage.now);
      expect(stage.director.connections.count).toBe(1);
      stage.wait(TICK_MS + 2 * 160);
      stage.director.advance(stage.now);
      expect(stage.director.connections.count).toBe(0);
      expect(census(stage.director)).toEqual([]);
    },
  );
});

/** A plain packet from the server's side for the flow that began with this packet. */
function answerTo(first: Uint8Array): Uint8Array {
  const client = `${CLIENT}:4000`;
  if (first[9] === 6) return tcp({ from: `${SERVER}:80`, to: client, flags: "A" });
  if (first[9] === 17) return udp({ from: `${SERVER}:53`, to: client });
  return sctp({ from: `${SERVER}:2905`, to: client, chunks: [{ type: 0 }] });
}

describe("secure_tcp has timeouts of its own", () => {
  const secureTcp = {
    ...IPVS_TIMEOUTS.secureTcp,
    synReceived: seconds(7),
    synAck: seconds(9),
    established: seconds(77),
    finWait: seconds(11),
    timeWait: seconds(13),
    close: seconds(5),
    closeWait: seconds(17),
    synSent: seconds(19),
  };
  const paths: [string, number, readonly string[]][] = [
    ["SYN_RECV", 7, ["c:S"]],
    ["SYNACK", 9, ["c:S", "s:SA"]],
    ["ESTABLISHED", 77, ["c:S", "s:SA", "c:A", "s:A"]],
    ["FIN_WAIT", 11, ["c:S", "s:SA", "s:A", "s:F"]],
    ["TIME_WAIT", 13, ["c:S", "c:F"]],
    ["CLOSE", 5, ["c:S", "s:R"]],
    ["CLOSE_WAIT", 17, ["c:S", "s:SA", "s:A", "c:F"]],
    ["SYN_SENT", 19, ["c:S", "c:F", "s:S"]],
  ];
  test.each(paths)("%s lives %i s: there one tick before, gone at the end", (state, life, path) => {
    for (const isAtEnd of [false, true]) {
      const timeouts = { ...IPVS_TIMEOUTS, secureTcp };
      const stage = new Stage(SERVICES, { timeouts, ipvs: { ...IPVS_DEFAULTS, secure_tcp: 3 } });
      for (const step of path) stage.send(segment(step, 4000));
      stage.wait(life * 1000 - (isAtEnd ? 0 : TICK_MS));
      expect(stage.connections().map((one) => one.state)).toEqual(isAtEnd ? [] : [state]);
      expect(stage.send(segment("s:A", 4000)).verdict).toBe(isAtEnd ? "pass" : "to-client");
    }
  });
});

describe("settings that change while connections live", () => {
  const settingsWith = (timeouts: Timeouts, ipvs: Partial<IpvsSettings> = {}) => ({
    settings: { ...IPVS_SETTINGS, timeouts, ipvs: { ...IPVS_DEFAULTS, ...ipvs } },
  });
  const established = { ...IPVS_TIMEOUTS, tcp: { ...IPVS_TIMEOUTS.tcp, established: seconds(50) } };

  test("timeouts: an entry keeps the one it has until its next packet", () => {
    const stage = new Stage(SERVICES);
    for (const step of ["c:S", "c:A"]) stage.send(segment(step, 4000));
    stage.apply(SERVICES, settingsWith(established));
    expect(stage.connections()).toMatchObject([{ expiresSeconds: 900 }]);
    stage.wait(60_000);
    stage.send(segment("c:A", 4000));
    expect(stage.connections()).toMatchObject([{ expiresSeconds: 50 }]);
    // A shorter one is kept as well: the wheel looks where the entry went, not where it was.
    stage.run(50_000 + 2 * 160);
    expect(stage.director.connections.count).toBe(0);
  });

  test("none of them ends, moves or changes a connection", () => {
    const stage = new Stage(SERVICES);
    for (const step of ["c:S", "s:SA", "c:A"]) stage.send(segment(step, 4000));
    stage.send(udp({ from: `${CLIENT}:4000`, to: `${VIP}:53` }));
    const connections = () => stage.connections().map(({ expiresSeconds: _, ...rest }) => rest);
    const before = connections();
    const marks = [{ mark: 7, destination: `${VIP}/32` }];
    const masquerade = [{ from: ["172.16.0.0/24"], sources: [VIP] }];
    const flags = {
      expire_nodest_conn: 1,
      expire_quiescent_template: 1,
      sloppy_tcp: 1,
      nat_icmp_send: 1,
    } as const;
    for (const rest of [
      settingsWith(established),
      settingsWith(IPVS_TIMEOUTS, { ...flags, conn_reuse_mode: 0, schedule_icmp: 1, run_estimation: 0 }),
      settingsWith(IPVS_TIMEOUTS, { secure_tcp: 3, drop_packet: 3, am_droprate: 1 }),
      { marks },
      { masquerade },
      {},
    ]) {
      stage.apply(SERVICES, rest);
      stage.director.advance(stage.now);
      expect(connections()).toEqual(before);
      expect(stage.send(segment("c:A", 4000)).verdict).toBe("to-server");
      expect(stage.send(segment("s:A", 4000)).verdict).toBe("to-client");
      expect(stage.send(udp({ from: `${SERVER}:53`, to: `${CLIENT}:4000` })).verdict).toBe("to-client");
    }
    expect(census(stage.director)).toEqual([]);
  });
});

test("every packet in either direction restarts the timer", () => {
  const stage = new Stage(SERVICES);
  stage.send(udp({ from: `${CLIENT}:4000`, to: `${VIP}:53` }));
  stage.wait(299_000);
  stage.send(udp({ from: `${SERVER}:53`, to: `${CLIENT}:4000` }));
  stage.wait(299_000);
  stage.send(udp({ from: `${CLIENT}:4000`, to: `${VIP}:53` }));
  expect(stage.connections()[0]!.expiresSeconds).toBe(300);
});

test("half-open connections count as active, closing ones and UDP as inactive", () => {
  const stage = new Stage(SERVICES);
  const [server] = [...stage.director.services.destinations()];
  const counts = () => [server!.activeConnections, server!.inactiveConnections];
  const after = ["c:S", "s:SA", "c:A", "c:F", "s:A", "s:F", "c:A"].map((step) => {
    stage.send(segment(step, 4000));
    return counts();
  });
  expect(after).toEqual([
    [1, 0],
    [1, 0],
    [1, 0],
    [0, 1],
    [0, 1],
    [0, 1],
    [0, 1],
  ]);
});

test("the longest timeout that may be configured ends too", () => {
  const longest = seconds(2_678_400);
  const stage = new Stage(SERVICES, { timeouts: { ...IPVS_TIMEOUTS, udp: longest } });
  stage.send(udp({ from: `${CLIENT}:1000`, to: `${VIP}:53` }));
  // In steps of the wheel's turn, as time never jumps on a running director.
  for (let passed = 0; passed < 2_678_400; passed += 1200) {
    stage.wait(1_200_000);
    stage.director.advance(stage.now);
  }
  stage.run(1000);
  expect(stage.connections()).toEqual([]);
});
