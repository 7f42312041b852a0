/** Application modules of the operator's own through a whole director: what they can do, and what becomes of those that fail. */
import { fileURLToPath } from "node:url";
import { beforeEach, describe, expect, test } from "vitest";
import { INSIDE, OUTSIDE, SERVER, type Situation, TwoSides, VIRTUAL } from "../../test/support/two-sides.ts";
import type { Engine } from "../alg/engine/engine.ts";
import { readOwnApplications } from "./own-application-file.ts";
import { MODULE_FAILURES_MAX, type OwnApplicationCode, OwnApplications } from "./own-applications.ts";
import { SandboxEngine } from "./sandbox.ts";

const EXAMPLE = fileURLToPath(new URL("../../docs/examples/toy.ts", import.meta.url));
const PORT = 5000;
const sandboxes = await SandboxEngine.load();
let failures: string[];
beforeEach(() => {
  failures = [];
});

const module = (code: string, transport: "tcp" | "udp" = "tcp"): OwnApplicationCode => ({
  kind: "module",
  plugin: {
    name: "mine",
    transports: [transport],
    ports: { first: PORT, last: PORT },
    file: "mine.js",
    code,
  },
});

/** Two hosts whose connection has this module. */
function sides(one: OwnApplicationCode, situation: Situation = "virtual", transport: "tcp" | "udp" = "tcp") {
  let own: OwnApplications | undefined;
  const it = new TwoSides(situation, "mine", transport, PORT, {
    begin: (director) => {
      own = new OwnApplications(director.applications as Engine, sandboxes, (message) =>
        failures.push(message),
      );
      own.use([one]);
    },
  });
  return { it, own: own! };
}
const heard = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

describe("the example of docs/modules.md", async () => {
  const { applications, mistakes } = await readOwnApplications([
    { kind: "module", name: "mine", transports: ["tcp"], ports: { first: PORT, last: PORT }, file: EXAMPLE },
  ]);
  const example = applications[0]!;

  test("is read without a mistake", () => expect(mistakes).toEqual([]));

  test("a server behind a virtual address", () => {
    const { it } = sides(example);
    expect(heard(it.say("server", `welcome\r\nDATA ${SERVER} 40000\r\nbye\r\n`))).toBe(
      `welcome\r\nDATA ${VIRTUAL} 40000\r\nbye\r\n`,
    );
    expect(it.first(`${OUTSIDE}:50000`, `${VIRTUAL}:40000`, "tcp")).toBe(`${OUTSIDE}:50000 ${SERVER}:40000`);
    expect(heard(it.say("client", `NEWS ${OUTSIDE} 50001\n`))).toBe(`NEWS ${OUTSIDE} 50001\n`);
    expect(it.first(`${SERVER}:9000`, `${OUTSIDE}:50001`)).toBe(`${VIRTUAL}:9000 ${OUTSIDE}:50001`);
    expect(failures).toEqual([]);
  });

  test("a client behind a masquerade rule", () => {
    const { it } = sides(example, "masquerade");
    expect(heard(it.say("client", `news ${INSIDE} 50001\n`))).toBe(`news ${VIRTUAL} 50001\n`);
    expect(it.first(`${OUTSIDE}:9000`, `${VIRTUAL}:50001`)).toBe(`${OUTSIDE}:9000 ${INSIDE}:50001`);
    expect(heard(it.say("server", `DATA ${OUTSIDE} 40000\n`))).toBe(`DATA ${OUTSIDE} 40000\n`);
  });

  test.each([
    "DATA 10.9.9.9 40000\n",
    `DATA ${SERVER} 80\n`,
    `DATA ${SERVER} 99999\n`,
    "DATA x y\n",
    `DATA ${SERVER} 40000 0\n`,
  ])("%j opens nothing", (line) => {
    const { it } = sides(example);
    expect(heard(it.say("server", line))).toBe(line);
    expect(it.counters.announced).toBe(0);
  });
});

