/** The manual's trigger and module, as they stand in docs/modules.md, in the real daemon; modules that are exchanged, and that fail. */
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { builtProgram } from "../../src/cli/demo/director-daemon.ts";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import { type Founding, startFounding } from "../support/founding.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const peer = (...args: readonly string[]): string[] => [
  "python3",
  fileURLToPath(new URL("../support/programs/toy-peer.py", import.meta.url)),
  ...args,
];

let founding: Founding;
let daemon: Program;
/** Configurations of the manual: the trigger's, then the module's. */
let manual: readonly string[];

beforeAll(async () => {
  founding = await startFounding();
  const text = await readFile(join(ROOT, "docs/modules.md"), "utf8");
  manual = [...text.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map((match) => match[1]!);
  expect(manual).toHaveLength(2);
  await copyFile(join(ROOT, "docs/examples/toy.ts"), join(founding.laboratory.directory, "toy.ts"));
  const servers = [founding.serverA, founding.client].flatMap((host) =>
    ["toy", "webcam"].map((protocol) =>
      host.namespace.start(peer("server", protocol, host.ipv4)).waitFor(/listening/),
    ),
  );
  await Promise.all(servers);
  daemon = await founding.daemon.start(manual[0]!);
});
afterAll(() => founding?.laboratory.close());

/** What a client says became of it; of what went wrong the last line. */
async function meet(host: Host, protocol: string, address: string, patienceSeconds = 5): Promise<string> {
  const command = peer("client", protocol, address, host.ipv4);
  const env = { PATIENCE_S: String(patienceSeconds) };
  const { stdout, stderr } = await host.namespace.attempt(command, { env });
  return stdout + stderr.trimEnd().split("\n").at(-1);
}
const vsnat = (...args: readonly string[]) =>
  founding.director.attempt(builtProgram("cli/vsnat.js", ...args), { env: founding.daemon.environment });
const SEEN = "saw five pictures\n";
const GOT = "got the file and the news\n";

test("the trigger of docs/modules.md", async () => {
  const { client, serverB } = founding;
  expect(await meet(client, "webcam", VIP.ipv4)).toBe(SEEN);
  expect(await meet(serverB, "webcam", client.ipv4)).toBe(SEEN);
  expect(await meet(client, "toy", VIP.ipv4, 1), "is for nothing else").not.toBe(GOT);
});

test("the module of docs/modules.md, which the running director learns of", async () => {
  const { client, serverB } = founding;
  expect(await founding.daemon.reload(manual[1]!)).toMatchObject({ code: 0 });
  expect(await meet(client, "toy", VIP.ipv4)).toBe(GOT);
  expect(await meet(serverB, "toy", client.ipv4)).toBe(GOT);
  expect(await meet(serverB, "webcam", client.ipv4, 1), "the trigger is gone").not.toBe(SEEN);
  const { stdout } = await vsnat("status", "--json");
  const { applications } = JSON.parse(stdout);
  const toy = applications.find(({ name }: { name: string }) => name === "toy");
  expect(toy.counters).toMatchObject({ announced: 3, begun: 3, rewritten: 2, failed: 0, foreign: 0 });
});

test("a module that changes: connections at work go on with the one they began with", async () => {
  const { client, laboratory } = founding;
  const talk = client.namespace.start(["socat", "-", `TCP:${VIP.ipv4}:5000`], { isInteractive: true });
  await talk.waitFor(/welcome/);
  await writeFile(
    join(laboratory.directory, "toy.ts"),
    'export const rules = [{ from: "server", lead: "DATA ", names: "own", read(): string { throw new Error("of my own"); } }];\n',
  );
  expect(await vsnat("reload")).toMatchObject({ code: 0 });
  talk.tell("FILE");
  await talk.waitFor(new RegExp(`DATA ${VIP.ipv4.replaceAll(".", "\\.")} \\d+\r\ndone`));
  await talk.stop();
  expect(await meet(client, "toy", VIP.ipv4)).toContain("the file is at 172.16.0.2");
  expect(await meet(client, "toy", VIP.ipv4)).toContain("the file is at 172.16.0.2");
  expect(
    daemon.stderr.match(/application toy: .*toy\.ts: Error: of my own .*passed on unread/g),
  ).toHaveLength(1);
  expect((await vsnat("status")).stdout).toMatch(/toy.*failed/s);
});

test("vsnat check finds what is wrong with a module, and names what nobody knows", async () => {
  const { laboratory } = founding;
  await writeFile(join(laboratory.directory, "toy.ts"), "export const rules = [;\n");
  expect(await vsnat("reload")).toMatchObject({ code: 2 });
  expect(daemon.stderr).toMatch(/applications\.toy\.module: found .*toy\.ts: /);
  const file = join(laboratory.directory, "vxtreme.yaml");
  await writeFile(file, `services: [ { listen: "tcp://${VIP.ipv4}:12468", app: vxtreme, servers: [] } ]\n`);
  const { code, stderr } = await vsnat("check", file);
  expect(code).toBe(2);
  expect(stderr).toContain(
    'found "vxtreme", wanted applications: { vxtreme: { transport: tcp, ports: PORT } } as well; not known of VXtreme Web Theater: its control port (12468 circulates, unconfirmed)',
  );
});
