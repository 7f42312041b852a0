/**
 * Two directors on the same segments, the first as synchronisation master, the second as backup: connections of the first
 * appear in the second's table, and go on through it once routes lead there.
 *
 *   client 202.100.1.2 ── outside ──┬── 202.100.1.1 first 172.16.0.1  ──┬── inside ── server 172.16.0.2
 *                                   └── 202.100.1.3 second 172.16.0.4 ──┘
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { builtProgram, DirectorDaemon } from "../../src/cli/demo/director-daemon.ts";
import { Laboratory, type Namespace } from "../../src/cli/demo/laboratory.ts";
import { testProgram } from "../support/founding.ts";

const VIP = "202.103.106.5";
const SERVER = "172.16.0.2";
const CONFIGURATION = `
services:
  - { listen: "tcp://${VIP}:80", scheduler: rr, servers: ["${SERVER}:80"] }
  - { listen: "tcp://${VIP}:81", scheduler: rr, persistence: 5m, servers: ["${SERVER}:80"] }
  - { listen: "tcp://${VIP}:7", scheduler: rr, servers: ["${SERVER}:7"] }
`;
/** More than the sockets of both ends hold. */
const DOWNLOAD_BYTES = 64_000_000;

interface Director {
  readonly namespace: Namespace;
  readonly daemon: DirectorDaemon;
}

interface Listed {
  readonly client: { readonly port: number };
  readonly virtual: { readonly port: number };
  readonly state: string;
  readonly isTemplate: boolean;
  readonly expiresSeconds: number;
}

let laboratory: Laboratory;
let client: Namespace;
let server: Namespace;
let first: Director;
let second: Director;

beforeAll(async () => {
  laboratory = await Laboratory.create();
  const make = (role: string): Promise<Namespace> => laboratory.namespace(role);
  client = await make("client");
  server = await make("server");
  const outside = await make("outside");
  const inside = await make("inside");
  for (const segment of [outside, inside])
    await segment.ip("link add bridge type bridge stp_state 0 mcast_snooping 0", "link set bridge up");
  const join = async (namespace: Namespace, segment: Namespace, device: string, address: string) => {
    await laboratory.link({ namespace, device }, { namespace: segment, device: namespace.role });
    await segment.ip(`link set ${namespace.role} master bridge`);
    await namespace.ip(`address add ${address}/24 dev ${device}`);
  };
  await join(client, outside, "eth0", "202.100.1.2");
  await join(server, inside, "eth0", SERVER);
  const directors = await Promise.all(["first", "second"].map(make));
  for (const [index, namespace] of directors.entries()) {
    await join(namespace, outside, "outside", ["202.100.1.1", "202.100.1.3"][index]!);
    await join(namespace, inside, "inside", ["172.16.0.1", "172.16.0.4"][index]!);
  }
  [first, second] = (await Promise.all(directors.map(startDirector))) as [Director, Director];
  await leadTo(1, "add");
  for (const command of [testProgram("http-server", "S", 80), testProgram("tcp-echo", 7)])
    await server.start(command).waitFor(/listening/);
});
afterAll(() => laboratory?.close());

async function startDirector(namespace: Namespace): Promise<Director> {
  const directory = join(laboratory.directory, namespace.role);
  await mkdir(directory);
  const daemon = new DirectorDaemon({ ...laboratory, directory }, namespace);
  await daemon.start(CONFIGURATION);
  return { namespace, daemon };
}

/** Let the routes of client and server lead through one of the directors. */
async function leadTo(number: 1 | 2, change: "add" | "replace"): Promise<void> {
  await client.ip(`route ${change} ${VIP} via ${number === 1 ? "202.100.1.1" : "202.100.1.3"}`);
  await server.ip(`route ${change} default via ${number === 1 ? "172.16.0.1" : "172.16.0.4"}`);
}

/** One call of the API: HTTP status and body. */
async function ask({ namespace, daemon }: Director, method: string, path: string, body?: unknown) {
  const { VSNAT_SOCKET } = daemon.environment;
  const command = ["curl", "--silent", "--unix-socket", VSNAT_SOCKET, "--request", method];
  const json = ["--header", "content-type: application/json", "--data", JSON.stringify(body)];
  const format = ["--write-out", "\n%{http_code}", `http://vsnat/v1/${path}`];
  const { stdout } = await namespace.run([...command, ...(body === undefined ? [] : json), ...format]);
  const [text, status] = stdout.split("\n");
  return { status: Number(status), body: text === "" ? undefined : JSON.parse(text!) };
}

