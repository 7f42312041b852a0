/** The commands without a daemon: help, mistakes, exit statuses, colours. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { builtProgram } from "../../src/cli/demo/director-daemon.ts";
import { Program, type ProgramEnd, type ProgramOptions } from "../../src/cli/demo/program.ts";

const directory = mkdtempSync(join(tmpdir(), "vsnat-cli-"));
afterAll(() => rmSync(directory, { recursive: true }));

const vsnat = (args: readonly string[], options: ProgramOptions = {}): Promise<ProgramEnd> => {
  const env = { VSNAT_SOCKET: join(directory, "none.sock"), ...options.env };
  return new Program(builtProgram("cli/vsnat.js", ...args), { ...options, env }).ended;
};

const file = (name: string, text: string): string => {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
};
const good = file("good.yaml", "services: [{ listen: tcp://10.0.0.1:80, servers: [10.0.1.1, 10.0.1.2] }]\n");
const bad = file("bad.yaml", "services: [{ listen: tcp://10.0.0.1:0, servers: [10.0.1.1], wieght: 1 }]\n");

test.each([
  [["--version"], 0, /^\d+\.\d+\.\d+\n$/],
  [["--help"], 0, /Looking at it:[\s\S]*Examples:[\s\S]*Exit status/],
  [["help", "run"], 0, /--dry-run/],
  [["schema"], 0, /"title": "vsnat configuration"/],
  [["check", good], 0, /ok: 1 service, 2 servers\n$/],
] as const)("%j: status %d", async (args, code, stdout) => {
  const end = await vsnat(args);
  expect(end.stdout).toMatch(stdout);
  expect(end.code).toBe(code);
  expect(end.stderr).toBe("");
});

test.each([
  [["chek"], 2, /unknown command 'chek'\n\(Did you mean check\?\)/],
  [["check", "--jsn", good], 2, /unknown option '--jsn'\n\(Did you mean --json\?\)/],
  [["check"], 2, /missing required argument/],
  [["check", join(directory, "absent.yaml")], 2, /ENOENT/],
  [["check", directory], 2, /EISDIR/],
  [["check", bad], 2, /:1:22: error: services\[0\]\.listen: [\s\S]*:1:\d+: error: services\[0\]\.wieght: /],
  [["run", "--config", bad], 2, /nothing was applied/],
  [["run", "--dry-run", "--config", bad], 2, /nothing was applied/],
  [["status"], 3, /No daemon answers on .*none\.sock; start one with "vsnat run"/],
  [["reload"], 3, /No daemon answers/],
] as const)("%j: status %d on standard error", async (args, code, stderr) => {
  const end = await vsnat(args);
  expect(end.stderr).toMatch(stderr);
  expect(end.stderr).not.toMatch(/\n {4}at /);
  expect(end.code).toBe(code);
});

test("check reads standard input and prints JSON", async () => {
  const end = await vsnat(["check", "--json", "-"], { input: "services: 1\n" });
  expect(end.code).toBe(2);
  const issue = { path: "services", line: 1, column: 11, found: "1", wanted: "a list" };
  expect(JSON.parse(end.stdout)).toMatchObject({ ok: false, issues: [issue], warnings: [] });
});

test("colours come when asked for, and NO_COLOR has the last word", async () => {
  const [plain, forced, never] = await Promise.all([
    vsnat(["check", bad]),
    vsnat(["check", bad], { env: { FORCE_COLOR: "1" } }),
    vsnat(["check", bad], { env: { FORCE_COLOR: "1", NO_COLOR: "1" } }),
  ]);
  expect([plain, forced, never].map(({ stderr }) => stderr.includes("\x1b["))).toEqual([false, true, false]);
});

test("a reader that goes away is no error", async () => {
  const [node, ...args] = builtProgram("cli/vsnat.js", "schema");
  const end = await new Program(["sh", "-c", `"${node}" ${args.join(" ")} | head -n 1`]).ended;
  expect(end).toMatchObject({ code: 0, stderr: "" });
});
