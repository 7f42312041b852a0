/** MGCP through the director: osmo-mgw, a real gateway, and a call agent of our own, in namespaces. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import { type Founding, startFounding } from "../support/founding.ts";
import { blackholeInside } from "../support/media.ts";

let founding: Founding;

const CONFIGURATION = `services:
  - { listen: "udp://${VIP.ipv4}:2427", app: mgcp, servers: ["172.16.0.3:2427"] }
masquerade:
  - { from: [172.16.0.2/32], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [mgcp] }
`;

async function startGateway({ namespace, ipv4 }: Host): Promise<void> {
  const file = join(founding.laboratory.directory, `osmo-mgw-${ipv4}.cfg`);
  await writeFile(
    file,
    `log stderr
 logging level set-all notice
mgcp
 bind ip ${ipv4}
 rtp bind-ip ${ipv4}
 rtp port-range 4002 4101
 domain mgw
 number endpoints 4
`,
  );
  await namespace.start(["osmo-mgw", "-c", file]).waitFor(/Configured for MGCP/);
}

/** What the call agent on this host tells of two streams that the gateway joins. */
async function joinedBy({ namespace, ipv4 }: Host, gateway: string): Promise<string> {
  const file = fileURLToPath(new URL("../support/programs/mgcp-agent.py", import.meta.url));
  return (await namespace.run(["python3", file, ipv4, gateway, "10"])).stdout;
}

beforeAll(async () => {
  founding = await startFounding();
  const { client, serverB } = founding;
  await blackholeInside(client);
  await Promise.all([startGateway(serverB), startGateway(client), founding.daemon.start(CONFIGURATION)]);
});
afterAll(() => founding?.laboratory.close());

test("a gateway behind the director: packets come from where it was said to be", async () => {
  const { client } = founding;
  expect(await joinedBy(client, VIP.ipv4)).toBe(`10 packets from ${VIP.ipv4}, as announced: True\n`);
});

test("a call agent behind the director, whose own media the gateway outside sends to", async () => {
  const { client, serverA } = founding;
  expect(await joinedBy(serverA, client.ipv4)).toBe(`10 packets from ${client.ipv4}, as announced: True\n`);
});
