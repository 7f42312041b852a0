/** Calls of PPTP in the connection table, and their packets through the director, before any module announces them. */
import { beforeEach, describe, expect, test } from "vitest";
import { census } from "../../test/support/census.ts";
import { bytes, gre, icmp, ip, tcp } from "../../test/support/packet-builder.ts";
import { checkPacket, from, quoting, to, ttl, valid } from "../../test/support/packet-check.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { expectBytes } from "../../test/support/same-bytes.ts";
import { type Sent, Stage } from "../../test/support/stage.ts";
import { applicationsOf } from "../alg/engine/engine.ts";
import type { ServiceConfig } from "./configuration.ts";
import type { ApplicationHost } from "./contracts/application.ts";
import type { End, TunnelCalls } from "./tunnel-calls.ts";

const CLIENT = "202.100.1.2";
const VIP = "202.103.106.5";
const [A, B] = ["172.16.0.2", "172.16.0.3"];
const POOL = "10.9.0.1";
const OUTSIDE = "198.51.100.7";
// Of two servers the newest comes first.
const PPTP = service("tcp", VIP, 1723, "rr", destination(B, 1723), destination(A, 1723));
const FULL_NAT: ServiceConfig = { ...PPTP, fullNat: { sources: [POOL], clients: "all" } };

let stage: Stage;
let host: ApplicationHost;
let calls: TunnelCalls;

function begin(services: readonly ServiceConfig[], masquerade = false): void {
  stage = new Stage([], {
    applications: (lent) => {
      host = lent;
      return applicationsOf([])(lent);
    },
  });
  stage.apply(services, {
    masquerade: masquerade ? [{ from: ["172.16.0.0/24"], sources: [VIP] }] : [],
  });
  calls = host.tunnelCalls;
}
beforeEach(() => begin([PPTP]));

/** A control connection, established. @returns its record, and the addresses its server sees and the server itself has */
function control(
  port: number,
  client = CLIENT,
  server = VIP,
): { record: number; seen: string; server: string } {
  const { bytes } = stage.send(tcp({ from: `${client}:${port}`, to: `${server}:1723`, flags: "S" }));
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const address = (at: number) => [...bytes.subarray(at, at + 4)].join(".");
  const [seen, own] = [address(12), address(16)];
  stage.send(tcp({ from: `${own}:1723`, to: `${seen}:${view.getUint16(20)}`, flags: "SA" }));
  stage.send(tcp({ from: `${client}:${port}`, to: `${server}:1723`, flags: "A" }));
  const { connections } = host;
  for (let record = 0; record < connections.highWater; record++)
    if (connections.isLive(record) && connections.clientPort(record) === port)
      return { record, seen, server: own };
  throw new Error("no control connection");
}

/** A call that both ends have given these IDs. @returns its record and how the IDs are shown */
function call(control: number, clientId: number, serverId: number, first: End = "client") {
  const isClientFirst = first === "client";
  const record = calls.begin(control, first, isClientFirst ? clientId : serverId);
  const shown = [calls.shownId];
  const second = isClientFirst ? "server" : "client";
  expect(calls.answer(record, second, isClientFirst ? serverId : clientId)).toBe(true);
  shown.push(calls.shownId);
  const [client = -1, server = -1] = isClientFirst ? shown : shown.reverse();
  return { record, client, server };
}

const callIdOf = ({ bytes }: Sent): number => new DataView(bytes.buffer, bytes.byteOffset).getUint16(26);
const data = (source: string, destination: string, callId: number) =>
  stage.send(gre({ from: source, to: destination, callId, sequence: 1, payload: bytes(40) }));

