/** The eBPF fast path at work between real programs: what stays in the kernel, and what brings it back to the director. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Status } from "../../src/api/operations.ts";
import { builtProgram } from "../../src/cli/demo/director-daemon.ts";
import { OUTSIDE, VIP } from "../../src/cli/demo/founding-network.ts";
import { whyNoFastPath } from "../../src/datapath/ebpf/probe.ts";
import {
  configurationText,
  FAMILIES,
  type Founding,
  hostText,
  startFounding,
  startServer,
  testProgram,
} from "../support/founding.ts";

const why = process.env.VSNAT_TEST_FAST_PATH === "off" ? "tested without it" : whyNoFastPath();
const DIST = fileURLToPath(new URL("../../dist", import.meta.url));
const SERVICES = [
  { protocol: "tcp", port: 80, a: [80, 1], b: [8000, 2] },
  { protocol: "tcp", port: 7, a: [7, 1] },
  { protocol: "udp", port: 7, a: [7, 1] },
  // Its scheduler counts connections, and has to be asked for each.
  { protocol: "tcp", port: 88, scheduler: "wlc", a: [80, 1], b: [8000, 2] },
] as const;

describe.skipIf(why !== undefined)(`fast path (${why ?? "eBPF is there"})`, () => {
  let founding: Founding;
  const configuration = (): string => `${configurationText(founding, SERVICES)}fastPath: required\n`;
  const status = async (): Promise<Status> =>
    JSON.parse((await founding.daemon.vsnat("status", "--json")).stdout) as Status;
  const fastPath = async () => {
    const { fastPath } = await status();
    if (fastPath.state !== "on") throw new Error(`the fast path is ${fastPath.state}`);
    return fastPath;
  };
  const until = (look: () => Promise<boolean>): Promise<boolean> => vi.waitUntil(look, 20_000);
  /** Packets that visited the director meanwhile. */
  const visits = async (act: () => Promise<unknown>): Promise<number> => {
    const { device: before } = await status();
    await act();
    return (await status()).device.receivedPackets - before.receivedPackets;
  };

  beforeAll(async () => {
    founding = await startFounding();
    const { serverA, serverB, daemon } = founding;
    await startServer(serverA, "http-server", "A", 80);
    await startServer(serverB, "http-server", "B", 8000);
    await startServer(serverA, "tcp-echo", 7);
    await startServer(serverA, "udp-echo", 7);
    await daemon.start(configuration());
  });
  afterAll(() => founding?.laboratory.close());

  /** Cases: a scheduler that can be asked ahead, and one that cannot. */
  const SHORT = FAMILIES.flatMap((family) => [
    { family, port: 80, wanted: 0, what: "no packet" },
    { family, port: 88, wanted: 100, what: "one packet" },
  ]);

  test.each(SHORT)(
    "$family: of a short HTTP connection to port $port $what visits the director",
    async (one) => {
      const { family, port, wanted } = one;
      await until(async () => (await fastPath()).delegated === 6);
      const url = `http://${hostText(VIP[family])}:${port}/?[1-100]`;
      const before = await status();
      const count = await visits(() => founding.client.namespace.run(["curl", "--silent", url]));
      // Now and then neighbours or routers say something of their own; the first client's way has to be found once.
      expect(count).toBeGreaterThanOrEqual(wanted);
      expect(count).toBeLessThan(wanted + 10);
      // Counters have them all the same: no connection does with less than four packets each way.
      const after = await status();
      for (const kind of ["to-server", "to-client"] as const)
        expect(after.verdicts[kind] - before.verdicts[kind]).toBeGreaterThanOrEqual(400);
      const service = after.services.find((other) => other.address === VIP[family] && other.port === port)!;
      expect(service.counters.connections).toBe(100);
      const [heavy, light] = [2, 1].map(
        (weight) => service.destinations.find((other) => other.weight === weight)!,
      );
      expect(heavy!.inactiveConnections + light!.inactiveConnections).toBe(100);
      expect(service.destinations.reduce((sum, other) => sum + other.activeConnections, 0)).toBe(0);
      if (wanted === 0) expect(Math.abs(heavy!.inactiveConnections - 67)).toBeLessThanOrEqual(1);
      expect((await fastPath()).mismatches).toBe(0);
    },
  );

  test.each(FAMILIES)("%s: datagrams stay in the kernel, the first ones too", async (family) => {
    const client = testProgram("udp-client", VIP[family], 7, 100, 500);
    const count = await visits(() => founding.client.namespace.run(client));
    expect(count).toBeLessThan(10);
  });

  test("who was chosen for in the kernel, and what the director learns of it", async () => {
    const { begun } = await fastPath();
    const { connections } = await status();
    expect(begun).toBeGreaterThan(200);
    expect(begun).toBeLessThanOrEqual(connections.createdCount);
  });

  test("a trace sees every packet, and afterwards the kernel has them again", async () => {
    const { director, daemon, client } = founding;
    const trace = director.start(builtProgram("cli/vsnat.js", "trace"), { env: daemon.environment });
    await until(async () => (await fastPath()).suspendedBy.includes("trace"));
    const curl = ["curl", "--silent", `http://${VIP.ipv4}/`];
    expect(await visits(() => client.namespace.run(curl))).toBeGreaterThanOrEqual(8);
    await trace.stop();
    await until(async () => (await fastPath()).suspendedBy.length === 0);
    expect(await visits(() => client.namespace.run(curl))).toBeLessThan(5);
  });

  test("a removed server's connections come back to the director at once", async () => {
    const { client, daemon } = founding;
    const heart = client.namespace.start(testProgram("tcp-heartbeat", VIP.ipv4, 7, 20));
    await heart.waitFor(/beat 5 /);
    const without = SERVICES.filter(({ port, protocol }) => port !== 7 || protocol !== "tcp");
    await daemon.reload(`${configurationText(founding, without)}fastPath: required\nremovedServers: reset\n`);
    expect((await heart.end()).stdout).toContain("lost: ECONNRESET");
    await daemon.reload(configuration());
  });

  test("routes and interfaces change under live connections", async () => {
    const { client, director } = founding;
    const heart = client.namespace.start(testProgram("tcp-heartbeat", VIP.ipv4, 7, 50));
    await heart.waitFor(/beat 5 /);
    const beatsGoOn = async (): Promise<void> => {
      const beats = Number(/.*beat (\d+) /s.exec(heart.stdout)![1]);
      await heart.waitFor(new RegExp(`beat ${beats + 10} `));
    };
    expect((await fastPath()).devices).toHaveLength(2);
    await director.ip("route add 202.100.1.2/32 dev outside mtu 1400");
    await beatsGoOn();
    await director.ip(`link set ${OUTSIDE} down`);
    await until(async () => (await fastPath()).devices.length === 1);
    await director.ip(`link set ${OUTSIDE} up`);
    await until(async () => (await fastPath()).devices.length === 2);
    await beatsGoOn();
    expect(await visits(beatsGoOn)).toBeLessThan(10);
    await heart.stop();
  });

  test("what came of it all: nothing wrong, nothing refused", async () => {
    const { mismatches, classesOff, refused, lostNews, audited } = await fastPath();
    expect({ mismatches, classesOff, refused, lostNews }).toEqual({
      mismatches: 0,
      classesOff: [],
      refused: 0,
      lostNews: 0,
    });
    expect(audited).toBeGreaterThanOrEqual(0);
    expect((await founding.daemon.vsnat("status")).stdout).toMatch(/^fast path on: connections \d+/m);
    expect(founding.daemon.program.stderr).toContain("fast path on");
  });

  test("what is pinned outlives its process, and the next one takes it over", async () => {
    const { director, laboratory } = founding;
    const directory = join(laboratory.directory, "pins");
    const keeper = testProgram("flow-keeper", DIST, 1, directory).join(" ");
    // A mount namespace of its own, so that what is mounted goes with it. Loopback is every namespace's first interface.
    const script = `${keeper} die & until grep -q devices "$0"; do sleep 0.1; done; kill -9 $!; wait $!
      ${keeper} keep; ${keeper} drop; ${keeper} drop; ls ${directory} | grep -v debug; echo end`;
    const output = join(laboratory.directory, "keeper.txt");
    const wrapped = ["unshare", "-m", "bash", "-c", `(${script}) > "$0" 2>&1; cat "$0"`, output];
    const { stdout } = await director.run(wrapped, { timeoutMs: 60_000 });
    const found = stdout
      .split("\n")
      .flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as { devices: number[] }] : []));
    // Record 0: ESTABLISHED, last seen at tick 100, two more packets from the client.
    const inherited = [[0, 1, 100, 2]];
    expect(found).toEqual([
      { devices: [], inherited: [], warnings: [] },
      { devices: [1], inherited, warnings: [] },
      { devices: [1], inherited, warnings: [] },
      { devices: [], inherited: [], warnings: [] },
    ]);
    expect(stdout).toMatch(/\}\nend\n$/); // nothing is left in the directory
  });

  test("where eBPF is not allowed the slow path does it all, unless it is required", async () => {
    const { director, daemon } = founding;
    const run = (mode: string): string =>
      `printf 'services: []\\nfastPath: ${mode}\\n' > "$0"; exec ${builtProgram("cli/vsnat.js", "run", "-c").join(" ")} "$0"`;
    const attempt = (mode: string) =>
      director.start(["unshare", "-Urn", "sh", "-c", run(mode), `${daemon.file}-${mode}`], {
        env: { VSNAT_SOCKET: `${daemon.environment.VSNAT_SOCKET}-${mode}` },
      });
    const required = await attempt("required").end();
    expect(required.code).toBe(1);
    expect(required.stderr).toMatch(
      /Cannot run with "fastPath: required": it needs CAP_BPF and CAP_NET_ADMIN/,
    );
    const auto = attempt("auto");
    await auto.waitFor(/\bready\b/i);
    expect(auto.stderr).toMatch(/no fast path, every packet takes the slow path: it needs CAP_BPF/);
    await auto.stop();
  });
});
