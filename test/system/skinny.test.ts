/**
 * Skinny through the director in namespaces: call managers and telephones of ours, which go by the addresses they are told, with
 * media both ways. Wireshark says what it thinks of the messages.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Host, PORT, VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import { FAMILIES, type Family, type Founding, hostText, startFounding } from "../support/founding.ts";

let founding: Founding;
let capture: Program;
let outside: Program;

/** Before addresses of IPv6, and after. */
const VERSIONS: readonly (readonly [Family, number])[] = [
  ["ipv4", 0],
  ["ipv4", 20],
  ["ipv6", 20],
];

const peer = (...args: readonly (string | number)[]): string[] => [
  "/usr/bin/python3",
  fileURLToPath(new URL("../support/programs/skinny-peer.py", import.meta.url)),
  ...args.map(String),
];

function configuration(): string {
  const services = FAMILIES.map((family) => {
    const servers = [founding.serverA, founding.serverB].map((host) => `"${hostText(host[family])}:2001"`);
    return `  - { listen: "tcp://${hostText(VIP[family])}:2000", scheduler: rr, app: skinny, servers: [${servers}] }`;
  });
  return `services:
${services.join("\n")}
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [skinny] }
  - { from: ["fd00:16::/64"], to: "2001:db8:1::/64", sources: ["${VIP.ipv6}"], apps: [skinny] }
`;
}

/** A telephone's call to a manager. @returns what it prints */
async function call(
  { namespace }: Host,
  address: string,
  mediaPort: number,
  version: number,
): Promise<string> {
  const command = peer("telephone", address, 2000, mediaPort, version);
  return (await namespace.run(command, { timeoutMs: 20_000 })).stdout.trim();
}

async function startManager({ namespace }: Host, port: number): Promise<Program> {
  // All have the same port for media.
  const manager = namespace.start(peer("manager", port, 24_000));
  await manager.waitFor(/listening/);
  return manager;
}

beforeAll(async () => {
  founding = await startFounding();
  const { client, serverA, serverB, daemon, laboratory } = founding;
  await client.namespace.ip("route add unreachable 172.16.0.0/24", "route add unreachable fd00:16::/64");
  [outside] = (await Promise.all([
    startManager(client, 2000), startManager(serverA, 2001), startManager(serverB, 2001),
  ])) as [Program, Program, Program]; // biome-ignore format: one list
  await daemon.start(configuration());
  const file = join(laboratory.directory, "skinny.pcap");
  capture = client.namespace.start(["tshark", "-i", PORT, "-w", file, "-F", "pcap", "tcp port 2000"]);
  await capture.waitFor(/Capture started/);
});
afterAll(() => founding?.laboratory.close());

test.each(VERSIONS)("%s, version %i: call managers behind the director", async (family, version) => {
  const heard = [];
  for (const port of [20_000, 20_010]) heard.push(await call(founding.client, VIP[family], port, version));
  for (const text of heard) expect(text).toMatch(new RegExp(`^heard ${VIP[family]} \\d+$`));
});

test.each(VERSIONS)("%s, version %i: telephones behind the director", async (family, version) => {
  const { client, serverA, serverB } = founding;
  const said = outside.waitFor(new RegExp(`played to ${VIP[family]}, .*\n.*played to ${VIP[family]}, .*\n`));
  // Both have the same port for media, an odd one.
  for (const host of [serverA, serverB])
    expect(await call(host, client[family], 20_001, version)).toBe(`heard ${client[family]} 24000`);
  const [text] = await said;
  const ports = [...text.matchAll(/registered (\S+), media (\S+) (\d+)/g)].map(
    ([, registered, media, port]) => {
      expect([registered, media]).toEqual([VIP[family], VIP[family]]);
      return Number(port);
    },
  );
  for (const port of ports) expect(port % 2).toBe(0);
});

test("Wireshark reads every message, with the virtual address", async () => {
  await capture.stop();
  const file = join(founding.laboratory.directory, "skinny.pcap");
  const tshark = async (...args: readonly string[]): Promise<string> =>
    (await founding.client.namespace.run(["tshark", "-r", file, ...args])).stdout;
  const fields = ["stationIpAddr", "ipAddr.ipv4", "ipAddr.ipv6", "remoteIpAddr.ipv4", "remoteIpAddr.ipv6"];
  const args = fields.flatMap((name) => ["-e", `skinny.${name}`]);
  const seen = await tshark("-Y", "skinny", "-T", "fields", ...args);
  const addresses = new Set(seen.split(/[\s,]+/).filter((text) => text !== "" && text !== "0.0.0.0"));
  const { client } = founding;
  // Nobody translates what hosts outside say of themselves.
  expect(addresses).toEqual(new Set([VIP.ipv4, VIP.ipv6, client.ipv4, client.ipv6]));
  expect(await tshark("-Y", "_ws.malformed")).toBe("");
});
