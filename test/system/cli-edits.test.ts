/** Changes by hand and the configuration file, over one daemon's life and the next one's. */
import { existsSync } from "node:fs";
import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { EditOutcomes } from "../../src/api/edits.ts";
import type { Status } from "../../src/api/operations.ts";
import { builtProgram } from "../../src/cli/demo/director-daemon.ts";
import { OUTSIDE, VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import type { Edit } from "../../src/control/edit.ts";
import type { ServiceKey } from "../../src/nat/configuration.ts";
import {
  configurationText,
  type Founding,
  startFounding,
  startServer,
  testProgram,
} from "../support/founding.ts";

const WEB: ServiceKey = { protocol: "tcp", address: VIP.ipv4, port: 80 };
const web = { protocol: "tcp", port: 80, scheduler: "wrr", a: [80, 1], b: [80, 1] } as const;

let founding: Founding;
let daemon: Program;

beforeEach(async () => {
  founding = await startFounding();
  await startServer(founding.serverA, "http-server", "A", 80);
  await startServer(founding.serverB, "http-server", "B", 80);
  daemon = await founding.daemon.start(configurationText(founding, [web]));
});
afterEach(() => founding?.laboratory.close());

const manualFile = (): string => founding.daemon.environment.VSNAT_SOCKET.replace(/\.sock$/, ".manual.json");

/** One request over the control socket, from this process. */
function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const socketPath = founding.daemon.environment.VSNAT_SOCKET;
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.once("end", () => {
        if (response.statusCode! >= 400) reject(new Error(text));
        else resolve((text === "" ? undefined : JSON.parse(text)) as T);
      });
    });
    outgoing.once("error", reject).end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const edit = async (...edits: readonly Edit[]): Promise<(string | null)[]> => {
  const { outcomes } = await ask<EditOutcomes>("POST", "/v1/edits", { edits });
  return outcomes.map((outcome) => outcome?.code ?? null);
};

const vsnat = async (...args: readonly string[]) =>
  founding.director.attempt(builtProgram("cli/vsnat.js", ...args), { env: founding.daemon.environment });

const server = (host: { ipv4: string }, weight: number, port = 80) => ({
  address: host.ipv4,
  port,
  weight,
  upperThreshold: 0,
  lowerThreshold: 0,
});

async function fetchNames(count: number, port = 80): Promise<string> {
  const url = `http://${VIP.ipv4}:${port}/?[1-${count}]`;
  const command = ["curl", "--silent", "--max-time", "5", "--no-keepalive", url];
  return (await founding.client.namespace.attempt(command)).stdout.replaceAll("\n", "");
}

async function restart(): Promise<void> {
  daemon.kill("SIGTERM");
  await daemon.ended;
  const { file, more } = founding.daemon;
  daemon = await founding.daemon.start((await readFile(file, "utf8")).replace(more, ""));
}

test("a change by hand acts at once, outlives reload and restart, and goes when it is dropped", async () => {
  const { serverA, serverB } = founding;
  expect(
    await edit(
      { kind: "edit-server", service: WEB, server: server(serverA, 0) },
      { kind: "delete-server", service: WEB, server: { address: serverA.ipv4, port: 81 } },
      { kind: "add-service", service: { ...WEB, port: 8080, scheduler: "rr" } },
      { kind: "add-server", service: { ...WEB, port: 8080 }, server: server(serverA, 1) },
      { kind: "set-timeouts", tcp: 100, tcpFin: 0, udp: 0 },
    ),
  ).toEqual([null, "ENOENT", null, null, null]);
  expect(await fetchNames(3)).toBe("BBB");
  expect(await fetchNames(2, 8080)).toBe("AA");
  expect(((await stat(manualFile())).mode & 0o777).toString(8)).toBe("600");

  const text = (await vsnat("status")).stdout;
  expect(text).toMatch(/ {2}172\.16\.0\.2:80 quiesced by hand +0 /);
  expect(text).toMatch(/tcp:\/\/202\.103\.106\.5:8080 rr by hand/);
  expect(text).toMatch(
    /changed by hand\n {2}timeouts: tcp 900 s -> 100 s, since .*\n {2}server 172\.16\.0\.2:80 of tcp 202\.103\.106\.5:80: weight 1 -> 0, since \d{4}-/,
  );

  // The file changes the same server and another one.
  await writeFile(founding.daemon.file, configurationText(founding, [{ ...web, a: [80, 3], b: [80, 2] }]));
  const reloaded = (await vsnat("reload")).stdout;
  expect(reloaded).toMatch(/^edit server 172\.16\.0\.3:80 of tcp 202\.103\.106\.5:80/m);
  expect(reloaded).toMatch(
    /kept against the file, changed by hand: server 172\.16\.0\.2:80 .*: weight 3 -> 0/,
  );
  expect(reloaded).toMatch(/kept, changed by hand: service tcp 202\.103\.106\.5:8080: added/);
  expect(await fetchNames(3)).toBe("BBB");

  await restart();
  expect(daemon.stderr).toMatch(/4 changes made by hand taken over/);
  expect(await fetchNames(3)).toBe("BBB");
  expect(await fetchNames(1, 8080)).toBe("A");

  const { code, stdout } = await vsnat("reload", "--discard-edits", "--json");
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ manual: [], settings: ["timeouts"], discarded: { length: 4 } });
  expect([...(await fetchNames(5))].filter((name) => name === "A")).toHaveLength(3);
  expect(await fetchNames(1, 8080)).toBe("");
  expect(existsSync(manualFile())).toBe(false);
  expect((await ask<Status>("GET", "/v1/status")).manual).toEqual([]);
  expect(await ask("POST", "/v1/zero", { service: WEB })).toBeUndefined();
  await expect(ask("POST", "/v1/zero", { service: { ...WEB, port: 8080 } })).rejects.toThrow(/ESRCH/);
  expect(serverB.ipv4).toBe("172.16.0.3");
});

