/** Amanda's module through a whole director. */
import { describe, expect, test } from "vitest";
import { describeModule } from "../../test/contract/application-module.ts";
import { DatagramConversation } from "../../test/support/conversation.ts";
import { tcp } from "../../test/support/packet-builder.ts";
import { checkPacket, from, to, valid } from "../../test/support/packet-check.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import type { ServiceConfig } from "../nat/configuration.ts";
import { amanda } from "./amanda.ts";

const VIP = "202.103.106.5";
/** The backup server: the one that calls. */
const CLIENT = "202.100.1.2";
const [A, B] = ["172.16.0.2", "172.16.0.3"];

const packet = (kind: string, ...lines: readonly string[]): string =>
  [`Amanda 3.5 ${kind} HANDLE 000-00000001 SEQ 1795739119`, ...lines, ""].join("\n");
const REQUEST = packet("REQ", "SECURITY USER backup", "SERVICE sendbackup", "OPTIONS features=fff;");
const reply = (connect: string): string => packet("REP", connect, "OPTIONS features=fff;");
const REPLY = reply("CONNECT DATA 50065 MESG 50066 INDEX 50067 STATE 50068");

const stageWith = (...more: readonly ServiceConfig[]): Stage =>
  new Stage([
    { ...service("udp", VIP, 10_080, "rr", destination(A, 10_080), destination(B, 10_080)), app: "amanda" },
    ...more,
  ]);
const talkTo = (stage: Stage, port = 850): DatagramConversation =>
  new DatagramConversation(stage, `${CLIENT}:${port}`, `${VIP}:10080`);
const counters = (stage: Stage) =>
  stage.control.status().applications.find(({ name }) => name === "amanda")!.counters;
const expected = (stage: Stage) =>
  stage
    .connections()
    .filter(({ client }) => client.port === 0)
    .map(({ virtual, destination }) => [virtual.port, destination.address, destination.port])
    .sort();

test("each port of a reply is open to the backup server, at the same host", () => {
  const stage = stageWith();
  const talk = talkTo(stage);
  expect(talk.say(REQUEST)).toBe(REQUEST);
  expect(talk.answer(packet("ACK"))).toBe(packet("ACK"));
  expect(talk.answer(REPLY)).toBe(REPLY);
  // Amanda says it again until it is acknowledged.
  expect(talk.answer(REPLY)).toBe(REPLY);
  expect(expected(stage)).toEqual([50_065, 50_066, 50_067, 50_068].map((port) => [port, B, port]));
  for (let port = 50_065; port <= 50_068; port++) {
    const sent = stage.send(tcp({ from: `${CLIENT}:50000`, to: `${VIP}:${port}`, flags: "S" }));
    checkPacket(sent.bytes, valid(), from(`${CLIENT}:50000`), to(`${B}:${port}`));
  }
  const again = tcp({ from: `${CLIENT}:50001`, to: `${VIP}:50065`, flags: "S" });
  expect(stage.send(again).verdict).not.toBe("to-server");
});

test("two hosts with the same ports, one of them a service's", () => {
  const stage = stageWith(service("tcp", VIP, 50_069, "rr", destination("172.16.0.9", 80)));
  for (const [server, port, wanted] of [
    [B, 850, REPLY],
    [A, 851, reply("CONNECT DATA 50070 MESG 50071 INDEX 50072 STATE 50073")],
  ] as const) {
    const talk = talkTo(stage, port);
    talk.say(REQUEST);
    expect(talk.server.own).toBe(`${server}:10080`);
    const said = server === B ? REPLY : reply("CONNECT DATA 50065 MESG 50066 INDEX 50067 STATE 50068");
    expect(talk.answer(said)).toBe(wanted);
  }
  const sent = stage.send(tcp({ from: `${CLIENT}:50000`, to: `${VIP}:50072`, flags: "S" }));
  checkPacket(sent.bytes, to(`${A}:50067`));
});

test("a number of another length", () => {
  const stage = stageWith(service("tcp", VIP, 9999, "rr", destination("172.16.0.9", 80)));
  const talk = talkTo(stage);
  talk.say(REQUEST);
  const longer = reply("CONNECT DATA 10000 MESG 10001");
  expect(talk.answer(reply("CONNECT DATA 9999 MESG 10001"))).toBe(longer);
  expect(expected(stage)).toEqual([
    [10_000, B, 9999],
    [10_001, B, 10_001],
  ]);
});

describe("attacks", () => {
  test.each([
    ["a low port", REQUEST, reply("CONNECT DATA 22 MESG 1023")],
    ["numbers that are none", REQUEST, reply("CONNECT DATA 0 MESG 65536 INDEX 500670 STATE 4000x")],
    ["a line without numbers", REQUEST, reply("CONNECT DATA")],
    ["a line without an end", REQUEST, REPLY.slice(0, 80)],
    ["a reply nobody asked for", packet("ACK"), REPLY],
    ["a line further down, which may be somebody's text", REQUEST, reply("OPTIONS x;\nCONNECT DATA 50065 MESG 50066")],
    ["not at the beginning of a line", REQUEST, reply("x CONNECT DATA 50065 MESG 50066")],
    ["another kind of packet", REQUEST, packet("NAK", "CONNECT DATA 50065 MESG 50066")],
    ["another protocol", REQUEST, "CONNECT DATA 50065 MESG 50066\n"],
    ["a request", REQUEST, REQUEST.replace("SECURITY USER backup", "CONNECT DATA 50065")],
  ])("%s lets nobody in, and passes", (_, said, answered) => {
    const stage = stageWith();
    const talk = talkTo(stage);
    talk.say(said);
    expect(talk.answer(answered)).toBe(answered);
    expect(expected(stage)).toEqual([]);
    expect(counters(stage)).toMatchObject({ announced: 0, failed: 0 });
  }); // biome-ignore format: a table to read

  test("what hosts say, by the backup server; nobody else; a flood leaves no more than the cap", () => {
    const stage = stageWith();
    const talk = talkTo(stage);
    talk.say(REQUEST);
    expect(talk.say(REPLY)).toBe(REPLY);
    expect(expected(stage)).toEqual([]);
    for (let port = 50_000; port < 50_500; port += 5)
      talk.answer(reply(`CONNECT ${[0, 1, 2, 3, 4].map((i) => `DATA ${port + i}`).join(" ")}`));
    expect(expected(stage)).toHaveLength(4);
    const other = tcp({ from: "202.100.1.9:50000", to: `${VIP}:50499`, flags: "S" });
    expect(stage.send(other).verdict).not.toBe("to-server");
  });
});

test("a backup server behind the director is told the truth by hosts outside", () => {
  const stage = new Stage([]);
  stage.apply([], { masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP], apps: ["amanda"] }] });
  const talk = new DatagramConversation(stage, `${A}:4000`, "192.0.2.1:10080");
  talk.say(REQUEST);
  expect(talk.answer(REPLY)).toBe(REPLY);
  expect(counters(stage)).toMatchObject({ rewritten: 0, announced: 0 });
});

describeModule(amanda, {
  places: [
    {
      name: "a host behind the director",
      transport: "udp",
      stage: () => stageWith(service("tcp", VIP, 50_065, "rr", destination("172.16.0.9", 80))),
      outside: [`${CLIENT}:850`, `${VIP}:10080`],
      inside: [`${CLIENT}:850`, `${B}:10080`],
      said: [
        ["client", REQUEST],
        ["server", packet("ACK")],
        ["server", reply("CONNECT DATA 50065 MESG 50070"), reply("CONNECT DATA 50066 MESG 50070")],
      ],
    },
  ],
});
