import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { testBook } from "../../test/support/replayed.ts";
import { SANDBOXES_MAX, SandboxEngine } from "./sandbox.ts";
import { readSchedulerPlugins } from "./scheduler-plugin-file.ts";
import { FAILURES_MAX, SchedulerPlugins } from "./scheduler-plugins.ts";

const EXAMPLE = fileURLToPath(new URL("../../docs/examples/slow-start.ts", import.meta.url));
/** What each takes at a pick. */
const HOARDERS = [178, 402];
const engine = await SandboxEngine.load();
const engineOfExample = await SandboxEngine.load();
const example = await readSchedulerPlugins([{ name: "slow-start", file: EXAMPLE }]);

/** A service scheduled by this module, and what was reported. */
function service(code: string, weights: readonly number[] = [1, 1, 1]) {
  const failures: string[] = [];
  const plugins = new SchedulerPlugins(engine, (message) => failures.push(message));
  plugins.use([{ name: "mine", file: "mine.js", code }]);
  const it = new SchedulerRig(plugins.registry.mine!, weights);
  return { it, failures, plugins };
}
const close = ({ it }: { it: SchedulerRig }) => it.scheduler.close?.();
/** What wlc picks when nobody is connected: the head of the list. */
const OLDEST = "export const pick = (servers) => servers.at(-1);";

describe("the example", () => {
  // The suite leaves its services open.
  const plugins = new SchedulerPlugins(engineOfExample, (message) => expect.fail(message));
  plugins.use(example.plugins);
  const slowStart = plugins.registry["slow-start"]!;
  schedulerContract("slow-start", slowStart, { histories: 5 });

  test("is read without a mistake", () => {
    expect(example.mistakes).toEqual([]);
  });

  test("gives a new server a twentieth of its weight, and more as it ages", () => {
    const it = new SchedulerRig(slowStart, [1, 1]);
    expect(it.opens(40).split("A")).toHaveLength(21);
    it.add(1);
    expect(it.opens(8)).toMatch(/^C?[AB]+C?[AB]*$/);
    it.wait(60_000);
    expect(it.opens(10)).toBe("C".repeat(10));
    close({ it });
  });
});

test("the module in docs/schedulers.md does what it says", () => {
  const text = readFileSync(new URL("../../docs/schedulers.md", import.meta.url), "utf8");
  const { it, failures } = service(/^```js\n(.*?)^```$/ms.exec(text)![1]!);
  it.load(98, 0, 0);
  expect(it.opens(4)).toBe("AABB");
  expect(failures).toEqual([]);
  close({ it });
});

describe("a module sees", () => {
  test("servers newest first, with their loads, as the same objects for as long as they are there", () => {
    const { it, failures } = service(`
      const seen = new Map();
      export function pick(servers) {
        for (const one of servers) seen.set(one, (seen.get(one) ?? 0) + 1);
        return servers.find((one) => seen.get(one) === 3 && one.activeConnections === 2 && one.inactiveConnections === 9 && one.weight === 7);
      }`);
    expect(it.picks(2)).toBe("--");
    it.edit(it.service.destinations[1]!, 7);
    it.service.destinations[1]!.activeConnections = 2;
    it.service.destinations[1]!.inactiveConnections = 9;
    expect(it.picks(1)).toBe("B");
    expect(failures).toEqual([]);
    close({ it });
  });

  test("the connection", () => {
    const { it, failures } = service(`
      export function pick(servers, { protocol, clientAddress, clientPort, virtualAddress, virtualPort, nowMs }) {
        throw [protocol, clientAddress, clientPort, virtualAddress, virtualPort, nowMs].join(" ");
      }`);
    it.pick();
    expect(failures[0]).toMatch(/threw tcp \d+\.\d+\.\d+\.\d+ \d+ 192\.0\.2\.1 80 10;/);
    const other = service(
      "export const pick = (_, c) => { throw c.clientAddress + ' ' + c.virtualAddress; };",
    );
    other.it.pickFor("198.51.100.7:4321", "203.0.113.9");
    expect(other.failures[0]).toContain("threw 198.51.100.7 203.0.113.9;");
    for (const one of [{ it }, other]) close(one);
  });

  test("chance that is repeatable, and no other clock", () => {
    const code = "export const pick = (servers) => servers[Math.floor(Math.random() * servers.length)];";
    const [one, other] = [service(code), service(code)];
    const made = one.it.picks(30);
    expect(new Set(made)).toEqual(new Set("ABC"));
    expect(other.it.picks(30)).toBe(made);
    for (const it of [one, other]) close(it);
    const clock = service("export const pick = (servers) => servers[Date.now() % 3];");
    clock.it.picks(1);
    expect(clock.failures[0]).toContain("'Date' is not defined");
    close(clock);
  });

  test("the service's flags", () => {
    const code = "export const pick = (s, { schedulerFlags }) => s[schedulerFlags.indexOf('flag-2')];";
    const { it: other, plugins } = service(code);
    const mine = plugins.registry.mine!;
    const it = new SchedulerRig((context) => mine({ ...context, flags: ["flag-1", "flag-2"] }), [1, 1]);
    expect(it.picks(1)).toBe("A");
    for (const one of [it, other]) close({ it: one });
  });

  test("changes before the next pick, once", () => {
    const { it } = service(`
      let changes = 0;
      export function changed(servers) { changes++; }
      export function pick(servers) { return changes === servers.length - 2 ? servers[0] : undefined; }`);
    expect(it.picks(3)).toBe("CCC");
    it.add(1);
    expect(it.picks(2)).toBe("DD");
    close({ it });
  });
});

