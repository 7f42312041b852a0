/**
 * Sun RPC through the director with real programs in namespaces: rpcbind, rquotad, rstatd and the NFS server Ganesha; rpcinfo,
 * rup, and libnfs as an NFS client. Two servers with the same ports behind one address.
 */
import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import { FAMILIES, type Family, type Founding, hostText, startFounding } from "../support/founding.ts";

const FILE_BYTES = 300_000;
/** Virtual addresses of services of their own: for NFS, and for a list of programs. */
const NFS_VIP = { ipv4: "202.103.106.6", ipv6: "2001:db8:5::6" } as const;
const LISTED_VIP = "202.103.106.7";
const [QUOTA, NFS, MOUNT] = [100_011, 100_003, 100_005];

let founding: Founding;
let hash: string;

function configuration(): string {
  const services = FAMILIES.flatMap((family) => {
    const [a, b] = [founding.serverA[family], founding.serverB[family]].map(
      (host) => `"${hostText(host)}:111"`,
    );
    const listen = (protocol: string, vip: string) => `listen: "${protocol}://${hostText(vip)}:111"`;
    return ["tcp", "udp"].flatMap((protocol) => [
      `  - { ${listen(protocol, VIP[family])}, scheduler: rr, app: rpc, servers: [${a}, ${b}] }`,
      `  - { ${listen(protocol, NFS_VIP[family])}, app: rpc, servers: [${a}] }`,
    ]);
  });
  const listed = `app: { module: rpc, programs: [${NFS}, ${MOUNT}] }, servers: ["${founding.serverA.ipv4}:111"]`;
  return `services:
${services.join("\n")}
  - { listen: "tcp://${LISTED_VIP}:111", ${listed} }
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [rpc] }
`;
}

async function startRpcServer({ namespace }: Host, folder = ""): Promise<void> {
  const script = fileURLToPath(new URL("../support/programs/rpc-server.sh", import.meta.url));
  const hosts = join(founding.laboratory.directory, "hosts");
  await namespace.start(["bash", script, hosts, folder]).waitFor(/^ready$/m);
}

/** What a command on a host prints, which must be to its liking. */
const said = async (host: Host, ...command: readonly string[]): Promise<string> =>
  (await host.namespace.run(command, { timeoutMs: 20_000 })).stdout;
const netid = (protocol: string, family: Family): string => (family === "ipv4" ? protocol : `${protocol}6`);
const rpcinfo = (host: Host, protocol: string, address: string, program: number): Promise<string> =>
  said(host, "rpcinfo", "-T", protocol, address, String(program), "1");
const READY = `program ${QUOTA} version 1 ready and waiting\n`;

beforeAll(async () => {
  founding = await startFounding();
  const { directory } = founding.laboratory;
  // Ganesha looks at files as another user.
  await chmod(directory, 0o711);
  await writeFile(join(directory, "hosts"), `127.0.0.1 localhost\n${NFS_VIP.ipv6} nfs6\n`);
  const folder = join(directory, "export");
  await mkdir(folder, { mode: 0o755 });
  const bytes = randomBytes(FILE_BYTES);
  hash = createHash("sha256").update(bytes).digest("hex");
  await writeFile(join(folder, "file.bin"), bytes, { mode: 0o644 });
  const { serverA, serverB, client, daemon } = founding;
  // Nobody outside gets to the servers but through the virtual address.
  await client.namespace.ip("route add unreachable 172.16.0.0/24", "route add unreachable fd00:16::/64");
  await Promise.all([startRpcServer(serverA, folder), startRpcServer(serverB), startRpcServer(client)]);
  await daemon.start(configuration());
});
afterAll(() => founding?.laboratory.close());

describe.each(FAMILIES)("%s", (family) => {
  test.each(["tcp", "udp"])(
    "rpcinfo finds and calls a program of either server over %s",
    async (protocol) => {
      for (let i = 0; i < 4; i++)
        expect(await rpcinfo(founding.client, netid(protocol, family), VIP[family], QUOTA)).toBe(READY);
    },
  );

  test("rpcinfo lists addresses: the virtual one", async () => {
    const list = await said(founding.client, "rpcinfo", "-l", VIP[family], String(QUOTA), "1");
    const addresses = [...list.matchAll(/\d+ +1 +inet6?\/(?:tcp|udp)\S* +(\S+)/g)].map(([, text]) => text);
    expect(addresses.length).toBeGreaterThan(1);
    for (const address of addresses) expect(address?.startsWith(`${VIP[family]}.`), address).toBe(true);
  });
});

test("where two servers have the same port, the client has two", async () => {
  const { stdout } = await founding.daemon.vsnat("connections", "--json");
  interface End {
    readonly port: number;
  }
  const { connections } = JSON.parse(stdout) as { connections: { virtual: End; destination: End }[] };
  const found = connections.filter(({ destination }) => destination.port === 40_000);
  expect(new Set(found.map(({ virtual }) => virtual.port))).toEqual(new Set([40_000, 40_001]));
});

test("rup: version 2 over UDP", async () => {
  expect(await said(founding.client, "rup", VIP.ipv4)).toMatch(/up .* load/);
});

test.each([
  ["ipv4", NFS_VIP.ipv4],
  ["ipv6", "nfs6"],
])("libnfs: mount and read over TCP, %s", async (_, host) => {
  const { directory } = founding.laboratory;
  const url = `nfs://${host}${join(directory, "export")}/file.bin`;
  const script = `mount --make-rprivate /; mount --bind "$0" /etc/hosts; nfs-cat "$1" | sha256sum`;
  const printed = await said(founding.client, "sh", "-c", script, join(directory, "hosts"), url);
  expect(printed).toBe(`${hash}  -\n`);
});

test("a list of programs: the others are not there", async () => {
  const { client } = founding;
  const list = await said(client, "rpcinfo", "-p", LISTED_VIP);
  const programs = new Set([...list.matchAll(/^ +(\d+) /gm)].map(([, program]) => Number(program)));
  expect(programs).toEqual(new Set([100_000, NFS, MOUNT]));
  expect(await rpcinfo(client, "tcp", LISTED_VIP, MOUNT)).toBe(READY.replace(`${QUOTA}`, `${MOUNT}`));
  const { code, stderr } = await client.namespace.attempt([
    "rpcinfo", "-T", "tcp", LISTED_VIP, String(QUOTA), "1",
  ]); // biome-ignore format: one command
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/not registered/);
});

test("a client behind the director asks a portmapper outside", async () => {
  const { serverA, client } = founding;
  for (const protocol of ["tcp", "udp"])
    expect(await rpcinfo(serverA, protocol, client.ipv4, QUOTA)).toBe(READY);
});

test("nothing was refused", async () => {
  const { stdout } = await founding.daemon.vsnat("status", "--json");
  const status = JSON.parse(stdout) as {
    applications: { name: string; counters: Record<string, number> }[];
  };
  const { counters } = status.applications.find(({ name }) => name === "rpc")!;
  expect(counters).toMatchObject({ foreign: 0, noPlace: 0, noRoom: 0, failed: 0, badChecksum: 0 });
  expect(counters.begun).toBeGreaterThan(10);
});
