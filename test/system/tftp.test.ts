/** TFTP through the director with real programs in namespaces: tftpd-hpa, dnsmasq and atftpd; curl, tftp-hpa and atftp. */
import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import { FAMILIES, type Founding, hostText, startFounding } from "../support/founding.ts";
import { unpackedProgram } from "../support/unpacked.ts";

const FILE_BYTES = 100_000;
const LARGE_BYTES = 10 * 2 ** 20;
/** The virtual port in front of both servers, and the ones of the first and the second alone. */
const SERVED = { both: 69, tftpd: 6969, dnsmasq: 6970 } as const;
const POOL = { ipv4: "172.16.0.250", ipv6: "fd00:16::fa" } as const;

let founding: Founding;
const hashes: Record<string, string> = {};
const inLaboratory = (name: string): string => join(founding.laboratory.directory, name);
const hashOfBytes = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const hashOfFile = async (name: string): Promise<string> => hashOfBytes(await readFile(inLaboratory(name)));

function configuration(): string {
  const services = FAMILIES.map((family) => {
    const [a, b] = family === "ipv4" ? ["172.16.0.2", "172.16.0.3"] : ["[fd00:16::2]", "[fd00:16::3]"];
    const listen = (port: number) =>
      `listen: "udp://${hostText(VIP[family])}:${port}", scheduler: rr, app: tftp`;
    return `
  - { ${listen(SERVED.both)}, servers: ["${a}:69", "${b}:69"] }
  - { ${listen(SERVED.tftpd)}, servers: ["${a}:69"] }
  - { ${listen(SERVED.dnsmasq)}, fullNat: { sources: ["${POOL[family]}"] }, servers: ["${b}:69"] }`;
  });
  return `services:${services.join("")}
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [tftp] }
  - { from: ["fd00:16::/64"], to: "2001:db8:1::/64", sources: ["${VIP.ipv6}"], apps: [tftp] }
`;
}

async function start({ namespace }: Host, command: readonly string[], family = ""): Promise<void> {
  // tftpd's transfers keep its output open.
  namespace.start(["sh", "-c", 'exec "$@" >/dev/null 2>&1', "-", ...command]);
  const listening = `until ss ${family} -Hlun sport = :69 | grep -q :69; do sleep 0.05; done`;
  await namespace.run(["sh", "-c", listening]);
}

const counters = async (): Promise<Record<string, number>> => {
  const { stdout } = await founding.daemon.vsnat("status", "--json");
  const { applications } = JSON.parse(stdout) as {
    applications: { name: string; counters: Record<string, number> }[];
  };
  return applications.find(({ name }) => name === "tftp")!.counters;
};

beforeAll(async () => {
  founding = await startFounding();
  await chmod(founding.laboratory.directory, 0o711);
  const folder = inLaboratory("tftp");
  await mkdir(folder);
  await chmod(folder, 0o777);
  for (const [name, bytes] of [
    ["file", FILE_BYTES],
    ["large", LARGE_BYTES],
  ] as const) {
    const content = randomBytes(bytes);
    hashes[name] = hashOfBytes(content);
    await writeFile(join(folder, name), content, { mode: 0o644 });
  }
  const { serverA, serverB, client } = founding;
  const tftpd = ["in.tftpd", "--foreground", "--create", "--secure", folder];
  const dnsmasq = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--enable-tftp"];
  // IPv4 only.
  const atftpd = unpackedProgram("usr/sbin/atftpd", "--daemon", "--no-fork", "--user", "root", folder);
  await Promise.all([
    start(serverA, tftpd),
    start(serverB, [...dnsmasq, `--tftp-root=${folder}`, "--pid-file="]),
    start(client, [...tftpd, "-6"], "-6"),
    start(client, atftpd, "-4"),
  ]);
  await founding.daemon.start(configuration());
});
afterAll(async () => {
  if (founding === undefined) return;
  // And go on alone for a while where a client went away.
  const { namespace } = founding.serverA;
  const script = 'ip netns pids "$1" | grep -vwx $$ | xargs -r kill';
  await namespace.attempt(["sh", "-c", script, "-", namespace.name]);
  await founding.laboratory.close();
});

