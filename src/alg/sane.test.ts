/** SANE's module through a whole director: the port of an image wherever it stands, and what is not of the protocol. */
import { describe, expect, test } from "vitest";
import { describeModule } from "../../test/contract/application-module.ts";
import { Conversation } from "../../test/support/conversation.ts";
import { tcp } from "../../test/support/packet-builder.ts";
import { checkPacket, from, to, valid } from "../../test/support/packet-check.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import type { ServiceConfig } from "../nat/configuration.ts";
import { sane } from "./sane.ts";

const VIP = "202.103.106.5";
const CLIENT = "202.100.1.2";
const [A, B] = ["172.16.0.2", "172.16.0.3"];

const words = (...values: readonly number[]): string =>
  values
    .map((value) => String.fromCharCode(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255))
    .join("");
const string = (text: string): string => `${words(text.length + 1)}${text}\0`;
const NONE = words(0);

const Request = {
  init: words(0, 0x01000003) + string("user"),
  devices: words(1),
  open: words(2) + string("test:0"),
  close: words(3, 0),
  options: words(4, 0),
  setValue: words(5, 0, 2, 1, 1, 4, 1, 300),
  setText: `${words(5, 0, 3, 1, 3, 6, 6)}Color\0`,
  setAuto: words(5, 0, 2, 2),
  parameters: words(6, 0),
  start: words(7, 0),
  cancel: words(8, 0),
  authorize: words(9) + string("test:0") + string("user") + string("secret"),
  exit: words(10),
} as const;

const device = (name: string): string =>
  words(0) + string(name) + string("Noname") + string("virtual") + string("x");
const option = (constraint: string): string =>
  words(0) + string("name") + string("Title") + string("What it does") + words(1, 3, 4, 5) + constraint;
const Answer = {
  init: words(0, 0x01000003),
  devices: words(0, 3) + device("test:0") + device("test:1") + words(1),
  open: words(0, 0) + NONE,
  openWithAuthorization: words(0, 0) + string("test:0$MD5$"),
  close: words(0),
  options: words(6, 1) + [
    option(words(0)),
    option(words(1, 0, 1, 1200, 1)),
    option(words(1, 1)),
    option(words(2, 3, 2, 8, 16)),
    option(words(3, 3) + string("Gray") + string("Color") + NONE),
  ].join(""),
  value: words(0, 0, 1, 4, 1, 300) + NONE,
  text: `${words(0, 1, 3, 6, 6)}Color\0${NONE}`,
  auto: words(0, 0, 1, 0, 0) + NONE,
  parameters: words(0, 1, 1, 471, 157, 196, 8),
  start: (port: number): string => words(0, port, 0x1234) + NONE,
  startWithAuthorization: words(0, 0, 0x1234) + string("test:0"),
  authorize: words(0),
  cancel: words(0),
} as const; // biome-ignore format: a table to read

const stageWith = (...more: readonly ServiceConfig[]): Stage =>
  new Stage([
    { ...service("tcp", VIP, 6566, "rr", destination(A, 6566), destination(B, 6566)), app: "sane" },
    ...more,
  ]);
/** Round robin begins with server B. */
function talkTo(stage: Stage, server: string, port = 40_000): Conversation {
  const talk = new Conversation(stage, `${CLIENT}:${port}`, `${VIP}:6566`);
  expect(talk.server.own).toBe(`${server}:6566`);
  return talk;
}
const counters = (stage: Stage) =>
  stage.control.status().applications.find(({ name }) => name === "sane")!.counters;
const expected = (stage: Stage) =>
  stage
    .connections()
    .filter(({ client }) => client.port === 0)
    .map(({ virtual }) => virtual.port);

/** The whole of a session up to the start of a scan. */
const SESSION = [
  [Request.init, Answer.init],
  [Request.devices, Answer.devices],
  [Request.open, Answer.open],
  [Request.options, Answer.options],
  [Request.setValue, Answer.value],
  [Request.setText, Answer.text],
  [Request.setAuto, Answer.auto],
  [Request.parameters, Answer.parameters],
] as const;

function play(
  talk: Conversation,
  session: readonly (readonly [string, string])[],
  segmentBytes = 1400,
): void {
  for (const [asked, answered] of session) {
    expect(talk.say(asked, segmentBytes)).toBe(asked);
    expect(talk.answer(answered, segmentBytes)).toBe(answered);
  }
}

