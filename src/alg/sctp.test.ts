/** SCTP's module: what becomes of addresses in chunks, and whose packets belong to an association, through a whole director. */
import { beforeEach, describe, expect, test } from "vitest";
import { census } from "../../test/support/census.ts";
import { sctp as packetOf } from "../../test/support/packet-builder.ts";
import { checkPacket, from, to, valid } from "../../test/support/packet-check.ts";
import { destination, service } from "../../test/support/replayed.ts";
import {
  addressParameter,
  type Chunk,
  cookie,
  cookieAck,
  cookieEcho,
  data,
  heartbeat,
  init,
  initAck,
  padded,
  parameter,
  u32,
} from "../../test/support/sctp-chunks.ts";
import { type Sent, Stage } from "../../test/support/stage.ts";
import type { ServiceConfig } from "../nat/configuration.ts";
import { FURTHER_ADDRESSES_MAX } from "./sctp.ts";

const [CLIENT, SECOND, THIRD] = ["202.100.1.2", "202.100.2.2", "202.100.3.2"];
const VIP = "202.103.106.5";
const [A, B, HIDDEN] = ["172.16.0.2", "172.16.0.3", "172.17.0.2"];
const [FAR, FAR2] = ["198.51.100.7", "198.51.101.7"];
// Of two servers the newest comes first.
const SCTP: ServiceConfig = {
  ...service("sctp", VIP, 2905, "rr", destination(B, 2906), destination(A, 2906)),
  app: "sctp",
};
const [OF_CLIENT, OF_SERVER] = [0xcafe0001, 0x80000002];

let stage: Stage;
beforeEach(() => {
  stage = new Stage([SCTP]);
});
const counters = () => stage.control.status().applications.find(({ name }) => name === "sctp")!.counters;

const send = (source: string, target: string, tag: number, ...chunks: Chunk[]): Sent =>
  stage.send(packetOf({ from: source, to: target, tag, chunks }));
/** That the packet has become this one, right in every checksum. */
function expectBecame(sent: Sent, source: string, target: string, tag: number, ...chunks: Chunk[]): void {
  checkPacket(sent.bytes, valid(), from(source), to(target));
  const wanted = packetOf({ from: source, to: target, tag, chunks, ttl: 63 });
  expect(Buffer.from(sent.bytes).toString("hex")).toBe(Buffer.from(wanted).toString("hex"));
}

interface Ends {
  readonly client: string;
  readonly far: string;
  readonly seen: string;
  readonly server: string;
}
const SERVED: Ends = {
  client: `${CLIENT}:5000`,
  far: `${VIP}:2905`,
  seen: `${CLIENT}:5000`,
  server: `${A}:2906`,
};

/** An association, agreed upon; the parameters are of INIT and INIT ACK. */
function associate(
  { client, far, seen, server }: Ends,
  ofClient: readonly number[][] = [],
  ofServer: readonly number[][] = [],
): void {
  send(client, far, 0, init(OF_CLIENT, ...ofClient));
  send(server, seen, OF_CLIENT, initAck(OF_SERVER, ...ofServer, cookie));
  send(client, far, OF_SERVER, cookieEcho, data);
  send(server, seen, OF_CLIENT, cookieAck);
}