describe("a call", () => {
  test("its packets pass both ways with the IDs of their receivers, and nothing else of them changes", () => {
    const { record } = control(4000);
    expect(call(record, 7, 0)).toMatchObject({ client: 7, server: 0 });
    const there = data(CLIENT, VIP, 0);
    expect(there.verdict).toBe("to-server");
    checkPacket(there.bytes, valid(), from(CLIENT), to(A), ttl(63));
    const back = data(A, CLIENT, 7);
    expect(back.verdict).toBe("to-client");
    expectBytes(
      back.bytes,
      gre({ from: VIP, to: CLIENT, callId: 7, sequence: 1, payload: bytes(40), ttl: 63 }),
    );
    expect(census(stage.director)).toEqual([]);
  });

  test("acknowledgments alone pass as well", () => {
    call(control(4000).record, 7, 9);
    const sent = stage.send(gre({ from: CLIENT, to: VIP, callId: 9, acknowledgment: 5 }));
    expectBytes(sent.bytes, gre({ from: CLIENT, to: A, callId: 9, acknowledgment: 5, ttl: 63 }));
  });

  test("the server may be the first to say its ID", () => {
    call(control(4000).record, 7, 9, "server");
    expect(data(CLIENT, VIP, 9).verdict).toBe("to-server");
    expect(data(A, CLIENT, 7).verdict).toBe("to-client");
  });

  test("is listed with each end's own ID and how it is shown", () => {
    call(control(4000).record, 7, 9);
    expect(stage.connections().find(({ protocol }) => protocol === "gre")).toMatchObject({
      state: "CALL",
      client: { address: CLIENT, port: 7 },
      virtual: { address: VIP, port: 9 },
      destination: { address: A, port: 9 },
    });
  });

  test("an answer is given once", () => {
    const record = calls.begin(control(4000).record, "client", 7);
    expect(calls.answer(record, "server", 9)).toBe(true);
    expect(calls.answer(record, "server", 9)).toBe(true);
    expect(calls.answer(record, "server", 10)).toBe(false);
    expect(data(CLIENT, VIP, 10).verdict).toBe("reply");
  });
});

describe("nobody's", () => {
  test("before the answer nothing passes", () => {
    calls.begin(control(4000).record, "client", 7);
    expect(data(A, CLIENT, 7).verdict).toBe("to-client");
    for (const id of [0, 1, 7]) expect(data(CLIENT, VIP, id).verdict).toBe("reply");
    expect(census(stage.director)).toEqual([]);
  });

  test("another ID, another host, another kind of GRE", () => {
    call(control(4000).record, 7, 9);
    expect(data(CLIENT, VIP, 8).verdict).toBe("reply");
    expect(data("202.100.1.3", VIP, 9).verdict).toBe("reply");
    expect(data(B, CLIENT, 7).verdict).toBe("pass");
    const plain = ip({}, CLIENT, VIP, 47, Uint8Array.of(0, 0, 8, 0, 0, 0, 0, 9));
    expect(stage.send(plain).verdict).toBe("reply");
  });

  test("once the control connection ends, or the call", () => {
    const { record } = control(4000);
    const one = call(record, 7, 9);
    call(record, 17, 19);
    calls.end(one.record, record + 1);
    expect(data(CLIENT, VIP, 9).verdict).toBe("to-server");
    calls.end(one.record, record);
    expect(data(CLIENT, VIP, 9).verdict).toBe("reply");
    expect(data(CLIENT, VIP, 19).verdict).toBe("to-server");
    stage.send(tcp({ from: `${A}:1723`, to: `${CLIENT}:4000`, flags: "R" }));
    expect(data(CLIENT, VIP, 19).verdict).toBe("reply");
    expect(stage.connections().filter(({ protocol }) => protocol === "gre")).toEqual([]);
    expect(census(stage.director)).toEqual([]);
  });
});

