/** IPVS's defences against floods, with made-up clients that flood, and real ones that must be served meanwhile. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { OUTSIDE, PORT, VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import type { DaemonStatus } from "../../src/control/daemon.ts";
import { vsadm } from "../support/balancing.ts";
import {
  configurationText,
  type Founding,
  startFounding,
  startServer,
  testProgram,
} from "../support/founding.ts";

const CONNECTIONS_MAX = 4096;
const SYNS_PER_SECOND = 5000;
/** The automatic defence rests from 15/16 of the table down, and looks once a second. */
const ROOMY = 0.87;

let founding: Founding;
/** A client that was there before the flood. */
let heartbeat: Program;

beforeAll(async () => {
  founding = await startFounding();
  const { serverA } = founding;
  await startServer(serverA, "http-server", "A", 80);
  await startServer(serverA, "tcp-echo", 7);
  // Made-up clients get no answer.
  await serverA.namespace.ip("route add blackhole 198.18.0.0/15");
});
afterAll(() => founding?.laboratory.close());

beforeEach(async () => {
  const { daemon, client } = founding;
  await daemon.start(configuration(""));
  heartbeat = client.namespace.start(testProgram("tcp-heartbeat", VIP.ipv4, 7, 50));
  await heartbeat.waitFor(/beat 20 /);
});
afterEach(async () => {
  await heartbeat.stop();
  await founding.daemon.stop();
});

const configuration = (ipvs: string): string =>
  configurationText(
    founding,
    [
      { protocol: "tcp", port: 80, a: [80, 1] },
      { protocol: "tcp", port: 7, a: [7, 1] },
    ],
    `limits: { connections: ${CONNECTIONS_MAX} }\nipvs: { ${ipvs} }\n`,
  );

async function flood(count: number, ...more: readonly string[]): Promise<void> {
  const { director, client } = founding;
  const mac = (await director.run(["cat", `/sys/class/net/${OUTSIDE}/address`])).stdout.trim();
  await client.namespace.run(
    testProgram("syn-flood", PORT, mac, VIP.ipv4, 80, count, SYNS_PER_SECOND, ...more),
  );
}

const status = async (): Promise<DaemonStatus> =>
  JSON.parse((await founding.daemon.vsnat("status", "--json")).stdout) as DaemonStatus;
const modeOf = ({ defences }: DaemonStatus, name: string): number | undefined =>
  defences.find((one) => one.name === name)?.mode;

/** A real client's request; the exit code of curl. */
async function request(maxSeconds: number): Promise<number | undefined> {
  const curl = ["curl", "--silent", "--max-time", String(maxSeconds), `http://${VIP.ipv4}/`];
  return (await founding.client.namespace.attempt(curl)).code;
}

/** The client that was there before has been served all the time, and is still. */
async function expectHeartbeat(): Promise<void> {
  const beats = heartbeat.stdout.match(/^beat /gm)!.length;
  await heartbeat.waitFor(new RegExp(`^beat ${beats + 5} `, "m"), 3000);
}

test("drop_entry: a full table refuses real clients; automatic it makes room, always it goes on", async () => {
  await flood(CONNECTIONS_MAX + 1000);
  expect(await status()).toMatchObject({ connections: { count: CONNECTIONS_MAX } });
  expect(await request(2)).toBe(28);
  expect((await status()).drops["table-full"]).toBeGreaterThan(0);
  await expectHeartbeat();

  await founding.daemon.reload(configuration("drop_entry: 1"));
  await vi.waitUntil(async () => modeOf(await status(), "drop_entry") === 2, 5000);
  expect((await founding.daemon.vsnat("status")).stdout).toMatch(/drop_entry/);
  expect(await request(10)).toBe(0);
  await vi.waitUntil(async () => modeOf(await status(), "drop_entry") === 1, 10_000);
  expect((await status()).connections.count).toBeGreaterThan(CONNECTIONS_MAX * ROOMY);

  await founding.daemon.reload(configuration("drop_entry: 3"));
  await vi.waitUntil(async () => (await status()).connections.count < CONNECTIONS_MAX * ROOMY, 15_000);
  expect(modeOf(await status(), "drop_entry")).toBe(3);
  expect(await request(5)).toBe(0);
  await expectHeartbeat();
});

test("drop_packet: one packet in am_droprate that would begin a connection is dropped, and no other", async () => {
  await founding.daemon.reload(configuration("drop_packet: 3, am_droprate: 20"));
  await flood(2000);
  const { drops, connections } = await status();
  const askedCount = drops.defence! + connections.createdCount;
  expect(askedCount).toBeGreaterThan(1900);
  expect(Math.abs(drops.defence! - askedCount / 20)).toBeLessThanOrEqual(1);
  // A SYN that was dropped is sent again after a second.
  for (let i = 0; i < 25; i++) expect(await request(5)).toBe(0);
  expect(modeOf(await status(), "drop_packet")).toBe(3);
  await expectHeartbeat();
});

test("secure_tcp: a client's word alone makes no connection ESTABLISHED", async () => {
  const statesOfFlood = async () => {
    const { stdout } = await vsadm(founding, "-Lnc");
    return new Set([...stdout.matchAll(/^TCP +\S+ +(\S+) +198\.1[89]\./gm)].map(([, state]) => state));
  };
  await founding.daemon.reload(configuration("secure_tcp: 3"));
  await flood(100, "ack");
  expect(await statesOfFlood()).toEqual(new Set(["SYN_RECV"]));
  expect(modeOf(await status(), "secure_tcp")).toBe(3);
  expect(await request(5)).toBe(0);
  await expectHeartbeat();
});

test("without secure_tcp it does", async () => {
  await flood(100, "ack");
  const { stdout } = await vsadm(founding, "-Lnc");
  expect(stdout.match(/^TCP +\S+ +ESTABLISHED +198\.1[89]\./gm)).toHaveLength(100);
});
