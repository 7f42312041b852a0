/** The laboratory itself: it leaves nothing behind, however it ends. */
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Laboratory } from "../../src/cli/demo/laboratory.ts";
import { Program } from "../../src/cli/demo/program.ts";

const listed = async (prefix: string): Promise<string[]> => {
  const { stdout } = await new Program(["ip", "netns", "list"]).result();
  return stdout.split("\n").filter((line) => line.startsWith(prefix));
};

/** Dead programs without a parent to mourn them stay listed as zombies. */
const isAlive = (pid: string): boolean =>
  existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));

test("close stops the programs and removes the namespaces", async () => {
  const laboratory = await Laboratory.create();
  const [left, right] = [await laboratory.namespace("left"), await laboratory.namespace("right")];
  await laboratory.link({ namespace: left, device: "port" }, { namespace: right, device: "port" });
  await left.ip("address add 192.0.2.1/30 dev port");
  await right.ip("address add 192.0.2.2/30 dev port");
  await left.run(["ping", "-c", "1", "-W", "2", "192.0.2.2"]);
  const sleeper = right.start(["sleep", "1000"]);
  expect(await listed(laboratory.prefix)).toHaveLength(2);
  await laboratory.close();
  expect(sleeper.isRunning).toBe(false);
  expect(await listed(laboratory.prefix)).toEqual([]);
  expect(() => left.start(["true"])).toThrow("being closed");
});

test("close does not wait for what a program left behind with its output", async () => {
  const laboratory = await Laboratory.create();
  const host = await laboratory.namespace("host");
  const script = "trap '' TERM; sleep 1000 & echo begun; wait";
  await host.start(["bash", "-c", script]).waitFor(/begun/);
  await laboratory.close();
  expect(await Laboratory.leftovers()).not.toContain(host.name);
}, 20_000);

test("the guardian removes everything when the owner is killed", async () => {
  const script = `
    const { Laboratory } = await import("./dist/cli/demo/laboratory.js");
    const laboratory = await Laboratory.create();
    const namespace = await laboratory.namespace("orphan");
    const sleeper = namespace.start(["sleep", "1000"]);
    console.log("built", laboratory.prefix, sleeper.pid);
    await sleeper.ended;
  `;
  const owner = new Program([process.execPath, "--input-type=module", "--eval", script]);
  const [, prefix = "", pid = ""] = await owner.waitFor(/built (\S+) (\d+)/);
  expect(await listed(prefix)).toHaveLength(1);
  owner.kill("SIGKILL");
  await owner.ended;
  await expect.poll(() => listed(prefix), { timeout: 5_000 }).toEqual([]);
  await expect.poll(() => isAlive(pid), { timeout: 5_000 }).toBe(false);
});

test("a program's failure is reported with its output", async () => {
  const failing = new Program(["sh", "-c", "echo one; echo two >&2; exit 3"]);
  await expect(failing.result()).rejects.toThrow(/exit code 3[\s\S]*one[\s\S]*two/);
  await expect(failing.waitFor(/three/)).rejects.toThrow(/ended before printing/);
  await expect(new Program(["sleep", "1000"]).result(50)).rejects.toThrow(/still running after 50 ms/);
  await expect(new Program(["/no/such/program"]).result()).rejects.toThrow("ENOENT");
});
