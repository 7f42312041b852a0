/** TNS's module through a whole director: redirections of either form, and what is none. */
import { describe, expect, test } from "vitest";
import { describeModule } from "../../test/contract/application-module.ts";
import { Conversation } from "../../test/support/conversation.ts";
import { tcp } from "../../test/support/packet-builder.ts";
import { checkPacket, from, to, valid } from "../../test/support/packet-check.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import type { ServiceConfig } from "../nat/configuration.ts";
import { tns } from "./tns.ts";

const VIP = "202.103.106.5";
const CLIENT = "202.100.1.2";
const [A, B] = ["172.16.0.2", "172.16.0.3"];
const [VIP6, CLIENT6, A6] = ["2001:db8:5::5", "2001:db8:1::2", "fd00:16::2"];

const word = (value: number): string => String.fromCharCode(value >> 8, value & 255);
const packet = (type: number, body: string, flags = 0): string =>
  `${word(8 + body.length)}\0\0${String.fromCharCode(type, flags)}\0\0${body}`;
const CONNECT_DATA =
  "(DESCRIPTION=(CONNECT_DATA=(SERVICE_NAME=x)(CID=(HOST=client)(USER=u)))(ADDRESS=(HOST=v)(PORT=1521)))";
const CONNECT = packet(1, `${"\x01\x3a".padEnd(50, "\0")}${CONNECT_DATA}`);
const address = (host: string, port: number | string): string =>
  `(ADDRESS=(PROTOCOL=tcp)(HOST=${host})(PORT=${port}))`;
/** All in one packet, as older listeners do, and its data in the next, as newer ones do. */
const older = (data: string): string => packet(5, `${word(data.length)}${data}`);
const newer = (data: string): string => packet(5, word(data.length)) + packet(6, `\0\x40${data}`);
const ACCEPT = packet(2, "\x01\x3a".padEnd(24, "\0"));
const RESEND = packet(11, "");

const stageWith = (...more: readonly ServiceConfig[]): Stage =>
  new Stage([
    { ...service("tcp", VIP, 1521, "rr", destination(A, 1521), destination(B, 1521)), app: "tns" },
    { ...service("tcp", VIP6, 1521, "rr", destination(A6, 1521)), app: "tns" },
    ...more,
  ]);
/** Round robin begins with server B. */
function talkTo(stage: Stage, server: string, port = 40_000): Conversation {
  const talk = new Conversation(stage, `${CLIENT}:${port}`, `${VIP}:1521`);
  expect(talk.server.own).toBe(`${server}:1521`);
  return talk;
}
const counters = (stage: Stage) =>
  stage.control.status().applications.find(({ name }) => name === "tns")!.counters;
const expected = (stage: Stage) =>
  stage
    .connections()
    .filter(({ client }) => client.port === 0)
    .map(({ virtual, destination }) => [virtual.port, destination.address, destination.port]);

/** What the client hears of a redirection on a connection that ends then. */
function redirected(stage: Stage, server: string, said: string): string {
  const talk = talkTo(stage, server);
  expect(talk.say(CONNECT)).toBe(CONNECT);
  const heard = talk.answer(said);
  talk.finish();
  return heard;
}

describe.each([
  ["older", older],
  ["newer", newer],
] as const)("a redirection of the %s form", (_, form) => {
  test.each([
    ["by address", address(B, 1027), address(VIP, 1027)],
    ["by name", address("db-1.internal", 1027), address(VIP, 1027)],
    ["by the virtual address, which servers can be told", address(VIP, 1027), address(VIP, 1027)],
    ["in another order, with spaces", `( address = (port = 1027)( Host=${B}) (protocol=TCP) )`, `( address = (port = 1027)( Host=${VIP}) (protocol=TCP) )`],
    ["with what to say there", `${address(B, 1027)}\0${CONNECT_DATA}`, `${address(VIP, 1027)}\0${CONNECT_DATA}`],
    ["a list", `(ADDRESS_LIST=${address(B, 1027)}${address(B, 1028)})`, `(ADDRESS_LIST=${address(VIP, 1027)}${address(VIP, 1028)})`],
  ])("%s", (_, said, wanted) => {
    const stage = stageWith();
    expect(redirected(stage, B, form(said))).toBe(form(wanted));
    const sent = stage.send(tcp({ from: `${CLIENT}:50000`, to: `${VIP}:1027`, flags: "S" }));
    checkPacket(sent.bytes, valid(), from(`${CLIENT}:50000`), to(`${B}:1027`));
  }); // biome-ignore format: a table to read

  test("to another server of the service, where its port is taken: that one's listener redirects again", () => {
    const stage = stageWith();
    expect(redirected(stage, B, form(address(A, 1521)))).toBe(form(address(VIP, 1522)));
    const talk = new Conversation(stage, `${CLIENT}:50000`, `${VIP}:1522`);
    expect(talk.server.own).toBe(`${A}:1521`);
    talk.say(CONNECT);
    expect(talk.answer(form(address(A, 1030)))).toBe(form(address(VIP, 1030)));
    const sent = stage.send(tcp({ from: `${CLIENT}:50001`, to: `${VIP}:1030`, flags: "S" }));
    checkPacket(sent.bytes, to(`${A}:1030`));
  });

  test.each([
    ["bare", (host: string) => host],
    ["in brackets", (host: string) => `[${host}]`],
  ])("IPv6, %s, in segments of 5 bytes", (_, host) => {
    const stage = stageWith();
    const talk = new Conversation(stage, `[${CLIENT6}]:40000`, `[${VIP6}]:1521`);
    talk.say(CONNECT, 5);
    const heard = talk.answer(form(address(host(A6), 1027)), 5);
    expect(heard).toBe(form(address(host(VIP6), 1027)));
  });

  test.each([
    ["to a third host", form(address("172.16.0.9", 1027)), "foreign"],
    ["to a low port", form(address(B, 22)), "lowPort"],
  ] as const)("%s is refused", (_, said, counter) => {
    const stage = stageWith();
    expect(redirected(stage, B, said)).toBe(said);
    expect([expected(stage), counters(stage)[counter]]).toEqual([[], 1]);
  });
});

