/** Ident's module through a whole director: a real server asks its client's host, which knows the virtual port only. */
import { describe, expect, test } from "vitest";
import { describeModule } from "../../test/contract/application-module.ts";
import { Conversation } from "../../test/support/conversation.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import { ident } from "./ident.ts";

const VIP = "202.103.106.5";
const SERVER = "172.16.0.3";
const CLIENT = "202.100.1.2";

/** IRC on port 6667 of the server and 16667 of VIP, its client on port 6193, and the server's question. */
function asking() {
  const stage = new Stage([service("tcp", VIP, 16_667, "rr", destination(SERVER, 6667))]);
  stage.apply([service("tcp", VIP, 16_667, "rr", destination(SERVER, 6667))], {
    masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP], apps: ["ident"] }],
  });
  new Conversation(stage, `${CLIENT}:6193`, `${VIP}:16667`);
  return { stage, talk: new Conversation(stage, `${SERVER}:40000`, `${CLIENT}:113`) };
}

test.each([
  ["6193, 6667\r\n", "6193, 16667\r\n"],
  ["6193,6667\r\n", "6193,16667\r\n"],
  [" 6193 ,\t6667 \n", " 6193 ,\t16667 \n"],
])("%j is asked as %j, and the answer comes back", (asked, heard) => {
  const { talk } = asking();
  expect(talk.client.shown).toBe(`${VIP}:40000`);
  expect(talk.say(asked)).toBe(heard);
  expect(talk.answer("6193 , 16667 : USERID : UNIX :joe\r\n")).toBe("6193 , 6667 : USERID : UNIX :joe\r\n");
});

test("over IPv6, and an error", () => {
  const irc = service("tcp", "2001:db8:5::5", 16_667, "rr", destination("fd00:16::3", 6667));
  const stage = new Stage([irc]);
  stage.apply([irc], {
    masquerade: [{ from: ["fd00:16::/64"], sources: ["2001:db8:5::5"], apps: ["ident"] }],
  });
  new Conversation(stage, "[2001:db8:1::2]:6193", "[2001:db8:5::5]:16667");
  const talk = new Conversation(stage, "[fd00:16::3]:40000", "[2001:db8:1::2]:113");
  expect(talk.say("6193, 6667\r\n")).toBe("6193, 16667\r\n");
  expect(talk.answer("6193, 16667 : ERROR : NO-USER\r\n")).toBe("6193, 6667 : ERROR : NO-USER\r\n");
});

test("several questions, answered in another order; more than are remembered", () => {
  const { stage, talk } = asking();
  const ports = Array.from({ length: 17 }, (_, i) => 7000 + i);
  for (const port of ports) new Conversation(stage, `${CLIENT}:${port}`, `${VIP}:16667`);
  for (const port of ports) expect(talk.say(`${port}, 6667\r\n`)).toBe(`${port}, 16667\r\n`);
  for (const port of ports.slice(1).reverse())
    expect(talk.answer(`${port}, 16667 : ERROR : NO-USER\r\n`)).toBe(`${port}, 6667 : ERROR : NO-USER\r\n`);
  const forgotten = "7000, 16667 : ERROR : NO-USER\r\n";
  expect(talk.answer(forgotten)).toBe(forgotten);
});

describe("what stays", () => {
  test.each([
    ["a connection that there is not", "6194, 6667\r\n"],
    ["another port of the server", "6193, 6668\r\n"],
    ["a port of 0", "0, 6667\r\n"],
    ["a port that wraps", "6193, 72203\r\n"],
    ["a number too long", "6193, 0000006667\r\n"],
    ["a sign", "6193, -6667\r\n"],
    ["no comma", "6193 6667\r\n"],
    ["more behind it", "6193, 6667, 1\r\n"],
    ["an answer by whom asks", "6193, 6667 : USERID : UNIX : joe\r\n"],
    ["nothing", "\r\n"],
  ])("a question about %s", (_, line) => {
    expect(asking().talk.say(line)).toBe(line);
  });

  test.each([
    ["nobody asked for", "6193, 16667 : ERROR : NO-USER\r\n"],
    ["a question by whom was asked", "6193, 6667\r\n"],
  ])("an answer that is %s", (_, line) => {
    expect(asking().talk.answer(line)).toBe(line);
  });

  test("the second answer to one question", () => {
    const { talk } = asking();
    talk.say("6193, 6667\r\n");
    const answer = "6193, 16667 : ERROR : NO-USER\r\n";
    expect(talk.answer(answer)).toBe("6193, 6667 : ERROR : NO-USER\r\n");
    expect(talk.answer(answer)).toBe(answer);
  });

  test("a connection whose port is the same on both sides", () => {
    const { stage } = asking();
    stage.apply([service("tcp", VIP, 6667, "rr", destination(SERVER, 6667))], {
      masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP], apps: ["ident"] }],
    });
    new Conversation(stage, `${CLIENT}:6195`, `${VIP}:6667`);
    const talk = new Conversation(stage, `${SERVER}:40001`, `${CLIENT}:113`);
    expect(talk.say("6195, 6667\r\n")).toBe("6195, 6667\r\n");
  });
});

describeModule(ident, {
  places: [
    {
      name: "a real server that asks",
      stage: () => asking().stage,
      outside: [`${SERVER}:40001`, `${CLIENT}:113`],
      inside: [`${VIP}:40001`, `${CLIENT}:113`],
      said: [
        ["client", "6193, 6667\r\n", "6193, 16667\r\n"],
        ["server", "6193 , 16667 : USERID : UNIX :joe\r\n", "6193 , 6667 : USERID : UNIX :joe\r\n"],
        ["client", "6193, 6668\r\n"],
        ["server", "6193, 6668 : ERROR : NO-USER\r\n"],
      ],
    },
  ],
});