describe("a pick that fails is made by wlc and reported once:", () => {
  test.each([
    [
      "it throws",
      "export const pick = () => { throw new Error('no idea'); };",
      /Error: no idea at pick \(mine\.js:1/,
    ],
    [
      "it throws what speaks for itself",
      "export const pick = () => { throw { get message() { for (;;); } }; };",
      /threw|undefined/,
    ],
    ["a number", "export const pick = () => 1;", /pick returned something that is no server/],
    ["a server of its own making", "export const pick = ([one]) => ({ ...one });", /no server of the list/],
    ["a promise", "export const pick = async ([one]) => one;", /no server of the list/],
    ["another's object", "let old; export const pick = (s) => (old ??= s[0]).weight ? 1 : old;", /no server/],
    [
      "it sorts the list in place",
      "export const pick = (s) => s.sort((a, b) => (a.address < b.address ? -1 : 1))[0];",
      /TypeError/,
    ],
    [
      "it edits a server",
      "'use strict'; export const pick = ([one]) => { one.weight = 9; return one; };",
      /TypeError/,
    ],
    ["it recurses for ever", "export const pick = () => pick();", /stack overflow/],
    ["it asks for Node", "export const pick = () => process.exit(1);", /'process' is not defined/],
    ["it asks for modules", "export const pick = () => require('fs');", /'require' is not defined/],
    [
      "it reaches for the host's functions",
      "export const pick = () => pick.constructor('return process')();",
      /'process' is not defined/,
    ],
  ])("%s", (_, code, wanted) => {
    const { it, failures } = service(code);
    expect(it.opens(6)).toBe("CBACBA");
    expect(failures).toHaveLength(1);
    expect(failures[0]).toMatch(wanted);
    expect(it.scheduler.failureCount).toBe(6);
    expect(it.scheduler.failure).toContain("6 picks were made by wlc instead");
    close({ it });
  });

  test("one that may not be picked", () => {
    const { it, failures } = service(OLDEST, [0, 1]);
    expect(it.picks(1)).toBe("B");
    expect(failures[0]).toContain("10.0.0.1 port 80, which has weight 0");
    it.edit(it.service.destinations[1]!, 1);
    expect(it.picks(1)).toBe("A");
    it.service.destinations[1]!.isOverloaded = true;
    expect(it.picks(1)).toBe("B");
    expect(failures).toHaveLength(1);
    close({ it });
  });

  test("one that was removed", () => {
    const { it, failures } = service("let first; export const pick = (s) => (first ??= s[0]);");
    expect(it.picks(2)).toBe("CC");
    it.remove(it.service.destinations[0]!);
    expect(it.picks(2)).toBe("BB");
    expect(failures[0]).toContain("no server of the list");
    close({ it });
  });

  test("after many it is not asked again", () => {
    const { it, failures } = service("let n = 0; export const pick = (s) => n++ < 100 ? n : s.at(-1);");
    expect(it.picks(FAILURES_MAX + 5)).toBe("C".repeat(FAILURES_MAX + 5));
    expect(it.scheduler.failureCount).toBe(FAILURES_MAX);
    expect(failures).toHaveLength(2);
    expect(failures[1]).toContain("wlc picks in its place");
  });
});

describe("what takes too much ends it at once:", () => {
  test.each([
    ["an endless loop", "for (;;);", "took too long"],
    ["an endless loop that catches", "for (;;) try { for (;;); } catch {}", "took too long"],
    ["an endless search", "/(a+)+$/.exec('a'.repeat(40) + 'b')", "took too long"],
    [
      "memory in small pieces",
      "const all = []; for (;;) all.push(new Float64Array(1000))",
      /out of memory|the engine failed/,
    ],
    ["memory in one piece", "new ArrayBuffer(2 ** 30)", "out of memory"],
  ])("%s", (_, statement, wanted) => {
    const one = service(`export function pick() { ${statement} }`);
    const start = performance.now();
    expect(one.it.opens(6)).toBe("CBACBA");
    expect(performance.now() - start).toBeLessThan(2000);
    expect(one.failures).toEqual([expect.stringMatching(wanted)]);
    expect(one.it.scheduler.failure).toContain("wlc picks in its place");
    const other = service(OLDEST);
    expect(other.it.picks(2), "and harms nobody else").toBe("AA");
    close(other);
  });

  test("a module that never gets ready", () => {
    const { it, failures } = service("for (;;); export const pick = () => {};");
    expect(it.picks(3)).toBe("CCC");
    expect(failures).toEqual([expect.stringContaining("took too long; wlc picks in its place")]);
  });

  test("many picks leave no memory behind", () => {
    const { it, failures } = service(
      "export const pick = (s) => s[0];",
      Array.from({ length: 100 }, () => 1),
    );
    // 3 KiB each: more than there is, all in all.
    for (let i = 0; i < 30_000; i++) it.pick();
    expect(failures).toEqual([]);
    close({ it });
  });

  test("a list of 2000 servers is no reason", () => {
    const { it, failures } = service(
      "export const pick = (s) => s.reduce((a, b) => (b.activeConnections < a.activeConnections ? b : a));",
      Array.from({ length: 2000 }, () => 1),
    );
    it.service.destinations.forEach((one, i) => {
      one.activeConnections = i === 77 ? 3 : 4;
    });
    expect(it.pick()).toBe(it.service.destinations[77]);
    expect(failures).toEqual([]);
    close({ it });
  });
});

test("services do not see each other, and their number is bounded", () => {
  const many = Array.from({ length: SANDBOXES_MAX + 1 }, () =>
    service("let n = 0; export const pick = (s) => s[n++];"),
  );
  for (const { it } of many.slice(0, SANDBOXES_MAX)) expect(it.picks(2)).toBe("CB");
  expect(many.at(-1)!.failures[0]).toContain(`there are ${SANDBOXES_MAX} services`);
  expect(many.at(-1)!.it.picks(2)).toBe("CC");
  for (const one of many) close(one);
  const after = service(OLDEST);
  expect(after.failures, "closed ones make room").toEqual([]);
  close(after);
});

test("one that takes the engine down with it leaves the others at work", async () => {
  const failures: string[] = [];
  const plugins = new SchedulerPlugins(await SandboxEngine.load(), (message) => failures.push(message));
  // Memory that runs out just where the engine does not look for it: found by trying, the same each time.
  const hoarder = (count: number) =>
    `const all = []; export function pick(s) { for (let i = 0; i < ${count}; i++) all.push(new ArrayBuffer(250)); return s[0]; }`;
  plugins.use([
    { name: "good", file: "good.js", code: OLDEST },
    ...HOARDERS.map((count) => ({ name: `bad${count}`, file: "bad.js", code: hoarder(count) })),
  ]);
  const good = new SchedulerRig(plugins.registry.good!, [1, 1, 1]);
  expect(good.picks(1)).toBe("A");
  for (const count of HOARDERS) {
    const bad = new SchedulerRig(plugins.registry[`bad${count}`]!, [1, 1, 1]);
    for (let i = 0; i < 5000 && bad.scheduler.failure === undefined; i++) expect(bad.picks(1)).toBe("C");
    expect(bad.scheduler.failure).toMatch(/out of memory|the engine failed/);
    expect(good.picks(2)).toBe("AA");
    close({ it: bad });
  }
  expect(failures.filter((message) => message.includes("the engine failed"))).not.toEqual([]);
  expect(failures.filter((message) => message.includes("good"))).toEqual([]);
});

test("services that go, or get another scheduler, make room", () => {
  const { it, failures, plugins } = service(OLDEST);
  const book = testBook(plugins.registry);
  const config = {
    protocol: "tcp",
    address: "192.0.2.1",
    port: 80,
    scheduler: "mine",
    destinations: [],
  } as const;
  for (let i = 0; i < SANDBOXES_MAX; i++) {
    const made = book.addService(config);
    book.editService(made, { ...config, scheduler: "rr" });
    book.editService(made, config);
    book.removeService(made);
  }
  expect(failures).toEqual([]);
  close({ it });
});

test("another module takes the place of the old one where that is at work", () => {
  const { it, failures, plugins } = service("export const pick = () => 0;");
  expect(it.picks(2)).toBe("CC");
  plugins.use([{ name: "mine", file: "mine.js", code: OLDEST }]);
  expect(it.picks(2)).toBe("AA");
  expect(it.scheduler.failure).toBeUndefined();
  plugins.use([]);
  expect(plugins.registry.mine).toBeUndefined();
  expect(it.picks(1)).toBe("A");
  expect(failures).toHaveLength(1);
  close({ it });
});

describe("reading modules", () => {
  const folder = mkdtempSync(join(tmpdir(), "vsnat-plugins-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  test.each([
    ["syntax.js", "export const pick = ;", /SyntaxError: .* at .*syntax\.js:1/],
    ["syntax.ts", "export const pick = (a: number => 1;", /./],
    ["enum.ts", "enum A { b } export const pick = () => undefined;", /enum/],
    ["nothing.js", "export const pack = 1;", "it exports no function pick"],
    ["late.js", "await 1; export const pick = () => undefined;", "it exports no function pick"],
    ["changed.js", "export const changed = 1, pick = () => undefined;", "its changed is no function"],
    ["imports.js", "import 'node:fs'; export const pick = () => undefined;", /could not load module/],
    ["throws.js", "export const pick = (s) => s[0].name.length;", /TypeError.*at pick \(.*throws\.js:1/],
    ["wrong.js", "export const pick = (s) => 0;", /no server of the list/],
    ["loops.js", "for (;;);", "it took too long"],
    ["large.js", `//${"x".repeat(300_000)}`, /expected at most 262144/],
  ])("tells what is wrong with %s", async (name, code, wanted) => {
    const file = join(folder, name);
    writeFileSync(file, code);
    const { plugins, mistakes } = await readSchedulerPlugins([{ name: "bad", file }]);
    expect(plugins).toEqual([]);
    expect(mistakes).toEqual([{ name: "bad", file, message: expect.stringMatching(wanted) }]);
  });

  test("tells of a file that is not there", async () => {
    const { mistakes } = await readSchedulerPlugins([{ name: "gone", file: join(folder, "gone.js") }]);
    expect(mistakes[0]!.message).toContain("ENOENT");
  });

  test("keeps lines and columns of TypeScript in messages", async () => {
    const file = join(folder, "lines.ts");
    writeFileSync(file, "interface A {\n  b: string;\n}\nexport const pick = (s: any) => s.x.y;\n");
    const { mistakes } = await readSchedulerPlugins([{ name: "lines", file }]);
    expect(mistakes[0]!.message).toMatch(/lines\.ts:4:3\d/);
  });
});
