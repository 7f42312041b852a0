/** The director with a cache that a test plays: what is offered to it, and how what it says comes into the table. */
import { beforeEach, describe, expect, test } from "vitest";
import { FakeCache } from "../../test/support/fake-cache.ts";
import { tcp, udp } from "../../test/support/packet-builder.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import { seconds } from "../base/environment.ts";
import { TICK_MS } from "./connection-table.ts";
import type { ConnectionObserver } from "./forwarding.ts";
import { TCP_STATE } from "./protocol/tcp.ts";

const CLIENT = "202.100.1.2:1000";
const VIP = "202.103.106.5";

const SERVICES = [
  service("tcp", VIP, 80, "lc", destination("172.16.0.2", 80), destination("172.16.0.3", 80)),
  service("udp", VIP, 53, "rr", destination("172.16.0.2", 53)),
  { ...service("udp", VIP, 54, "rr", destination("172.16.0.2", 54)), isOnePacket: true },
  { ...service("tcp", VIP, 81, "rr", destination("172.16.0.2", 81)), proxyProtocol: "v2" as const },
  { ...service("tcp", VIP, 21, "rr", destination("172.16.0.2", 21)), app: "ftp" as const },
];

let stage: Stage;
let cache: FakeCache;
beforeEach(() => {
  stage = new Stage(SERVICES);
  cache = new FakeCache();
  stage.director.cached.cache = cache;
});
const syn = (port = 80): void => void stage.send(tcp({ from: CLIENT, to: `${VIP}:${port}`, flags: "S" }));
const tick = (): number => Math.floor(stage.now / TICK_MS);
const only = () => stage.connections()[0]!;

describe("what is offered", () => {
  test("a TCP connection with its first packet, once, and its state with every other", () => {
    syn();
    expect([...cache.lines.values()]).toMatchObject([{ state: TCP_STATE.synReceived }]);
    stage.send(tcp({ from: CLIENT, to: `${VIP}:80` }));
    expect([...cache.lines.values()]).toMatchObject([{ state: TCP_STATE.established, hasNews: false }]);
  });

  test.each([
    ["one-packet services", 54],
    ["what gets a PROXY header", 81],
    ["what a module reads", 21],
  ])("not %s", (_, port) => {
    if (port === 54) stage.send(udp({ from: CLIENT, to: `${VIP}:54` }));
    else syn(port);
    expect(cache.lines.size).toBe(0);
  });

  test("not while there is a reason against it", () => {
    stage.director.cached.suspend("trace", true);
    expect(cache.isEnabled).toBe(false);
    syn();
    expect(cache.lines.size).toBe(0);
    stage.director.cached.suspend("trace", false);
    expect(cache.isEnabled).toBe(true);
  });

  test("again after a flush, with the next packet; a removed server's never", () => {
    syn();
    stage.director.cached.flushAll();
    stage.send(tcp({ from: CLIENT, to: `${VIP}:80` }));
    expect([...cache.lines.values()]).toMatchObject([{ isCurrent: true }]);
    stage.apply([], { settings: { ...stage.director.settings, removal: "drain" } });
    stage.send(tcp({ from: CLIENT, to: `${VIP}:80` }));
    expect([...cache.lines.values()]).toMatchObject([{ isCurrent: false }]);
  });

  test("not any more when the entry goes", () => {
    syn();
    stage.run(61_000);
    expect([stage.connections().length, cache.lines.size]).toEqual([0, 0]);
  });
});

describe("what comes back", () => {
  test("the time of the last packet keeps an entry alive", () => {
    syn();
    stage.run(50_000);
    cache.saw(0, TCP_STATE.established, tick());
    stage.run(50_000);
    expect(only()).toMatchObject({ state: "ESTABLISHED", expiresSeconds: 850 });
  });

  test("a change of state counts before the next decision", () => {
    syn();
    const chosen = only().destination.address;
    cache.saw(0, TCP_STATE.close, tick());
    cache.changes.push([0, TCP_STATE.close, 1, 1]);
    stage.send(tcp({ from: "202.100.1.3:1000", to: `${VIP}:80`, flags: "S" }));
    // lc: an active connection weighs 256 inactive ones, so the server that lost its only active one is even again.
    const counts = stage.control
      .status()
      .services[0]!.destinations.map((one) => [one.activeConnections, one.inactiveConnections]);
    expect(chosen).toBeDefined();
    expect(counts.flat().reduce((sum, count) => sum + count, 0)).toBe(2);
    expect(counts.map(([active]) => active).sort()).toEqual([0, 1]);
  });

  test("a shorter life begins with the change", () => {
    syn();
    cache.saw(0, TCP_STATE.close, tick());
    cache.changes.push([0, TCP_STATE.close, 1, 1]);
    stage.run(11_000);
    expect(stage.connections()).toEqual([]);
  });

  test("a template is assured by a connection that was established and is gone before anyone looked", () => {
    stage.apply([{ ...SERVICES[0]!, persistence: { timeout: seconds(300), netmask: "255.255.255.255" } }]);
    syn();
    const record = [...cache.lines.keys()][0]!;
    cache.saw(record, TCP_STATE.close, tick());
    cache.changes.push([record, TCP_STATE.established, 1, 1], [record, TCP_STATE.close, 2, 1]);
    stage.director.bindings.remove(record);
    expect(stage.connections()).toMatchObject([{ isTemplate: true, state: "ASSURED" }]);
  });

  test("packets and bytes in everybody's counters", () => {
    syn();
    cache.counts = [3, 300, 2, 200];
    const { counters, services, verdicts } = stage.control.status();
    expect(counters).toMatchObject({ inPackets: 4, inBytes: 340, outPackets: 2, outBytes: 200 });
    expect(services[0]!.counters).toMatchObject({ inPackets: 4, outPackets: 2 });
    expect([verdicts["to-server"], verdicts["to-client"]]).toEqual([4, 2]);
    cache.counts = [3, 300, 2, 200];
    stage.director.zero();
    expect(stage.control.status().counters).toMatchObject({ inPackets: 0, outBytes: 0 });
  });

  test("each packet for who observes, a state that is over included", () => {
    const seen: string[] = [];
    const observer: ConnectionObserver = {
      packetSeen: (record, count) => void seen.push(`${count} ${stage.director.connections.state(record)}`),
      prolonged: () => {},
    };
    stage.director.observer = observer;
    expect(cache.rules?.told).toEqual([3, 50]);
    syn();
    cache.saw(0, TCP_STATE.close, tick(), 2);
    cache.changes.push([0, TCP_STATE.established, 1, 1]);
    stage.director.advance(stage.now);
    // SYN_RECV, ESTABLISHED, CLOSE
    expect(seen).toEqual(["1 3", "2 1", "3 6"]);
  });
});
