/** The host's set-up in real namespaces: what is listed is made, and everything is undone to the letter. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Laboratory, type Namespace } from "../../src/cli/demo/laboratory.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import { prefixOf } from "../../src/datapath/tun/host/prefix.ts";
import type { Territory } from "../../src/datapath/tun/host/territory.ts";
import { compileSources } from "../support/compiled.ts";
import { testProgram } from "../support/founding.ts";

const CONFIG = { device: "vs0", routingTable: 7683, rulePriority: 7683, announce: "auto", mtu: "auto" };
/** The first of each family lies in the outside subnet, so that it has to be announced there. */
const VIPS = ["202.100.1.100", "2001:db8:1::100", "202.103.106.5", "2001:db8:5::5"];
const RIPS = ["172.16.0.2", "172.16.0.3", "10.5.1.1", "fd00:16::2"];

/** Everything that could have been changed, as other programs see it. */
const SNAPSHOT = `
ip rule; ip -6 rule
ip route show table all; ip -6 route show table all
ip neigh show proxy
ip -o link | sed 's/ qlen.*//'
cd /proc/sys/net
grep -rs . ipv4/ip_forward ipv4/conf ipv6/conf ipv4/neigh ipv6/neigh | sort
`;

let laboratory: Laboratory;
let director: Namespace;
let client: Namespace;
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
  await director.ip(
    "address add 202.100.1.1/24 dev outside", "address add 2001:db8:1::1/64 dev outside",
    "address add 172.16.0.1/24 dev inside", "address add fd00:16::1/64 dev inside",
    "route add default via 202.100.1.254", "route add 10.5.0.0/16 via 172.16.0.9 mtu 1300",
    "rule add from 192.0.2.1 lookup 100 priority 7685", // an operator's own, at the same priority
  ); // biome-ignore format: one command each
  await client.ip("address add 202.100.1.2/24 dev eth0", "address add 2001:db8:1::2/64 dev eth0");
  // Settled link-local addresses: their routes come with the carrier, and the snapshots are compared.
  await director.run([
    "sh",
    "-ec",
    "until [ $(ip -6 route show table all | grep -c ^fe80) -ge 2 ]; do :; done",
  ]);
});

afterEach(() => laboratory.close());

const snapshot = async (): Promise<string[]> =>
  (await director.run(["sh", "-c", SNAPSHOT])).stdout.split("\n");

interface Holding {
  readonly leftovers: string[];
  readonly issues: { readonly code: string; readonly message: string }[];
  readonly planned: string[];
  readonly made: string[];
  readonly madeAgain: number;
  readonly announced: string[][];
  readonly mtus: number[];
}

const territory = (vips: readonly string[], more: Partial<Territory> = {}): Territory => ({
  virtual: vips.map(prefixOf),
  sources: [],
  servers: RIPS.map((address) => ({ address, sees: "all" })),
  behind: [],
  ...more,
});

async function hold(
  more: object = {}, wanted = territory(VIPS), wrapper: readonly string[] = [],
): Promise<{ holder: Program; holding: Holding }> {
  const input = JSON.stringify({ config: { ...CONFIG, ...more }, territory: wanted });
  const holder = director.start([...wrapper, ...testProgram("host-holder", dist, input)]);
  const [line] = await holder.waitFor(/^\{.*\}$/m);
  return { holder, holding: JSON.parse(line) as Holding };
} // biome-ignore format: one signature

async function cleanUp(): Promise<{ device: string; isInUse: boolean; undone: string[] }[]> {
  return JSON.parse((await director.run(testProgram("host-cleanup", dist))).stdout);
}