const at = (address: string, port: number, name = "file"): string =>
  `tftp://${hostText(address)}:${port}/${name}`;

/** SHA-256 of what curl gets. */
async function got({ namespace }: Host, url: string, ...options: readonly string[]): Promise<string> {
  const script = 'set -o pipefail; curl --silent --show-error --max-time 30 "$@" | sha256sum';
  const { code, stdout, stderr } = await namespace.attempt(["bash", "-c", script, "-", ...options, url]);
  if (code !== 0) throw new Error(`${url}: ${stderr}`);
  return stdout.split(" ")[0] ?? "";
}

describe.each(FAMILIES)("%s", (family) => {
  test("curl: two servers in turn, another port, FullNAT", async () => {
    const { client } = founding;
    for (const port of [SERVED.both, SERVED.both, SERVED.tftpd, SERVED.dnsmasq])
      expect(await got(client, at(VIP[family], port))).toBe(hashes.file);
  });

  test("curl: to a server", async () => {
    const { namespace } = founding.client;
    const target = at(VIP[family], SERVED.tftpd, `upload-${family}`);
    await namespace.run([
      "curl",
      "--silent",
      "--max-time",
      "30",
      "--upload-file",
      inLaboratory("tftp/file"),
      target,
    ]);
    expect(await hashOfFile(`tftp/upload-${family}`)).toBe(hashes.file);
  });

  test("curl: two clients behind the director at once", async () => {
    const { serverA, serverB, client } = founding;
    const url = at(client[family], 69);
    const both = await Promise.all([serverA, serverB].map((host) => got(host, url)));
    expect(both).toEqual([hashes.file, hashes.file]);
  });

  test("tftp-hpa: several in a row from one port", async () => {
    const target = inLaboratory(`hpa-${family}`);
    const lines = Array.from({ length: 20 }, (_, k) => `get file ${target}-${k}`);
    const options = family === "ipv4" ? "-4" : "-6";
    const command = ["tftp", options, "-m", "binary", VIP[family], String(SERVED.tftpd)];
    await founding.client.namespace.run(command, { input: [...lines, "quit", ""].join("\n") });
    for (let k = 0; k < 20; k++) expect(await hashOfFile(`hpa-${family}-${k}`)).toBe(hashes.file);
  });

  test("a large file", async () => {
    const options = ["--tftp-blksize", "1428"];
    for (const port of [SERVED.tftpd, SERVED.dnsmasq])
      expect(await got(founding.client, at(VIP[family], port, "large"), ...options)).toBe(hashes.large);
  });
});

test("atftp: two servers in turn, and from behind the director", async () => {
  const { client, serverA } = founding;
  for (const [host, address, port] of [
    [client, VIP.ipv4, SERVED.both],
    [client, VIP.ipv4, SERVED.both],
    [serverA, client.ipv4, 69],
  ] as const) {
    const file = inLaboratory("atftp");
    await host.namespace.run(["atftp", "--get", "-r", "file", "-l", file, address, String(port)]);
    expect(await hashOfFile("atftp")).toBe(hashes.file);
  }
});

test("a request whose answers are lost is repeated, waits once, and succeeds", async () => {
  const { namespace } = founding.client;
  const before = await counters();
  const rules = `table inet lost { chain in { type filter hook input priority 0
    ip saddr ${VIP.ipv4} limit rate over 1/hour burst 3 packets accept
    ip saddr ${VIP.ipv4} drop
  }
  }`;
  await namespace.run(["nft", "-f", "-"], { input: rules });
  const target = inLaboratory("repeated");
  const input = `rexmt 1\nget file ${target}\nquit\n`;
  await namespace.run(["tftp", "-4", "-m", "binary", VIP.ipv4, String(SERVED.tftpd)], { input });
  await namespace.run(["nft", "delete", "table", "inet", "lost"]);
  expect(await hashOfFile("repeated")).toBe(hashes.file);
  const after = await counters();
  expect(after.announced! - before.announced!).toBe(1);
  // The server answers each request from another port.
  expect(after.begun! - before.begun!).toBeGreaterThan(1);
});
