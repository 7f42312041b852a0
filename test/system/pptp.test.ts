/**
 * PPTP through the director with real programs in namespaces: pptpd and pptp, whose GRE goes through raw sockets. In place of
 * pppd, which needs a kernel with PPP, ppp-echo.py sends every frame back. tshark judges the packets.
 */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Host, PORT, VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import type { ConnectionStatus } from "../../src/control/director-status.ts";
import { type Founding, startFounding } from "../support/founding.ts";

const FRAMES = 40;
const FRAME_BYTES = 700;
/** What the director must not show to the client's side. */
const HIDDEN = "172.16.0.0/24";

let founding: Founding;

const CONFIGURATION = `services:
  - { listen: "tcp://${VIP.ipv4}:1723", scheduler: rr, app: pptp, servers: ["172.16.0.2:1723", "172.16.0.3:1723"] }
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [pptp] }
`;

const program = (name: string): string =>
  fileURLToPath(new URL(`../support/programs/${name}`, import.meta.url));

/** pptpd that answers frames under this name. */
async function startPptpd({ namespace }: Host, name: string): Promise<void> {
  const folder = join(founding.laboratory.directory, `pptpd-${name}`);
  await mkdir(folder);
  const pppd = join(folder, "pppd");
  await writeFile(pppd, `#!/bin/sh\nexec python3 ${program("ppp-echo.py")} ${name} "$@"\n`);
  await chmod(pppd, 0o755);
  const configuration = join(folder, "pptpd.conf");
  await writeFile(configuration, `ppp ${pppd}\noption /dev/null\ndelegate\nnoipparam\n`);
  // What it starts for each call keeps its output open.
  const script = 'exec pptpd --fg --conf "$1" --pidfile "$2" >/dev/null 2>&1';
  namespace.start(["sh", "-ec", script, "-", configuration, join(folder, "pid")]);
  const listening = "until ss -Htln sport = :1723 | grep -q 1723; do sleep 0.05; done";
  await namespace.run(["sh", "-c", listening]);
}

/**
 * A call, in a mount namespace of its own, for pptp's sockets and for what it takes the call's ID from.
 * @param id - two characters
 */
function call({ namespace }: Host, to: string, id: string, ...options: readonly string[]): Program {
  const script = `mkdir -p /run/pptp && mount -t tmpfs none /run/pptp && printf %s "$1" > /run/pptp/random
mount --bind /run/pptp/random /dev/random && shift && exec python3 "$@"`;
  const command = [program("pptp-call.py"), to, String(FRAMES), String(FRAME_BYTES), ...options];
  return namespace.start(["unshare", "--mount", "sh", "-ec", script, "-", id, ...command], {
    isInteractive: true,
  });
}

async function calls(): Promise<ConnectionStatus[]> {
  const { stdout } = await founding.daemon.vsnat("connections", "--json");
  const list = JSON.parse(stdout) as { connections: ConnectionStatus[] };
  return list.connections.filter(({ protocol }) => protocol === "gre");
}

/** Ended by their clients, the calls are gone. */
async function end(...programs: readonly Program[]): Promise<void> {
  for (const one of programs) one.tell("end");
  await Promise.all(programs.map((one) => one.result()));
  expect(await calls()).toEqual([]);
}

const ids = (list: readonly ConnectionStatus[], end: "client" | "virtual" | "destination" | "source") =>
  list.map((one) => one[end]?.port ?? one.client.port).sort((a, b) => a - b);

beforeAll(async () => {
  founding = await startFounding();
  await chmod(founding.laboratory.directory, 0o711);
  const { serverA, serverB, client } = founding;
  await Promise.all([startPptpd(serverA, "a"), startPptpd(serverB, "b"), startPptpd(client, "outside")]);
  await founding.daemon.start(CONFIGURATION);
});
afterAll(() => founding?.laboratory.close());

describe("two servers behind the director", () => {
  test("give one client the same call ID, and each call is its own", async () => {
    const { client } = founding;
    const file = join(founding.laboratory.directory, "client.pcap");
    const capture = client.namespace.start(["dumpcap", "-i", PORT, "-w", file]);
    await capture.waitFor(/File:/);
    const one = call(client, VIP.ipv4, "ab");
    await one.waitFor(/done/);
    const two = call(client, VIP.ipv4, "cd", "--test-type", "1", "--test-rate", "7");
    await two.waitFor(/done/);
    const names = [one, two].map(({ stdout }) => /answered by (\w+)/.exec(stdout)?.[1]);
    expect(names.sort()).toEqual(["a", "b"]);
    const list = await calls();
    expect(ids(list, "destination")).toEqual([0, 0]);
    expect(ids(list, "virtual")).toEqual([0, 1]);
    expect(list.map(({ state }) => state)).toEqual(["ESTABLISHED", "ESTABLISHED"]);
    // Both at once.
    for (const each of [one, two]) each.tell("");
    for (const each of [one, two]) await each.waitFor(/done\n[\s\S]*done/);
    await end(one, two);
    await capture.stop();
    await judge(file);
  });
});

describe("two clients behind the director", () => {
  test("give the same call ID to one server, and each call is its own", async () => {
    const { serverA, serverB, client } = founding;
    const both = [serverA, serverB].map((host) => call(host, client.ipv4, "ab"));
    for (const one of both) await one.waitFor(/answered by outside\n[\s\S]*done/);
    const list = await calls();
    expect(list).toHaveLength(2);
    const own = ids(list, "client");
    expect(own[0]).toBe(own[1]);
    expect(new Set(ids(list, "source")).size).toBe(2);
    expect(new Set(list.map(({ source }) => source?.address))).toEqual(new Set([VIP.ipv4]));
    for (const one of both) one.tell("");
    for (const one of both) await one.waitFor(/done\n[\s\S]*done/);
    await end(...both);
  });
});

/** Foreign eyes on what the client's side saw: no packet that cannot be read, no address of a server, both shown call IDs. */
async function judge(file: string): Promise<void> {
  const look = async (filter: string, ...fields: readonly string[]): Promise<string[]> => {
    const columns = fields.flatMap((field) => ["-e", field]);
    const { stdout } = await founding.client.namespace.run(
      ["tshark", "-n", "-r", file, "-Y", filter, "-T", "fields", ...columns],
    ); // biome-ignore format: one command
    return [...new Set(stdout.split("\n").filter((line) => line !== ""))].sort();
  };
  expect(await look("_ws.malformed or _ws.expert.severity == error", "frame.number")).toEqual([]);
  expect(await look(`ip.addr == ${HIDDEN}`, "frame.number")).toEqual([]);
  expect(await look("pptp.control_message_type == 8", "ip.src", "pptp.call_id")).toEqual([
    `${VIP.ipv4}\t0`,
    `${VIP.ipv4}\t1`,
  ]);
  const toServers = `gre and ip.dst == ${VIP.ipv4}`;
  expect(await look(toServers, "gre.key.call_id", "gre.proto")).toEqual(["0\t0x880b", "1\t0x880b"]);
}