describe.skipIf(process.geteuid?.() !== 0)("host set-up (needs root, for network namespaces)", () => {
  it("makes what it lists, and undoes it to the letter", async () => {
    const before = await snapshot();
    const { holder, holding } = await hold();
    expect(holding.made).toEqual(holding.planned);
    expect(holding.madeAgain).toBe(0);
    expect(holding.announced).toEqual([["outside"], ["outside"], [], []]);
    expect(holding.mtus).toEqual([1500, 1500, 1300, 1500]);
    expect(holding.issues.map(({ code }) => code)).toEqual(["hairpin"]);

    const during = (await snapshot()).join("\n");
    for (const line of [
      "7683:\tfrom all iif vs0 lookup main suppress_ifgroup 7683",
      "7685:\tfrom 172.16.0.3 lookup 7683",
      "7685:\tfrom fd00:16::2 lookup 7683",
      "7685:\tfrom all iif inside ipproto icmp lookup 7683",
      "202.103.106.5 dev vs0 proto 183",
      "2001:db8:5::5 dev vs0 proto 183",
      "202.100.1.100 dev outside proxy",
      "2001:db8:1::100 dev outside proxy",
      "ipv4/ip_forward:1",
    ])
      expect(during).toContain(line);

    await holder.stop();
    expect(await snapshot()).toEqual(before);
    expect(await cleanUp()).toEqual([]);
  });

  it("makes source addresses, marked prefixes and masquerade, and undoes them to the letter", async () => {
    const before = await snapshot();
    const wanted = territory(["202.103.106.5"], {
      virtual: ["202.103.106.5", "202.100.1.128/30", "203.0.113.0/24", "2001:db8:1::80/126"].map(prefixOf),
      sources: ["172.16.0.250", "202.100.1.60", "fd00:16::250"],
      behind: ["172.16.0.0/24", "10.5.0.0/16", "fd00:16::/64"].map(prefixOf),
    });
    const { holder, holding } = await hold({}, wanted);
    expect(holding.made).toEqual(holding.planned);
    expect(holding.madeAgain).toBe(0);
    expect(holding.issues.map(({ code }) => code)).toEqual(["hairpin"]);
    const during = (await snapshot()).join("\n");
    for (const line of [
      "7685:\tfrom 172.16.0.0/24 iif inside lookup 7683",
      "7685:\tfrom 10.5.0.0/16 iif inside lookup 7683",
      "7685:\tfrom fd00:16::/64 iif inside lookup 7683",
      "202.100.1.128/30 dev vs0 proto 183",
      "203.0.113.0/24 dev vs0 proto 183",
      "2001:db8:1::80/126 dev vs0 proto 183",
      "172.16.0.250 dev vs0 proto 183",
      "fd00:16::250 dev vs0 proto 183",
      "172.16.0.250 dev inside proxy",
      "fd00:16::250 dev inside proxy",
      "202.100.1.60 dev outside proxy",
      "202.100.1.131 dev outside proxy",
      "2001:db8:1::83 dev outside proxy",
    ])
      expect(during).toContain(line);
    expect(during).not.toContain("203.0.113.0 dev");
    // What this host sends itself goes where it went before, also from an address inside a masqueraded prefix.
    const own = await director.run(["ip", "route", "get", "172.16.0.77", "from", "172.16.0.1"]);
    expect(own.stdout).toContain("dev inside");
    const theirs = await director.run([
      "ip", "route", "get", "198.51.100.1", "from", "172.16.0.77", "iif", "inside",
    ]); // biome-ignore format: one command
    expect(theirs.stdout).toContain("dev vs0");

    await holder.stop();
    expect(await snapshot()).toEqual(before);
    expect(await cleanUp()).toEqual([]);
  });

  it("cleans up after SIGKILL, by hand", async () => {
    const before = await snapshot();
    const { holder, holding } = await hold();
    expect(await cleanUp()).toMatchObject([{ device: "vs0", isInUse: true, undone: [] }]);
    holder.kill("SIGKILL");
    await holder.ended;
    const [cleanup] = await cleanUp();
    expect(cleanup?.isInUse).toBe(false);
    expect(cleanup?.undone.length).toBeGreaterThan(10);
    for (const line of cleanup?.undone ?? []) expect(holding.made).toContain(line);
    expect(await snapshot()).toEqual(before);
    expect(await cleanUp()).toEqual([]);
  });

  it("takes over after SIGKILL what is still there, and makes the rest again", async () => {
    const before = await snapshot();
    const first = await hold();
    first.holder.kill("SIGKILL");
    await first.holder.ended;
    const second = await hold();
    expect(second.holding.leftovers.length).toBeGreaterThan(10);
    // The holder's device does not outlive it, and so took routes and sysctls of its own with it.
    expect(second.holding.made).toContain("ip route add 202.103.106.5/32 dev vs0 proto 183");
    expect(second.holding.made).not.toContainEqual(expect.stringContaining("rule add"));
    await second.holder.stop();
    expect(await snapshot()).toEqual(before);
  });

  it("leaves alone what others made or changed", async () => {
    await director.sysctl({ "net.ipv4.ip_forward": 1, "net.ipv4.conf.all.rp_filter": 1 });
    await director.ip("neighbour add proxy 202.100.1.100 dev outside");
    const before = await snapshot();
    const { holder, holding } = await hold();
    expect(holding.made).not.toContainEqual(expect.stringContaining("ip_forward"));
    expect(holding.made).toContain("sysctl -w net.ipv4.conf.vs0.rp_filter=2   # was 0");
    await director.sysctl({ "net.ipv6.conf.all.proxy_ndp": 0 }); // an operator, meanwhile
    await holder.stop();
    expect(await snapshot()).toEqual(before);
  });

  it("gives forwarding back as it was, interface by interface", async () => {
    await director.sysctl({ "net.ipv4.conf.inside.forwarding": 1, "net.ipv4.conf.all.accept_redirects": 0 });
    await director.sysctl({ "net.ipv6.conf.default.disable_ipv6": 1 });
    const before = await snapshot();
    const { holder, holding } = await hold();
    expect(holding.made).toContain("sysctl -w net.ipv6.conf.vs0.disable_ipv6=0   # was 1");
    expect(holding.made).toContain("ip -6 route add 2001:db8:5::5/128 dev vs0 proto 183");
    await holder.stop();
    expect(await snapshot()).toEqual(before);
  });

  it("refuses a device that another process uses", async () => {
    await hold();
    const second = director.start(
      testProgram("host-holder", dist, JSON.stringify({ config: CONFIG, territory: territory([]) })),
    );
    expect((await second.end()).stdout).toContain("JournalBusyError");
  });

  it("undoes what it made when a change fails half-way, and says which", async () => {
    const before = await snapshot();
    await director.ip("route add 202.103.106.5 dev inside");
    const { holder, holding } = await hold();
    expect(holding).toMatchObject({ error: "HostChangeError", code: "EEXIST" });
    expect((holding as unknown as Error).message).toContain("ip route add 202.103.106.5/32 dev vs0");
    await holder.ended;
    await director.ip("route delete 202.103.106.5 dev inside");
    expect(await snapshot()).toEqual(before);
  });

  it("finds a virtual address on an interface", async () => {
    const { holding } = await hold({}, territory(["202.100.1.1"]));
    expect(holding.issues[0]).toMatchObject({
      code: "vip-configured",
      message: expect.stringContaining("ip address del 202.100.1.1/24 dev outside"),
    });
  });

  it("answers ARP and neighbour discovery for virtual addresses at once", async () => {
    await hold();
    for (const [family, vip] of [
      ["-4", "202.100.1.100"],
      ["-6", "2001:db8:1::100"],
    ] as const) {
      // Nobody answers the ping, but the neighbour has to be found well before the kernel's delay of up to 0.8 s.
      const look = `ping ${family} -c 1 -W 0.2 ${vip}; ip neigh get ${vip} dev eth0`;
      const { stdout } = await client.run(["sh", "-c", look]);
      expect(stdout).toMatch(/lladdr .* (REACHABLE|STALE|DELAY|PROBE)/);
    }
  });

  it("works in a user namespace, as an unprivileged user has it", async () => {
    const { holding } = await hold({}, territory(VIPS), ["unshare", "-Urn"]);
    expect(holding).toMatchObject({ madeAgain: 0, leftovers: [] });
    expect(holding.made).toContain("sysctl -w net.ipv4.ip_forward=1   # was 0");
    expect(holding.made).toContain("ip rule add priority 7685 from 172.16.0.2 lookup 7683 protocol 183");
  });
});
