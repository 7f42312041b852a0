/** The daemon's life: reload, refusal, signals, and every way in which a host may not be fit for it. */
import { existsSync, statSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { builtProgram } from "../../src/cli/demo/director-daemon.ts";
import { OUTSIDE, VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
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
});
afterEach(() => founding?.laboratory.close());

const web = { protocol: "tcp", port: 80, scheduler: "rr", a: [80, 1], b: [80, 1] } as const;
const echo = { protocol: "tcp", port: 7, a: [7, 1] } as const;

const fetchNames = async (count: number): Promise<string> => {
  const command = ["curl", "--silent", "--max-time", "5", "--no-keepalive", `${URL}?[1-${count}]`];
  return (await founding.client.namespace.attempt(command)).stdout;
};

/** Rules, routes and links of the director's namespace. */
async function hostState(): Promise<string> {
  const script = "ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; ip -brief link";
  return (await founding.director.run(["sh", "-c", script])).stdout.replaceAll(/ expires \d+sec/g, "");
}

/** `vsnat ARGS` in the director's namespace, whatever its exit status. */
const attempt = (...args: readonly string[]) =>
  founding.director.attempt(builtProgram("cli/vsnat.js", ...args), { env: founding.daemon.environment });

/** Start the daemon where it cannot start; it has to say why and to leave the host alone. */
async function refusedStart(configuration: string): Promise<string> {
  const { file } = founding.daemon;
  await writeFile(file, configuration);
  const before = await hostState();
  const { code, stderr } = await attempt("run", "--config", file);
  expect(code).toBe(1);
  expect(await hostState()).toBe(before);
  expect(stderr).not.toMatch(/\n {4}at /);
  return stderr;
}

describe("reload", () => {
  beforeEach(async () => {
    await startServer(founding.serverA, "http-server", "A", 80);
    await startServer(founding.serverB, "http-server", "B", 80);
    await startServer(founding.serverA, "tcp-echo", 7);
  });

  test("an established connection outlives the removal of its server and of its service", async () => {
    const { daemon, client } = founding;
    const program = await daemon.start(configurationText(founding, [web, echo]));
    const heartbeat = client.namespace.start(testProgram("tcp-heartbeat", VIP.ipv4, 7, 20));
    await heartbeat.waitFor(/beat 5 /);
    await reload(program, configurationText(founding, [{ ...web, a: undefined }]));
    const beats = heartbeat.stdout.match(/^beat /gm)!.length;
    await heartbeat.waitFor(new RegExp(`beat ${beats + 50} `));
    expect(await fetchNames(2)).toBe("B\nB\n");
    const refused = await client.namespace.attempt(["curl", "--silent", `http://${VIP.ipv4}:7/`]);
    expect(refused.code).toBe(7);
  });

  test("a file with mistakes changes nothing", async () => {
    const { daemon } = founding;
    const program = await daemon.start(configurationText(founding, [web]));
    await writeFile(daemon.file, "services: [{ listen: nonsense, servers: [] }]\n");
    program.kill("SIGHUP");
    await program.waitFor(/running configuration stays/);
    expect(await fetchNames(2)).toBe("B\nA\n");
    const { code, stderr } = await attempt("reload");
    expect(code).toBe(2);
    expect(stderr).toMatch(/mistakes/);
  });

  test("what this host is not fit for changes nothing", async () => {
    const { daemon, director } = founding;
    const program = await daemon.start(configurationText(founding, [web]));
    await director.ip(`address add 202.103.106.9/32 dev ${OUTSIDE}`);
    const more = "  - { listen: tcp://202.103.106.9:80, servers: [172.16.0.2:80] }\n";
    await writeFile(daemon.file, configurationText(founding, [web]) + more);
    program.kill("SIGHUP");
    await program.waitFor(/202\.103\.106\.9 is configured on/);
    expect(await fetchNames(2)).toBe("B\nA\n");
  });

  test("settings of construction are named as needing a restart", async () => {
    const { daemon } = founding;
    const program = await daemon.start(configurationText(founding, [web]));
    await reload(
      program,
      configurationText(founding, [web], "limits: { connections: 10 }\nhost: { device: vs9 }\n"),
    );
    await program.waitFor(/limits\.connections changes at the next start/);
    await program.waitFor(/host\.device changes at the next start/);
  });

  async function reload(program: Program, configuration: string): Promise<void> {
    await writeFile(founding.daemon.file, configuration);
    const reloaded = program.waitFor(/reloaded:/);
    program.kill("SIGHUP");
    await reloaded;
  }
});

