/** IRC's module through a whole director: offers of hosts that go out, of bouncers behind a virtual address, and attacks. */
import { describe, expect, test } from "vitest";
import { describeModule } from "../../test/contract/application-module.ts";
import { Conversation, call } from "../../test/support/conversation.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import { irc } from "./irc.ts";

const INSIDE = "10.0.0.9";
const INSIDE6 = "fd00:10::9";
const SOURCE = "192.0.2.99";
const SOURCE6 = "2001:db8::99";
const IRC_SERVER = "203.0.113.7";
const VIP = "202.103.106.5";
const BOUNCER = "172.16.0.3";
const STRANGER = "198.51.100.4:5555";
const WELCOME = ":irc.example 001 joe :Welcome\r\n";

/** As DCC says addresses. */
const number = (address: string): number =>
  address.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0);

const privmsg = (...requests: readonly string[]): string =>
  `PRIVMSG ann :${requests.map((request) => `\x01${request}\x01`).join("")}\r\n`;
const heard = (...requests: readonly string[]): string => `:ann!a@far.example ${privmsg(...requests)}`;

/** A director with a masquerade rule for each family. */
function outgoingStage(): Stage {
  const stage = new Stage([]);
  stage.apply([], {
    masquerade: [
      { from: ["10.0.0.0/24"], sources: [SOURCE], apps: ["irc"] },
      { from: ["fd00:10::/64"], sources: [SOURCE6], apps: ["irc"] },
    ],
  });
  return stage;
}

function outgoing({ isWelcome = true, clientPort = 40_000 } = {}) {
  const stage = outgoingStage();
  const talk = new Conversation(stage, `${INSIDE}:${clientPort}`, `${IRC_SERVER}:6667`);
  if (isWelcome) talk.answer(WELCOME);
  const counters = () => stage.control.status().applications.find(({ name }) => name === "irc")!.counters;
  return { stage, talk, counters };
}

const OWN = number(INSIDE);
const SHOWN = number(SOURCE);