const vsadm = ({ namespace, daemon }: Director, ...args: readonly string[]) =>
  namespace.attempt(builtProgram("cli/vsadm.js", ...args), { env: daemon.environment });

const listed = async (director: Director): Promise<Listed[]> =>
  (await ask(director, "GET", "connections")).body.connections;

const keyOf = ({ client, virtual, state, isTemplate }: Listed): string =>
  `${client.port} ${virtual.port} ${state} ${isTemplate ? "template" : ""}`.trim();

/** Look every 100 ms until something is there, for 5 seconds. */
async function eventually<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < 50; tries++) {
    const found = await look();
    if (found !== undefined) return found;
    await delay(100);
  }
  throw new Error(`Waited 5 s for ${look}`);
}

test("daemons start once a role, and say why not", async () => {
  expect(await ask(first, "GET", "sync-daemons")).toEqual({ status: 200, body: { daemons: [] } });
  const start = (director: Director, body: object) => ask(director, "POST", "sync-daemons", body);
  const inside = { interface: "inside", syncId: 7 };
  const daemon = ["--mcast-interface", "inside", "--syncid", "7"];
  const done = { code: 0, stdout: "", stderr: "" };
  expect(await vsadm(first, "--start-daemon", "master", ...daemon)).toMatchObject(done);
  expect(await vsadm(second, "--start-daemon", "backup", ...daemon)).toMatchObject(done);
  const details = "(mcast=inside, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)";
  expect((await vsadm(first, "-L", "--daemon")).stdout).toBe(`master sync daemon ${details}\n`);
  expect((await vsadm(second, "-L", "--daemon")).stdout).toBe(`backup sync daemon ${details}\n`);
  expect(await vsadm(first, "--start-daemon", "master", ...daemon)).toMatchObject({
    code: 255,
    stderr: "Daemon has already run\n",
  });
  expect(await vsadm(first, "--stop-daemon", "backup")).toMatchObject({
    code: 255,
    stderr: "No daemon is running\n",
  });

  const codeOf = async (body: object): Promise<unknown> => {
    const answer = await start(first, body);
    return [answer.status, answer.body.error.code];
  };
  expect(await codeOf({ role: "master", ...inside })).toEqual([409, "EEXIST"]);
  expect(await codeOf({ role: "backup", interface: "nowhere" })).toEqual([422, "ENODEV"]);
  expect(await codeOf({ role: "backup", interface: "vs0" })).toEqual([422, "EADDRNOTAVAIL"]);
  expect(await codeOf({ role: "backup", interface: "inside", group: "10.0.0.1" })).toEqual([422, "EINVAL"]);
  expect(await codeOf({ role: "backup", interface: "inside", port: 0 })).toEqual([400, "bad-request"]);
  expect(await codeOf({ role: "observer", interface: "inside" })).toEqual([400, "bad-request"]);
  expect((await ask(first, "DELETE", "sync-daemons/backup")).status).toBe(404);

  const { daemons } = (await ask(first, "GET", "sync-daemons")).body;
  const defaults = { group: "224.0.0.81", port: 8848, ttl: 1, maxLength: 1472 };
  expect(daemons).toMatchObject([{ role: "master", ...inside, ...defaults, lostAtSocket: 0 }]);
});

test("what the first director does is soon known to the second", async () => {
  const url = `http://${VIP}`;
  for (const port of [80, 81]) await client.run(["curl", "--silent", "--fail", `${url}:${port}/`]);
  const known = (await listed(first)).map(keyOf).sort();
  expect(known).toHaveLength(3);
  expect(known.filter((key) => key.includes("ASSURED"))).toEqual(["0 81 ASSURED template"]);
  const copies = await eventually(async () => {
    const list = await listed(second);
    return list.length === known.length ? list : undefined;
  });
  expect(copies.map(keyOf).sort()).toEqual(known);
  const services = (await ask(second, "GET", "status")).body.services;
  const [{ persistentConnections, inactiveConnections }] = services[1].destinations;
  expect([persistentConnections, inactiveConnections]).toEqual([1, 1]);
});

