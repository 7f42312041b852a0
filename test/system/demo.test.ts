/** `vsnat demo` as a person runs it: what it shows is true, and it cleans up, also when interrupted. */
import { expect, test } from "vitest";
import { builtProgram } from "../../src/cli/demo/director-daemon.ts";
import { Program } from "../../src/cli/demo/program.ts";

const demo = (...args: readonly string[]): Program =>
  new Program(builtProgram("cli/vsnat.js", "demo", ...args), { env: { NO_COLOR: "1" } });

const namespacesOf = async ({ pid }: Program): Promise<string[]> => {
  const { stdout } = await new Program(["ip", "netns", "list"]).result();
  return stdout.split("\n").filter((line) => line.startsWith(`vsnat-${pid}-`));
};

test("the story is told to the end, and everything is cleaned up", async () => {
  const program = demo();
  const { stdout, stderr } = await program.result();
  expect(stderr).toBe("");
  expect(stdout).toContain("202.100.1.2:3456 → 202.103.106.5:80");
  expect(stdout).toContain("202.100.1.2:3456 → 172.16.0.3:8000");
  expect(stdout).toContain("172.16.0.3:8000  → 202.100.1.2:3456");
  expect(stdout).toContain("202.103.106.5:80 → 202.100.1.2:3456");
  expect(stdout).toContain("order  A B B A B B A B B A B B");
  expect(stdout).toContain("220 ");
  expect(stdout).toMatch(/links, routes and rules are as before\.\n$/);
  expect(await namespacesOf(program)).toEqual([]);
});

test("--json tells the same as data", async () => {
  const { stdout } = await demo("--json").result();
  const seen = JSON.parse(stdout) as Record<string, unknown>;
  expect(seen.distribution).toHaveLength(12);
  expect(seen.rewriting).toMatchObject({
    sightings: [
      { device: "outside", direction: "arrives" },
      { device: "inside", direction: "leaves" },
      { device: "inside", direction: "arrives" },
      { device: "outside", direction: "leaves" },
    ],
    answer: "server B at 172.16.0.3:8000 answers 202.100.1.2:3456",
  });
  expect(seen.ipv6).toMatch(/^server B at \[fd00:16::3\]:8000 answers \[2001:db8:1::2\]:/);
});

test("--keep runs until Ctrl-C, then cleans up", async () => {
  const program = demo("--keep");
  const [, command = ""] = await program.waitFor(/(ip netns exec \S+ curl http:\/\/202\.103\.106\.5\/)/);
  await program.waitFor(/Ctrl-C/);
  expect((await new Program(["sh", "-c", command]).result()).stdout).toMatch(/^server [AB] at /);
  program.kill("SIGINT");
  const { code, stdout } = await program.end();
  expect(code).toBe(0);
  expect(stdout).toMatch(/links, routes and rules are as before\.\n$/);
  expect(await namespacesOf(program)).toEqual([]);
});

test("interrupted in the middle, it cleans up and says so by its exit code", async () => {
  const program = demo();
  await program.waitFor(/Five network namespaces/);
  program.kill("SIGINT");
  const { code } = await program.end();
  expect(code).toBe(130);
  expect(await namespacesOf(program)).toEqual([]);
});
