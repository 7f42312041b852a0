/** Skinny's module through a whole director: telephones and call managers on either side of it. */
import { describe, expect, test } from "vitest";
import { describeModule } from "../../test/contract/application-module.ts";
import { Conversation } from "../../test/support/conversation.ts";
import { udp } from "../../test/support/packet-builder.ts";
import { checkPacket, from, to, valid } from "../../test/support/packet-check.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import { parseAddress } from "../wire/address.ts";
import { skinny } from "./skinny.ts";

const VIP = "202.103.106.5";
const PHONE = "202.100.1.2";
const MANAGER = "172.16.0.3";
/** Going out. */
const [INSIDE, OUTSIDE_MANAGER] = ["172.16.0.2", "192.0.2.1"];

const word = (value: number): string =>
  String.fromCharCode(value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24);
const words = (...values: readonly number[]): string => values.map(word).join("");
const octets = (address: string): string => {
  const { family, words } = parseAddress(address)!;
  const bytes = Array.from(
    { length: family === 4 ? 4 : 16 },
    (_, i) => (words[i >> 2]! >>> (24 - 8 * (i & 3))) & 255,
  );
  return String.fromCharCode(...bytes);
};
const message = (id: number, body: string, version = 0): string => words(4 + body.length, version, id) + body;
/** As messages have it, by version. */
const host = (address: string, version: number): string =>
  version < 17 ? octets(address) : word(address.includes(":") ? 1 : 0) + octets(address).padEnd(16, "\0");

const NAME = "SEP001122334455\0";
const register = (address: string, address6 = "::", version = 0): string =>
  message(
    1,
    NAME +
      words(0, 1) +
      octets(address) +
      words(8, 5, 0, version, 0, 0) +
      "x".repeat(12) +
      words(0, 1) +
      octets(address6) +
      word(0),
    version,
  );
const ipPort = (port: number): string => message(2, word(port));
const keepAlive = message(0, "");
const openAck = (address: string, port: number, version = 0): string =>
  message(0x22, word(0) + host(address, version) + words(port, 7, 9), version);
const transmitAck = (address: string, port: number, version = 0): string =>
  message(0x154, words(1, 7, 9) + host(address, version) + words(port, 0), version);
const start = (address: string, port: number, version = 0): string =>
  message(0x8a, words(1, 7) + host(address, version) + words(port, 20, 4).padEnd(100, "\0"), version);
const servers = (name: string, address: string, port: number, version = 0): string =>
  message(0x9e, name.padEnd(48, "\0") + "other".padEnd(192, "\0") + words(port, 2001, 0, 0, 0) + host(address, version) + host("192.0.2.77", version).repeat(4), version); // biome-ignore format: messages

const served = (): Stage =>
  new Stage([{ ...service("tcp", VIP, 2000, "rr", destination(MANAGER, 2002)), app: "skinny" }]);
const goingOut = (): Stage => {
  const stage = new Stage([]);
  stage.apply([], { masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP], apps: ["skinny"] }] });
  return stage;
};
const SERVED = { client: `${PHONE}:50000`, virtual: `${VIP}:2000`, server: `${MANAGER}:2002` } as const;
const GOING_OUT = {
  client: `${INSIDE}:50000`,
  server: `${OUTSIDE_MANAGER}:2000`,
  source: `${VIP}:50000`,
} as const;
const counters = (stage: Stage) =>
  stage.control.status().applications.find(({ name }) => name === "skinny")!.counters;

describe.each([0, 17, 22])("version %i", (version) => {
  test("a call manager behind the director: media of its own", () => {
    const stage = served();
    const talk = new Conversation(stage, SERVED.client, SERVED.virtual);
    for (const said of [register(PHONE, "::", version), ipPort(16_384), openAck(PHONE, 20_000, version)])
      expect(talk.say(said)).toBe(said);
    expect(talk.answer(keepAlive + start(MANAGER, 24_000, version))).toBe(
      keepAlive + start(VIP, 24_000, version),
    );
    const toManager = udp({ from: `${PHONE}:20000`, to: `${VIP}:24000`, payload: "rtp" });
    checkPacket(stage.send(toManager).bytes, valid(), from(`${PHONE}:20000`), to(`${MANAGER}:24000`));
    const toPhone = udp({ from: `${MANAGER}:24000`, to: `${PHONE}:20000`, payload: "rtp" });
    checkPacket(stage.send(toPhone).bytes, valid(), from(`${VIP}:24000`), to(`${PHONE}:20000`));
    const control = udp({ from: `${PHONE}:20001`, to: `${VIP}:24001`, payload: "rtcp" });
    checkPacket(stage.send(control).bytes, to(`${MANAGER}:24001`));
  });

  test("media of another telephone is as it is; call managers to register with are the virtual service", () => {
    const stage = served();
    const talk = new Conversation(stage, SERVED.client, SERVED.virtual);
    const other = start("192.0.2.50", 24_000, version);
    expect(talk.answer(other)).toBe(other);
    expect(talk.answer(servers(MANAGER, MANAGER, 2002, version))).toBe(servers(VIP, VIP, 2000, version));
    expect(talk.answer(servers("cm-1", MANAGER, 2002, version))).toBe(servers("cm-1", VIP, 2000, version));
    expect(counters(stage)).toMatchObject({ foreign: 0, announced: 0 });
  });

  test("a telephone behind the director: media from whomever it talks to, on two neighbours", () => {
    const stage = goingOut();
    const talk = new Conversation(stage, GOING_OUT.client, GOING_OUT.server);
    expect(talk.say(register(INSIDE, "::", version))).toBe(register(VIP, "::", version));
    const heard = talk.say(openAck(INSIDE, 20_001, version));
    expect(heard).toBe(openAck(VIP, 20_002, version));
    expect(talk.say(transmitAck(INSIDE, 20_001, version))).toBe(transmitAck(VIP, 20_002, version));
    for (const [offset, other] of [
      [0, "198.51.100.7:30000"],
      [1, "198.51.100.7:30001"],
    ] as const) {
      const inward = udp({ from: other, to: `${VIP}:${20_002 + offset}`, payload: "rtp" });
      checkPacket(stage.send(inward).bytes, valid(), from(other), to(`${INSIDE}:${20_001 + offset}`));
      const outward = udp({ from: `${INSIDE}:${20_001 + offset}`, to: other, payload: "rtp" });
      checkPacket(stage.send(outward).bytes, valid(), from(`${VIP}:${20_002 + offset}`), to(other));
    }
  });
});