test("over an IPv6 group as well", async () => {
  for (const [role, director] of [["master", first] as const, ["backup", second] as const]) {
    expect((await ask(director, "DELETE", `sync-daemons/${role}`)).status).toBe(204);
    const body = { role, interface: "inside", syncId: 7, group: "ff02::81" };
    expect((await ask(director, "POST", "sync-daemons", body)).status).toBe(201);
  }
  const before = (await listed(second)).length;
  await client.run(["curl", "--silent", "--fail", `http://${VIP}/`]);
  await eventually(async () => ((await listed(second)).length === before + 1 ? true : undefined));
  const [{ counters, lostAtSocket, maxLength }] = (await ask(second, "GET", "sync-daemons")).body.daemons;
  expect(counters).toMatchObject({
    madeEntries: 1,
    faultyMessages: 0,
    refusedEntries: 0,
    foreignMessages: 0,
  });
  expect([lostAtSocket, maxLength]).toEqual([0, 1452]);
});

test("with backup_only the second leaves clients to others, until a reload says otherwise", async () => {
  const change = (settings: string) => second.daemon.reload(`${CONFIGURATION}ipvs: { ${settings} }\n`);
  const request = ["curl", "--silent", "--fail", "--max-time", "1", `http://${VIP}/`];
  const countOf = async (kind: string): Promise<number> =>
    (await ask(second, "GET", "status")).body.verdicts[kind];
  await leadTo(2, "replace");
  await change("backup_only: 1");
  const [passed, sent] = [await countOf("pass"), await countOf("to-server")];
  expect((await client.attempt(request)).code).not.toBe(0);
  expect(await countOf("pass")).toBeGreaterThan(passed);
  expect(await countOf("to-server")).toBe(sent);
  await change("backup_only: 0");
  expect((await client.attempt(request)).code).toBe(0);
  await leadTo(1, "replace");
});

test("sync_threshold of a reload holds for the master that runs", async () => {
  const sentEntries = async (): Promise<number> =>
    (await ask(first, "GET", "sync-daemons")).body.daemons[0].counters.sentEntries;
  // Last packets may still be on their way, and what the fast path saw of them is known once it was asked for.
  const settled = (): Promise<number> =>
    eventually(async () => {
      await listed(first);
      const count = await sentEntries();
      await delay(200);
      await listed(first);
      return (await sentEntries()) === count ? count : undefined;
    });
  const visit = async (): Promise<number> => {
    const before = await settled();
    await client.run(["curl", "--silent", "--fail", `http://${VIP}/`]);
    return (await settled()) - before;
  };
  const usual = await visit();
  await first.daemon.reload(`${CONFIGURATION}ipvs: { sync_threshold: [0, 1] }\n`);
  expect(await visit()).toBeGreaterThan(usual);
  await first.daemon.reload(`${CONFIGURATION}ipvs: { sync_threshold: [1000, 0] }\n`);
  expect(await visit()).toBeLessThan(usual);
  await first.daemon.reload(CONFIGURATION);
});

test("connections go on through the second director when the first is killed", async () => {
  // Whoever takes the download does not begin before it is told to, so that most of it is still to be sent.
  const go = join(laboratory.directory, "go");
  const script = `set -o pipefail
    curl --silent --show-error --fail --max-time 60 'http://${VIP}/stream?bytes=${DOWNLOAD_BYTES}' |
      { until [ -e '${go}' ]; do sleep 0.1; done; sha256sum; }`;
  const download = client.start(["bash", "-c", script]);
  const heart = client.start(testProgram("tcp-heartbeat", VIP, 7, 100));
  await heart.waitFor(/beat 5 /);
  await eventually(async () => {
    const open = (await listed(second)).filter(({ state }) => state === "ESTABLISHED");
    return open.length === 2 ? open : undefined;
  });
  first.daemon.program.kill("SIGKILL");
  await leadTo(2, "replace");
  const beats = Number(/.*beat (\d+) /s.exec(heart.stdout)![1]);
  await heart.waitFor(new RegExp(`beat ${beats + 10} `));
  await writeFile(go, "");
  const { stdout } = await download.result();
  const source = `${testProgram("test-stream", DOWNLOAD_BYTES).join(" ")} | sha256sum`;
  expect(stdout).toBe((await client.run(["bash", "-c", source])).stdout);
  const { verdicts } = (await ask(second, "GET", "status")).body;
  expect(verdicts["to-client"]).toBeGreaterThan(100);
  await heart.stop();
  await first.daemon.vsnat("cleanup"); // what it wrote down outlives its namespace
});

test("a daemon that is stopped leaves what it learnt", async () => {
  const before = (await listed(second)).length;
  expect((await ask(second, "DELETE", "sync-daemons/backup?syncId=7")).status).toBe(204);
  expect((await ask(second, "GET", "sync-daemons")).body).toEqual({ daemons: [] });
  expect((await listed(second)).length).toBe(before);
  expect(before).toBeGreaterThan(0);
});