describe("a module sees", () => {
  test("its connection, and remembers", () => {
    const { it } = sides(
      module(`export const rules = [{ from: "client", lead: "WHO", names: "own", read(line, d) {
        d.memory += 1;
        const ends = ["client", "server"].map((side) => [d.isHidden(side), d.ownAddress(side), d.ownPort(side), d.shownAddress(side), d.shownPort(side)].join(","));
        return [d.memory, d.transport, d.family, ...ends].join(" ") + "\\n";
      } }];`),
      "full NAT",
    );
    const ends = `true,${OUTSIDE},34000,172.16.0.250,34000 true,${SERVER},${PORT},${VIRTUAL},${PORT}`;
    expect(heard(it.say("client", "WHO\n"))).toBe(`1 tcp 4 ${ends}\n`);
    expect(heard(it.say("client", "who\n"))).toBe(`2 tcp 4 ${ends}\n`);
    expect(failures).toEqual([]);
  });

  test("datagrams, bytes as they are", () => {
    const { it } = sides(
      module(
        "export const datagram = (bytes, from) => from === 'client' ? Uint8Array.from([...bytes, 0, 255]) : undefined;",
        "udp",
      ),
      "virtual",
      "udp",
    );
    expect(heard(it.say("client", "a\0b"))).toBe("a\0b\0\xff");
    expect(heard(it.say("server", "a\0b"))).toBe("a\0b");
  });

  test("a connection that begins, before anything is said on it", () => {
    const { it } = sides(
      module(
        "export const begin = (d) => { d.listens('client', { protocol: 'udp', port: 6000, lastPort: 6009, isLasting: true }); };",
      ),
    );
    expect(it.first(`${SERVER}:9000`, `${OUTSIDE}:6005`)).toBe(`${VIRTUAL}:9000 ${OUTSIDE}:6005`);
    expect(failures).toEqual([]);
  });

  test("nothing of chance or time, so that a replay does the same", () => {
    const { it } = sides(
      module(
        "export const rules = [{ from: 'client', lead: 'X', read: () => typeof Date + typeof Math.random }];",
      ),
    );
    it.say("client", "X\n");
    expect(failures).toEqual([]);
  });

  test("no connection once its function has returned", () => {
    const { it } = sides(
      module(
        "let kept; export const rules = [{ from: 'client', lead: 'X', read: (_, d) => { kept ??= d; Promise.resolve().then(() => kept.memory); } }];",
      ),
    );
    expect(heard(it.say("client", "X\n"))).toBe("X\n");
    expect(failures).toEqual([]);
  });
});

const rule = (body: string): string =>
  `export const rules = [{ from: "client", lead: "X", names: "other", read(line, d) { ${body} } }];`;

describe("a connection is passed on unread, and it is told once, when the module", () => {
  test.each([
    ["throws", "throw new Error('no idea');", "Error: no idea at read (mine.js:1"],
    ["gives a number", "return 7;", "read returned something that is no text"],
    ["gives characters that are no bytes", "return '\\u20ac';", "a character that is no byte"],
    [
      "announces nonsense",
      "d.listens('server', { protocol: 'icmp', port: 1 });",
      'the protocol of an announcement is "tcp" or "udp"',
    ],
    [
      "announces a port that is none",
      "d.listens('server', { protocol: 'tcp', port: '40000' });",
      "a whole number from 1 to 65535",
    ],
    ["names a side that is none", "d.ownPort('router');", 'a side is "client" or "server"'],
    ["asks for Node", "process.exit(1);", "'process' is not defined"],
    ["recurses for ever", "return this.read(line, d);", "stack overflow"],
  ])("%s", (_, body, wanted) => {
    const { it } = sides(module(rule(body)));
    for (let k = 0; k < 3; k++) expect(heard(it.say("client", "X\n"))).toBe("X\n");
    expect(failures).toEqual([expect.stringContaining(wanted)]);
    expect(failures[0]).toMatch(/^application mine: mine\.js: .*; the connection is passed on unread$/);
    expect(it.counters).toMatchObject({ failed: 1, rewritten: 0, announced: 0 });
  });
});

test("more than a datagram is no answer", () => {
  const { it } = sides(
    module("export const datagram = () => new Uint8Array(70000);", "udp"),
    "virtual",
    "udp",
  );
  expect(heard(it.say("client", "X"))).toBe("X");
  expect(failures).toEqual([expect.stringContaining("the answer has more than 65535 bytes")]);
});