describe("attacks", () => {
  test.each([
    ["a port that is none", older(address(B, 65_536 + 1027))],
    ["a port with more in it", older(address(B, "1027x"))],
    ["no host", older(address("", 1027))],
    ["a length of data that lies", packet(5, `${word(500)}${address(B, 1027)}`)],
    ["a length that lies", `${word(4)}\0\0\x05\0\0\0${word(50)}${address(B, 1027)}`],
    ["an address behind the NUL", older(`x\0${address(B, 1027)}`)],
    ["after the listener accepted", ACCEPT + older(address(B, 1027))],
    ["another protocol", `HTTP/1.1 302\r\n${older(address(B, 1027))}`],
    ["what follows is no data", packet(5, word(50)) + packet(4, `\0\0${address(B, 1027)}`)],
  ])("%s changes nothing", (_, said) => {
    const stage = stageWith();
    expect(redirected(stage, B, said)).toBe(said);
    expect([expected(stage), counters(stage).failed]).toEqual([[], 0]);
  });

  test("a redirection nobody asked for, a second one, and one by a client", () => {
    const stage = stageWith();
    const said = older(address(B, 1027));
    expect(talkTo(stage, B).answer(said)).toBe(said);
    const talk = talkTo(stage, A, 40_001);
    expect(talk.say(said)).toBe(said);
    const other = talkTo(stage, B, 40_002);
    other.say(CONNECT);
    other.answer(RESEND);
    other.say(CONNECT);
    other.answer(older(address(B, 1028)));
    other.answer(older(address(B, 1029)));
    expect(expected(stage)).toEqual([[1028, B, 1028]]);
    const stranger = tcp({ from: "202.100.1.9:50000", to: `${VIP}:1028`, flags: "S" });
    expect(stage.send(stranger).verdict).not.toBe("to-server");
    stage.run(61_000);
    expect(expected(stage)).toEqual([]);
  });

  test("a list without end leaves no more than the cap", () => {
    const stage = stageWith();
    const list = Array.from({ length: 30 }, (_, i) => address(B, 1030 + i)).join("");
    expect(redirected(stage, B, older(list))).toBe(older(list.replaceAll(B, VIP)));
    expect(expected(stage)).toHaveLength(4);
  });
});

test("a client behind the director is told the truth by listeners outside", () => {
  const stage = new Stage([]);
  stage.apply([], { masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP], apps: ["tns"] }] });
  const talk = new Conversation(stage, `${A}:4000`, "192.0.2.1:1521");
  talk.say(CONNECT);
  const said = older(address("192.0.2.1", 1027));
  expect(talk.answer(said)).toBe(said);
  expect(counters(stage)).toMatchObject({ rewritten: 0, announced: 0 });
});

describeModule(tns, {
  places: [older, newer].map((form) => ({
    name: `the ${form.name} form`,
    stage: () => stageWith(service("tcp", VIP, 1027, "rr", destination("172.16.0.9", 80))),
    outside: [`${CLIENT}:40000`, `${VIP}:1521`],
    inside: [`${CLIENT}:40000`, `${B}:1521`],
    said: [
      ["client", CONNECT],
      ["server", RESEND],
      ["client", CONNECT],
      ["server", form(`${address(B, 1027)}\0x`), form(`${address(VIP, 1028)}\0x`)],
    ],
  })),
});
