/**
 * What an operator learns of a director without asking how it works: metrics that Prometheus reads, and each way in which the
 * fast path may be missing as one line in the log, in `vsnat status` and as a metric.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import { Program } from "../../src/cli/demo/program.ts";
import { whyNoFastPath } from "../../src/datapath/ebpf/probe.ts";
import { figureOf, parseExposition } from "../support/exposition.ts";
import {
  configurationText,
  type Founding,
  startFounding,
  startServer,
  testProgram,
} from "../support/founding.ts";

const why = process.env.VSNAT_TEST_FAST_PATH === "off" ? "tested without it" : whyNoFastPath();
const DIST = fileURLToPath(new URL("../../dist", import.meta.url));
const program = (name: string): string =>
  fileURLToPath(new URL(`../support/programs/${name}`, import.meta.url));
const SERVICES = [{ protocol: "tcp", port: 80, a: [80, 1], b: [8000, 2] }] as const;
const WEB = { local_address: VIP.ipv4, local_port: "80", proto: "TCP" };

let founding: Founding;
const configuration = (): string => configurationText(founding, SERVICES);
const metrics = async (): Promise<string> => (await founding.daemon.vsnat("metrics")).stdout;
const figure = async (name: string, labels = {}): Promise<number | undefined> =>
  figureOf(await metrics(), `vsnat_${name}`, labels);
const request = () =>
  founding.client.namespace.run(["curl", "--silent", "--max-time", "10", `http://${VIP.ipv4}/?[1-6]`]);
/** The line about the fast path. */
const statusLine = async (): Promise<string | undefined> =>
  /^.*fast path.*$/m.exec((await founding.daemon.vsnat("status")).stdout)?.[0];
/** Lines of the log that match. */
const logged = (pattern: RegExp): number =>
  founding.daemon.program.stderr.split("\n").filter((line) => pattern.test(line)).length;

beforeAll(async () => {
  founding = await startFounding();
  await startServer(founding.serverA, "http-server", "A", 80);
  await startServer(founding.serverB, "http-server", "B", 8000);
});
afterEach(async () => {
  founding.daemon.launcher = [];
  if (founding.daemon.program.isRunning) await founding.daemon.stop();
});
afterAll(() => founding?.laboratory.close());

test("Prometheus's own reader finds what was counted", async () => {
  const { daemon } = founding;
  await daemon.start(configuration());
  await request();
  const text = await metrics();
  const reader = new Program(["/usr/bin/python3", program("prometheus-reader.py")], { input: text });
  const read = JSON.parse((await reader.result()).stdout) as [
    string,
    string,
    Record<string, string>,
    number,
  ][];
  // Every sample as our own reader has it, types included.
  const ours = parseExposition(text).flatMap(({ name, type, samples }) =>
    samples.map(({ labels, value }) => [name, type, labels, value]),
  );
  expect(read).toEqual(ours);
  const found = (name: string, labels: Readonly<Record<string, string>>) =>
    read.find(
      ([one, , its]) => one === name && Object.entries(labels).every(([key, text]) => its[key] === text),
    );
  expect(found("vsnat_service_connections_total", WEB)?.[3]).toBe(6);
  for (const [port, count] of [
    ["80", 2],
    ["8000", 4],
  ] as const)
    expect(found("vsnat_backend_connections_total", { ...WEB, remote_port: port })?.[3]).toBe(count);
  expect(found("vsnat_backend_incoming_bytes_total", { ...WEB, remote_port: "80" })?.[3]).toBeGreaterThan(
    700,
  );
  expect(found("vsnat_up", {})?.[3]).toBe(1);
});

