/**
 * One peer's own copy of the network: client - director - server joined by veth pairs with default offloads. Both real
 * servers' addresses are in one namespace, so that a balancer's second server costs the machine nothing.
 *
 *   client 202.100.1.2 -- 202.100.1.1 director 172.16.0.1 -- 172.16.0.2 and 172.16.0.3 server
 *
 * Every peer has a station for the whole run. An idle one costs nothing, and no peer inherits another's connection
 * tracking, ports in TIME_WAIT or warm-up.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Laboratory, Namespace } from "../../src/cli/demo/laboratory.ts";
import { Program } from "../../src/cli/demo/program.ts";

export const VIP = "202.103.106.5";
export const SERVER_A = "172.16.0.2";
export const SERVER_B = "172.16.0.3";
/** Port of the virtual HTTP service and of server A; server B serves on the second, as in the founding example. */
export const HTTP_PORT = 80;
export const HTTP_PORT_B = 8000;
export const IPERF_PORT = 5201;
export const SINK_PORT = 5202;

/** First of the ports of the many services. */
export const FIRST_PORT = 10_000;
/** Whose datagrams the kernel makes (RFC 2544's test network); behind the client. */
export const TEST_CLIENTS = "198.18.0.0/15";

export const DATAGRAMS_PROGRAM = fileURLToPath(new URL("datagrams.js", import.meta.url));

export const FRAMES_PROGRAM = fileURLToPath(new URL("frames.js", import.meta.url));

export interface Station {
  readonly client: Namespace;
  readonly director: Namespace;
  readonly server: Namespace;
  /** UDP services beside the usual ones, each on a port of its own. */
  readonly serviceCount: number;
  /** Files of this station's programs. */
  readonly directory: string;
  /** What daemons keep at run time; in memory. */
  readonly runtimeDirectory: string;
}

/** The director's processes; none where the kernel alone is the director. */
export async function directorPids(station: Station): Promise<number[]> {
  const { stdout } = await new Program(["ip", "netns", "pids", station.director.name]).result();
  return stdout.split("\n").filter(Boolean).map(Number);
}

/** Ports enough for a new connection each time, and reuse of those in TIME_WAIT. */
const CONNECTING = {
  "net.ipv4.ip_local_port_range": "1024 65535",
  "net.ipv4.tcp_tw_reuse": 1,
};

export async function buildStation(laboratory: Laboratory, name: string, serviceCount = 0): Promise<Station> {
  const role = name.replaceAll(/[^a-z]+/g, "-");
  const client = await laboratory.namespace(`${role}-client`);
  const director = await laboratory.namespace(`${role}-director`);
  const server = await laboratory.namespace(`${role}-server`);
  const directory = join(laboratory.directory, role);
  await mkdir(directory);

  await laboratory.link({ namespace: client, device: "eth0" }, { namespace: director, device: "outside" });
  await laboratory.link({ namespace: director, device: "inside" }, { namespace: server, device: "eth0" });
  await client.ip("address add 202.100.1.2/24 dev eth0", "route add default via 202.100.1.1");
  await director.ip(
    "address add 202.100.1.1/24 dev outside",
    "address add 172.16.0.1/24 dev inside",
    `route add ${TEST_CLIENTS} via 202.100.1.2`,
  );
  await server.ip(
    `address add ${SERVER_A}/24 dev eth0`,
    `address add ${SERVER_B}/24 dev eth0`,
    "route add default via 172.16.0.1",
  );
  await client.sysctl(CONNECTING);
  await director.sysctl({ ...CONNECTING, "net.ipv4.ip_forward": 1 });

  const nginx = join(directory, "server.conf");
  await writeFile(nginx, serverConfiguration(directory));
  await server.run(["nginx", "-c", nginx]);
  await server.start(["iperf3", "-s", "-p", `${IPERF_PORT}`, "--forceflush"]).waitFor(/listening/);
  await server.start([process.execPath, DATAGRAMS_PROGRAM, "sink", `${SINK_PORT}`]).waitFor(/listening/);

  const { runtimeDirectory } = laboratory;
  return { client, director, server, serviceCount, directory, runtimeDirectory };
}

/** One worker, so that the server is the same single thread under every peer; 6 bytes, so that requests are all cost. */
const serverConfiguration = (directory: string): string => `
user root;
worker_processes 1;
worker_rlimit_nofile 16384;
pid ${directory}/server.pid;
error_log ${directory}/server.log;
events { worker_connections 8192; }
http {
  access_log off;
  keepalive_requests 1000000000;
  server {
    listen ${HTTP_PORT} backlog=4096;
    listen ${HTTP_PORT_B} backlog=4096;
    location / { return 200 "hello\\n"; }
  }
}
`;