describe("a server behind the director", () => {
  test("its addresses in INIT ACK become padding, and everything else stays", () => {
    send(`${CLIENT}:5000`, `${VIP}:2905`, 0, init(OF_CLIENT));
    const own = [addressParameter(A), addressParameter(HIDDEN), addressParameter("fd00:16::3")];
    const host = parameter(11, 0x61, 0x2e, 0x62, 0);
    const rest = [parameter(0x8000), cookie, parameter(0xc006, 1, 2, 3, 4)];
    const sent = send(`${A}:2906`, `${CLIENT}:5000`, OF_CLIENT, initAck(OF_SERVER, ...own, host, ...rest));
    const padding = [...own, host].map(padded);
    expectBecame(sent, `${VIP}:2905`, `${CLIENT}:5000`, OF_CLIENT, initAck(OF_SERVER, ...padding, ...rest));
    expect(counters()).toMatchObject({ rewritten: 1, failed: 0 });
  });

  test("the client's own stay in INIT, but for those of the other IP version and for too many", () => {
    const many = Array.from({ length: FURTHER_ADDRESSES_MAX + 2 }, (_, k) =>
      addressParameter(`202.100.9.${k + 1}`),
    );
    const v6 = addressParameter("2001:db8:1::2");
    const types = parameter(12, 0, 5, 0, 6);
    const sent = send(
      `${CLIENT}:5000`,
      `${VIP}:2905`,
      0,
      init(OF_CLIENT, types, addressParameter(CLIENT), v6, ...many),
    );
    const kept = many.map((one, k) => (k < FURTHER_ADDRESSES_MAX ? one : padded(one)));
    const chunk = init(OF_CLIENT, types, addressParameter(CLIENT), padded(v6), ...kept);
    expectBecame(sent, `${CLIENT}:5000`, `${A}:2906`, 0, chunk);
  });

  test("packets of the client's other addresses reach the same server, and the server reaches those", () => {
    associate(SERVED, [addressParameter(CLIENT), addressParameter(SECOND), addressParameter(THIRD)]);
    for (const each of [SECOND, THIRD]) {
      expectBecame(
        send(`${A}:2906`, `${each}:5000`, OF_CLIENT, heartbeat),
        `${VIP}:2905`,
        `${each}:5000`,
        OF_CLIENT,
        heartbeat,
      );
      expectBecame(
        send(`${each}:5000`, `${VIP}:2905`, OF_SERVER, data),
        `${each}:5000`,
        `${A}:2906`,
        OF_SERVER,
        data,
      );
    }
    expect(stage.connections().map(({ state }) => state)).toEqual(Array(3).fill("ESTABLISHED"));
    expect(counters()).toMatchObject({ announced: 2, foreign: 0 });
    expect(census(stage.director)).toEqual([]);
  });

  test("nothing is open before both have agreed", () => {
    const addresses = [addressParameter(CLIENT), addressParameter(SECOND)];
    send(SERVED.client, SERVED.far, 0, init(OF_CLIENT, ...addresses));
    send(SERVED.server, SERVED.seen, OF_CLIENT, initAck(OF_SERVER, cookie));
    send(SERVED.client, SERVED.far, OF_SERVER, cookieEcho);
    expect(send(`${SECOND}:5000`, `${VIP}:2905`, OF_SERVER, data).verdict).toBe("reply");
    expect(stage.connections()).toHaveLength(1);
    send(SERVED.server, SERVED.seen, OF_CLIENT, cookieAck);
    expect(send(`${SECOND}:5000`, `${VIP}:2905`, OF_SERVER, data).verdict).toBe("to-server");
  });

  test.each([
    ["ABORT", { type: 6 }, 1],
    ["SHUTDOWN COMPLETE", { type: 14 }, 1],
    ["SHUTDOWN COMPLETE with the sender's own tag", { type: 14, flags: 1 }, 0],
  ] as const)("%s is the end of all paths", (_, chunk, isServers) => {
    associate(SERVED, [addressParameter(SECOND)]);
    expect(stage.connections()).toHaveLength(2);
    send(SERVED.client, SERVED.far, 0xdead, chunk);
    expect(stage.connections()).toHaveLength(2);
    send(SERVED.client, SERVED.far, isServers === 1 ? OF_SERVER : OF_CLIENT, chunk);
    expect(stage.connections()).toHaveLength(1);
    expect(census(stage.director)).toEqual([]);
  });

  test("a path in reserve lives as long as one in use, and keeps the association", () => {
    associate(SERVED, [addressParameter(SECOND)]);
    stage.run(890_000);
    for (let k = 0; k < 3; k++) {
      expect(send(`${SECOND}:5000`, `${VIP}:2905`, OF_SERVER, data).verdict).toBe("to-server");
      stage.run(800_000);
    }
    expect(stage.connections()).toHaveLength(2);
    stage.run(2_000_000);
    expect(stage.connections()).toEqual([]);
  });

  test("support for addresses that come and go is taken out, either way, and ASCONF becomes padding", () => {
    const supported = parameter(0x8008, 0xc0, 0xc1, 0x80, 0x0f, 0x82);
    const left = parameter(0x8008, 0xc0, 0, 0, 0x0f, 0x82);
    expectBecame(
      send(SERVED.client, SERVED.far, 0, init(OF_CLIENT, supported)),
      SERVED.seen, SERVED.server, 0, init(OF_CLIENT, left),
    ); // biome-ignore format: before, after
    expectBecame(
      send(SERVED.server, SERVED.seen, OF_CLIENT, initAck(OF_SERVER, supported, cookie)),
      SERVED.far, SERVED.client, OF_CLIENT, initAck(OF_SERVER, left, cookie),
    ); // biome-ignore format: before, after
    const add = parameter(0xc001, ...u32(1), ...addressParameter(HIDDEN));
    const asconf: Chunk = { type: 0xc1, value: [...u32(7), ...addressParameter(A), ...add] };
    expectBecame(
      send(SERVED.server, SERVED.seen, OF_CLIENT, data, asconf),
      SERVED.far, SERVED.client, OF_CLIENT, data, { ...asconf, type: 0x84 },
    ); // biome-ignore format: before, after
  });

  test("set primary address, in INIT ACK", () => {
    send(SERVED.client, SERVED.far, 0, init(OF_CLIENT));
    const primary = parameter(0xc004, ...u32(1), ...addressParameter(HIDDEN));
    const sent = send(SERVED.server, SERVED.seen, OF_CLIENT, initAck(OF_SERVER, primary, cookie));
    expectBecame(sent, SERVED.far, SERVED.client, OF_CLIENT, initAck(OF_SERVER, padded(primary), cookie));
  });

  test("an address of the server's in an error is told as the client knows it, and the other way round", () => {
    associate(SERVED);
    const abort = (address: string, code = 5): Chunk => ({
      type: 6,
      value: parameter(code, ...addressParameter(address)),
    });
    const error = (address: string): Chunk => ({ ...abort(address, 11), type: 9 });
    expectBecame(
      send(SERVED.client, SERVED.far, OF_SERVER, error(VIP)),
      SERVED.seen,
      SERVED.server,
      OF_SERVER,
      error(A),
    );
    expectBecame(
      send(SERVED.server, SERVED.seen, OF_CLIENT, error(CLIENT)),
      SERVED.far,
      SERVED.client,
      OF_CLIENT,
      error(CLIENT),
    );
    expectBecame(
      send(SERVED.server, SERVED.seen, OF_CLIENT, abort(A)),
      SERVED.far,
      SERVED.client,
      OF_CLIENT,
      abort(VIP),
    );
  });

  test("the server answers from another address of its own: that is shown as the virtual one, by its tag", () => {
    send(SERVED.client, SERVED.far, 0, init(OF_CLIENT, addressParameter(SECOND)));
    const answer = initAck(OF_SERVER, addressParameter(A), addressParameter(HIDDEN), cookie);
    const shown = initAck(OF_SERVER, padded(addressParameter(A)), padded(addressParameter(HIDDEN)), cookie);
    expectBecame(
      send(`${HIDDEN}:2906`, SERVED.seen, OF_CLIENT, answer),
      SERVED.far,
      SERVED.client,
      OF_CLIENT,
      shown,
    );
    send(SERVED.client, SERVED.far, OF_SERVER, cookieEcho);
    expectBecame(
      send(`${HIDDEN}:2906`, SERVED.seen, OF_CLIENT, cookieAck),
      SERVED.far,
      SERVED.client,
      OF_CLIENT,
      cookieAck,
    );
    expect(stage.connections().map(({ state }) => state)).toEqual(["ESTABLISHED", "NONE"]);
    const heard = send(`${HIDDEN}:2906`, `${SECOND}:5000`, OF_CLIENT, heartbeat);
    expectBecame(heard, SERVED.far, `${SECOND}:5000`, OF_CLIENT, heartbeat);
    for (const [source, target, tag] of [
      [`${HIDDEN}:2906`, SERVED.seen, OF_CLIENT + 1],
      [`${HIDDEN}:2906`, SERVED.seen, 0],
      [`${HIDDEN}:2907`, SERVED.seen, OF_CLIENT],
      [`${HIDDEN}:2906`, `${CLIENT}:5001`, OF_CLIENT],
      [`${HIDDEN}:2906`, `${THIRD}:5000`, OF_CLIENT],
    ] as const)
      expect(send(source, target, tag, data).verdict).toBe("pass");
  });

  test("FullNAT: neither knows the other's addresses", () => {
    stage = new Stage([{ ...SCTP, fullNat: { sources: ["10.9.0.1"], clients: "all" } }]);
    const [own, further] = [addressParameter(CLIENT), addressParameter(SECOND)];
    const sent = send(SERVED.client, SERVED.far, 0, init(OF_CLIENT, own, further));
    expectBecame(sent, "10.9.0.1:5000", SERVED.server, 0, init(OF_CLIENT, padded(own), padded(further)));
  });

  test("IPv6", () => {
    const [client, second, vip, server] = ["2001:db8:1::2", "2001:db8:2::2", "2001:db8:5::5", "fd00:16::3"];
    stage = new Stage([{ ...service("sctp", vip, 2905, "rr", destination(server, 2906)), app: "sctp" }]);
    const ends: Ends = {
      client: `[${client}]:5000`, far: `[${vip}]:2905`, seen: `[${client}]:5000`, server: `[${server}]:2906`,
    }; // biome-ignore format: two lines
    const ofServer = [addressParameter(server), addressParameter("172.16.0.3")];
    send(ends.client, ends.far, 0, init(OF_CLIENT, addressParameter(second)));
    const sent = send(ends.server, ends.seen, OF_CLIENT, initAck(OF_SERVER, ...ofServer, cookie));
    expectBecame(sent, ends.far, ends.client, OF_CLIENT, initAck(OF_SERVER, ...ofServer.map(padded), cookie));
    send(ends.client, ends.far, OF_SERVER, cookieEcho);
    send(ends.server, ends.seen, OF_CLIENT, cookieAck);
    checkPacket(
      send(`[${second}]:5000`, ends.far, OF_SERVER, data).bytes,
      valid(),
      from(`[${second}]:5000`),
      to(ends.server),
    );
  });
});

