/** The portmapper's module through a whole director: what clients are told, which connections come in, what is refused. */
import { describe, expect, test } from "vitest";
import { describeModule } from "../../test/contract/application-module.ts";
import { Conversation, DatagramConversation } from "../../test/support/conversation.ts";
import { tcp, udp } from "../../test/support/packet-builder.ts";
import { checkPacket, from, to, valid } from "../../test/support/packet-check.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import type { Place } from "../../test/support/story.ts";
import type { ApplicationOptions, ServiceConfig } from "../nat/configuration.ts";
import { rpc, universalAddress } from "./rpc.ts";

const VIP = "202.103.106.5";
const CLIENT = "202.100.1.2";
const [A, B] = ["172.16.0.2", "172.16.0.3"];
const [VIP6, CLIENT6, A6] = ["2001:db8:5::5", "2001:db8:1::2", "fd00:16::2"];
const [NFS, MOUNT, PORTMAPPER] = [100_003, 100_005, 100_000];

// XDR, a character a byte

const word = (value: number): string =>
  String.fromCharCode(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
const words = (...values: readonly number[]): string => values.map(word).join("");
const string = (text: string): string => word(text.length) + text + "\0".repeat(-text.length & 3);
const list = (...entries: readonly string[]): string =>
  entries.map((entry) => word(1) + entry).join("") + word(0);
const wordAt = (text: string, at: number): number => Buffer.from(text, "latin1").readUInt32BE(at);

/** Credentials as of a Unix user, so that they have a length. */
const CREDENTIALS = words(1, 20, 0, 0, 0, 0, 0);
const call = (xid: number, version: number, procedure: number, ...args: readonly string[]): string =>
  words(xid, 0, 2, PORTMAPPER, version, procedure) + CREDENTIALS + words(0, 0) + args.join("");
const reply = (xid: number, ...results: readonly string[]): string =>
  words(xid, 1, 0, 0, 0, 0) + results.join("");

/** As one fragment, or cut into fragments of so many bytes. */
function record(message: string, fragmentBytes = message.length): string {
  let fragments = "";
  for (let at = 0; at < message.length; at += fragmentBytes) {
    const fragment = message.slice(at, at + fragmentBytes);
    const isLast = at + fragmentBytes >= message.length;
    fragments += word(fragment.length + (isLast ? 0x80000000 : 0)) + fragment;
  }
  return fragments;
}
const getPort = (xid: number, program: number, protocol: number): string =>
  call(xid, 2, 3, words(program, 3, protocol, 0));
const getAddress = (xid: number, program: number, netid: string, address: string): string =>
  call(xid, 4, 3, words(program, 3), string(netid), string(address), string("rpcb"));

// The stage

function stageWith(options?: ApplicationOptions, ...more: readonly ServiceConfig[]): Stage {
  const servers = [destination(A, 111), destination(B, 111)];
  const app = { app: "rpc", ...(options === undefined ? {} : { appOptions: options }) };
  return new Stage([
    { ...service("tcp", VIP, 111, "rr", ...servers), ...app },
    { ...service("udp", VIP, 111, "rr", ...servers), ...app },
    { ...service("tcp", VIP6, 111, "rr", destination(A6, 111)), ...app },
    ...more,
  ]);
}

let port = 40_000;
/** A new connection; round robin begins with server B. */
function talkTo(stage: Stage, server: string): Conversation {
  const talk = new Conversation(stage, `${CLIENT}:${port++}`, `${VIP}:111`);
  expect(talk.server.own).toBe(`${server}:111`);
  return talk;
}
const datagramsOf = (stage: Stage): DatagramConversation =>
  new DatagramConversation(stage, `${CLIENT}:${port++}`, `${VIP}:111`);
const counters = (stage: Stage) =>
  stage.control.status().applications.find(({ name }) => name === "rpc")!.counters;
const expected = (stage: Stage) =>
  stage.connections().filter(({ client }) => client.port === 0).map(({ virtual, destination }) => [
    virtual.port, destination.address, destination.port,
  ]); // biome-ignore format: one pipeline
const SYN = (at: string, source = `${CLIENT}:50000`) => tcp({ from: source, to: at, flags: "S" });

/** What the client hears of one call on a connection of its own that ends before it goes on. */
function asked(stage: Stage, server: string, said: string, answered: string): string {
  const talk = talkTo(stage, server);
  expect(talk.say(record(said))).toBe(record(said));
  const heard = talk.answer(record(answered));
  talk.finish();
  expect(wordAt(heard, 0) - 0x80000000).toBe(heard.length - 4);
  return heard.slice(4);
}

describe("version 2", () => {
  test("GETPORT over TCP: the client comes to the same server after the portmapper's connection ended", () => {
    const stage = stageWith();
    expect(asked(stage, B, getPort(7, MOUNT, 6), reply(7, word(40_001)))).toBe(reply(7, word(40_001)));
    const sent = stage.send(SYN(`${VIP}:40001`));
    checkPacket(sent.bytes, valid(), from(`${CLIENT}:50000`), to(`${B}:40001`));
    // Any number of connections, for a while.
    expect(stage.send(SYN(`${VIP}:40001`, `${CLIENT}:50001`)).verdict).toBe("to-server");
    stage.run(301_000);
    expect(stage.send(SYN(`${VIP}:40001`, `${CLIENT}:50002`)).verdict).not.toBe("to-server");
  });

  test("GETPORT over UDP for either protocol; two servers with the same port", () => {
    const stage = stageWith();
    const atB = datagramsOf(stage);
    atB.say(getPort(1, NFS, 17));
    expect(atB.answer(reply(1, word(2049)))).toBe(reply(1, word(2049)));
    const atA = datagramsOf(stage);
    atA.say(getPort(2, NFS, 17));
    expect(atA.answer(reply(2, word(2049)))).toBe(reply(2, word(2050)));
    atA.say(getPort(3, NFS, 6));
    expect(atA.answer(reply(3, word(2049)))).toBe(reply(3, word(2049)));
    expect(expected(stage).sort()).toEqual([
      [2049, A, 2049],
      [2049, B, 2049],
      [2050, A, 2049],
    ]);
    const call = udp({ from: `${CLIENT}:50000`, to: `${VIP}:2050`, payload: "x" });
    checkPacket(stage.send(call).bytes, valid(), to(`${A}:2049`));
    const answer = udp({ from: `${A}:2049`, to: `${CLIENT}:50000`, payload: "x" });
    checkPacket(stage.send(answer).bytes, valid(), from(`${VIP}:2050`));
  });

  test("the same asked again, from another connection, has the same answer and one expectation", () => {
    const stage = stageWith();
    for (let xid = 0; xid < 6; xid += 2) {
      expect(asked(stage, B, getPort(xid, NFS, 6), reply(xid, word(2049)))).toBe(reply(xid, word(2049)));
      const other = asked(stage, A, getPort(xid + 1, NFS, 6), reply(xid + 1, word(2049)));
      expect(other).toBe(reply(xid + 1, word(2050)));
      stage.run(100_000);
    }
    expect(expected(stage).sort()).toEqual([
      [2049, B, 2049],
      [2050, A, 2049],
    ]);
  });

  test("the portmapper itself is where the client knows it", () => {
    const stage = stageWith(undefined, {
      ...service("tcp", VIP, 1111, "rr", destination(A, 111)), app: "rpc",
    }); // biome-ignore format: short
    const talk = new Conversation(stage, `${CLIENT}:40000`, `${VIP}:1111`);
    talk.say(record(getPort(1, PORTMAPPER, 6)));
    expect(talk.answer(record(reply(1, word(111))))).toBe(record(reply(1, word(1111))));
    expect(counters(stage)).toMatchObject({ announced: 0, lowPort: 0 });
  });

  test("DUMP: every port of the list; CALLIT: the port in front of what the program answered", () => {
    const stage = stageWith(undefined, service("tcp", VIP, 2049, "rr", destination("172.16.0.9", 80)));
    const dump = (nfs: number) =>
      list(
        words(PORTMAPPER, 2, 6, 111),
        words(NFS, 3, 6, nfs),
        words(MOUNT, 3, 17, 40_001),
        words(1, 1, 9, 7),
      );
    expect(asked(stage, B, call(1, 2, 4), reply(1, dump(2049)))).toBe(reply(1, dump(2050)));
    const talk = datagramsOf(stage);
    talk.say(call(2, 2, 5, words(MOUNT, 3, 0), string("args")));
    const answer = reply(2, word(2049), string("result"));
    expect(talk.answer(answer)).toBe(answer);
    expect(expected(stage)).toContainEqual([2049, B, 2049]);
  });
});

describe("versions 3 and 4", () => {
  test("GETADDR: the virtual address, and the server is asked for its own", () => {
    const stage = stageWith();
    const talk = talkTo(stage, B);
    expect(talk.say(record(getAddress(1, NFS, "tcp", `${VIP}.0.111`)))).toEqual(
      record(getAddress(1, NFS, "tcp", `${B}.0.111`)),
    );
    expect(talk.answer(record(reply(1, string(`${B}.8.1`))))).toEqual(record(reply(1, string(`${VIP}.8.1`))));
    checkPacket(stage.send(SYN(`${VIP}:2049`)).bytes, to(`${B}:2049`));
  });

  test("IPv6, with an address longer than what it replaces", () => {
    const stage = stageWith();
    const talk = new Conversation(stage, `[${CLIENT6}]:40000`, `[${VIP6}]:111`);
    expect(talk.say(record(getAddress(1, NFS, "tcp6", `${VIP6}.0.111`)), 7)).toEqual(
      record(getAddress(1, NFS, "tcp6", `${A6}.0.111`)),
    );
    expect(talk.answer(record(reply(1, string(`${A6}.8.1`))), 7)).toEqual(
      record(reply(1, string(`${VIP6}.8.1`))),
    );
    const sent = stage.send(tcp({ from: `[${CLIENT6}]:50000`, to: `[${VIP6}]:2049`, flags: "S" }));
    checkPacket(sent.bytes, valid(), to(`[${A6}]:2049`));
  });

  test("over UDP, and once more after the answer was lost", () => {
    const talk = datagramsOf(stageWith());
    talk.say(getAddress(1, NFS, "udp", `${VIP}.0.111`));
    for (let i = 0; i < 2; i++)
      expect(talk.answer(reply(1, string(`${B}.8.1`)))).toBe(reply(1, string(`${VIP}.8.1`)));
  });

  test("GETADDRLIST, DUMP, INDIRECT", () => {
    const stage = stageWith();
    const entry = (address: string, netid: string) =>
      string(address) + string(netid) + word(1) + string("inet") + string(netid.slice(0, 3));
    const entries = (address: string) => list(entry(`${address}.8.1`, "tcp"), entry(`${address}.8.1`, "udp"));
    expect(
      asked(
        stage,
        B,
        call(1, 4, 11, words(NFS, 3), string(""), string(""), string("")),
        reply(1, entries(B)),
      ),
    ).toBe(reply(1, entries(VIP)));
    const mapping = (program: number, netid: string, address: string) =>
      words(program, 3) + string(netid) + string(address) + string("superuser");
    const all = (address: string) =>
      list(
        mapping(PORTMAPPER, "tcp", "0.0.0.0.0.111"),
        mapping(PORTMAPPER, "local", "/run/rpcbind.sock"),
        mapping(NFS, "tcp6", "::.8.1"),
        mapping(NFS, "tcp", "0.0.0.0.8.1"),
        mapping(MOUNT, "udp", `${address}.156.66`),
      );
    // The other server's 2049 is taken.
    expect(asked(stage, A, call(2, 3, 4), reply(2, all(A)))).toEqual(
      reply(2, all(VIP).replace("0.0.0.0.8.1", "0.0.0.0.8.2")),
    );
    const talk = datagramsOf(stage);
    talk.say(call(3, 4, 10, words(MOUNT, 3, 0), string("args")));
    expect(talk.answer(reply(3, string(`${B}.156.65`), string("result")))).toEqual(
      reply(3, string(`${VIP}.156.65`), string("result")),
    );
  });

  test.each([1, 3, 8, 31, 60])("a record in fragments of %i bytes, in segments of 5", (bytes) => {
    const talk = talkTo(stageWith(), B);
    const said = getAddress(1, NFS, "tcp", `${VIP}.0.111`);
    const asOne = (message: string) => [record(message), record(message, bytes)];
    const isReadable = Math.ceil(said.length / bytes) <= 16;
    const heard = talk.say(record(said, bytes), 5);
    if (!isReadable) expect(heard).toBe(record(said, bytes));
    else expect(asOne(getAddress(1, NFS, "tcp", `${B}.0.111`))).toContainEqual(heard);
    const answer = talk.answer(record(reply(1, string(`${B}.8.1`)), Math.max(8, bytes)), 5);
    if (isReadable) expect(asOne(reply(1, string(`${VIP}.8.1`)))).toContainEqual(answer);
  });

  test.each([
    ["1.2.3.4.8.1", { family: 4, host: "1.2.3.4", port: 2049 }],
    ["::.8.1", { family: 6, host: "::", port: 2049 }],
    ["2001:DB8::1.255.255", { family: 6, host: "2001:db8::1", port: 65_535 }],
    ["::ffff:1.2.3.4.0.111", { family: 6, host: "::ffff:1.2.3.4", port: 111 }],
    ["1.2.3.4.8", undefined],
    ["1.2.3.4.256.1", undefined],
    ["1.2.3.400.8.1", undefined],
    ["/run/rpcbind.sock", undefined],
    ["", undefined],
    ["1".repeat(50), undefined],
  ])("universal address %j", (text, wanted) => {
    expect(universalAddress(text)).toEqual(wanted);
  });
});

describe("a list of programs", () => {
  test("others cannot be found, called or listed; their ports stay closed, low ones of these are open", () => {
    const stage = stageWith({ programs: [NFS] });
    const refused = talkTo(stage, B);
    expect(refused.say(record(getPort(1, MOUNT, 6)))).toBe(record(getPort(1, 0, 6)));
    expect(refused.say(record(call(2, 2, 5, words(MOUNT, 3, 0), string(""))))).toEqual(
      record(call(2, 2, 5, words(0, 3, 0), string(""))),
    );
    expect(refused.say(record(call(3, 2, 5, words(PORTMAPPER, 2, 1), string(""))))).toEqual(
      record(call(3, 2, 5, words(0, 2, 1), string(""))),
    );
    // A server that says it nevertheless is not believed.
    expect(refused.answer(record(reply(1, word(40_001))))).toBe(record(reply(1, word(40_001))));
    expect(expected(stage)).toEqual([]);
    const all = list(words(PORTMAPPER, 2, 6, 111), words(MOUNT, 3, 6, 40_001), words(NFS, 3, 6, 700));
    const heard = asked(stage, A, call(4, 2, 4), reply(4, all));
    const shown = wordAt(heard, 24 + 20 + 16);
    expect(heard).toBe(reply(4, list(words(PORTMAPPER, 2, 6, 111), words(NFS, 3, 6, shown))));
    expect(shown).toBeGreaterThan(1023);
    checkPacket(stage.send(SYN(`${VIP}:${shown}`)).bytes, to(`${A}:700`));
  });
});

describe("attacks", () => {
  test.each([
    ["an answer nobody asked for", undefined, reply(9, word(40_001))],
    ["an answer to another call", getPort(1, NFS, 6), reply(2, word(40_001))],
    ["a low port", getPort(1, NFS, 6), reply(1, word(22))],
    ["a port that is none", getPort(1, NFS, 6), reply(1, word(65_536 + 2049))],
    ["a third host's address", getAddress(1, NFS, "tcp", ""), reply(1, string("172.16.0.9.8.1"))],
    ["an address whose length lies", getAddress(1, NFS, "tcp", ""), reply(1, words(400, 1, 2))],
    ["a denied call", getPort(1, NFS, 6), words(1, 1, 1, 0, 0, 0, 40_001)],
    ["a failed call", getPort(1, NFS, 6), words(1, 1, 0, 0, 0, 4, 40_001)],
    ["a verifier whose length lies", getPort(1, NFS, 6), words(1, 1, 0, 0, 0xfffffff0, 0, 40_001)],
    [
      "a call to another program",
      words(1, 0, 2, NFS, 2, 3, 0, 0, 0, 0, NFS, 3, 6, 0),
      reply(1, word(40_001)),
    ],
    ["a list without an end", call(1, 2, 4), reply(1, words(1, NFS, 3, 6, 2049, 1, NFS))],
  ] as const)("%s changes nothing", (_, said, answer) => {
    const stage = stageWith();
    const talk = talkTo(stage, B);
    if (said !== undefined) talk.say(record(said));
    expect(talk.answer(record(answer))).toBe(record(answer));
    expect(stage.send(SYN(`${VIP}:40001`)).verdict).not.toBe("to-server");
    expect(stage.send(SYN(`${VIP}:22`)).verdict).not.toBe("to-server");
    expect(counters(stage).failed).toBe(0);
  });

  test("a client that says what servers say", () => {
    const stage = stageWith();
    const talk = talkTo(stage, B);
    talk.say(record(getPort(1, NFS, 6)));
    talk.say(record(reply(1, word(40_001))));
    expect(expected(stage)).toEqual([]);
  });

  test("a second answer over TCP", () => {
    const stage = stageWith();
    const talk = talkTo(stage, B);
    talk.say(record(getPort(1, NFS, 6)));
    talk.answer(record(reply(1, word(40_001))));
    talk.answer(record(reply(1, word(40_002))));
    expect(expected(stage)).toEqual([[40_001, B, 40_001]]);
  });

  test("nobody but the client that asked", () => {
    const stage = stageWith();
    asked(stage, B, getPort(7, MOUNT, 6), reply(7, word(40_001)));
    expect(stage.send(SYN(`${VIP}:40001`, "202.100.1.9:50000")).verdict).not.toBe("to-server");
  });

  test("a flood of questions leaves no more than the cap", () => {
    const stage = stageWith();
    const talk = datagramsOf(stage);
    for (let i = 0; i < 1000; i++) {
      talk.say(getPort(i, NFS, 6));
      talk.answer(reply(i, word(20_000 + i)));
    }
    expect(expected(stage)).toHaveLength(64);
  });

  test("a list of more entries than fit is cut, not passed on unread", () => {
    const stage = stageWith({ programs: [NFS] });
    const talk = datagramsOf(stage);
    talk.say(call(1, 2, 4));
    const entries = Array.from({ length: 500 }, (_, i) => words(i % 2 ? NFS : MOUNT, 3, 6, 2049));
    const heard = talk.answer(reply(1, list(...entries)));
    expect(heard.length).toBe(24 + 250 * 20 + 4);
  });
});

test("a client behind the director is told the truth by servers outside", () => {
  const stage = new Stage([]);
  stage.apply([], { masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP], apps: ["rpc"] }] });
  const talk = new Conversation(stage, `${A}:4000`, "192.0.2.1:111");
  talk.say(record(getAddress(1, NFS, "tcp", "192.0.2.1.0.111")));
  const answer = record(reply(1, string("192.0.2.1.8.1")));
  expect(talk.answer(answer)).toBe(answer);
  expect(counters(stage)).toMatchObject({ rewritten: 0, announced: 0 });
});