test("IPv6", () => {
  const stage = new Stage([]);
  const [inside, shown, manager] = ["fd00:16::2", "2001:db8:5::5", "2001:db8:9::1"];
  stage.apply([], { masquerade: [{ from: ["fd00:16::/64"], sources: [shown], apps: ["skinny"] }] });
  const talk = new Conversation(stage, `[${inside}]:50000`, `[${manager}]:2000`);
  expect(talk.say(register("0.0.0.0", inside, 20))).toBe(register("0.0.0.0", shown, 20));
  expect(talk.say(openAck(inside, 20_000, 20), 5)).toBe(openAck(shown, 20_000, 20));
});

describe("attacks", () => {
  const say = (said: string) => {
    const stage = goingOut();
    expect(new Conversation(stage, GOING_OUT.client, GOING_OUT.server).say(said)).toBe(said);
    const inward = udp({ from: "198.51.100.7:30000", to: `${VIP}:20000`, payload: "rtp" });
    expect(stage.send(inward).verdict).not.toBe("to-client");
    return counters(stage);
  };
  test.each([
    ["of a third host", openAck("172.16.0.9", 20_000), "foreign"],
    ["of a low port", openAck(INSIDE, 22), "lowPort"],
    ["of a low port, IpPort", ipPort(22), "lowPort"],
  ] as const)("an announcement %s", (_, said, counter) => {
    expect(say(said)).toMatchObject({ announced: 0, [counter]: 1 });
  });

  test.each([
    ["ports that are none", ipPort(0) + ipPort(65_536 + 20_000) + openAck(INSIDE, 85_536)],
    ["nobody's address", openAck("0.0.0.0", 20_000)],
    ["a message that ends too early", message(0x22, word(0) + octets(INSIDE)) + message(2, "\x20N")],
    ["a length that lies", words(2, 0, 0x22) + openAck(INSIDE, 20_000)],
    ["a length that lies, the other way", words(200, 0, 0x22) + openAck(INSIDE, 20_000).padEnd(196, "\0")],
    ["a version that is none", words(24, 1000, 0x22) + openAck(INSIDE, 20_000)],
    [
      "an address of no family",
      message(0x22, words(0, 3) + octets(INSIDE).padEnd(16, "\0") + words(20_000, 7), 18),
    ],
    ["what call managers say", start(INSIDE, 20_000)],
    ["another protocol", `POST / HTTP/1.1\r\n\r\n${openAck(INSIDE, 20_000)}`],
  ])("%s", (_, said) => {
    expect(say(said)).toMatchObject({ announced: 0, rewritten: 0, failed: 0 });
  });

  test("a flood of announcements leaves no more than the cap", () => {
    const stage = goingOut();
    const talk = new Conversation(stage, GOING_OUT.client, GOING_OUT.server);
    for (let port = 20_000; port < 20_400; port += 2) talk.say(openAck(INSIDE, port));
    expect(stage.connections().length).toBe(1 + 8);
  });
});

const EVERYTHING = (own: string, shown: string): [string, string?][] => [
  [register(own), own === shown ? undefined : register(shown)],
  [keepAlive],
  [openAck(own, 20_000) + keepAlive, own === shown ? undefined : openAck(shown, 20_000) + keepAlive],
  [openAck(own, 22_000, 18), own === shown ? undefined : openAck(shown, 22_000, 18)],
]; // biome-ignore format: two columns
describeModule(skinny, {
  places: [
    {
      name: "a telephone behind the director",
      stage: goingOut,
      outside: [GOING_OUT.client, GOING_OUT.server],
      inside: [GOING_OUT.source, GOING_OUT.server],
      said: EVERYTHING(INSIDE, VIP).map(([said, heard]) =>
        heard === undefined ? ["client", said] : ["client", said, heard],
      ),
    },
    {
      name: "a call manager behind the director",
      stage: served,
      outside: [SERVED.client, SERVED.virtual],
      inside: [SERVED.client, SERVED.server],
      said: [
        ["client", register(PHONE)],
        ["server", start(MANAGER, 24_000), start(VIP, 24_000)],
        ["server", servers(MANAGER, MANAGER, 2002, 18), servers(VIP, VIP, 2000, 18)],
        ["server", start(MANAGER, 24_002, 18), start(VIP, 24_002, 18)],
      ],
    },
  ],
});
