/** FTP through the director with real programs in namespaces: vsftpd; curl, lftp and Python's ftplib. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { builtProgram } from "../../src/cli/demo/director-daemon.ts";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import { FAMILIES, type Family, type Founding, hostText, startFounding } from "../support/founding.ts";
import { curl, hashOf, makeFile, makeFolder, startVsftpd, url } from "../support/ftp-servers.ts";

const FILE_BYTES = 300_000;
const LARGE_BYTES = 100 * 2 ** 20;
const POOL = { ipv4: "172.16.0.250", ipv6: "fd00:16::fa" } as const;

let founding: Founding;
const hashes: Record<string, string> = {};

/** The port of VIP, and what is in front of it there. */
const SERVED = { both: 21, otherPort: 2121, fullNat: 2122 } as const;

function configuration(): string {
  const services = FAMILIES.map((family) => {
    const [a, b] = family === "ipv4" ? ["172.16.0.2", "172.16.0.3"] : ["[fd00:16::2]", "[fd00:16::3]"];
    const listen = (port: number) =>
      `listen: "tcp://${hostText(VIP[family])}:${port}", scheduler: rr, app: ftp`;
    return `
  - { ${listen(SERVED.both)}, servers: ["${a}:21", "${b}:21"] }
  - { ${listen(SERVED.otherPort)}, servers: ["${a}:21"] }
  - { ${listen(SERVED.fullNat)}, fullNat: { sources: ["${POOL[family]}"] }, servers: ["${b}:21"] }`;
  });
  return `services:${services.join("")}
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [ftp] }
  - { from: ["fd00:16::/64"], to: "2001:db8:1::/64", sources: ["${VIP.ipv6}"], apps: [ftp] }
`;
}

/** vsftpd with a file of its own, and a large one on server A. */
async function start(host: Host, name: string): Promise<void> {
  const place = { laboratory: founding.laboratory, host, name };
  const folder = await makeFolder(place);
  hashes[name] = await makeFile(folder, "file.bin", FILE_BYTES);
  if (name === "a") hashes.large = await makeFile(folder, "large.bin", LARGE_BYTES);
  await startVsftpd(place, folder);
}

const counters = async (): Promise<Record<string, number>> => {
  const { stdout } = await founding.daemon.vsnat("status", "--json");
  const status = JSON.parse(stdout) as { applications: { name: string; counters: Record<string, number> }[] };
  return status.applications.find(({ name }) => name === "ftp")!.counters;
};

beforeAll(async () => {
  founding = await startFounding();
  const { serverA, serverB, client } = founding;
  await Promise.all([start(serverA, "a"), start(serverB, "b"), start(client, "outside")]);
  await founding.daemon.start(configuration());
});
afterAll(() => founding?.laboratory.close());

/** How curl is made to use each way; PASV and PORT are of IPv4 only. */
const WAYS: readonly (readonly [string, readonly Family[], readonly string[]])[] = [
  ["PASV", ["ipv4"], ["--disable-epsv"]],
  ["EPSV", FAMILIES, []],
  ["PORT", ["ipv4"], ["--ftp-port", "-", "--disable-eprt"]],
  ["EPRT", FAMILIES, ["--ftp-port", "-"]],
];

describe.each(FAMILIES)("%s", (family) => {
  const ways = WAYS.filter(([, families]) => families.includes(family));

  test.each(ways)("curl, %s: two real servers in turn, another port, FullNAT", async (_, __, options) => {
    const { client } = founding;
    const at = (port: number) => hashOf(client, curl(...options, url(VIP[family], port)));
    expect([await at(SERVED.both), await at(SERVED.both)].sort()).toEqual([hashes.a, hashes.b].sort());
    expect(await at(SERVED.otherPort)).toBe(hashes.a);
    expect(await at(SERVED.fullNat)).toBe(hashes.b);
  });

  test.each(ways)("curl, %s: a client behind the director", async (_, __, options) => {
    const { serverA, client } = founding;
    expect(await hashOf(serverA, curl(...options, url(client[family], 21)))).toBe(hashes.outside);
  });

  test.each(["on", "off"])("lftp, passive mode %s", async (passive) => {
    const settings = `set ftp:passive-mode ${passive}; set ftp:fix-pasv-address no; set ftp:ssl-allow no; set net:max-retries 1; set net:timeout 20`;
    const command = ["lftp", "-c", `${settings}; cat ${url(VIP[family], SERVED.otherPort)}`];
    expect(await hashOf(founding.client, command)).toBe(hashes.a);
  });

  test("ftplib: 200 transfers in a row, passive and active", async () => {
    const program = fileURLToPath(new URL("../support/programs/ftp-session.py", import.meta.url));
    const command = ["python3", program, VIP[family], String(SERVED.otherPort), "both", "200", "file.bin"];
    const { stdout, stderr } = await founding.client.namespace.attempt(command);
    expect(stderr).toBe("");
    expect(stdout).toBe(`${hashes.a} 200\n`);
  });

  test.each(ways)("100 MB, %s", async (_, __, options) => {
    const large = url(VIP[family], SERVED.otherPort, "large.bin");
    expect(await hashOf(founding.client, curl(...options, large))).toBe(hashes.large);
  });
});

test("what the module did is counted and exported, and each changed line is traced", async () => {
  const before = await counters();
  const trace = founding.director.start(
    builtProgram("cli/vsnat.js", "trace", "--json", "service", `tcp://${VIP.ipv4}:${SERVED.otherPort}`),
    { env: founding.daemon.environment },
  );
  await trace.waitFor(/tracing/);
  await hashOf(founding.client, curl("--disable-epsv", url(VIP.ipv4, SERVED.otherPort)));
  await trace.waitFor(
    /"rewrites":\[\{"before":"227 [^"]*\(172,16,0,2,[^"]*","after":"227 [^"]*\(202,103,106,5,/,
  );
  const after = await counters();
  expect(after.rewritten! - before.rewritten!).toBe(1);
  expect(after.begun! - before.begun!).toBe(1);
  expect(after.foreign! + after.failed! + after.noPlace! + after.lowPort!).toBe(0);
  const { stdout } = await founding.daemon.vsnat("export", "ip_vs_app");
  expect(stdout).toMatch(/^prot port {4}usecnt name\nTCP {2}21 +\d+ +ftp +\nTCP {2}2121 +\d+ +ftp +\n/);
});