describe("a scan", () => {
  test.each([1400, 7, 3])("the image comes from the same server; segments of %i bytes", (segmentBytes) => {
    const stage = stageWith();
    const talk = talkTo(stage, B);
    play(talk, [...SESSION, [Request.start, Answer.start(10_000)]], segmentBytes);
    const sent = stage.send(tcp({ from: `${CLIENT}:50000`, to: `${VIP}:10000`, flags: "S" }));
    checkPacket(sent.bytes, valid(), from(`${CLIENT}:50000`), to(`${B}:10000`));
    // The next page.
    play(
      talk,
      [
        [Request.parameters, Answer.parameters],
        [Request.start, Answer.start(10_000)],
      ],
      segmentBytes,
    );
    expect(stage.send(tcp({ from: `${CLIENT}:50001`, to: `${VIP}:10000`, flags: "S" })).verdict).toBe(
      "to-server",
    );
    expect(counters(stage)).toMatchObject({ announced: 2, begun: 2, rewritten: 0 });
  });

  test("two servers with the same port, and a port that is a service's", () => {
    const stage = stageWith(service("tcp", VIP, 10_001, "rr", destination("172.16.0.9", 80)));
    const atB = talkTo(stage, B);
    play(atB, [...SESSION, [Request.start, Answer.start(10_000)]]);
    const atA = talkTo(stage, A, 40_001);
    play(atA, SESSION);
    atA.say(Request.start);
    expect(atA.answer(Answer.start(10_000))).toBe(Answer.start(10_002));
    const sent = stage.send(tcp({ from: `${CLIENT}:50000`, to: `${VIP}:10002`, flags: "S" }));
    checkPacket(sent.bytes, to(`${A}:10000`));
  });

  test("with authorisation: the answer comes again behind that of AUTHORIZE", () => {
    const stage = stageWith();
    const talk = talkTo(stage, B);
    play(talk, [
      [Request.init, Answer.init],
      [Request.open, Answer.openWithAuthorization],
      [Request.authorize, Answer.authorize + Answer.open],
      [Request.start, Answer.startWithAuthorization],
    ]);
    expect(expected(stage)).toEqual([]);
    play(talk, [[Request.authorize, Answer.authorize + Answer.start(10_000)]]);
    expect(expected(stage)).toEqual([10_000]);
  });

  test("options larger than any buffer", () => {
    const stage = stageWith();
    const talk = talkTo(stage, B);
    const list = `${words(1)}${option(words(3, 2) + words(70_000) + "x".repeat(70_000) + NONE)}`;
    play(talk, [
      [Request.init, Answer.init],
      [Request.options, list],
      [Request.start, Answer.start(10_000)],
    ]);
    expect(expected(stage)).toEqual([10_000]);
  });
});

describe("attacks", () => {
  test.each([
    ["a scan that failed", [[Request.start, words(3, 10_000, 0x1234) + NONE]]],
    ["a low port", [[Request.start, Answer.start(22)]]],
    ["a port that is none", [[Request.start, Answer.start(65_536 + 10_000)]]],
    ["an answer that only looks like one of START", [[Request.parameters, words(0, 10_000, 0x1234, 0, 0, 0, 0)]]],
    ["a value that looks like an answer of START", [
      [Request.setText, words(0, 0, 3, 12, 12) + words(0, 10_000, 0x1234) + NONE],
    ]],
    ["a request before the answer to another", [
      [Request.setText + Request.start, words(0, 0, 3, 12, 12) + words(0, 10_000, 0x1234) + NONE],
    ]],
    ["what servers say, by a client", [[Request.start + Answer.start(10_000), Answer.start(10_000)]]],
    ["a length that lies", [[words(2, 0xfffffff0), Answer.start(10_000)], [Request.start, Answer.start(10_000)]]],
    ["a count that lies", [[Request.devices, words(0, 0x7fffffff)], [Request.start, Answer.start(10_000)]]],
    ["a value of no type", [[Request.setValue, words(0, 0, 9, 4, 1, 300)], [Request.start, Answer.start(10_000)]]],
    ["a constraint of no kind", [[Request.options, words(1) + option(words(9))], [Request.start, Answer.start(10_000)]]],
    ["AUTHORIZE that nobody asked for", [[Request.authorize, Answer.authorize + Answer.start(10_000)]]],
    ["another protocol", [["GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"], [Request.start, Answer.start(10_000)]]],
    ["more after the end", [[Request.exit, Answer.start(10_000)], [Request.start, Answer.start(10_000)]]],
  ] as const)("%s lets nobody in, and passes", (_, session) => {
    const stage = stageWith();
    play(talkTo(stage, B), session.length === 1 ? [[Request.init, Answer.init], ...session] : session);
    expect(expected(stage)).toEqual([]);
    expect(counters(stage)).toMatchObject({ failed: 0, announced: 0 });
  }); // biome-ignore format: a table to read

  test("a server that speaks first; nobody but the client; a flood leaves no more than the cap", () => {
    const stage = stageWith();
    talkTo(stage, B).answer(Answer.start(10_000));
    expect(expected(stage)).toEqual([]);
    const talk = talkTo(stage, A, 40_001);
    play(talk, [[Request.init, Answer.init]]);
    for (let port = 10_000; port < 10_100; port++) play(talk, [[Request.start, Answer.start(port)]]);
    expect(expected(stage).sort()).toEqual([10_096, 10_097, 10_098, 10_099]);
    const other = tcp({ from: "202.100.1.9:50000", to: `${VIP}:10099`, flags: "S" });
    expect(stage.send(other).verdict).not.toBe("to-server");
  });
});

test("a client behind the director is told the truth by scanners outside", () => {
  const stage = new Stage([]);
  stage.apply([], { masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP], apps: ["sane"] }] });
  const talk = new Conversation(stage, `${A}:4000`, "192.0.2.1:6566");
  play(talk, [
    [Request.init, Answer.init],
    [Request.start, Answer.start(10_000)],
  ]);
  expect(counters(stage)).toMatchObject({ rewritten: 0, announced: 0 });
});

const TURNS = SESSION.filter(([, answered]) => answered.length < 120).flatMap(([asked, answered]) => [
  ["client", asked] as const,
  ["server", answered] as const,
]);
describeModule(sane, {
  places: [
    {
      name: "a server behind the director",
      // The port that is said is a service's.
      stage: () => stageWith(service("tcp", VIP, 10_000, "rr", destination("172.16.0.9", 80))),
      outside: [`${CLIENT}:40000`, `${VIP}:6566`],
      inside: [`${CLIENT}:40000`, `${B}:6566`],
      said: [
        ...TURNS,
        ["client", Request.start],
        ["server", Answer.start(10_000), Answer.start(10_001)],
        ["client", Request.close],
        ["server", Answer.close],
      ],
    },
  ],
});