describe("a module is not asked again when it", () => {
  test.each([
    ["loops", "for (;;);", "it took too long"],
    ["catches what ends its loop", "for (;;) try { for (;;); } catch {}", "it took too long"],
    ["searches for ever", "/(a+)+$/.exec('a'.repeat(40) + 'b')", "it took too long"],
    [
      "takes all memory",
      "const all = []; for (;;) all.push(new Float64Array(1000));",
      /out of memory|the engine failed/,
    ],
  ])("%s", (_, body, wanted) => {
    const { it, own } = sides(module(rule(body)));
    const start = performance.now();
    for (let k = 0; k < 3; k++) expect(heard(it.say("client", "X\n"))).toBe("X\n");
    expect(performance.now() - start).toBeLessThan(3000);
    expect(failures).toEqual([expect.stringMatching(wanted)]);
    expect(failures[0]).toContain("its connections are passed on unread from now on");
    own.use([module(rule("return 'Y\\n';"))]);
    const other = sides(module(rule("return 'Y\\n';")));
    expect(heard(other.it.say("client", "X\n"))).toBe("Y\n");
  });

  test("fails a hundred times", () => {
    const { it } = sides(module("export const datagram = () => { throw 1; };", "udp"), "virtual", "udp");
    for (let port = 0; port < MODULE_FAILURES_MAX + 10; port++)
      it.first(`${OUTSIDE}:${2000 + port}`, `${VIRTUAL}:${PORT}`);
    expect(it.counters.failed).toBe(MODULE_FAILURES_MAX);
    expect(failures).toHaveLength(2);
    expect(failures[1]).toContain("from now on");
  });

  test("never gets ready", () => {
    const { it } = sides(module("for (;;);"));
    expect(heard(it.say("client", "X\n"))).toBe("X\n");
    expect(failures).toEqual([expect.stringContaining("it took too long")]);
  });
});

test.each([
  ["no exports", "const a = 1;", "it exports no rules, no function datagram and no function begin"],
  ["rules that are none", "export const rules = 7;", "its rules are no list"],
  ["a rule without a lead", "export const rules = [{ from: 'client', read() {} }];", "rule 0 is not { from:"],
  [
    "a rule of somebody else",
    "export const rules = [{ from: 'anyone', lead: 'X', read() {} }];",
    "rule 0 is not { from:",
  ],
  [
    "a lead in small letters",
    "export const rules = [{ from: 'client', lead: 'x', read() {} }];",
    "the lead of rule 0 is not",
  ],
  [
    "too many rules",
    "export const rules = Array.from({ length: 65 }, () => ({ from: 'client', lead: 'X', read() {} }));",
    "it has 65 rules, at most 64",
  ],
  ["a datagram that is no function", "export const datagram = 1;", "its datagram is no function"],
  ["a mistake of the language", "export const rules = [;", "SyntaxError"],
])("a module with %s is refused", (_, code, wanted) => {
  sides(module(code));
  expect(failures).toEqual([expect.stringContaining(wanted)]);
});

describe("other modules while connections are at work", () => {
  test("the connection goes on with the one it began with, the next has the other", () => {
    const { it, own } = sides(module(rule("return 'ONE\\n';")));
    expect(heard(it.say("client", "X\n"))).toBe("ONE\n");
    own.use([module(rule("return 'THREE\\n';"))]);
    expect(heard(it.say("client", "X\n"))).toBe("ONE\n");
    own.use([]);
    expect(heard(it.say("client", "X\n"))).toBe("ONE\n");
    expect(failures).toEqual([]);
  });

  test("of many that were exchanged the oldest is given up, and its connection goes on unread", () => {
    const { it, own } = sides(module(rule("return 'ONE\\n';")));
    for (let k = 0; k < 12; k++) own.use([module(rule(`return '${k}\\n';`))]);
    expect(heard(it.say("client", "X\n"))).toBe("X\n");
    expect(heard(it.say("client", "X\n"))).toBe("X\n");
  });

  test("the same again changes nothing, a trigger may take a module's place", () => {
    const { it, own } = sides(module(rule("d.memory++; return d.memory + '\\n';")));
    own.use([module(rule("d.memory++; return d.memory + '\\n';"))]);
    expect(heard(it.say("client", "X\n"))).toBe("1\n");
    const ports = { first: PORT, last: PORT };
    own.use([
      {
        kind: "trigger",
        trigger: {
          name: "mine",
          transports: ["tcp"],
          ports,
          opens: [{ by: "server", transport: "udp", ports }],
        },
      },
    ]);
    expect(
      (it.stage.director.applications as Engine).usage().filter(({ name }) => name === "mine"),
    ).toHaveLength(1);
  });

  test("without a place for them", () => {
    const own = new OwnApplications(
      sides(module(rule(""))).it.stage.director.applications as Engine,
      undefined,
      () => {},
    );
    expect(() => own.use([module(rule(""))])).toThrow("too little address space");
  });
});