describe("out through a masquerade rule", () => {
  test.each([
    [`DCC SEND file.bin ${OWN} 5000 300000`, `DCC SEND file.bin ${SHOWN} 5000 300000`],
    [`DCC SEND file.bin ${OWN} 5000`, `DCC SEND file.bin ${SHOWN} 5000`],
    [`DCC SEND file.bin ${OWN} 5000 300000 42`, `DCC SEND file.bin ${SHOWN} 5000 300000 42`],
    [`DCC SEND "my own file.bin" ${OWN} 5000 3`, `DCC SEND "my own file.bin" ${SHOWN} 5000 3`],
    [`DCC CHAT chat ${OWN} 5000`, `DCC CHAT chat ${SHOWN} 5000`],
    [`dcc chat chat ${OWN} 5000`, `dcc chat chat ${SHOWN} 5000`],
    [`DCC TSEND file ${OWN} 5000 3`, `DCC TSEND file ${SHOWN} 5000 3`],
    [`DCC SCHAT chat ${OWN} 5000`, `DCC SCHAT chat ${SHOWN} 5000`],
    [`DCC MOVE x ${OWN} 5000`, `DCC MOVE x ${SHOWN} 5000`],
    [`DCC SEND file ${SHOWN} 5000 3`, `DCC SEND file ${SHOWN} 5000 3`],
  ])("%s: anyone may come, once", (said, wanted) => {
    const { stage, talk } = outgoing();
    expect(talk.say(privmsg(said))).toBe(privmsg(wanted));
    expect(call(stage, STRANGER, `${SOURCE}:5000`)).toBe(`${STRANGER} -> ${INSIDE}:5000`);
    expect(call(stage, "198.51.100.5:5555", `${SOURCE}:5000`)).not.toContain("->");
  });

  test("IPv6 is said as text", () => {
    const { stage } = outgoing();
    const talk = new Conversation(stage, `[${INSIDE6}]:40000`, "[2001:db8:7::7]:6667");
    talk.answer(WELCOME);
    const said = privmsg(`DCC SEND file ${INSIDE6} 5000 3`);
    expect(talk.say(said)).toBe(privmsg(`DCC SEND file ${SOURCE6} 5000 3`));
    expect(call(stage, "[2001:db8:9::1]:5555", `[${SOURCE6}]:5000`)).toContain(`-> [${INSIDE6}]:5000`);
  });

  test("several requests in a line, text around them, tags and a prefix in front, a notice", () => {
    const { talk } = outgoing();
    const offer = (address: number, port: number) => `\x01DCC CHAT chat ${address} ${port}\x01`;
    const line = (address: number) =>
      `@label=1 :joe NOTICE ann,bob :${offer(address, 5000)} or \x01VERSION\x01${offer(address, 5001)}.\r\n`;
    expect(talk.say(line(OWN))).toBe(line(SHOWN));
  });

  test("a port that is taken gives way to another, by which RESUME and ACCEPT name it", () => {
    const { stage, talk } = outgoing();
    const other = new Conversation(stage, "10.0.0.8:40000", `${IRC_SERVER}:6667`);
    other.answer(WELCOME);
    other.say(privmsg(`DCC CHAT chat ${number("10.0.0.8")} 5000`));
    const offered = talk.say(privmsg(`DCC SEND file.bin ${OWN} 5000 300000`));
    const port = Number(/ (\d+) 300000/.exec(offered)?.[1]);
    expect(offered).toBe(privmsg(`DCC SEND file.bin ${SHOWN} ${port} 300000`));
    expect(port).not.toBe(5000);
    expect(talk.answer(heard(`DCC RESUME file.bin ${port} 1000`))).toBe(
      heard("DCC RESUME file.bin 5000 1000"),
    );
    expect(talk.say(privmsg(`DCC ACCEPT "file.bin" 5000 1000 7`))).toBe(
      privmsg(`DCC ACCEPT "file.bin" ${port} 1000 7`),
    );
    expect(call(stage, STRANGER, `${SOURCE}:${port}`)).toBe(`${STRANGER} -> ${INSIDE}:5000`);
  });

  test("what others resume and accept stays", () => {
    const { talk } = outgoing();
    for (const line of [privmsg("DCC RESUME file 6000 10"), privmsg("DCC ACCEPT file 0 10 42")])
      expect(talk.say(line)).toBe(line);
    for (const line of [heard("DCC ACCEPT file 6000 10"), heard("DCC RESUME file 6001 10")])
      expect(talk.answer(line)).toBe(line);
  });

  test("the beginning of a line waits for its end only as long as it may be a request", () => {
    const { talk } = outgoing();
    for (const piece of ["PING x", "\r\nPRIVMSG ann :h", "i\r\n"]) expect(talk.say(piece)).toBe(piece);
    for (const piece of ["@time=1 :a!b@c PRIVMSG", " joe"]) expect(talk.answer(piece)).toBe("");
    expect(talk.answer(" :hi")).toBe("@time=1 :a!b@c PRIVMSG joe :hi");
    expect(talk.answer("\r\n")).toBe("\r\n");
  });

  test("passive: port 0 has the address changed, and nobody may come", () => {
    const { stage, talk } = outgoing();
    const said = privmsg(`DCC SEND file ${OWN} 0 300000 42`);
    expect(talk.say(said)).toBe(privmsg(`DCC SEND file ${SHOWN} 0 300000 42`));
    expect(stage.connections()).toHaveLength(1);
  });

  test("what others offer stays", () => {
    const { stage, talk } = outgoing();
    const line = heard(`DCC SEND file ${number("198.51.100.4")} 5000 3`);
    expect(talk.answer(line)).toBe(line);
    expect(stage.connections()).toHaveLength(1);
  });

  test("an offer waits for 300 s, and not after the connection to the server has ended", () => {
    const { stage, talk } = outgoing();
    talk.say(privmsg(`DCC CHAT chat ${OWN} 5000`));
    stage.run(299_000);
    expect(call(stage, STRANGER, `${SOURCE}:5000`)).toContain(INSIDE);
    talk.say(privmsg(`DCC CHAT chat ${OWN} 5001`));
    stage.run(301_000);
    expect(call(stage, STRANGER, `${SOURCE}:5001`)).not.toContain("->");
    talk.say(privmsg(`DCC CHAT chat ${OWN} 5002`));
    talk.finish();
    expect(call(stage, STRANGER, `${SOURCE}:5002`)).not.toContain("->");
  });
});

describe("a server behind a virtual address", () => {
  const CLIENT = "202.100.1.2";

  function incoming(more: object = {}) {
    const config = { ...service("tcp", VIP, 6667, "rr", destination(BOUNCER, 6667)), app: "irc", ...more };
    const stage = new Stage([config]);
    const talk = new Conversation(stage, `${CLIENT}:40000`, `${VIP}:6667`);
    talk.answer(WELCOME);
    return { stage, talk };
  }

  test("users' offers stay: they are at their own addresses", () => {
    const { stage, talk } = incoming();
    const line = privmsg(`DCC SEND file ${number(CLIENT)} 5000 3`);
    expect(talk.say(line)).toBe(line);
    const other = heard(`DCC SEND file ${number("198.51.100.4")} 5000 3`);
    expect(talk.answer(other)).toBe(other);
    expect(stage.connections()).toHaveLength(1);
  });

  test("full NAT: users' offers stay, other users do not know the pool", () => {
    const { talk } = incoming({ fullNat: { sources: ["172.16.0.250"], clients: "all" } });
    const line = privmsg(`DCC SEND file ${number(CLIENT)} 5000 3`);
    expect(talk.say(line)).toBe(line);
  });

  test("a bouncer's own offer is for its client, resumed as well", () => {
    const { stage, talk } = incoming();
    const offer = (address: string) => heard(`DCC SEND file ${number(address)} 5000 3`);
    expect(talk.answer(offer(BOUNCER))).toBe(offer(VIP));
    expect(talk.say(privmsg("DCC RESUME file 5000 1"))).toBe(privmsg("DCC RESUME file 5000 1"));
    expect(call(stage, STRANGER, `${VIP}:5000`)).not.toContain("->");
    expect(call(stage, `${CLIENT}:5555`, `${VIP}:5000`)).toBe(`${CLIENT}:5555 -> ${BOUNCER}:5000`);
  });
});

