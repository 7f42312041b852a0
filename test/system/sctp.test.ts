/**
 * SCTP with several addresses through the director with real programs in namespaces: usrsctp's echo_server and client, over raw
 * sockets. tshark judges the packets.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Host, PORT, VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import type { ConnectionStatus } from "../../src/control/director-status.ts";
import { type Founding, hostText, startFounding } from "../support/founding.ts";

const ECHO_PORT = 7;
/** Of the client; and of server A, which the director brings out only as masqueraded. */
const SECOND = { client: "202.100.1.3", serverA: "198.18.0.2" } as const;

let founding: Founding;
let servers: readonly Program[];

const CONFIGURATION = `services:
  - { listen: "sctp://${VIP.ipv4}:${ECHO_PORT}", scheduler: rr, app: sctp, servers: ["172.16.0.2:${ECHO_PORT}", "172.16.0.3:${ECHO_PORT}"] }
  - { listen: "sctp://${hostText(VIP.ipv6)}:${ECHO_PORT}", app: sctp, servers: ["[fd00:16::2]:${ECHO_PORT}"] }
masquerade:
  - { from: [172.16.0.0/24, 198.18.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [sctp] }
`;

const usrsctp = (name: string, ...args: readonly (string | number)[]): string[] => [
  "stdbuf", "-oL", "-eL", `/usr/lib/usrsctp/${name}`, ...args.map(String),
]; // biome-ignore format: one command

// Ports for UDP encapsulation of 0: none. A host has one such program at a time: each would answer the other's packets.
async function serve({ namespace }: Host): Promise<Program> {
  const program = namespace.start(usrsctp("echo_server", 0, 0));
  // 132 is the protocol's number.
  await namespace.run(["sh", "-c", "until grep -q :0084 /proc/net/raw; do sleep 0.05; done"]);
  return program;
}

function associate({ namespace }: Host, to: string, port: number): Program {
  return namespace.start(usrsctp("client", to, ECHO_PORT, port, 0, 0), { isInteractive: true });
}

async function echo(program: Program, line: string): Promise<void> {
  program.tell(line);
  await program.waitFor(new RegExp(`^${line}$`, "m"));
}

/** Where a client's stack found its peer when the association came up. */
const peersOf = ({ stderr, stdout }: Program): string[] =>
  (/Peer addresses: (.*)\./.exec(stderr + stdout)?.[1] ?? "").split(", ").sort();

async function entries(port: number): Promise<ConnectionStatus[]> {
  const { stdout } = await founding.daemon.vsnat("connections", "--json");
  const { connections } = JSON.parse(stdout) as { connections: ConnectionStatus[] };
  return connections.filter(({ protocol, client }) => protocol === "sctp" && client.port === port);
}

/** Until an entry of this port is established that has the address at this place. */
async function established(port: number, place: "client" | "virtual", address: string): Promise<void> {
  let list: readonly ConnectionStatus[] = [];
  for (let tries = 0; tries < 40; tries++) {
    list = await entries(port);
    if (list.some((one) => one[place].address === address && one.state === "ESTABLISHED")) return;
  }
  throw new Error(`${address} has no path: ${JSON.stringify(list)}`);
}

/** While an address of the client's host gets nothing. */
async function without(address: string, act: () => Promise<void>): Promise<void> {
  const { namespace } = founding.client;
  const input = `table inet lost {\nchain input {
    type filter hook input priority 0
    ip daddr ${address} drop
  }\n}\n`;
  await namespace.run(["nft", "-f", "-"], { input });
  await act();
  await namespace.run(["nft", "delete", "table", "inet", "lost"]);
}

interface Capture {
  readonly file: string;
  readonly program: Program;
}

/** On the client's interface. */
async function startCapture(name: string): Promise<Capture> {
  const file = join(founding.laboratory.directory, name);
  const program = founding.client.namespace.start(["dumpcap", "-i", PORT, "-w", file]);
  await program.waitFor(/File:/);
  return { file, program };
}

beforeAll(async () => {
  founding = await startFounding();
  const { serverA, serverB, client } = founding;
  await client.namespace.ip(`address add ${SECOND.client}/24 dev ${PORT}`);
  await serverA.namespace.ip(`address add ${SECOND.serverA}/32 dev ${PORT}`);
  servers = await Promise.all([serverA, serverB].map(serve));
  await founding.director.ip(`route add ${SECOND.serverA}/32 via 172.16.0.2`);
  await founding.daemon.start(CONFIGURATION);
});
afterAll(() => founding?.laboratory.close());

describe("two servers behind the director", () => {
  test("a client with two addresses: both reach its server, and are reached by it", async () => {
    const { client } = founding;
    const capture = await startCapture("client.pcap");
    const found = new Set<string>();
    for (const port of [5000, 5001]) {
      const one = associate(client, VIP.ipv4, port);
      await echo(one, "hello");
      // No server tells its own addresses.
      expect(peersOf(one)).toEqual([VIP.ipv4]);
      for (const address of [client.ipv4, SECOND.client]) await established(port, "client", address);
      for (const { destination } of await entries(port)) found.add(`${port} ${destination.address}`);
      for (const lost of port === 5000 ? [client.ipv4, SECOND.client] : [])
        await without(lost, () => echo(one, `without ${lost}`));
      await one.stop();
    }
    // All of an association's paths lead to the same server, and the next association to the other one.
    expect([...found].map((text) => text.slice(5)).sort()).toEqual(["172.16.0.2", "172.16.0.3"]);
    await judge(capture);
  });

  test("IPv6", async () => {
    const one = associate(founding.client, VIP.ipv6, 5002);
    await echo(one, "hello");
    expect(peersOf(one)).toEqual([VIP.ipv6]);
    await one.stop();
  });
});

test("a client behind the director reaches all of a server's addresses, and shows none of its own", async () => {
  const { serverA, client } = founding;
  await Promise.all(servers.map((one) => one.stop()));
  await serve(client);
  const capture = await startCapture("outside.pcap");
  const one = associate(serverA, client.ipv4, 5003);
  await echo(one, "hello");
  expect(peersOf(one)).toEqual([client.ipv4, SECOND.client]);
  for (const address of [client.ipv4, SECOND.client]) await established(5003, "virtual", address);
  await without(client.ipv4, () => echo(one, "without the first"));
  await one.stop();
  await judge(capture);
});

/** Foreign eyes: every packet can be read and has a right checksum, and no address behind the director is in one. */
async function judge({ file, program }: Capture): Promise<void> {
  // What it says once a second or so.
  await program.waitFor(/Packets: \d\d/);
  await program.stop();
  const count = async (filter: string): Promise<number> => {
    const command = ["tshark", "-n", "-o", "sctp.checksum:CRC-32C", "-r", file, "-Y", filter];
    const { stdout } = await founding.client.namespace.run(command);
    return stdout.split("\n").filter((line) => line !== "").length;
  };
  expect(await count("sctp")).toBeGreaterThan(5);
  expect(await count("sctp.chunk_type in {1, 2} and sctp.parameter_type == 0x8005")).toBeGreaterThan(0);
  expect(await count("_ws.malformed or sctp.checksum.status == 0")).toBe(0);
  for (const hidden of ["172.16.0.0/16", "198.18.0.0/16"])
    expect(await count(`ip.addr == ${hidden} or sctp.parameter_ipv4_address == ${hidden}`)).toBe(0);
  expect(await count("sctp.parameter_ipv6_address == fd00:16::/64")).toBe(0);
}
