/** SNMP through the director with net-snmp: an agent behind the virtual address, and one whose traps go out. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Host } from "../../src/cli/demo/founding-network.ts";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import { type Founding, startFounding } from "../support/founding.ts";

/** No names of objects, and nothing of the machine's own configuration. */
const ALONE = { env: { MIBS: "", SNMPCONFPATH: "/nonexistent" } };
/** ipAdEntAddr: an address of the agent's, with itself as index. */
const ADDRESS = ".1.3.6.1.2.1.4.20.1.1";
const MASK = ".1.3.6.1.2.1.4.20.1.3";
/** Any object that tells of an address. */
const TOLD = ".1.3.6.1.4.1.8072.9999.1";

let founding: Founding;
let receiver: Program;

async function start(
  { namespace }: Host,
  name: string,
  configuration: string,
  ...args: string[]
): Promise<Program> {
  const file = join(founding.laboratory.directory, `${name}.conf`);
  await writeFile(file, configuration);
  const program = namespace.start([name, "-f", "-Lo", "-C", "-c", file, ...args], ALONE);
  await program.waitFor(/NET-SNMP version/);
  return program;
}

const run = async (
  { namespace }: Host,
  command: string,
  version: string,
  ...args: string[]
): Promise<string> =>
  (await namespace.run([command, version, "-c", "public", "-On", "-t", "5", ...args], ALONE)).stdout;

beforeAll(async () => {
  founding = await startFounding();
  const { serverA, client, laboratory } = founding;
  const agent = "agentaddress udp:161\nrocommunity public\n";
  await start(serverA, "snmpd", agent, "-p", join(laboratory.directory, "snmpd.pid"), "-I", "-smux");
  receiver = await start(client, "snmptrapd", "disableAuthorization yes\n", "-On", "-n");
  await founding.daemon.start(`services:
  - { listen: "udp://${VIP.ipv4}:161", app: snmp, servers: [${serverA.ipv4}] }
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [snmp] }
`);
});
afterAll(() => founding?.laboratory.close());

test.each(["-v1", "-v2c"])("an agent's own address in a walk, %s; as an index it stays", async (version) => {
  const { client, serverA } = founding;
  const walked = await run(client, "snmpwalk", version, VIP.ipv4, ADDRESS);
  expect(walked).toContain(`${ADDRESS}.${serverA.ipv4} = IpAddress: ${VIP.ipv4}\n`);
  expect(walked).toContain(`${ADDRESS}.127.0.0.1 = IpAddress: 127.0.0.1\n`);
  expect(await run(client, "snmpget", version, VIP.ipv4, `${MASK}.${serverA.ipv4}`)).toContain(
    "255.255.255.0",
  );
});

test("many values in one answer", async () => {
  const { client, serverA } = founding;
  const got = await run(client, "snmpbulkget", "-v2c", "-Cr12", VIP.ipv4, ADDRESS);
  expect(got).toContain(`${ADDRESS}.${serverA.ipv4} = IpAddress: ${VIP.ipv4}\n`);
});

test("traps of both versions and an inform tell of the address the receiver sees", async () => {
  const { client, serverA } = founding;
  const value = [`${TOLD}.1`, "a", serverA.ipv4];
  await run(serverA, "snmptrap", "-v1", client.ipv4, TOLD, serverA.ipv4, "6", "17", "42", ...value);
  await receiver.waitFor(
    /\? \[202\.103\.106\.5\] \(via UDP: \[202\.103\.106\.5\].*\n.*\n\s+\S+ = IpAddress: 202\.103\.106\.5/,
  );
  for (const [number, command] of ["snmptrap", "snmpinform"].entries()) {
    const object = `${TOLD}.${number + 2}`;
    await run(serverA, command, "-v2c", client.ipv4, "42", TOLD, object, "a", serverA.ipv4);
    await receiver.waitFor(new RegExp(`${object.replaceAll(".", "\\.")} = IpAddress: 202\\.103\\.106\\.5`));
  }
});

test("what was changed is counted", async () => {
  const { stdout } = await founding.daemon.vsnat("status", "--json");
  const { applications } = JSON.parse(stdout) as {
    applications: { name: string; counters: Record<string, number> }[];
  };
  const { counters } = applications.find(({ name }) => name === "snmp")!;
  expect(counters).toMatchObject({ badChecksum: 0, failed: 0, noRoom: 0 });
  expect(counters.rewritten).toBeGreaterThanOrEqual(6);
});
