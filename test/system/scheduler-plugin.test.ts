/** A scheduler of one's own in the real daemon: it picks, it is exchanged while the director runs, and it may fail. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { builtProgram } from "../../src/cli/demo/director-daemon.ts";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import { type Founding, startFounding, startServer } from "../support/founding.ts";

const CONFIGURATION = `schedulers: { mine: ./mine.ts }
services:
  - { listen: "tcp://${VIP.ipv4}:80", scheduler: mine, servers: [ "172.16.0.2:80", "172.16.0.3:80" ] }
`;
const always = (address: string): string =>
  `export const pick = (servers: any[]) => servers.find((one) => one.address === "${address}");\n`;

let founding: Founding;

beforeEach(async () => {
  founding = await startFounding();
  await startServer(founding.serverA, "http-server", "A", 80);
  await startServer(founding.serverB, "http-server", "B", 80);
});
afterEach(() => founding?.laboratory.close());

const vsnat = (...args: readonly string[]) =>
  founding.director.attempt(builtProgram("cli/vsnat.js", ...args), { env: founding.daemon.environment });
const writeModule = (code: string): Promise<void> =>
  writeFile(join(founding.laboratory.directory, "mine.ts"), code);

async function fetchNames(count: number): Promise<string> {
  const command = [
    "curl",
    "--silent",
    "--max-time",
    "5",
    "--no-keepalive",
    `http://${VIP.ipv4}/?[1-${count}]`,
  ];
  return (await founding.client.namespace.attempt(command)).stdout.replaceAll("\n", "");
}

test("a module picks, is exchanged by a reload, and wlc takes over from one that fails", async () => {
  await writeModule(always("172.16.0.2"));
  const daemon = await founding.daemon.start(CONFIGURATION);
  expect(await fetchNames(3)).toBe("AAA");
  await writeModule(always("172.16.0.3"));
  expect(await vsnat("reload")).toMatchObject({ code: 0 });
  expect(await fetchNames(3)).toBe("BBB");
  await writeModule("export const pick = () => 7 +;\n");
  expect(await vsnat("reload")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/mistakes/),
  });
  expect(daemon.stderr).toMatch(/schedulers\.mine: found .*mine\.ts/);
  expect(await fetchNames(1)).toBe("B");
  await writeModule(
    `let count = 0;\nexport const pick = (servers: any[]) => { if (++count > 1) for (;;); return servers[0]; };\n`,
  );
  expect(await vsnat("reload")).toMatchObject({ code: 0 });
  expect(await fetchNames(6)).toMatch(/^[AB]{6}$/);
  expect(daemon.stderr).toMatch(/warning: scheduler mine: .*mine\.ts/);
  expect((await vsnat("status")).stdout).toMatch(/^tcp:\/\/202\.103\.106\.5:80 scheduler mine: .*wlc/m);
});
