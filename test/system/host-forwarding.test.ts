/** The packet loop alone, between two namespaces: it sends on what it gets, and costs one hop like any router. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Laboratory, type Namespace } from "../../src/cli/demo/laboratory.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import { compileSources } from "../support/compiled.ts";
import { testProgram } from "../support/founding.ts";

const SERVERS = { IPv4: ["-4", "172.16.0.2"], IPv6: ["-6", "fd00:16::2"] } as const;

let laboratory: Laboratory;
let director: Namespace;
let client: Namespace;
let loop: Program;
let dist: string;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "vsnat-compiled-"));
  dist = await compileSources(directory);
});
afterAll(() => rm(directory, { recursive: true }));

beforeEach(async () => {
  laboratory = await Laboratory.create();
  director = await laboratory.namespace("director");
  client = await laboratory.namespace("client");
  const server = await laboratory.namespace("server");
  await laboratory.link({ namespace: client, device: "eth0" }, { namespace: director, device: "outside" });
  await laboratory.link({ namespace: server, device: "eth0" }, { namespace: director, device: "inside" });
  await client.ip(
    "address add 202.100.1.2/24 dev eth0", "address add 2001:db8:1::2/64 dev eth0",
    "route add default via 202.100.1.1", "route add default via 2001:db8:1::1",
  ); // biome-ignore format: one command each
  await server.ip(
    "address add 172.16.0.2/24 dev eth0", "address add fd00:16::2/64 dev eth0",
    "route add default via 172.16.0.1", "route add default via fd00:16::1",
  ); // biome-ignore format: one command each
  await director.ip(
    "address add 202.100.1.1/24 dev outside", "address add 2001:db8:1::1/64 dev outside",
    "address add 172.16.0.1/24 dev inside", "address add fd00:16::1/64 dev inside",
  ); // biome-ignore format: one command each
  await director.sysctl({ "net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1 });

  loop = director.start(testProgram("pass-through", dist, "vs0"));
  await loop.waitFor(/ready/);
  // Everything that is forwarded makes the detour through the device, once.
  for (const family of ["", "-6 "])
    await director.run([
      "sh", "-ec",
      `ip ${family}rule add priority 100 iif vs0 lookup main
       for side in inside outside; do ip ${family}rule add priority 101 iif $side lookup 100; done
       ip ${family}route add default dev vs0 table 100`,
    ]); // biome-ignore format: a script
  await server.start(testProgram("udp-echo", 7)).waitFor(/listening/);
  await server.start(testProgram("tcp-echo", 7)).waitFor(/listening/);
});

afterEach(() => laboratory.close());

/** Delete the device under the loop: what it counted until then. */
async function finish(): Promise<Record<string, number | string>> {
  await director.ip("link delete vs0");
  const { stdout } = await loop.result();
  return JSON.parse(stdout.split("\n")[1] ?? "") as Record<string, number | string>;
}

describe.skipIf(process.geteuid?.() !== 0)("packet loop (needs root, for network namespaces)", () => {
  it("costs one hop, carries datagrams whole and in fragments, and ends when its device is deleted", async () => {
    for (const [flag, address] of Object.values(SERVERS)) {
      const { stdout } = await client.run(["ping", flag, "-c", "3", "-i", "0.05", address]);
      expect(stdout).toMatch(/3 received/);
      expect(stdout).toMatch(/ttl=63/);
      for (const bytes of [1, 100, 1400, 9000])
        expect((await client.run(testProgram("udp-client", address, 7, bytes, 20))).stdout).toContain(
          "20 echoes",
        );
    }
    expect(await finish()).toMatchObject({
      end: "gone",
      lostPackets: 0,
      refusedPackets: 0,
      unreadablePackets: 0,
      internalErrorCount: 0,
    });
  });

  it("carries TCP in super-packets with partial checksums", async () => {
    const bytes = 64 * 1024 * 1024;
    for (const [, address] of Object.values(SERVERS)) {
      const { stdout } = await client.run(testProgram("tcp-client", address, 7, bytes));
      expect(stdout).toBe("equal\n");
    }
    const { sentPackets, refusedPackets, lostPackets } = await finish();
    expect(refusedPackets).toBe(0);
    expect(lostPackets).toBe(0);
    // 2 x 2 x 64 MiB in packets of a link's size would be 185,000, without the acknowledgements.
    expect(sentPackets).toBeLessThan(60_000);
  });

  it("survives a mistake of ours, reports it once, and hears the bell", async () => {
    const faulty = await client.attempt([
      "ping",
      "-c",
      "3",
      "-i",
      "0.05",
      "-W",
      "0.2",
      "-s",
      "638",
      SERVERS.IPv4[1],
    ]);
    expect(faulty.stdout).toMatch(/3 packets transmitted, 0 received/);
    await client.run(["ping", "-c", "1", SERVERS.IPv4[1]]);
    expect(await finish()).toMatchObject({ end: "gone", internalErrorCount: 3, controlCount: 1 });
    expect(loop.stderr).toBe("a mistake of ours, 0 suppressed\n");
  });
});
