/** Quake through a whole director: the port of a game, the list of servers, and what others might try. */
import { describe, expect, test } from "vitest";
import {
  CLIENT_PORT,
  hex,
  INSIDE,
  OUTSIDE,
  POOL,
  SERVER,
  STRANGER,
  TwoSides,
  VIRTUAL,
} from "../../test/support/two-sides.ts";

const CONNECT = hex('80000000 01 "QUAKE" 00 03');
const control = (bytes: Uint8Array): Uint8Array => {
  const it = bytes.slice();
  new DataView(it.buffer).setUint16(2, it.length);
  return it;
};
const connect = control(CONNECT);
function accept(port: number): Uint8Array {
  const it = control(hex("80000000 81 00000000"));
  new DataView(it.buffer).setUint32(5, port, true);
  return it;
}
const info = (address: string) => control(hex(`80000000 83 "${address}" 00 "dm3" 00 "e1m1" 00 01 04 03`));
const portOf = (bytes: Uint8Array): number => Buffer.from(bytes).readUInt32LE(5);

describe("behind a virtual address", () => {
  test("the game's port is the same client's, both ways, at the same server", () => {
    const it = new TwoSides("virtual", "quake", "udp", 26_000);
    expect(it.say("client", connect)).toEqual(connect);
    expect(it.say("server", accept(40_001))).toEqual(accept(40_001));
    expect(it.first(`${OUTSIDE}:${CLIENT_PORT}`, `${VIRTUAL}:40001`)).toBe(
      `${OUTSIDE}:${CLIENT_PORT} ${SERVER}:40001`,
    );
    expect(it.first(`${SERVER}:40001`, `${OUTSIDE}:${CLIENT_PORT}`)).toBe(
      `${VIRTUAL}:40001 ${OUTSIDE}:${CLIENT_PORT}`,
    );
    expect(it.counters).toMatchObject({ announced: 1, begun: 1, rewritten: 0 });
  });

  test("an answer given twice opens one way", () => {
    const it = new TwoSides("virtual", "quake", "udp", 26_000);
    it.say("client", connect);
    expect([it.say("server", accept(40_001)), it.say("server", accept(40_001))].map(portOf)).toEqual([
      40_001, 40_001,
    ]);
    expect(it.first(`${OUTSIDE}:${CLIENT_PORT}`, `${VIRTUAL}:40001`)).toContain(`${SERVER}:40001`);
    expect(it.say("server", accept(40_001))).toEqual(accept(40_001));
    expect(it.counters.announced).toBe(1);
  });

  test("a port that is another service's becomes the next, in the payload too", () => {
    const it = new TwoSides("virtual", "quake", "udp", 26_000);
    it.say("client", connect);
    it.say("server", accept(26_000));
    expect(it.counters.announced, "one port for all").toBe(0);
    it.stage.director.addService({
      protocol: "udp",
      address: VIRTUAL,
      port: 40_001,
      scheduler: "rr",
      destinations: [],
    });
    expect(portOf(it.say("server", accept(40_001)))).toBe(40_002);
    expect(it.first(`${OUTSIDE}:${CLIENT_PORT}`, `${VIRTUAL}:40002`)).toContain(`${SERVER}:40001`);
  });

  test.each([`${SERVER}:26000`, "0.0.0.0:26000", "127.0.0.1:26000", "quake.inside.example:26000", ""])(
    "the server calls itself %j in the list: it is known by the virtual address",
    (address) => {
      const it = new TwoSides("virtual", "quake", "udp", 26_000, { virtualPort: 27_001 });
      it.say("client", control(hex('80000000 02 "QUAKE" 00 03')));
      expect(it.say("server", info(address))).toEqual(info(`${VIRTUAL}:27001`));
    },
  );

  test.each([
    ["nobody asked", accept(40_001), false],
    ["its length lies", hex("8000000a 81 419c0000"), true],
    ["it is cut short", hex("80000008 81 419c00"), true],
    ["more is behind it", hex("80000009 81 419c0000 00"), true],
    ["a port that is none", hex("80000009 81 419c0100"), true],
    ["port 0", accept(0), true],
    ["a packet of the game", hex("00000009 81 419c0000"), true],
  ])("nothing is opened when %s", (_, answer, isAsked) => {
    const it = new TwoSides("virtual", "quake", "udp", 26_000);
    it.say("client", isAsked ? connect : control(hex('80000000 02 "QUAKE" 00 03')));
    expect(it.say("server", answer)).toEqual(answer);
    expect(it.counters.announced).toBe(0);
  });

  test("a low port is refused, a client cannot announce, a stranger cannot come", () => {
    const it = new TwoSides("virtual", "quake", "udp", 26_000);
    it.say("client", connect);
    expect(portOf(it.say("server", accept(53)))).toBe(53);
    it.say("client", accept(40_009));
    expect(it.counters).toMatchObject({ announced: 0, lowPort: 1 });
    it.say("server", accept(40_001));
    expect(it.first(`${STRANGER}:${CLIENT_PORT}`, `${VIRTUAL}:40001`)).toBe("reply");
  });

  test("a flood of answers keeps two ways open", () => {
    const it = new TwoSides("virtual", "quake", "udp", 26_000);
    it.say("client", connect);
    for (let port = 40_000; port < 40_050; port++) it.say("server", accept(port));
    const open = Array.from({ length: 50 }, (_, i) =>
      it.first(`${OUTSIDE}:${5000 + i}`, `${VIRTUAL}:${40_000 + i}`),
    );
    expect(open.filter((one) => one !== "reply")).toHaveLength(2);
  });
});

test("full NAT: the game comes from the pool as well", () => {
  const it = new TwoSides("full NAT", "quake", "udp", 26_000);
  it.say("client", connect);
  it.say("server", accept(40_001));
  expect(it.first(`${OUTSIDE}:${CLIENT_PORT}`, `${VIRTUAL}:40001`)).toBe(
    `${POOL}:${CLIENT_PORT} ${SERVER}:40001`,
  );
});

describe("a player behind a masquerade rule", () => {
  test("the game's port finds it where the question came from", () => {
    const it = new TwoSides("masquerade", "quake", "udp", 26_000);
    it.say("client", connect);
    expect(it.say("server", accept(40_001))).toEqual(accept(40_001));
    expect(it.first(`${STRANGER}:40001`, `${VIRTUAL}:${CLIENT_PORT}`)).toBe("reply");
    expect(it.first(`${OUTSIDE}:40001`, `${VIRTUAL}:${CLIENT_PORT}`)).toBe(
      `${OUTSIDE}:40001 ${INSIDE}:${CLIENT_PORT}`,
    );
    expect(it.first(`${INSIDE}:${CLIENT_PORT}`, `${OUTSIDE}:40001`)).toBe(
      `${VIRTUAL}:${CLIENT_PORT} ${OUTSIDE}:40001`,
    );
  });

  test("the address of a server outside stays", () => {
    const it = new TwoSides("masquerade", "quake", "udp", 26_000);
    it.say("client", control(hex('80000000 02 "QUAKE" 00 03')));
    expect(it.say("server", info("0.0.0.0:26000"))).toEqual(info("0.0.0.0:26000"));
  });
});