describe("a client behind the director", () => {
  const GOING_OUT: Ends = {
    client: `${A}:5000`, far: `${FAR}:2905`, seen: `${VIP}:5000`, server: `${FAR}:2905`,
  }; // biome-ignore format: two lines
  beforeEach(() => {
    stage = new Stage([]);
    stage.apply([], { masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP], apps: ["sctp"] }] });
  });

  test("its addresses in INIT become padding", () => {
    const own = [addressParameter(A), addressParameter(HIDDEN)];
    const sent = send(GOING_OUT.client, GOING_OUT.far, 0, init(OF_CLIENT, ...own));
    expectBecame(sent, GOING_OUT.seen, GOING_OUT.server, 0, init(OF_CLIENT, ...own.map(padded)));
  });

  test("the server's other addresses stay, and are reached in the same name", () => {
    // Another client has the port, so that this one is shown on another.
    send(`${B}:5000`, GOING_OUT.far, 0, init(1));
    const first = send(GOING_OUT.client, GOING_OUT.far, 0, init(OF_CLIENT));
    const view = new DataView(first.bytes.buffer, first.bytes.byteOffset);
    const seen = `${VIP}:${view.getUint16(20)}`;
    expect(seen).not.toBe(`${VIP}:5000`);
    const addresses = [addressParameter(FAR), addressParameter(FAR2)];
    const chunk = initAck(OF_SERVER, ...addresses, cookie);
    expectBecame(
      send(GOING_OUT.server, seen, OF_CLIENT, chunk),
      GOING_OUT.far,
      GOING_OUT.client,
      OF_CLIENT,
      chunk,
    );
    send(GOING_OUT.client, GOING_OUT.far, OF_SERVER, cookieEcho);
    send(GOING_OUT.server, seen, OF_CLIENT, cookieAck);
    expectBecame(
      send(GOING_OUT.client, `${FAR2}:2905`, OF_SERVER, data),
      seen,
      `${FAR2}:2905`,
      OF_SERVER,
      data,
    );
    expectBecame(
      send(`${FAR2}:2905`, seen, OF_CLIENT, data),
      `${FAR2}:2905`,
      GOING_OUT.client,
      OF_CLIENT,
      data,
    );
    expect(census(stage.director)).toEqual([]);
    // One that it has not told yet is known by the tag.
    expectBecame(
      send("198.51.102.7:2905", seen, OF_CLIENT, data),
      GOING_OUT.far,
      GOING_OUT.client,
      OF_CLIENT,
      data,
    );
    // An association of its own begins there anew.
    expect(send(GOING_OUT.client, `${FAR2}:2905`, 0, init(7)).verdict).toBe("to-server");
    expect(send(GOING_OUT.client, `${FAR2}:2905`, 9, data).verdict).toBe("to-server");
    expect(census(stage.director)).toEqual([]);
  });
});