describe("attacks", () => {
  test.each([
    ["a third host's address", privmsg(`DCC SEND file ${number("10.0.0.8")} 5000 3`), "foreign"],
    ["a low port", privmsg(`DCC SEND file ${OWN} 25 3`), "lowPort"],
  ] as const)("%s", (_, line, counter) => {
    const { stage, talk, counters } = outgoing();
    expect(talk.say(line)).toBe(line);
    expect([stage.connections().length, counters()[counter]]).toEqual([1, 1]);
  });

  test.each([
    ["a number beyond 32 bits that wraps", privmsg(`DCC SEND file ${2 ** 32 + OWN} 5000 3`)],
    ["a port that wraps", privmsg(`DCC SEND file ${OWN} 70536 3`)],
    ["signs", privmsg(`DCC SEND file +${OWN} 5000 3`, `DCC SEND file ${OWN} -5000 3`)],
    ["a number with letters", privmsg(`DCC SEND file ${OWN} 5000x 3`)],
    ["another notation", privmsg(`DCC SEND file 0x0a000009 5000 3`, `DCC SEND file ${INSIDE} 5000 3`)],
    ["an address of another family", privmsg(`DCC SEND file ::ffff:10.0.0.9 5000 3`)],
    ["no file", privmsg(`DCC SEND ${OWN} 5000`)],
    ["a quoted name that does not end", privmsg(`DCC SEND "file ${OWN} 5000 3`)],
    ["a quotation mark of another request", `PRIVMSG ann :\x01DCC SEND "f\x01 x" ${OWN} 5000\x01\r\n`],
    ["no delimiter", `PRIVMSG ann :DCC SEND file ${OWN} 5000 3\r\n`],
    ["one delimiter", `PRIVMSG ann :\x01DCC SEND file ${OWN} 5000 3\r\n`],
    ["between two requests", `PRIVMSG ann :\x01A\x01DCC SEND file ${OWN} 5000 3\x01B\x01\r\n`],
    ["behind other text", `PRIVMSG ann :x \x01DCC SEND file ${OWN} 5000 3\x01\r\n`],
    ["not at the beginning of a request", privmsg(`SAY DCC SEND file ${OWN} 5000 3`)],
    ["not at the beginning of a line", `TOPIC #x :PRIVMSG ann :\x01DCC SEND file ${OWN} 5000 3\x01\r\n`],
    ["in the name of whom it is for", `PRIVMSG \x01DCC SEND file ${OWN} 5000 3\x01\r\n`],
    ["another command", `TOPIC ann :\x01DCC SEND file ${OWN} 5000 3\x01\r\n`],
    ["an unknown request", privmsg(`DCC XMIT x ${OWN} 5000`)],
  ])("%s", (_, line) => {
    const { stage, talk } = outgoing();
    expect(talk.say(line)).toBe(line);
    expect(stage.connections()).toHaveLength(1);
  });

  test("a server cannot speak for its client", () => {
    const { stage, talk } = outgoing();
    const line = heard(`DCC SEND file ${OWN} 5000 3`);
    expect(talk.answer(line)).toBe(line);
    expect(stage.connections()).toHaveLength(1);
  });

  test("what a web page has a browser send opens nothing, even if the server pretends", () => {
    const { stage, talk } = outgoing({ isWelcome: false });
    const offer = privmsg(`DCC SEND file ${OWN} 5000 3`);
    expect(talk.say("POST / HTTP/1.1\r\nHost: x\r\n\r\n")).toContain("POST");
    talk.answer(WELCOME);
    expect(talk.say(offer)).toBe(offer);
    expect(stage.connections()).toHaveLength(1);
  });

  test("nothing counts before the server's welcome", () => {
    const { stage, talk } = outgoing({ isWelcome: false });
    const offer = privmsg(`DCC SEND file ${OWN} 5000 3`);
    expect(talk.say(offer)).toBe(offer);
    expect(stage.connections()).toHaveLength(1);
  });

  test("a flood of offers leaves eight", () => {
    const { stage, talk } = outgoing();
    for (let port = 5000; port < 5200; port += 2)
      talk.say(privmsg(`DCC CHAT chat ${OWN} ${port}`, `DCC CHAT chat ${OWN} ${port + 1}`));
    expect(stage.connections()).toHaveLength(9);
    expect(call(stage, STRANGER, `${SOURCE}:5191`)).not.toContain("->");
    expect(call(stage, STRANGER, `${SOURCE}:5192`)).toContain("->");
  });

  test("a line that never ends, with what looks like a line behind its bound", () => {
    const { stage, talk } = outgoing();
    const offer = privmsg(`DCC CHAT chat ${OWN} 5000`);
    const line = `PRIVMSG ann :${"x".repeat(1100)}${offer}`;
    // What is held is let go with one byte more; of a segment with more than that the rest would come again.
    const cuts = [...Array.from({ length: 128 }, (_, i) => 8 * i), 1024, 1025, line.length];
    const pieces = cuts.slice(1).map((end, i) => line.slice(cuts[i], end));
    const arrived = pieces.map((piece) => talk.say(piece)).join("");
    expect(arrived).toBe(line);
    expect(stage.connections()).toHaveLength(1);
    expect(talk.say(offer)).not.toBe(offer);
  });

  test("after STARTTLS and 670 nothing is read any more", () => {
    const { talk, counters } = outgoing({ isWelcome: false });
    talk.say("STARTTLS\r\n");
    talk.answer(":irc.example 670 * :STARTTLS successful\r\n");
    talk.answer(WELCOME);
    const offer = privmsg(`DCC CHAT chat ${OWN} 5000`);
    expect(talk.say(offer)).toBe(offer);
    expect(counters().encrypted).toBe(1);
  });
});

