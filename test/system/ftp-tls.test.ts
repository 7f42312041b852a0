/** FTP over TLS through the director: vsftpd with curl and lftp; the module steps aside, passive ports come from its option. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import { FAMILIES, type Family, type Founding, hostText, startFounding } from "../support/founding.ts";
import { curl, hashOf, makeFile, makeFolder, startVsftpd, url } from "../support/ftp-servers.ts";

const FILE_BYTES = 300_000;
/** Ports of VIP: two servers in turn; one of them; that one without the option; encrypted from the first byte on. */
const SERVED = { both: 21, one: 2121, plain: 2122, encrypted: 990 } as const;
/** Passive ports of each server. */
const RANGES = { a: "30000-30009", b: "30010-30019" } as const;

let founding: Founding;
const hashes: Record<string, string> = {};

const configuration = (): string => {
  const services = FAMILIES.map((family) => {
    const [a, b] = [founding.serverA[family], founding.serverB[family]];
    const app = `{ module: ftp, passivePorts: [{ server: "${a}", ports: ${RANGES.a} }, { server: "${b}", ports: ${RANGES.b} }] }`;
    const listen = (port: number) => `listen: "tcp://${hostText(VIP[family])}:${port}"`;
    return `
  - { ${listen(SERVED.both)}, scheduler: rr, app: ${app}, servers: ["${hostText(a)}:21", "${hostText(b)}:21"] }
  - { ${listen(SERVED.one)}, app: ${app}, servers: ["${hostText(a)}:21"] }
  - { ${listen(SERVED.plain)}, app: ftp, servers: ["${hostText(a)}:21"] }
  - { ${listen(SERVED.encrypted)}, app: ${app}, servers: ["${hostText(a)}:990"] }`;
  });
  return `services:${services.join("")}
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}] }
  - { from: ["fd00:16::/64"], to: "2001:db8:1::/64", sources: ["${VIP.ipv6}"] }
`;
};

/** vsftpd that speaks TLS only, for each family its own: with both, vsftpd takes no address for 227. */
async function start(host: Host, name: keyof typeof RANGES): Promise<void> {
  const { laboratory } = founding;
  const certificate = join(laboratory.directory, `${name}.pem`);
  const subject = ["-subj", "/CN=ftp.example", "-days", "2"];
  const files = ["-keyout", certificate, "-out", certificate];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  await host.namespace.run(["openssl", "req", "-x509", ...key, ...files, ...subject]);
  const folder = await makeFolder({ laboratory, name });
  hashes[name] = await makeFile(folder, "file.bin", FILE_BYTES);
  const bytes = await readFile(join(folder, "file.bin"));
  hashes[`${name} twice`] = createHash("sha256").update(bytes).update(bytes).digest("hex");
  const [first, last] = RANGES[name].split("-");
  const settings = `pasv_min_port=${first}
pasv_max_port=${last}
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
require_ssl_reuse=NO
ssl_ciphers=HIGH
rsa_cert_file=${certificate}
`;
  const families = {
    ipv4: `listen=YES\nlisten_ipv6=NO\nlisten_address=${host.ipv4}\npasv_address=${VIP.ipv4}\n`,
    ipv6: `listen_address6=${host.ipv6}\n`,
  };
  const run = (family: Family, more = "", scheme = "ftp") => {
    const place = { laboratory, host, name: `${name}-${family}-${scheme}` };
    return startVsftpd(
      place,
      folder,
      settings + families[family] + more,
      `${scheme}://${hostText(host[family])}/`,
    );
  };
  const implicit = "implicit_ssl=YES\nlisten_port=990\n";
  await Promise.all(
    FAMILIES.flatMap((family) => [run(family), ...(name === "a" ? [run(family, implicit, "ftps")] : [])]),
  );
}

beforeAll(async () => {
  founding = await startFounding();
  const { serverA, serverB, client } = founding;
  await Promise.all([start(serverA, "a"), start(serverB, "b")]);
  // Nobody outside finds the way to an address that was not translated.
  await client.namespace.ip("route add unreachable 172.16.0.0/24", "route add unreachable fd00:16::/64");
  await founding.daemon.start(configuration());
});
afterAll(() => founding?.laboratory.close());

const tls = (...options: readonly string[]) => curl("--ssl-reqd", "--insecure", ...options);
const counters = async (): Promise<Record<string, number>> => {
  const { stdout } = await founding.daemon.vsnat("status", "--json");
  const status = JSON.parse(stdout) as { applications: { name: string; counters: Record<string, number> }[] };
  return status.applications.find(({ name }) => name === "ftp")!.counters;
};

describe.each(FAMILIES)("%s", (family) => {
  test.each(family === "ipv4" ? ["PASV", "EPSV"] : ["EPSV"])("curl, %s: two servers in turn", async (way) => {
    const options = way === "PASV" ? ["--disable-epsv"] : [];
    const at = () => hashOf(founding.client, tls(...options, url(VIP[family], SERVED.both)));
    const before = await counters();
    expect([await at(), await at()].sort()).toEqual([hashes.a, hashes.b].sort());
    const after = await counters();
    expect([after.encrypted! - before.encrypted!, after.rewritten! - before.rewritten!]).toEqual([2, 0]);
  });

  test("curl, encrypted from the first byte on", async () => {
    const at = `ftps://${hostText(VIP[family])}/file.bin`;
    expect(await hashOf(founding.client, curl("--insecure", at))).toBe(hashes.a);
  });

  test.each(["on", "off"])("lftp, passive mode %s: several transfers on one connection", async (mode) => {
    const settings = [
      ...["ssl-allow-anonymous yes", "ssl-force yes", "ssl-protect-data yes", "fix-pasv-address no"],
      `passive-mode ${mode}`,
    ].map((setting) => `set ftp:${setting}`);
    const limits = "set ssl:verify-certificate no; set net:max-retries 1; set net:timeout 20";
    const file = url(VIP[family], SERVED.one);
    const script = `${settings.join("; ")}; ${limits}; cat ${file}; cat ${file}`;
    expect(await hashOf(founding.client, ["lftp", "-c", script])).toBe(hashes["a twice"]);
  });

  test("without the option nobody finds the passive port", async () => {
    const { client } = founding;
    const { code } = await client.namespace.attempt(tls("--silent", url(VIP[family], SERVED.plain)));
    expect(code).not.toBe(0);
  });
});