test("the control socket is its owner's only, and a second daemon is refused", async () => {
  const { daemon } = founding;
  await daemon.start(configurationText(founding, [web]));
  const { VSNAT_SOCKET } = daemon.environment;
  expect(statSync(VSNAT_SOCKET).mode & 0o777).toBe(0o600);
  const second = await attempt("run", "--config", daemon.file);
  expect(second.code).toBe(1);
  expect(second.stderr).toMatch(/another vsnat is running there/);
  const elsewhere = { env: { ...daemon.environment, VSNAT_SOCKET: `${VSNAT_SOCKET}.other` } };
  const third = await founding.director.attempt(
    builtProgram("cli/vsnat.js", "run", "--config", daemon.file),
    elsewhere,
  );
  expect(third.code).toBe(1);
  expect(third.stderr).toMatch(/another vsnat is running with it/);
});

test("a socket left by a killed daemon does not keep the next one from starting", async () => {
  const { daemon } = founding;
  const first = await daemon.start(configurationText(founding, [web]));
  first.kill("SIGKILL");
  await first.ended;
  expect(existsSync(daemon.environment.VSNAT_SOCKET)).toBe(true);
  const second = await daemon.start(configurationText(founding, [web]));
  expect(second.stderr).toMatch(/took over from a vsnat before: 0 connections/);
  expect((await second.stop()).code).toBe(0);
  expect(existsSync(daemon.environment.VSNAT_SOCKET)).toBe(false);
});

test("cleanup undoes what a killed daemon left, and does not touch a living one's", async () => {
  const { daemon } = founding;
  const before = await hostState();
  const first = await daemon.start(configurationText(founding, [web]));
  expect((await attempt("cleanup")).stdout).toMatch(/a daemon is running with it/);
  first.kill("SIGKILL");
  await first.ended;
  expect((await attempt("cleanup")).stdout).toMatch(/undone: ip rule/);
  expect(await hostState()).toBe(before);
  expect((await attempt("cleanup")).stdout).toBe("nothing to clean up\n");
});

test("a device deleted under it ends the daemon with a message and a clean host", async () => {
  const { daemon, director } = founding;
  const before = await hostState();
  const program = await daemon.start(configurationText(founding, [web]));
  await director.ip("link del vs0");
  const { code, stderr } = await program.ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(/vs0 was deleted under the director/);
  expect(await hostState()).toBe(before);
});

test("a virtual address on an interface is refused with the command that removes it", async () => {
  await founding.director.ip(`address add ${VIP.ipv4}/32 dev ${OUTSIDE}`);
  const message = await refusedStart(configurationText(founding, [web]));
  expect(message).toContain(`ip address del ${VIP.ipv4}/32 dev ${OUTSIDE}`);
});

test("a device name that is taken is refused", async () => {
  await founding.director.ip("link add vs0 type bridge");
  expect(await refusedStart(configurationText(founding, [web]))).toMatch(/host\.device/);
});

test("without /dev/net/tun it says what to do", async () => {
  const { daemon, director } = founding;
  await writeFile(daemon.file, configurationText(founding, [web]));
  const run = builtProgram("cli/vsnat.js", "run", "--config", daemon.file).join(" ");
  const script = `mount -t tmpfs none /dev/net && exec ${run}`;
  const { code, stderr } = await director.attempt(["unshare", "-m", "sh", "-c", script], {
    env: daemon.environment,
  });
  expect(code).toBe(1);
  expect(stderr).toMatch(/modprobe tun/);
});

