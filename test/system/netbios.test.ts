/**
 * NetBIOS through the director with samba's nmbd on both sides: a server behind the virtual address is asked by nmblookup and
 * nbtscan; it registers with a WINS server outside through a masquerade rule, and announces itself there by datagrams, which tshark
 * reads.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import { type Founding, startFounding } from "../support/founding.ts";

let founding: Founding;
let datagrams: Program;

/** @param settings - lines of smb.conf */
async function configurationFile(name: string, ...settings: string[]): Promise<string> {
  const folder = join(founding.laboratory.directory, `samba-${name}`);
  await mkdir(folder);
  const folders = ["lock", "state", "cache", "pid", "private", "ncalrpc"].map((kind) =>
    kind === "private" || kind === "ncalrpc" ? `${kind} dir = ${folder}` : `${kind} directory = ${folder}`,
  );
  const lines = ["[global]", "workgroup = VSNAT", `netbios name = ${name}`, ...folders, ...settings, ""];
  const file = join(folder, "smb.conf");
  await writeFile(file, lines.join("\n"));
  return file;
}

async function startNmbd(host: Host, name: string, ...settings: string[]): Promise<void> {
  const file = await configurationFile(name, `interfaces = ${host.ipv4}/24`, ...settings);
  const command = ["nmbd", "-F", "--no-process-group", "--debug-stdout", "-s", file, "-d", "3"];
  await host.namespace.start(command).waitFor(/Opening sockets 137/);
}

/** Ask until there is an answer: nmbd takes a while to have its names. */
async function lookUp({ namespace }: Host, ...args: string[]): Promise<string> {
  const file = join(founding.laboratory.directory, "samba-ASKER", "smb.conf");
  for (let tries = 0; tries < 60; tries++) {
    const { code, stdout } = await namespace.attempt(["nmblookup", "-s", file, ...args]);
    if (code === 0) return stdout;
  }
  throw new Error(`nmblookup ${args.join(" ")}: no answer`);
}

beforeAll(async () => {
  founding = await startFounding();
  const { client, serverA } = founding;
  await configurationFile("ASKER");
  await founding.daemon.start(`services:
  - { listen: "udp://${VIP.ipv4}:137", app: netbios, servers: [${serverA.ipv4}] }
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [netbios] }
`);
  const fields = [
    "-T",
    "fields",
    "-e",
    "ip.src",
    "-e",
    "nbdgm.src.ip",
    "-e",
    "udp.srcport",
    "-e",
    "nbdgm.src.port",
  ];
  const filter = ["-Y", `nbdgm && ip.src == ${VIP.ipv4}`];
  datagrams = client.namespace.start([
    "tshark",
    "-l",
    "-n",
    "-i",
    "eth0",
    "-f",
    "udp port 138",
    ...filter,
    ...fields,
  ]);
  await datagrams.waitFor(/Capture started/);
  await startNmbd(client, "OUTSIDE", "wins support = yes");
  await startNmbd(
    serverA,
    "FILESRV",
    `wins server = ${client.ipv4}`,
    `remote announce = ${client.ipv4}/VSNAT`,
  );
});
afterAll(() => founding?.laboratory.close());

test("who asks the virtual address for a name is told that address", async () => {
  const found = await lookUp(founding.client, "-U", VIP.ipv4, "FILESRV");
  expect(found).toContain(`${VIP.ipv4} FILESRV<00>`);
  expect(found).not.toContain(founding.serverA.ipv4);
  const { stdout } = await founding.client.namespace.run(["nbtscan", "-q", VIP.ipv4]);
  expect(stdout).toMatch(/^202\.103\.106\.5\s+FILESRV/m);
});

test("a server that registers outside is known there by the director's address", async () => {
  const found = await lookUp(founding.client, "-U", founding.client.ipv4, "--recursion", "FILESRV");
  expect(found).toContain(`${VIP.ipv4} FILESRV<00>`);
  expect(found).not.toContain(founding.serverA.ipv4);
  // And so by whom it asks for itself: what the answer says of it is its own address again.
  const own = await lookUp(founding.serverA, "-U", founding.client.ipv4, "--recursion", "FILESRV");
  expect(own).toContain(`${founding.serverA.ipv4} FILESRV<00>`);
});

test("its datagrams say the address and port that they come from", async () => {
  const [, header, source, port] = await datagrams.waitFor(
    /^202\.103\.106\.5\t(\S+)\t(\d+)\t(\d+)$/m,
    60_000,
  );
  expect([header, port]).toEqual([VIP.ipv4, source]);
});
