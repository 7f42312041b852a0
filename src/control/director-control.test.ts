/** What an operator asks of the director: make it so, and tell me about it. */
import { describe, expect, test } from "vitest";
import { census } from "../../test/support/census.ts";
import { sctp, tcp, udp } from "../../test/support/packet-builder.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import { milliseconds } from "../base/environment.ts";

const VIP = "202.103.106.5";
const A = destination("172.16.0.2", 80, 1);
const B = destination("172.16.0.3", 8000, 2);
const WEB = service("tcp", VIP, 80, "wrr", A, B);
const DNS = service("udp", VIP, 53, "rr", destination("172.16.0.2", 53));
const WEB6 = service("tcp", "2001:db8:5::5", 80, "lc", destination("fd00:16::2", 80));

const connect = (stage: Stage, port: number, to = `${VIP}:80`) =>
  stage.send(tcp({ from: `202.100.1.2:${port}`, to, flags: "S" })).verdict;

describe("apply", () => {
  test("from nothing: everything is added, nothing else is said", () => {
    const stage = new Stage([]);
    expect(stage.apply([WEB, DNS, WEB6])).toEqual([
      { kind: "add", subject: `tcp ${VIP}:80`, connections: 0 },
      { kind: "add", subject: `udp ${VIP}:53`, connections: 0 },
      { kind: "add", subject: "tcp [2001:db8:5::5]:80", connections: 0 },
    ]);
    expect(stage.control.status().services.map(({ destinations }) => destinations.length)).toEqual([2, 1, 1]);
  });

  test("the same again changes nothing, and does not disturb the schedulers", () => {
    const [stage, undisturbed] = [new Stage([WEB]), new Stage([WEB])];
    for (let port = 1; port < 12; port++) {
      expect(stage.apply([WEB])).toEqual([]);
      for (const one of [stage, undisturbed]) connect(one, port);
    }
    const servers = (one: Stage) => one.connections().map((connection) => connection.destination.address);
    expect(servers(stage)).toEqual(servers(undisturbed));
  });

  test("each kind of change is made and named, with the live connections it touches", () => {
    const stage = new Stage([WEB, DNS]);
    for (let port = 1; port <= 3; port++) connect(stage, port);
    const changed = service("tcp", VIP, 80, "lc", { ...B, weight: 5 }, destination("172.16.0.4", 80));
    expect(stage.apply([changed, WEB6])).toEqual([
      { kind: "remove", subject: `udp ${VIP}:53`, connections: 0 },
      { kind: "remove", subject: `server 172.16.0.2:80 of tcp ${VIP}:80`, connections: 1 },
      { kind: "edit", subject: `server 172.16.0.3:8000 of tcp ${VIP}:80`, connections: 2 },
      { kind: "add", subject: `server 172.16.0.4:80 of tcp ${VIP}:80`, connections: 0 },
      { kind: "edit", subject: `tcp ${VIP}:80`, connections: 2 },
      { kind: "add", subject: "tcp [2001:db8:5::5]:80", connections: 0 },
    ]);
    const [web] = stage.control.status().services;
    expect(web).toMatchObject({
      scheduler: "lc",
      destinations: [{ address: "172.16.0.4" }, { address: "172.16.0.3", weight: 5 }],
    });
    expect(stage.connections()).toHaveLength(3);
    expect(census(stage.director)).toEqual([]);
  });

  test("thresholds are edited, and a server that comes back brings its connections", () => {
    const stage = new Stage([WEB]);
    connect(stage, 1);
    const limited = service("tcp", VIP, 80, "wrr", A, { ...B, upperThreshold: 9, lowerThreshold: 3 });
    expect(stage.apply([limited])).toMatchObject([{ kind: "edit", connections: 1 }]);
    expect(stage.apply([service("tcp", VIP, 80, "wrr", A)])).toMatchObject([
      { kind: "remove", connections: 1 },
    ]);
    expect(stage.apply([WEB])).toEqual([
      { kind: "add", subject: `server 172.16.0.3:8000 of tcp ${VIP}:80`, connections: 1 },
    ]);
  });
});