test("without memory for its table it says what to do", async () => {
  const { daemon, director } = founding;
  await writeFile(daemon.file, configurationText(founding, [web], "limits: { connections: 16777216 }\n"));
  const run = builtProgram("cli/vsnat.js", "run", "--config", daemon.file);
  const command = ["prlimit", "--as=2500000000", ...run];
  const { code, stderr } = await director.attempt(command, { env: daemon.environment });
  expect(code).toBe(1);
  expect(stderr).toMatch(/not enough memory; lower limits\.connections/);
});

test("without privileges it says what to do", async () => {
  const { daemon, director } = founding;
  await writeFile(daemon.file, configurationText(founding, [web]));
  const run = builtProgram("cli/vsnat.js", "run", "--config", daemon.file);
  const command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", ...run];
  const { code, stderr } = await director.attempt(command, { env: daemon.environment });
  expect(code).toBe(1);
  expect(stderr).toMatch(/EPERM[\s\S]*CAP_NET_ADMIN/);
});

test("a user namespace of one's own is enough", async () => {
  const { daemon, laboratory } = founding;
  const VSNAT_SOCKET = join(laboratory.directory, "user.sock");
  await writeFile(daemon.file, configurationText(founding, [web]));
  const script = 'ip link set lo up; exec "$@"';
  const run = builtProgram("cli/vsnat.js", "run", "--config", daemon.file);
  const command = ["unshare", "-Urn", "sh", "-c", script, "sh", ...run];
  const program = founding.director.start(command, { env: { ...daemon.environment, VSNAT_SOCKET } });
  await program.waitFor(/ready/);
  expect((await program.stop()).code).toBe(0);
});

test("a dry run lists what would be done, and does nothing", async () => {
  const { daemon } = founding;
  await writeFile(daemon.file, configurationText(founding, [web]));
  const before = await hostState();
  const { code, stdout } = await attempt("run", "--dry-run", "--config", daemon.file);
  expect(code).toBe(0);
  expect(stdout).toContain(`ip route add ${VIP.ipv4}/32 dev vs0`);
  expect(await hostState()).toBe(before);
});

test("a service manager hears of readiness, reload and stop", async () => {
  const { daemon, director, laboratory } = founding;
  const path = join(laboratory.directory, "notify.sock");
  const [node, calls] = builtProgram("datapath/system-call.js");
  const listener = director.start([node!, "--input-type=module", "-e", NOTIFY_LISTENER, calls!, path]);
  await listener.waitFor(/bound/);
  await writeFile(daemon.file, configurationText(founding, [web]));
  const command = builtProgram("cli/vsnat.js", "run", "--log-format", "json", "--config", daemon.file);
  const program = director.start(command, { env: { ...daemon.environment, NOTIFY_SOCKET: path } });
  await listener.waitFor(/READY=1/);
  const [line] = await program.waitFor(/^\{.*"ready: .*\}$/m);
  expect(JSON.parse(line)).toMatchObject({ level: "info" });
  program.kill("SIGHUP");
  await listener.waitFor(/RELOADING=1 MONOTONIC_USEC=\d+/);
  await program.stop();
  await listener.waitFor(/STOPPING=1/);
  await listener.stop();
});

/** Prints what comes to a unix datagram socket, which Node does not have. */
const NOTIFY_LISTENER = `
const { addressOf, bind, expectSuccess, recv, SOCK_DGRAM, socket } = await import(process.argv[1]);
const address = new Uint8Array(110);
address[0] = 1;
address.set(new TextEncoder().encode(process.argv[2]), 2);
const descriptor = expectSuccess(socket(1, SOCK_DGRAM, 0), "socket", "listen");
expectSuccess(bind(descriptor, addressOf(address), address.length), "bind", "listen");
console.log("bound");
const buffer = new Uint8Array(4096);
for (;;) {
  const length = recv(descriptor, addressOf(buffer), buffer.length, 0);
  const text = new TextDecoder().decode(buffer.subarray(0, length)).replaceAll("\\n", " ");
  await new Promise((written) => process.stdout.write(text + "\\n", written));
}
`;