test("a file for node_exporter is replaced in one step, and says so when nobody answers", async () => {
  const { daemon, laboratory, director } = founding;
  await daemon.start(configuration());
  const file = join(laboratory.directory, "vsnat.prom");
  const names = (): string[] => readdirSync(dirname(file)).filter((name) => name.includes(".prom"));
  await daemon.vsnat("metrics", "--output", file);
  const { ino, mode } = statSync(file);
  expect(mode & 0o777).toBe(0o644);
  expect(figureOf(readFileSync(file, "utf8"), "vsnat_up")).toBe(1);
  await daemon.vsnat("metrics", "--output", file);
  expect(statSync(file).ino).not.toBe(ino);
  expect(names()).toEqual(["vsnat.prom"]);
  const attempt = (output: string) =>
    director.attempt([process.execPath, join(DIST, "cli/vsnat.js"), "metrics", "--output", output], {
      env: daemon.environment,
    });
  expect(await attempt("/dev/null")).toMatchObject({ code: 1, stderr: /it is there, and not a file/ });
  expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
  expect(await attempt(join(file, "below"))).toMatchObject({ code: 1, stderr: /Cannot write .*ENOTDIR/ });
  await daemon.stop();
  expect(await attempt(file)).toMatchObject({ code: 3, stderr: /No daemon answers/ });
  expect(readFileSync(file, "utf8").replace(/^#.*\n/gm, "")).toBe("vsnat_up 0\n");
  expect(names()).toEqual(["vsnat.prom"]);
});

describe.skipIf(why !== undefined)(`without a fast path (${why ?? "eBPF is there"})`, () => {
  const refuser = (...rules: string[]): string[] => [
    "/usr/bin/python3",
    program("bpf-refuser.py"),
    ...rules,
    "--",
  ];
  const PROGRAM_LOAD = 5;
  const LINK_CREATE = 28;
  const MAP_CREATE = 0;
  const MAP_UPDATE = 2;

  test.each([
    [
      "no privilege",
      ["setpriv", "--bounding-set", "-bpf,-sys_admin"],
      "no-privilege",
      /it needs CAP_BPF and CAP_NET_ADMIN/,
    ],
    ["no privilege, says the kernel", refuser(`${PROGRAM_LOAD}=EPERM`), "no-privilege", /it needs CAP_BPF/],
    ["kernel too old", refuser(`${LINK_CREATE}=EINVAL`), "kernel-too-old", /before Linux 6\.6/],
    ["kernel without eBPF", refuser(`${PROGRAM_LOAD}=ENOSYS`), "kernel-too-old", /ENOSYS/],
    [
      "program rejected",
      refuser(`${PROGRAM_LOAD}=EACCES`),
      "program-refused",
      /Cannot load the fast path.*EACCES/,
    ],
    ["no memory", refuser(`${MAP_CREATE}=ENOMEM`), "no-memory", /Cannot make the map flows.*ENOMEM/],
  ] as const)("%s: a line in the log, in the status, a metric", async (_, launcher, obstacle, reason) => {
    const { daemon } = founding;
    daemon.launcher = launcher;
    await daemon.start(configuration());
    expect(await request()).toMatchObject({ code: 0 });
    expect(logged(/no fast path, every packet takes the slow path: /)).toBe(1);
    expect(logged(reason)).toBe(1);
    expect(await statusLine()).toMatch(/^no fast path: /);
    expect(await statusLine()).toMatch(reason);
    expect(await figure("fast_path_up")).toBe(0);
    expect(await figure("fast_path_state", { state: obstacle })).toBe(1);
    expect(await figure("service_connections_total", WEB)).toBe(6);
  });

  test("map full: new connections take the slow path, which is one line, a number in the status, a metric", async () => {
    const { daemon } = founding;
    daemon.launcher = refuser(`${MAP_UPDATE}=E2BIG`);
    await daemon.start(configuration());
    expect(await request()).toMatchObject({ code: 0 });
    expect(logged(/the fast path takes no more connections for now \(E2BIG\)/)).toBe(1);
    expect(await statusLine()).toMatch(/^fast path on: connections 0, .*, refused \d+/);
    expect(await figure("fast_path_refused_total")).toBeGreaterThanOrEqual(6);
    expect(await figure("fast_path_connections")).toBe(0);
  });

  test("an interface that takes no program: a line, its name in the status, a metric", async () => {
    const { daemon, director } = founding;
    await director.ip("link add crowded type veth peer name aside", "link set crowded up");
    const index = (await director.run(["cat", "/sys/class/net/crowded/ifindex"])).stdout.trim();
    const crowd = director.start(testProgram("crowded-interface", DIST, index));
    await crowd.waitFor(/programs, then ERANGE/);
    await daemon.start(configuration());
    expect(await statusLine()).toMatch(
      /^fast path on: .*interfaces (inside outside|outside inside),.*not at crowded \(ERANGE\)/,
    );
    expect(await figure("fast_path_attached", { device: "crowded" })).toBe(0);
    expect(await figure("fast_path_attached", { device: "outside" })).toBe(1);
    // Said once, however often it is tried again.
    await director.ip("route add 198.51.100.0/24 dev crowded");
    await director.ip("route del 198.51.100.0/24 dev crowded");
    await crowd.stop();
    await director.ip("route add 198.51.100.0/24 dev crowded");
    await daemon.program.waitFor(/fast path at crowded/);
    expect(logged(/warning: no fast path at crowded, its packets take the slow path: .* ERANGE/)).toBe(1);
    expect(await figure("fast_path_attached", { device: "crowded" })).toBe(1);
    expect(await statusLine()).not.toContain("not at");
    await director.ip("link del crowded");
  });

  test("an interface that is replaced: lines, the status, a metric", async () => {
    const { daemon, director } = founding;
    await director.ip("link add spare type veth peer name other", "link set spare up");
    await daemon.start(configuration());
    expect(await statusLine()).toMatch(/interfaces (?=.*spare)(?=.*inside)(?=.*outside)/);
    await director.ip("link del spare");
    await daemon.program.waitFor(/fast path no longer at spare: it is gone or down/);
    expect(await statusLine()).toMatch(/interfaces lost 1/);
    expect(await figure("fast_path_attached", { device: "spare" })).toBeUndefined();
    await director.ip("link add spare type veth peer name other", "link set spare up");
    await daemon.program.waitFor(/fast path at spare/);
    expect(await figure("fast_path_attached", { device: "spare" })).toBe(1);
    expect(await figure("fast_path_interfaces_lost_total")).toBe(1);
    expect(await figure("fast_path_up")).toBe(1);
    await director.ip("link del spare");
  });

  test("what a process before left at work is taken off where the kernel refuses the next one", async () => {
    const { daemon, laboratory } = founding;
    // The laboratory's guardian unmounts it.
    const pins = join(laboratory.runtimeDirectory, "bpf");
    await new Program(["sh", "-c", `mkdir ${pins} && mount -t bpf bpf ${pins}`]).result();
    const pinned = (): string[] => readdirSync(pins, { recursive: true, encoding: "utf8" });
    await daemon.start(configuration());
    await request();
    daemon.program.kill("SIGKILL");
    await daemon.program.ended;
    expect(pinned().filter((name) => name.includes("/link-"))).toHaveLength(2);
    daemon.launcher = refuser(`${PROGRAM_LOAD}=EACCES`);
    await daemon.start(configuration());
    expect(logged(/took over from a vsnat before/)).toBe(1);
    expect(pinned().filter((name) => name.includes("/link-"))).toEqual([]);
    const before = (await figure("device_received_packets_total"))!;
    await request();
    expect((await figure("device_received_packets_total"))! - before).toBeGreaterThanOrEqual(6 * 8);
  });
});
