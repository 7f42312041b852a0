/** Amanda with its authentication "bsd" through the director, real programs in namespaces: amcheck, amdump, amandad. */
import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import { type Founding, startFounding } from "../support/founding.ts";

/** Each host that is backed up has an address of its own. */
const OTHER_VIP = "202.103.106.6";

let founding: Founding;
const hashes: Record<string, string> = {};

const program = (name: string): string =>
  fileURLToPath(new URL(`../support/programs/${name}`, import.meta.url));
const path = (name: string): string => join(founding.laboratory.directory, name);

function configuration(): string {
  const service = (vip: string, { ipv4 }: Host) =>
    `  - { listen: "udp://${vip}:10080", app: amanda, servers: ["${ipv4}:10080"] }`;
  return `services:
${service(VIP.ipv4, founding.serverA)}
${service(OTHER_VIP, founding.serverB)}
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], ports: 512-65535, apps: [amanda] }
`;
}

/** A host to back up, with a folder of its own. */
async function startHost({ namespace }: Host, name: string): Promise<void> {
  const folder = path(`data-${name}`);
  await mkdir(folder, { mode: 0o755 });
  const bytes = randomBytes(300_000);
  hashes[name] = createHash("sha256").update(bytes).digest("hex");
  await writeFile(join(folder, "file.bin"), bytes, { mode: 0o644 });
  await namespace.start(["bash", program("amanda-host.sh"), path("hosts")]).waitFor(/ADD.*10080/);
}

/** What a backup server prints that backs this host's folder up. */
async function backUp({ namespace }: Host, host: string, name: string): Promise<string> {
  const command = ["bash", program("amanda-server.sh"), path("hosts"), host, path(`data-${name}`)];
  return (await namespace.run(command, { timeoutMs: 40_000 })).stdout;
}

beforeAll(async () => {
  founding = await startFounding();
  const { client, serverA, serverB, daemon, laboratory } = founding;
  // Amanda looks at files as another user.
  await chmod(laboratory.directory, 0o711);
  const names = [`${client.ipv4} bserver outside`, `${VIP.ipv4} host-a`, `${OTHER_VIP} host-b`];
  await writeFile(path("hosts"), ["127.0.0.1 localhost", ...names, ""].join("\n"));
  await client.namespace.ip("route add unreachable 172.16.0.0/24");
  await Promise.all([startHost(serverA, "a"), startHost(serverB, "b"), startHost(client, "outside")]);
  await daemon.start(configuration());
});
afterAll(() => founding?.laboratory.close());

test("two hosts behind the director are backed up at the same time", async () => {
  const { client } = founding;
  const [a = "", b = ""] = await Promise.all([backUp(client, "host-a", "a"), backUp(client, "host-b", "b")]);
  for (const said of [a, b]) expect(said).toMatch(/Client check: 1 host checked .* 0 problems found/);
  expect(a).toContain(`${hashes.a}  -`);
  expect(b).toContain(`${hashes.b}  -`);
});

test("a backup server behind the director backs a host outside up", async () => {
  expect(await backUp(founding.serverA, "outside", "outside")).toContain(`${hashes.outside}  -`);
});

test("every stream was announced, and none was refused", async () => {
  const { stdout } = await founding.daemon.vsnat("status", "--json");
  const { applications } = JSON.parse(stdout) as {
    applications: { name: string; counters: Record<string, number> }[];
  };
  const { counters } = applications.find(({ name }) => name === "amanda")!;
  // Data, messages, index and state of either.
  expect(counters).toMatchObject({ announced: 8, begun: 8, foreign: 0, lowPort: 0, noPlace: 0, failed: 0 });
});