describe("calls that look alike", () => {
  test("of two servers to one client: the second one's ID is shown as another", () => {
    expect(call(control(4000).record, 7, 0)).toMatchObject({ client: 7, server: 0 });
    const second = control(4001);
    expect(second.server).toBe(B);
    expect(call(second.record, 8, 0)).toMatchObject({ client: 8, server: 1 });
    const [toA, toB] = [data(CLIENT, VIP, 0), data(CLIENT, VIP, 1)];
    checkPacket(toA.bytes, to(A));
    checkPacket(toB.bytes, to(B));
    expect(callIdOf(toB)).toBe(0);
  });

  test.each([
    ["FullNAT", () => begin([FULL_NAT]), VIP],
    ["masquerade", () => begin([], true), OUTSIDE],
  ])("%s: of two clients with equal IDs the second one's is shown as another", (_, prepare, far) => {
    prepare();
    const clients = far === VIP ? [CLIENT, "202.100.1.3", "202.100.1.4"] : [A, B, "172.16.0.4"];
    const ends = clients.map((client, index) => ({ client, ...control(4000 + index, client, far) }));
    // With round robin the first and the third are of the same server.
    const [one, , three] = ends as [(typeof ends)[0], unknown, (typeof ends)[0]];
    expect(one.server).toBe(three.server);
    expect(call(one.record, 65_535, 9)).toMatchObject({ client: 65_535 });
    expect(call(three.record, 65_535, 10)).toMatchObject({ client: 1 });
    const back = data(three.server, three.seen, 1);
    checkPacket(back.bytes, from(far), to(three.client));
    expect(callIdOf(back)).toBe(65_535);
    checkPacket(data(three.client, far, 10).bytes, from(three.seen), to(three.server));
    checkPacket(data(one.server, one.seen, 65_535).bytes, to(one.client));
    expect(census(stage.director)).toEqual([]);
  });

  test("when no ID is free the call is refused", () => {
    const { record } = control(4000);
    for (let id = 0; id < 256; id++)
      expect(calls.begin(record, "client", 100 + id)).toBeGreaterThanOrEqual(0);
    expect(calls.begin(record, "client", 100)).toBe(-1);
    expect(calls.begin(record, "client", 99)).toBeGreaterThanOrEqual(0);
  });
});

describe("time", () => {
  test("an unanswered call lives 2 minutes, one without packets 10, one with both ways seen 5 hours", () => {
    const { record } = control(4000);
    const left = () => stage.connections().filter(({ protocol }) => protocol === "gre").length;
    calls.begin(record, "client", 1);
    call(record, 2, 2);
    call(record, 3, 3);
    data(CLIENT, VIP, 3);
    data(A, CLIENT, 3);
    // The control connection is kept alive by the calls; it is ESTABLISHED all the time.
    stage.run(119_000);
    expect(left()).toBe(3);
    stage.run(2_000);
    expect(left()).toBe(2);
    stage.run(480_000);
    expect(left()).toBe(1);
    stage.run(17_300_000);
    expect(data(CLIENT, VIP, 3).verdict).toBe("to-server");
    stage.run(18_001_000);
    expect(left()).toBe(0);
    expect(stage.connections()).toHaveLength(1);
  });
});

describe("an ICMP error about a call's packet", () => {
  const about = (quoted: Uint8Array, from: string, to: string) =>
    stage.send(icmp({ from, to, type: 3, code: 4, rest: 1400, payload: quoted.subarray(0, 28) }));
  const quotedId = ({ bytes }: Sent) => new DataView(bytes.buffer, bytes.byteOffset).getUint16(28 + 26);

  test("reaches its sender, who finds his own packet in it", () => {
    call(control(4000).record, 7, 9);
    const { record, server } = control(4001);
    const shown = call(record, 7, 9);
    expect(shown).toMatchObject({ client: 7, server: 10 });
    const toClient = about(data(CLIENT, VIP, 10).bytes, "172.16.0.254", CLIENT);
    expect(toClient.verdict).toBe("to-client");
    checkPacket(toClient.bytes, valid(), from(VIP), to(CLIENT), quoting(from(CLIENT), to(VIP)));
    expect(quotedId(toClient)).toBe(10);
    const toServer = about(data(server, CLIENT, 7).bytes, "202.100.1.254", VIP);
    expect(toServer.verdict).toBe("to-server");
    checkPacket(toServer.bytes, valid(), to(server), quoting(from(server), to(CLIENT)));
    expect(quotedId(toServer)).toBe(7);
  });

  test("of no call is nobody's", () => {
    call(control(4000).record, 7, 9);
    const { bytes: quoted } = data(CLIENT, VIP, 9);
    quoted[27] = 8;
    expect(about(quoted, "172.16.0.254", CLIENT).verdict).toBe("pass");
    const others = gre({ from: CLIENT, to: B, callId: 9 });
    expect(about(others, "172.16.0.254", CLIENT).verdict).toBe("pass");
  });
});
