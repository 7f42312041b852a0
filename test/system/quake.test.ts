/** Quake through the director with programs in namespaces: qstat, and a server and client as id Software's are. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import { dissect } from "../support/dissection.ts";
import { FAMILIES, type Founding, startFounding } from "../support/founding.ts";
import { udp } from "../support/packet-builder.ts";
import { hex, TwoSides } from "../support/two-sides.ts";

const peer = (...args: readonly (string | number)[]): string[] => [
  "python3",
  fileURLToPath(new URL("../support/programs/quake-peer.py", import.meta.url)),
  ...args.map(String),
];
let founding: Founding;

async function serve({ namespace }: Host, address: string): Promise<void> {
  await namespace.start(peer("server", address, 26_000, "0.0.0.0:26000")).waitFor(/listening/);
}

beforeAll(async () => {
  founding = await startFounding(`services:
  - { listen: "udp://${VIP.ipv4}:26000", app: quake, scheduler: rr, servers: [172.16.0.2, 172.16.0.3] }
  - { listen: "udp://${VIP.ipv4}:27001", app: quake, servers: ["172.16.0.2:26000"] }
  - { listen: "udp://[${VIP.ipv6}]:26000", app: quake, servers: ["[fd00:16::2]"] }
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [quake] }
  - { from: ["fd00:16::/64"], to: "2001:db8:1::/64", sources: ["${VIP.ipv6}"], apps: [quake] }
`);
  const { client, serverA, serverB } = founding;
  await Promise.all(
    [serverA, serverB, client].flatMap((host) => FAMILIES.map((family) => serve(host, host[family]))),
  );
});
afterAll(() => founding?.laboratory.close());

async function play(host: Host, address: string, port: number, ownPort: number): Promise<string> {
  const { stdout, stderr } = await host.namespace.attempt(peer("client", address, port, ownPort));
  return stdout + stderr;
}

describe.each(FAMILIES)("%s", (family) => {
  test("players are let in and play, at the port that they were told of", async () => {
    const { client } = founding;
    const played = `played 20 rounds at ${VIP[family]}\n`;
    expect(await Promise.all([0, 1, 2, 3].map((k) => play(client, VIP[family], 26_000, 30_000 + k)))).toEqual([
      played, played, played, played,
    ]); // biome-ignore format: four times
  });

  test("players behind the director play outside", async () => {
    const { client, serverA, serverB } = founding;
    const played = `played 20 rounds at ${client[family]}\n`;
    expect(await play(serverA, client[family], 26_000, 30_000)).toBe(played);
    expect(await play(serverB, client[family], 26_000, 30_000)).toBe(played);
  });
});

test("qstat is told of the virtual address, players and rules", async () => {
  const at = `${VIP.ipv4}:27001`;
  const command = ["quakestat", "-nh", "-retry", "1", "-raw", ",", "-R", "-P", "-qs", at];
  const { stdout } = await founding.client.namespace.run(command);
  const [server, rules, player] = stdout.trimEnd().split("\n");
  // The fourth is what the server is said to call itself.
  expect(server?.split(",").slice(0, 8)).toEqual(["QS", at, "the dungeon", at, "3", "e1m1", "8", "1"]);
  expect(rules).toBe("sv_gravity=800");
  expect(player).toMatch(/ranger,203\.0\.113\.66:27001/);
});

test("tshark finds the translated port and address, and nothing wrong", async () => {
  const it = new TwoSides("virtual", "quake", "udp", 26_000, { virtualPort: 27_001 });
  it.stage.director.addService({
    protocol: "udp",
    address: VIP.ipv4,
    port: 40_001,
    scheduler: "rr",
    destinations: [],
  });
  const [from, to] = [it.server.own, it.client.own];
  it.say("client", hex('8000000c 01 "QUAKE" 00 03'));
  const answers = [
    hex("80000009 81 419c0000"),
    hex('80000028 83 "172.16.0.3:26000" 00 "the dungeon" 00 "e1" 00 01 08 03'),
  ];
  const out = answers.map((payload) => halvesSwapped(it.stage.send(udp({ from, to, payload })).bytes));
  const fields = ["ip.src", "quake.control.accept.port", "quake.control.server_info.address"];
  expect(await dissect(out, fields, "udp.port==27001,quake")).toEqual([
    `${VIP.ipv4} 40002 `,
    `${VIP.ipv4}  ${VIP.ipv4}:27001`,
  ]);
});

/**
 * The header is one number, flags in its high half (id's net_dgrm.c, and so does qstat have it); tshark 4.0 looks for them in
 * the low half. The checksum stays right, as it is a sum of halves.
 */
function halvesSwapped(packet: Uint8Array): Uint8Array {
  const it = packet.slice();
  it.copyWithin(28, 30, 32);
  it.set(packet.subarray(28, 30), 30);
  return it;
}

test("without the module nobody plays", async () => {
  const { daemon, client } = founding;
  await daemon.reload(`services:
  - { listen: "udp://${VIP.ipv4}:26000", scheduler: rr, servers: [172.16.0.2, 172.16.0.3] }
`);
  expect(await play(client, VIP.ipv4, 26_000, 31_000)).toMatch(/AssertionError|timed out/);
});