describeModule(irc, {
  places: [
    {
      name: "a client behind the director",
      stage: outgoingStage,
      outside: [`${INSIDE}:40000`, `${IRC_SERVER}:6667`],
      inside: [`${SOURCE}:40000`, `${IRC_SERVER}:6667`],
      said: [
        ["client", "NICK joe\r\nUSER joe 0 * :Joe\r\n"],
        ["server", `${WELCOME}:irc.example 372 joe :- hello\r\n`],
        [
          "client",
          privmsg(`DCC SEND "a file" ${OWN} 5000 300000`, "VERSION"),
          privmsg(`DCC SEND "a file" ${SHOWN} 5000 300000`, "VERSION"),
        ],
        ["server", heard("DCC RESUME file 5000 1000")],
        ["client", "PRIVMSG ann :just text\r\nPING x\r\n"],
        ["server", "PONG x\r\n@time=12:00 :ann!a@far NOTICE joe :\x01PING 1\x01\r\n"],
        [
          "client",
          `NOTICE ann :\x01DCC CHAT chat ${OWN} 5001\x01\r\n`,
          `NOTICE ann :\x01DCC CHAT chat ${SHOWN} 5001\x01\r\n`,
        ],
        ["client", privmsg("DCC ACCEPT file 5000 1000")],
        ["client", privmsg(`DCC SEND file ${OWN} 0 3 42`), privmsg(`DCC SEND file ${SHOWN} 0 3 42`)],
        ["client", "QUIT\r\n"],
      ],
    },
    {
      name: "one of IPv6",
      stage: outgoingStage,
      outside: [`[${INSIDE6}]:40000`, "[2001:db8:7::7]:6667"],
      inside: [`[${SOURCE6}]:40000`, "[2001:db8:7::7]:6667"],
      said: [
        ["server", WELCOME],
        ["client", privmsg(`DCC CHAT chat ${INSIDE6} 5000`), privmsg(`DCC CHAT chat ${SOURCE6} 5000`)],
        ["client", "QUIT\r\n"],
      ],
    },
    {
      name: "a bouncer behind the director",
      stage: () =>
        new Stage([{ ...service("tcp", VIP, 6667, "rr", destination(BOUNCER, 6667)), app: "irc" }]),
      outside: ["202.100.1.2:40000", `${VIP}:6667`],
      inside: ["202.100.1.2:40000", `${BOUNCER}:6667`],
      said: [
        ["server", WELCOME],
        [
          "server",
          heard(`DCC SEND file ${number(BOUNCER)} 5000 3`),
          heard(`DCC SEND file ${number(VIP)} 5000 3`),
        ],
        ["client", privmsg("DCC RESUME file 5000 1")],
        ["server", heard("DCC ACCEPT file 5000 1")],
      ],
    },
  ],
});
