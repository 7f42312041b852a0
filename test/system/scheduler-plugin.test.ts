/** A scheduler of one's own in the real daemon: it picks, it is exchanged while the director runs, and it may fail. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { builtProgram } from "../../src/cli/demo/director-daemon.ts";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import { namesOf, openSeries } from "../support/balancing.ts";
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

test("a module that throws: wlc serves in its place, the log says so once, and vsnat status", async () => {
  await writeModule(`let count = 0;
    export const pick = (servers: any[]) => { if (++count > 1) throw new Error("of my own"); return servers[0]; };\n`);
  const daemon = await founding.daemon.start(CONFIGURATION);
  expect(await fetchNames(20)).toMatch(/^[AB]{20}$/);
  expect(daemon.stderr.match(/warning: scheduler mine: .*of my own/g)).toHaveLength(1);
  expect((await vsnat("status")).stdout).toMatch(/scheduler mine: .*of my own.*wlc/);
  const { services } = JSON.parse((await vsnat("status", "--json")).stdout);
  expect(services[0].schedulerFailure).toMatch(/of my own/);
});

test("the manual's example: who has just come is not sent everything", async () => {
  const { client, serverA, serverB, daemon } = founding;
  await startServer(serverA, "name-server", "A", 9000);
  await startServer(serverB, "name-server", "B", 9000);
  const example = fileURLToPath(new URL("../../docs/examples/slow-start.ts", import.meta.url));
  const configuration = (...servers: readonly string[]) => `schedulers: { slow-start: "${example}" }
services: [ { listen: "tcp://${VIP.ipv4}:9000", scheduler: slow-start, servers: [${servers.map((server) => `"${server}:9000"`).join()}] } ]
`;
  await daemon.start(configuration("172.16.0.2"));
  const sources = Array.from({ length: 4 }, () => `${client.ipv4}:0`);
  expect(namesOf((await openSeries(client, VIP.ipv4, 9000, sources)).answers)).toBe("AAAA");
  await daemon.reload(configuration("172.16.0.2", "172.16.0.3"));
  // wlc would give B all four.
  expect(namesOf((await openSeries(client, VIP.ipv4, 9000, sources)).answers)).toBe("AAAA");
  const { services } = JSON.parse((await vsnat("status", "--json")).stdout);
  expect(services[0].schedulerFailure).toBeUndefined();
});
