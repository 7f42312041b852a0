/**
 * The founding network with three real servers and a director whose configuration a test writes, and what system tests of
 * services ask of it: who answered, over connections from chosen client addresses.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { vi } from "vitest";
import { builtProgram } from "../../src/cli/demo/director-daemon.ts";
import { buildFoundingNetwork, type Host, PORT } from "../../src/cli/demo/founding-network.ts";
import { Laboratory } from "../../src/cli/demo/laboratory.ts";
import type { Program, ProgramEnd } from "../../src/cli/demo/program.ts";
import { type Founding, startServer, testDaemon, testProgram } from "./founding.ts";

/** Networks beyond the client's router, for clients of many addresses; the recordings' own. */
const CLIENT_NETWORKS = ["198.51.100.0/24", "203.0.113.0/24"];

export interface Balancing extends Founding {
  readonly serverC: Host;
}

/** Build the network; the director is started by `balancing.daemon.start(yaml)`. Close with `laboratory.close()`. */
export async function buildBalancing(): Promise<Balancing> {
  const laboratory = await Laboratory.create();
  try {
    const network = await buildFoundingNetwork(laboratory);
    const namespace = await laboratory.namespace("server-c");
    const serverC = { namespace, ipv4: "172.16.0.4", ipv6: "fd00:16::4" };
    await laboratory.link({ namespace, device: PORT }, { namespace: network.segment, device: "server-c" });
    await network.segment.ip("link set server-c master bridge");
    await namespace.ip(
      `address add ${serverC.ipv4}/24 dev ${PORT}`,
      `address add ${serverC.ipv6}/64 dev ${PORT} nodad`,
      "route add default via 172.16.0.1",
      "route add ::/0 via fd00:16::1",
    );
    await network.director.ip(
      ...CLIENT_NETWORKS.map((prefix) => `route add ${prefix} via ${network.client.ipv4}`),
    );
    return { ...network, serverC, laboratory, daemon: testDaemon(laboratory, network.director) };
  } catch (error) {
    await laboratory.close();
    throw error;
  }
}

/** Name servers A, B and C on these ports of all three. */
export async function startNameServers(balancing: Balancing, ...ports: readonly number[]): Promise<void> {
  const { serverA, serverB, serverC } = balancing;
  const hosts = [["A", serverA] as const, ["B", serverB] as const, ["C", serverC] as const];
  await Promise.all(
    hosts.flatMap(([name, host]) => ports.map((port) => startServer(host, "name-server", name, port))),
  );
}

/** Give the client these addresses too. */
export async function addClientAddresses({ client }: Founding, addresses: readonly string[]): Promise<void> {
  const others = [...new Set(addresses)].filter((address) => address !== client.ipv4);
  await client.namespace.ip(...others.map((address) => `address add ${address}/32 dev ${PORT}`));
}

/** Open connections, one after the other, and keep them open; see test/support/programs/series-client.mjs. */
export async function openSeries(
  host: Host,
  vip: string,
  port: number,
  sources: readonly string[],
): Promise<{ readonly program: Program; readonly answers: string[] }> {
  const program = host.namespace.start(testProgram("series-client", vip, port, ...sources), {
    isInteractive: true,
  });
  await program.waitFor(/^done$/m, 30_000);
  return { program, answers: program.stdout.split("\n").slice(0, sources.length) };
}

/** The names among answers such as "A 202.100.1.2 3456", by their first letter; "-" for a refusal. */
export const namesOf = (answers: readonly string[]): string =>
  answers.map((answer) => (/^[A-Z] /.test(answer) ? answer[0] : "-")).join("");

/** `curl` from a host; its output, trimmed. Extra arguments come before the URL. */
export async function curl(host: Host, url: string, ...args: readonly string[]): Promise<string> {
  const command = ["curl", "--silent", "--show-error", "--max-time", "10", ...args, url];
  return (await host.namespace.attempt(command)).stdout.trim();
}

/** `vsadm ARGS` beside the daemon, whatever its exit code. */
export const vsadm = ({ director, daemon }: Founding, ...args: readonly string[]): Promise<ProgramEnd> =>
  director.attempt(builtProgram("cli/vsadm.js", ...args), { env: daemon.environment });

/** nginx with these `server` blocks on a host; its files lie in the laboratory's directory. */
export async function startNginx({ laboratory }: Founding, host: Host, servers: string): Promise<Program> {
  const folder = join(laboratory.directory, `nginx-${host.namespace.role}`);
  await host.namespace.run(["mkdir", "-p", folder]);
  const file = join(folder, "nginx.conf");
  const configuration = `daemon off; user root; worker_processes 1; pid ${folder}/pid; error_log stderr notice;
events { worker_connections 256; }
http { access_log off; client_body_temp_path ${folder}; proxy_temp_path ${folder}; fastcgi_temp_path ${folder};
uwsgi_temp_path ${folder}; scgi_temp_path ${folder}; ${servers} }
`;
  await writeFile(file, configuration);
  const program = host.namespace.start(["nginx", "-p", folder, "-c", file]);
  await program.waitFor(/start worker process /);
  return program;
}

/** Wait until the director has no connection left, templates included. */
export const connectionsGone = ({ daemon }: Founding): Promise<boolean> =>
  vi.waitUntil(async () => {
    const { stdout } = await daemon.vsnat("status", "--json");
    return (JSON.parse(stdout) as { connections: { count: number } }).connections.count === 0;
  }, 20_000);