test("a virtual address added by hand is routed here, and a connection to it outlives its removal", async () => {
  const { director, client, serverA } = founding;
  await startServer(serverA, "tcp-echo", 7);
  const other = { protocol: "tcp", address: "202.103.106.77", port: 7 } as const;
  await director.ip(`address add 202.103.106.78/32 dev ${OUTSIDE}`);
  expect(
    await edit(
      { kind: "add-service", service: { ...other, scheduler: "rr" } },
      { kind: "add-service", service: { ...other, address: "202.103.106.78", scheduler: "rr" } },
      { kind: "add-server", service: other, server: server(serverA, 1, 7) },
    ),
  ).toEqual([null, "EINVAL", null]); // the second one's address is the director's own
  const heartbeat = client.namespace.start(testProgram("tcp-heartbeat", other.address, 7, 20));
  await heartbeat.waitFor(/beat 5 /);
  expect(await edit({ kind: "delete-service", service: other })).toEqual([null]);
  const beats = heartbeat.stdout.match(/^beat /gm)!.length;
  await heartbeat.waitFor(new RegExp(`beat ${beats + 20} `));
  expect(existsSync(manualFile())).toBe(false);
});

test("what vsadm does is by hand, and -C with -R of what was saved leaves no trace", async () => {
  const vsadm = (...args: readonly string[]) =>
    founding.director.attempt(builtProgram("cli/vsadm.js", ...args), { env: founding.daemon.environment });
  const manual = async () => (await ask<Status>("GET", "/v1/status")).manual.map(({ what }) => what);
  const saved = (await vsadm("-Sn")).stdout;
  expect(await vsadm("-e", "-t", `${VIP.ipv4}:80`, "-r", "172.16.0.2:80", "-m", "-w", "7")).toMatchObject({
    code: 0,
  });
  expect(await vsadm("-E", "-t", `${VIP.ipv4}:80`, "-s", "sh", "-p", "60")).toMatchObject({ code: 0 });
  expect(await manual()).toEqual(["scheduler wrr -> sh, persistence none -> 60 s", "weight 1 -> 7"]);
  expect(await vsadm("-C")).toMatchObject({ code: 0 });
  expect(await manual()).toEqual(["removed", "removed"]);
  const script = ["sh", "-c", `printf %s "$0" | exec "$@"`, saved, ...builtProgram("cli/vsadm.js", "-R")];
  expect(await founding.director.attempt(script, { env: founding.daemon.environment })).toMatchObject({
    code: 0,
  });
  expect((await vsadm("-Sn")).stdout).toBe(saved);
  // ipvsadm lists servers by address, which is the file's order here.
  expect(await manual()).toEqual([]);
});

test("settings and defences change while the director runs", async () => {
  const more = "timeouts: { udp: 7s }\nunserved: drop\nipvs: { drop_packet: 1, amemthresh: 2147483647 }\n";
  await writeFile(founding.daemon.file, configurationText(founding, [web], more + founding.daemon.more));
  const { stdout } = await vsnat("reload", "--json");
  expect(JSON.parse(stdout)).toMatchObject({ needsRestart: [], settings: ["timeouts", "unserved", "ipvs"] });
  const isInAction = async (): Promise<boolean> => {
    const { defences } = await ask<Status>("GET", "/v1/status");
    return defences.some(({ name, mode }) => name === "drop_packet" && mode === 2);
  };
  await expect.poll(isInAction, { timeout: 15_000 }).toBe(true);
  expect((await vsnat("status")).stdout).toMatch(/^defences: drop_packet automatic, in action$/m);
});

test("what somebody else put in place of the kept changes is put aside", async () => {
  await edit({ kind: "edit-server", service: WEB, server: server(founding.serverA, 0) });
  await chmod(manualFile(), 0o666);
  await restart();
  expect(daemon.stderr).toMatch(/Cannot take over what was changed by hand: .*others may use it/);
  expect([...(await fetchNames(2))].sort().join("")).toBe("AB");
  expect(existsSync(`${manualFile()}.refused`)).toBe(true);
});
