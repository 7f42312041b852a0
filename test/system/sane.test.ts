/** SANE through the director with real programs in namespaces: saned with the backend "test", and scanimage. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import { FAMILIES, type Founding, hostText, startFounding } from "../support/founding.ts";

/** Of a service with FullNAT. */
const OTHER_VIP = "202.103.106.6";
const POOL = "172.16.0.250";
/** Images differ by the resolution that is each scanner's own. */
const RESOLUTIONS = { a: 50, b: 60, outside: 70 } as const;
type Scanner = keyof typeof RESOLUTIONS;
const PICTURE = ["--mode", "Color", "--test-picture", "Color pattern", "--format", "pnm"];

let founding: Founding;
const images: Partial<Record<Scanner, string>> = {};

function configuration(): string {
  const services = FAMILIES.map((family) => {
    const servers = [founding.serverA, founding.serverB].map((host) => `"${hostText(host[family])}:6566"`);
    return `  - { listen: "tcp://${hostText(VIP[family])}:6566", scheduler: rr, app: sane, servers: [${servers}] }`;
  });
  return `services:
${services.join("\n")}
  - { listen: "tcp://${OTHER_VIP}:6566", app: sane, fullNat: { sources: [${POOL}] }, servers: ["${founding.serverA.ipv4}:6566"] }
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [sane] }
`;
}

/** Of a program of SANE that has these files as its configuration. */
async function settings(
  name: string,
  files: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  const folder = join(founding.laboratory.directory, name);
  await mkdir(folder);
  for (const [file, text] of Object.entries(files)) await writeFile(join(folder, file), text);
  return { SANE_CONFIG_DIR: folder };
}

async function startScanner({ namespace }: Host, name: Scanner): Promise<void> {
  const env = await settings(`saned-${name}`, {
    "dll.conf": "test\n",
    "test.conf": `number_of_devices 1\nresolution ${RESOLUTIONS[name]}\n`,
    // Every scanner has the same ports.
    "saned.conf": "data_portrange = 10000 - 10009\n202.0.0.0/8\n172.16.0.0/24\n[2001:db8::]/32\n",
  });
  const local = await namespace.run(["scanimage", "-d", "test:0", ...PICTURE], { env });
  images[name] = local.stdout;
  const saned = namespace.start(["saned", "-l", "-e", "-d", "3"], { env });
  await saned.waitFor(/waiting for control connection/);
}

/** What the first scanner at an address delivers. */
async function scan({ namespace }: Host, address: string): Promise<Scanner | undefined> {
  const env = { SANE_CONFIG_DIR: join(founding.laboratory.directory, "scanimage") };
  const command = ["scanimage", "-d", `net:${hostText(address)}:test:0`, ...PICTURE];
  const { stdout } = await namespace.run(command, { env, timeoutMs: 20_000 });
  return (Object.keys(images) as Scanner[]).find((name) => images[name] === stdout);
}

beforeAll(async () => {
  founding = await startFounding();
  const { client, serverA, serverB, daemon } = founding;
  await client.namespace.ip("route add unreachable 172.16.0.0/24", "route add unreachable fd00:16::/64");
  await settings("scanimage", { "dll.conf": "net\n", "net.conf": "connect_timeout = 5\n" });
  await Promise.all([
    startScanner(serverA, "a"),
    startScanner(serverB, "b"),
    startScanner(client, "outside"),
  ]);
  await daemon.start(configuration());
});
afterAll(() => founding?.laboratory.close());

test.each(FAMILIES)("%s: two scanners in turn, image by image", async (family) => {
  const seen = [await scan(founding.client, VIP[family]), await scan(founding.client, VIP[family])];
  expect(seen.sort()).toEqual(["a", "b"]);
});

test.each(FAMILIES)("%s: ten at once, from scanners with the same ports", async (family) => {
  const scans = Array.from({ length: 10 }, () => scan(founding.client, VIP[family]));
  expect((await Promise.all(scans)).sort().join("")).toBe("aaaaabbbbb");
});

test("FullNAT", async () => {
  expect(await scan(founding.client, OTHER_VIP)).toBe("a");
});

test("a client behind the director", async () => {
  expect(await scan(founding.serverA, founding.client.ipv4)).toBe("outside");
});

test("every connection of an image was one announced, and none was refused", async () => {
  const { stdout } = await founding.daemon.vsnat("status", "--json");
  const { applications } = JSON.parse(stdout) as {
    applications: { name: string; counters: Record<string, number> }[];
  };
  const { counters } = applications.find(({ name }) => name === "sane")!;
  expect(counters).toMatchObject({ announced: 25, begun: 25, foreign: 0, noPlace: 0, failed: 0 });
});
