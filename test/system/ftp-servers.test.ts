/** FTP through the director with other real programs: proftpd and pure-ftpd; the clients of NetBSD and of GNU, curl. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import { FAMILIES, type Family, type Founding, hostText, startFounding } from "../support/founding.ts";
import {
  curl,
  hashOf,
  makeFile,
  makeFolder,
  startProftpd,
  startPureFtpd,
  url,
} from "../support/ftp-servers.ts";

const FILE_BYTES = 300_000;
/** Ports of VIP; every server listens on 21. */
const SERVERS = [
  ["proftpd", 2121],
  ["pure-ftpd", 2122],
] as const;

let founding: Founding;
const hashes: Record<string, string> = {};

const configuration = (): string => {
  const services = FAMILIES.flatMap((family) =>
    SERVERS.map(([name, port]) => {
      const host = name === "proftpd" ? founding.serverA : founding.serverB;
      return `
  - { listen: "tcp://${hostText(VIP[family])}:${port}", app: ftp, servers: ["${hostText(host[family])}:21"] }`;
    }),
  );
  return `services:${services.join("")}
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [ftp] }
  - { from: ["fd00:16::/64"], to: "2001:db8:1::/64", sources: ["${VIP.ipv6}"], apps: [ftp] }
`;
};

async function start(host: Host, name: string, start: typeof startProftpd): Promise<void> {
  const place = { laboratory: founding.laboratory, host, name };
  const folder = await makeFolder(place);
  hashes[name] = await makeFile(folder, "file.bin", FILE_BYTES);
  await start(place, folder);
}

beforeAll(async () => {
  founding = await startFounding();
  const { serverA, serverB, client } = founding;
  await Promise.all([
    start(serverA, "proftpd", startProftpd),
    start(serverB, "pure-ftpd", startPureFtpd),
    start(client, "outside", startProftpd),
  ]);
  // Nobody outside finds the way to an address that was not translated.
  await client.namespace.ip("route add unreachable 172.16.0.0/24", "route add unreachable fd00:16::/64");
  await founding.daemon.start(configuration());
});
afterAll(() => founding?.laboratory.close());

/** The ways of curl; PASV and PORT are of IPv4 only. */
const WAYS: readonly (readonly [string, readonly Family[], readonly string[]])[] = [
  ["PASV", ["ipv4"], ["--disable-epsv"]],
  ["EPSV", FAMILIES, []],
  ["PORT", ["ipv4"], ["--ftp-port", "-", "--disable-eprt"]],
  ["EPRT", FAMILIES, ["--ftp-port", "-"]],
];

/** A session of an interactive client, which hashes what comes. @returns all it printed */
async function session(
  host: Host,
  program: readonly string[],
  address: string,
  port: number,
  ...before: string[]
) {
  const lines = [
    "user anonymous none",
    "binary",
    ...before,
    "get file.bin |sha256sum",
    "get file.bin |sha256sum",
  ];
  const input = `${[...lines, "quit"].join("\n")}\n`;
  const { stdout, stderr } = await host.namespace.attempt([...program, address, String(port)], { input });
  return `${stdout}${stderr}`;
}

/** What is asked for before, and what the client then says to the server. */
const CLIENTS: readonly (readonly [
  string,
  readonly string[],
  readonly string[],
  RegExp,
  readonly Family[],
])[] = [
  ["tnftp, EPSV", ["tnftp", "-n", "-p", "-d"], [], /---> EPSV/, FAMILIES],
  ["tnftp, PASV", ["tnftp", "-n", "-p", "-d"], ["epsv4 off"], /---> PASV/, ["ipv4"]],
  ["tnftp, EPRT", ["tnftp", "-n", "-A", "-d"], [], /---> EPRT/, FAMILIES],
  ["tnftp, PORT", ["tnftp", "-n", "-A", "-d"], ["epsv4 off"], /---> PORT/, ["ipv4"]],
  ["GNU ftp, EPSV", ["inetutils-ftp", "-n", "-p", "-d"], [], /---> EPSV/, ["ipv6"]],
  ["GNU ftp, PASV", ["inetutils-ftp", "-n", "-p", "-d"], [], /---> PASV/, ["ipv4"]],
  ["GNU ftp, EPRT", ["inetutils-ftp", "-n", "-A", "-d"], [], /---> EPRT/, ["ipv6"]],
  ["GNU ftp, PORT", ["inetutils-ftp", "-n", "-A", "-d"], [], /---> PORT/, ["ipv4"]],
];

describe.each(FAMILIES)("%s", (family) => {
  const ways = WAYS.filter(([, families]) => families.includes(family));
  const clients = CLIENTS.filter(([, , , , families]) => families.includes(family));

  test.each(ways)("curl, %s: both servers, and a client behind the director", async (_, __, options) => {
    const { client, serverA } = founding;
    for (const [name, port] of SERVERS)
      expect(await hashOf(client, curl(...options, url(VIP[family], port)))).toBe(hashes[name]);
    expect(await hashOf(serverA, curl(...options, url(client[family], 21)))).toBe(hashes.outside);
  });

  test.each(clients)(
    "%s: both servers, and a client behind the director",
    async (_, program, before, said) => {
      const { client, serverA } = founding;
      const talk = [
        ...SERVERS.map(([name, port]) => [client, VIP[family], port, hashes[name]] as const),
        [serverA, client[family], 21, hashes.outside] as const,
      ];
      for (const [host, address, port, hash] of talk) {
        const printed = await session(host, program, address, port, ...before);
        expect(printed).toMatch(said);
        expect(printed.split(`${hash}  -`), printed).toHaveLength(3);
      }
    },
  );
});
