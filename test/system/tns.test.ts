/**
 * Oracle's TNS through the director in namespaces: python-oracledb, the database's own client, and one of ours for what that
 * does not speak any more; two servers of ours that redirect. Wireshark says what it thinks of the packets.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Host, PORT, VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import { FAMILIES, type Family, type Founding, hostText, startFounding } from "../support/founding.ts";

let founding: Founding;
let capture: Program;
const servers: Program[] = [];

const program = (name: string): string =>
  fileURLToPath(new URL(`../support/programs/${name}`, import.meta.url));

function configuration(): string {
  const services = FAMILIES.map((family) => {
    const hosts = [founding.serverA, founding.serverB].map((host) => `"${hostText(host[family])}:1521"`);
    return `  - { listen: "tcp://${hostText(VIP[family])}:1521", scheduler: rr, app: tns, servers: [${hosts}] }`;
  });
  return `services:\n${services.join("\n")}\n`;
}

async function startTns({ namespace }: Host, name: string, other: Host): Promise<void> {
  const server = namespace.start(["/usr/bin/python3", program("tns-server.py"), name, other.ipv4]);
  await server.waitFor(/listening/);
  servers.push(server);
}

/** How often the databases were asked, together. */
const askedCount = (): number => servers.flatMap(({ stdout }) => stdout.match(/asked/g) ?? []).length;

async function follow(family: Family, service: string): Promise<string[]> {
  const command = ["/usr/bin/python3", program("tns-client.py"), VIP[family], "1521", service];
  const { stdout } = await founding.client.namespace.run(command, { timeoutMs: 20_000 });
  return stdout.trimEnd().split("\n");
}
const redirection = (family: Family, port: number): string =>
  `(ADDRESS=(PROTOCOL=tcp)(HOST=${VIP[family]})(PORT=${port}))`;
const refusal = (name: string): string => `(DESCRIPTION=(ERR=12514)(VSNNUM=0)(NAME=${name}))`;

/** What Python's own driver for Oracle says of a service. */
async function oracledb(service: string): Promise<string> {
  const script = `
import oracledb, sys
try: oracledb.connect(user="u", password="p", dsn=sys.argv[1])
except oracledb.Error as error: print(error)
`;
  const dsn = `${VIP.ipv4}:1521/${service}`;
  const command = ["/usr/bin/python3", "-c", script, dsn];
  return (await founding.client.namespace.run(command, { timeoutMs: 20_000 })).stdout;
}

beforeAll(async () => {
  founding = await startFounding();
  const { client, serverA, serverB, daemon, laboratory } = founding;
  await client.namespace.ip("route add unreachable 172.16.0.0/24", "route add unreachable fd00:16::/64");
  await Promise.all([startTns(serverA, "a", serverB), startTns(serverB, "b", serverA)]);
  await daemon.start(configuration());
  const file = join(laboratory.directory, "tns.pcap");
  capture = client.namespace.start(["tshark", "-i", PORT, "-w", file, "-F", "pcap", "tcp"]);
  await capture.waitFor(/Capture started/); // "Capturing on" is said before
});
afterAll(() => founding?.laboratory.close());

describe.each(FAMILIES)("%s", (family) => {
  test.each(["older", "newer", "name"])("a redirection of kind %s, by two servers in turn", async (kind) => {
    const seen = [await follow(family, kind), await follow(family, kind)];
    expect(seen.map(([, last]) => last).sort()).toEqual([refusal("a"), refusal("b")]);
    // Both have the same port: there are two for the client, as long as it may come.
    const addresses = seen.map(([first]) => first);
    for (const address of addresses)
      expect([1622, 1623].map((port) => redirection(family, port))).toContain(address);
  });
});

test("a redirection to the listener of another server, which redirects to its database", async () => {
  const seen = [await follow("ipv4", "other"), await follow("ipv4", "other")];
  for (const lines of seen) expect(lines).toHaveLength(3);
  expect(seen.map((lines) => lines[2]).sort()).toEqual([refusal("a"), refusal("b")]);
});

test.each(["newer", "name", "other"])("python-oracledb, %s", async (kind) => {
  const before = askedCount();
  const said = [await oracledb(kind), await oracledb(kind)];
  for (const text of said) expect(text).toMatch(/^DPY-6001: .* at host "202\.103\.106\.5" port 16\d\d/);
  expect(askedCount() - before).toBe(2);
});

test("Wireshark reads every redirection, with the virtual address and the right length", async () => {
  await capture.stop();
  const file = join(founding.laboratory.directory, "tns.pcap");
  const tshark = async (...args: readonly string[]): Promise<string> => {
    const ports = ["-d", "tcp.port==1521-1523,tns", "-d", "tcp.port==1622-1623,tns"];
    return (await founding.client.namespace.run(["tshark", "-r", file, ...ports, ...args])).stdout;
  };
  const fields = ["-T", "fields", "-e", "tns.redirect_data_length", "-e", "tns.redirect_data"];
  const redirections = (await tshark("-Y", "tns.redirect_data", ...fields)).trimEnd().split("\n");
  expect(redirections.length).toBeGreaterThan(3);
  for (const line of redirections) {
    const [length, data = ""] = line.split("\t");
    expect(data).toMatch(
      /^\(ADDRESS=\(PROTOCOL=tcp\)\(HOST=(202\.103\.106\.5|2001:db8:5::5)\)\(PORT=162[23]\)\)$/,
    );
    expect(data).toHaveLength(Number(length));
  }
  expect(await tshark("-Y", 'frame contains "172.16.0" || frame contains "fd00:16"')).toBe("");
  // Wireshark 4.0 knows the older form only, and takes the text of the newer one for a function of the database.
  expect(await tshark("-Y", "_ws.malformed && tns.type != 6")).toBe("");
});