test("draining names what live connections still need, and nothing afterwards", () => {
  const stage = new Stage([WEB, WEB6], { removal: "drain" });
  expect(stage.control.draining()).toEqual({ virtualAddresses: [], serverAddresses: [] });
  for (let port = 1; port <= 3; port++) connect(stage, port);
  stage.apply([WEB6]);
  expect(stage.control.draining()).toEqual({
    virtualAddresses: [VIP],
    serverAddresses: ["172.16.0.2", "172.16.0.3"],
  });
  stage.run(61_000);
  expect(stage.control.draining()).toEqual({ virtualAddresses: [], serverAddresses: [] });
});

test("setMtu reaches every destination at the address, in service or removed, and no other", () => {
  const stage = new Stage([WEB, DNS]);
  stage.control.setMtu("172.16.0.2", 1400);
  const mtus = [...stage.director.services.destinations()].map(({ address, mtuBytes }) => [
    address,
    mtuBytes,
  ]);
  expect(mtus).toEqual([
    ["172.16.0.2", 1400],
    ["172.16.0.3", 0],
    ["172.16.0.2", 1400],
  ]);
});

describe("connections", () => {
  test("shows every part of each, by protocol and family", () => {
    const services = [WEB, DNS, WEB6, service("sctp", VIP, 2905, "rr", destination("172.16.0.2", 2906))];
    const stage = new Stage(services);
    connect(stage, 4000);
    stage.send(udp({ from: "202.100.1.3:4001", to: `${VIP}:53` }));
    stage.send(tcp({ from: "[2001:db8:1::2]:4002", to: "[2001:db8:5::5]:80", flags: "S" }));
    stage.send(sctp({ from: "202.100.1.2:4003", to: `${VIP}:2905` }));
    stage.wait(1500);
    expect(stage.connections()).toEqual([
      {
        protocol: "tcp",
        state: "SYN_RECV",
        client: { address: "202.100.1.2", port: 4000 },
        virtual: { address: VIP, port: 80 },
        destination: { address: "172.16.0.3", port: 8000 },
        expiresSeconds: 59,
        isTemplate: false,
      },
      expect.objectContaining({ protocol: "udp", state: "UDP", expiresSeconds: 299 }),
      expect.objectContaining({
        client: { address: "2001:db8:1::2", port: 4002 },
        virtual: { address: "2001:db8:5::5", port: 80 },
        destination: { address: "fd00:16::2", port: 80 },
      }),
      expect.objectContaining({ protocol: "sctp", state: "INIT1", expiresSeconds: 3 }),
    ]);
  });

  test("keeps to the limit and leaves out what has run out", () => {
    const stage = new Stage([WEB]);
    for (let port = 1; port <= 20; port++) connect(stage, 100 + port);
    expect(stage.control.connections(stage.now, 7)).toHaveLength(7);
    expect(stage.control.connections(stage.now, 0)).toEqual([]);
    expect(stage.control.connections(milliseconds(60_000), 100)).toEqual([]);
    expect(stage.director.connections.count).toBe(20);
  });
});

test("status is plain data that survives JSON and a structured clone", () => {
  const stage = new Stage([WEB, DNS]);
  connect(stage, 1);
  stage.send(new Uint8Array(5));
  const status = stage.control.status();
  expect(JSON.parse(JSON.stringify(status))).toEqual(structuredClone(status));
  expect(status).toMatchObject({ verdicts: { "to-server": 1, drop: 1 }, drops: { truncated: 1 } });
  expect(
    status.services[0]!.destinations.map((one) => [
      one.activeConnections,
      one.inactiveConnections,
      one.isOverloaded,
    ]),
  ).toEqual([
    [1, 0, false],
    [0, 0, false],
  ]);
});

test("a configuration with more source addresses than there is room for is refused whole", () => {
  const stage = new Stage([WEB]);
  const pool = (third: number) =>
    Array.from({ length: 1024 }, (_, at) => `10.${third}.${at >> 8}.${at & 0xff}`);
  const wanted = { ...DNS, fullNat: { sources: [0, 1, 2, 3, 4].flatMap(pool), clients: "all" as const } };
  expect(() => stage.apply([wanted])).toThrow("Cannot use 5120 source addresses");
  expect(stage.control.status().services.map(({ port }) => port)).toEqual([80]);
  expect(stage.director.sources.texts).toEqual([]);
});
