/**
 * The directors that are compared, as plain data: how each is started in a station, and what the client then talks to.
 * All of them balance HTTP over two servers 1:2 and send everything else to server A.
 */
import { access, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  FIRST_PORT,
  HTTP_PORT,
  HTTP_PORT_B,
  IPERF_PORT,
  SERVER_A,
  SERVER_B,
  SINK_PORT,
  type Station,
  VIP,
} from "./station.ts";

export interface Peer {
  readonly name: string;
  readonly description: string;
  /** What the client talks to. */
  readonly target: string;
  /** Whether it can carry UDP. */
  readonly carriesUdp: boolean;
  /** Whether packets go on inside the kernel, and not through a socket or a device of its own. */
  readonly forwards: boolean;
  /** Resolves when it takes traffic. */
  start(station: Station): Promise<void>;
}

export const PEERS: readonly Peer[] = [
  {
    name: "plain",
    description: "the kernel forwards, nothing is translated or balanced: the limit",
    target: SERVER_A,
    carriesUdp: true,
    forwards: true,
    start: async () => {},
  },
  {
    name: "nftables",
    description: "DNAT with connection tracking, numgen inc 1:2",
    target: VIP,
    carriesUdp: true,
    forwards: true,
    start: startNftables,
  },
  {
    name: "haproxy",
    description: "mode tcp, one thread a processor, roundrobin 1:2",
    target: VIP,
    carriesUdp: false,
    forwards: false,
    start: startHaproxy,
  },
  {
    name: "nginx",
    description: "stream, one worker a processor, weights 1:2",
    target: VIP,
    carriesUdp: true,
    forwards: false,
    start: startNginx,
  },
  {
    name: "vsnat",
    description: "fast path: known connections in the kernel by eBPF, new ones through the director, wrr 1:2",
    target: VIP,
    carriesUdp: true,
    forwards: true,
    start: (station) => startVsnat(station, "fastPath: required"),
  },
  {
    name: "vsnat-slow",
    description: "slow path: the TypeScript director over TUN, wrr 1:2",
    target: VIP,
    carriesUdp: true,
    forwards: false,
    start: (station) => startVsnat(station, "fastPath: off"),
  },
];

async function startNftables(station: Station): Promise<void> {
  const services = portsOf(station).map((port) => `${port} : ${SERVER_A} . ${port}`);
  const rules = `
table ip bench {
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr ${VIP} tcp dport ${HTTP_PORT} dnat to numgen inc mod 3 map {
      0 : ${SERVER_A} . ${HTTP_PORT}, 1 : ${SERVER_B} . ${HTTP_PORT_B}, 2 : ${SERVER_B} . ${HTTP_PORT_B} }
    ${services.length > 0 ? `ip daddr ${VIP} dnat to udp dport map { ${services.join(", ")} }` : ""}
    ip daddr ${VIP} dnat to ${SERVER_A}
  }
}
`;
  await station.director.run(["nft", "-f", "-"], { input: rules });
  await station.director.sysctl({ "net.netfilter.nf_conntrack_udp_timeout": 3600 });
}

async function startHaproxy(station: Station): Promise<void> {
  await ownVip(station);
  const file = join(station.directory, "haproxy.cfg");
  await writeFile(
    file,
    `
global
  maxconn 4096
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen http
  bind ${VIP}:${HTTP_PORT}
  balance roundrobin
  server a ${SERVER_A}:${HTTP_PORT} weight 1
  server b ${SERVER_B}:${HTTP_PORT_B} weight 2
listen iperf
  bind ${VIP}:${IPERF_PORT}
  server a ${SERVER_A}:${IPERF_PORT}
`,
  );
  // As a daemon: the command returns once the sockets are open.
  await station.director.run(["haproxy", "-D", "-f", file, "-p", join(station.directory, "haproxy.pid")]);
}

async function startNginx(station: Station): Promise<void> {
  await ownVip(station);
  const file = join(station.directory, "stream.conf");
  await writeFile(
    file,
    `
load_module modules/ngx_stream_module.so;
user root;
worker_processes auto;
worker_rlimit_nofile 16384;
pid ${station.directory}/stream.pid;
error_log ${station.directory}/stream.log;
events { worker_connections 8192; }
stream {
  upstream http {
    server ${SERVER_A}:${HTTP_PORT} weight=1;
    server ${SERVER_B}:${HTTP_PORT_B} weight=2;
  }
  server { listen ${VIP}:${HTTP_PORT} backlog=4096; proxy_pass http; }
  server { listen ${VIP}:${IPERF_PORT}; proxy_pass ${SERVER_A}:${IPERF_PORT}; }
  server { listen ${VIP}:${IPERF_PORT} udp; proxy_pass ${SERVER_A}:${IPERF_PORT}; }
  server { listen ${VIP}:${SINK_PORT} udp; proxy_pass ${SERVER_A}:${SINK_PORT}; }
}
`,
  );
  await station.director.run(["nginx", "-c", file]);
}

/** @param settings - further lines of the configuration file */
async function startVsnat(station: Station, settings: string): Promise<void> {
  const services = portsOf(station).map(
    (port) => `  - { listen: "udp://${VIP}:${port}", servers: ["${SERVER_A}:${port}"] }`,
  );
  const program = fileURLToPath(new URL("../../../cli/vsnat.js", import.meta.url));
  await access(program);
  const file = join(station.directory, "vsnat.yaml");
  await writeFile(
    file,
    `${settings}
timeouts: { udp: 1h }
services:
  - listen: tcp://${VIP}:${HTTP_PORT}
    scheduler: wrr
    servers:
      - { address: ${SERVER_A}:${HTTP_PORT}, weight: 1 }
      - { address: ${SERVER_B}:${HTTP_PORT_B}, weight: 2 }
  - listen: tcp://${VIP}:${IPERF_PORT}
    servers: [${SERVER_A}:${IPERF_PORT}]
  - listen: udp://${VIP}:${IPERF_PORT}
    servers: [${SERVER_A}:${IPERF_PORT}]
  - listen: udp://${VIP}:${SINK_PORT}
    servers: [${SERVER_A}:${SINK_PORT}]
${services.join("\n")}
`,
  );
  const env = {
    VSNAT_SOCKET: join(station.directory, "vsnat.sock"),
    VSNAT_RUNTIME_DIRECTORY: station.runtimeDirectory,
  };
  await station.director.start([process.execPath, program, "run", "-c", file], { env }).waitFor(/ready/i);
}

const portsOf = ({ serviceCount }: Station): number[] =>
  Array.from({ length: serviceCount }, (_, number) => FIRST_PORT + number);

/** A proxy terminates connections, so the virtual address must be its own. */
const ownVip = (station: Station): Promise<void> => station.director.ip(`address add ${VIP}/32 dev lo`);