const TURNS = [
  ["client", getPort(1, NFS, 6)],
  ["server", reply(1, word(2049)), reply(1, word(2050))],
  ["client", getAddress(2, MOUNT, "tcp", `${VIP}.0.111`), getAddress(2, MOUNT, "tcp", `${B}.0.111`)],
  ["server", reply(2, string(`${B}.156.65`)), reply(2, string(`${VIP}.156.65`))],
  ["client", call(3, 2, 4)],
  [
    "server",
    reply(3, list(words(NFS, 3, 6, 2049), words(MOUNT, 3, 6, 40_001))),
    reply(3, list(words(NFS, 3, 6, 2050), words(MOUNT, 3, 6, 40_001))),
  ],
] as const;
const said = (pack: (message: string) => string): Place["said"] =>
  TURNS.map(([side, before, after]) =>
    after === undefined ? [side, pack(before)] : [side, pack(before), pack(after)],
  );
const place = (name: string, transport: "tcp" | "udp", pack: (message: string) => string): Place => ({
  name,
  transport,
  stage: () => stageWith(undefined, service("tcp", VIP, 2049, "rr", destination("172.16.0.9", 80))),
  outside: [`${CLIENT}:40000`, `${VIP}:111`],
  inside: [`${CLIENT}:40000`, `${B}:111`],
  said: said(pack),
});
describeModule(rpc, {
  places: [
    place("over TCP", "tcp", record),
    place("over UDP", "udp", (message) => message),
    {
      ...place("in fragments", "tcp", record),
      said: [
        ["client", record(TURNS[2][1], 30), record(TURNS[2][2])],
        ["server", record(TURNS[3][1], 9), record(TURNS[3][2])],
      ],
    },
  ],
});