describe("attacks", () => {
  test("a path is no one's without the verification tag", () => {
    associate(SERVED, [addressParameter(SECOND)]);
    for (const tag of [0, OF_CLIENT, 12_345]) {
      expect(send(`${SECOND}:5000`, SERVED.far, tag, data).verdict).toBe("drop application");
      expect(send(SERVED.server, `${SECOND}:5000`, tag + 1, data).verdict).toBe("drop application");
    }
    expect(send(`${SECOND}:5000`, SERVED.far, OF_CLIENT, { type: 6 }).verdict).toBe("drop application");
    expect(send(`${SECOND}:5000`, SERVED.far, OF_CLIENT, { type: 6, flags: 1 }).verdict).toBe("to-server");
  });

  test("who claims another host's address does not keep that one away", () => {
    associate(SERVED, [addressParameter(SECOND)]);
    // Its own association, on the other server.
    checkPacket(send(`${SECOND}:5000`, SERVED.far, 0, init(77)).bytes, to(`${B}:2906`));
    expect(stage.connections()).toHaveLength(2);
    expect(census(stage.director)).toEqual([]);
  });

  test("nor does it take over an association that is there", () => {
    send(`${SECOND}:5000`, SERVED.far, 0, init(77));
    associate({ ...SERVED, server: `${B}:2906` }, [addressParameter(SECOND)]);
    checkPacket(send(`${SECOND}:5000`, SERVED.far, 5, data).bytes, to(`${A}:2906`));
    expect(counters()).toMatchObject({ announced: 0, noPlace: 1 });
  });

  test("again and again with other addresses: a bounded number of paths", () => {
    for (let round = 0; round < 20; round++) {
      const claimed = Array.from({ length: FURTHER_ADDRESSES_MAX }, (_, k) =>
        addressParameter(`198.18.${round}.${k}`),
      );
      associate(SERVED, claimed);
    }
    expect(stage.connections()).toHaveLength(1 + FURTHER_ADDRESSES_MAX);
    expect(census(stage.director)).toEqual([]);
  });

  test("a damaged packet is not made to look whole", () => {
    send(SERVED.client, SERVED.far, 0, init(OF_CLIENT));
    const chunks = [initAck(OF_SERVER, addressParameter(A))];
    const damaged = packetOf({
      from: SERVED.server,
      to: SERVED.seen,
      tag: OF_CLIENT,
      chunks,
      checksum: "wrong",
    });
    expect(stage.send(damaged).verdict).toBe("drop application");
    expect(counters()).toMatchObject({ badChecksum: 1, foreign: 0 });
  });

  test("more addresses than can be changed: nothing is shown", () => {
    send(SERVED.client, SERVED.far, 0, init(OF_CLIENT));
    const many = Array.from({ length: 150 }, (_, k) => addressParameter(`172.16.1.${k}`));
    expect(send(SERVED.server, SERVED.seen, OF_CLIENT, initAck(OF_SERVER, ...many)).verdict).toBe(
      "drop application",
    );
    expect(counters()).toMatchObject({ noRoom: 1 });
  });

  test.each([
    ["a parameter that is longer than its chunk", [0, 5, 0, 200, 172, 16, 0, 2]],
    ["a parameter without a length", [0, 5, 0, 0, 172, 16, 0, 2]],
    ["an address of three bytes", [0, 5, 0, 7, 172, 16, 0]],
    ["half a parameter", [0, 5]],
  ])("%s", (_, bytes) => {
    send(SERVED.client, SERVED.far, 0, init(OF_CLIENT));
    const chunk = initAck(OF_SERVER, bytes);
    const sent = send(SERVED.server, SERVED.seen, OF_CLIENT, chunk);
    expect(sent.verdict).toBe("to-client");
    checkPacket(sent.bytes, valid());
    expect(counters().failed).toBe(0);
  });

  test("a chunk whose length lies", () => {
    associate(SERVED);
    for (const length of [0, 3, 5, 60_000]) {
      const packet = packetOf({
        from: SERVED.server,
        to: SERVED.seen,
        tag: OF_CLIENT,
        chunks: [initAck(OF_SERVER, addressParameter(A))],
      });
      new DataView(packet.buffer).setUint16(20 + 12 + 2, length);
      expect(stage.send(packet).verdict).toMatch(/to-client|drop application/);
    }
    expect(counters().failed).toBe(0);
  });
});
