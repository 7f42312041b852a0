/** When things go wrong: the daemon is killed, a real server vanishes, a flood of connection attempts. */
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OUTSIDE, PORT, VIP } from "../../src/cli/demo/founding-network.ts";
import type { Namespace } from "../../src/cli/demo/laboratory.ts";
import {
  configurationText,
  type Founding,
  startFounding,
  startServer,
  testProgram,
} from "../support/founding.ts";

const URL = `http://${VIP.ipv4}/`;

let founding: Founding;

beforeEach(async () => {
  founding = await startFounding();
  await startServer(founding.serverA, "http-server", "A", 80);
  await startServer(founding.serverB, "http-server", "B", 80);
  await startServer(founding.serverA, "tcp-echo", 7);
});
afterEach(() => founding?.laboratory.close());

const web = { protocol: "tcp", port: 80, scheduler: "rr", a: [80, 1], b: [80, 1] } as const;
const echo = { protocol: "tcp", port: 7, a: [7, 1] } as const;

/** Everything the daemon may change in its namespace, as text. */
async function hostState(namespace: Namespace): Promise<string> {
  const script = [
    "ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; ip -brief link; ip neigh show proxy",
    "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding /proc/sys/net/ipv4/conf/*/rp_filter",
  ].join("\n");
  const { stdout } = await namespace.run(["sh", "-c", script]);
  // Neighbours come and go, and so do the addresses a link takes part in by itself.
  return stdout.replaceAll(/ expires \d+sec/g, "");
}

const fetchNames = (count: number) =>
  founding.client.namespace.attempt(["curl", "--silent", "--max-time", "5", `${URL}?[1-${count}]`]);

test("a stopped daemon leaves the host as it found it", async () => {
  const { daemon, director } = founding;
  const before = await hostState(director);
  const program = await daemon.start(configurationText(founding, [web]));
  expect((await fetchNames(10)).stdout).toBe("B\nA\n".repeat(5));
  expect(await hostState(director)).not.toBe(before);
  const { code } = await program.stop();
  expect(code).toBe(0);
  expect(await hostState(director)).toBe(before);
});

test("killed with SIGKILL under load, it works again after the next start, and leaves nothing over", async () => {
  const { daemon, director, client } = founding;
  const before = await hostState(director);
  const configuration = configurationText(founding, [web]);
  const first = await daemon.start(configuration);
  const load = client.namespace.start(["curl", "--silent", "--max-time", "60", `${URL}?[1-100000]`]);
  await load.waitFor(/(A\nB\n){50}/);
  first.kill("SIGKILL");
  await first.ended;
  load.kill("SIGKILL");
  await daemon.start(configuration);
  expect((await fetchNames(100)).stdout).toBe("B\nA\n".repeat(50));
  await daemon.stop();
  expect(await hostState(director)).toBe(before);
});

test("a real server that vanishes costs its own connections, and comes back", async () => {
  const { daemon, segment } = founding;
  await daemon.start(configurationText(founding, [web]));
  expect((await fetchNames(4)).stdout).toBe("B\nA\nB\nA\n");
  await segment.ip("link set server-b down");
  const { stdout } = await fetchNames(4);
  expect(stdout).toBe("A\nA\n");
  await segment.ip("link set server-b up");
  // The director's neighbour entry has failed meanwhile; the first connection makes it ask again.
  await fetchNames(2);
  expect((await fetchNames(4)).stdout).toBe("B\nA\nB\nA\n");
});

describe("2,000,000 SYNs from made-up clients", () => {
  const CONNECTIONS_MAX = 65_536;
  const SYN_COUNT = 2_000_000;
  const SYNS_PER_SECOND = 100_000;

  test("fill the table to its bound and no further, while an established connection goes on", async () => {
    const { daemon, director, client, serverA, serverB } = founding;
    // The real servers would answer into the void; that is their load, not the director's.
    for (const server of [serverA, serverB]) await server.namespace.ip("route add blackhole 198.18.0.0/15");
    const limits = `limits: { connections: ${CONNECTIONS_MAX} }\n`;
    const program = await daemon.start(configurationText(founding, [web, echo], limits));
    const heartbeat = client.namespace.start(testProgram("tcp-heartbeat", VIP.ipv4, 7, 20));
    await heartbeat.waitFor(/beat 20 /);
    const before = { residentBytes: residentBytes(program.pid), beats: beatCount(heartbeat.stdout) };

    const mac = (await director.run(["cat", `/sys/class/net/${OUTSIDE}/address`])).stdout.trim();
    const flood = testProgram("syn-flood", PORT, mac, VIP.ipv4, 80, SYN_COUNT, SYNS_PER_SECOND);
    const { stdout } = await client.namespace.run(flood, { timeoutMs: 90_000 });
    expect(Number.parseInt(stdout, 10)).toBeGreaterThan(SYN_COUNT * 0.99);

    expect(heartbeat.isRunning).toBe(true);
    expect(beatCount(heartbeat.stdout) - before.beats).toBeGreaterThan(100);
    const grownBytes = residentBytes(program.pid) - before.residentBytes;
    expect(grownBytes).toBeLessThan(64 * 1024 * 1024);
    const status = await daemon.vsnat("status", "--json");
    const { connections } = JSON.parse(status.stdout) as { connections: { count: number; max: number } };
    expect(connections.max).toBe(CONNECTIONS_MAX);
    expect(connections.count).toBeLessThanOrEqual(CONNECTIONS_MAX);
    expect(connections.count).toBeGreaterThan(CONNECTIONS_MAX * 0.9);
  });
});

const beatCount = (text: string): number => text.match(/^beat /gm)?.length ?? 0;

/** Resident memory of a process, from /proc. */
function residentBytes(pid: number): number {
  const kibibytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kibibytes) * 1024;
}
