/**
 * SIP through the director with real programs in namespaces: sipp calls sipp, which sends the media back that it gets; a
 * baresip behind the director registers with a kamailio outside, and one outside with a kamailio behind.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import {
  FAMILIES,
  type Family,
  type Founding,
  hostText,
  startFounding,
  turnOffloadsOff,
} from "../support/founding.ts";
import { blackholeInside, PacketCounter } from "../support/media.ts";

let founding: Founding;

/** Ports of the virtual address: sipp on server A; kamailio on server B, which has it on 5060. */
const SIPP = 5060;
const PROXY = 5080;
/** Packets of the digits that are played. */
const RTP_PACKETS = 10;

const CONFIGURATION = `services:
${FAMILIES.flatMap((family) => {
  const vip = hostText(VIP[family]);
  const [a, b] = family === "ipv4" ? ["172.16.0.2", "172.16.0.3"] : ["[fd00:16::2]", "[fd00:16::3]"];
  return ["udp", "tcp"].map(
    (protocol) => `
  - { listen: "${protocol}://${vip}:${SIPP}", app: sip, servers: ["${a}:5060"] }
  - { listen: "${protocol}://${vip}:${PROXY}", app: sip, servers: ["${b}:5060"] }`,
  );
}).join("")}
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [sip] }
  - { from: ["fd00:16::/64"], to: "2001:db8:1::/64", sources: ["${VIP.ipv6}"], apps: [sip] }
`;

/** Answers calls, and plays digits to whom the offer names. */
async function answerCalls(host: Host, family: Family, transport: "u1" | "t1"): Promise<Program> {
  const address = hostText(host[family]);
  const program = host.namespace.start(
    ["sipp", "-sf", scenario("answer"), "-i", address, "-p", "5060", "-mi", address, "-mp", "6000", "-t", transport, "-nostdin"],
    { env: { TERM: "dumb" } },
  ); // biome-ignore format: a command
  await listening(host, transport === "u1" ? "u" : "t", 5060);
  return program;
}

/** Until somebody has this port. */
async function listening({ namespace }: Host, protocol: "u" | "t", port: number): Promise<void> {
  const command = `until ss -Hln${protocol} "sport = :${port}" | grep -q .; do sleep 0.02; done`;
  await namespace.run(["timeout", "10", "sh", "-c", command]);
}

const scenario = (name: string) =>
  fileURLToPath(new URL(`../support/programs/sipp-${name}.xml`, import.meta.url));

interface Call {
  readonly from: Host;
  readonly family: Family;
  readonly target: string;
  readonly transport?: "u1" | "t1";
  readonly user?: string;
}

/** One call of sipp's, from start to end. */
async function call({ from, family, target, transport = "u1", user = "service" }: Call): Promise<void> {
  const address = hostText(from[family]);
  const { code, stdout, stderr } = await from.namespace.attempt(
    ["sipp", "-sf", scenario("call"), target, "-s", user, "-i", address, "-p", "5070", "-mi", address, "-mp", "4000", "-t", transport, "-m", "1", "-nostdin", "-timeout", "8", "-timeout_error"],
    { env: { TERM: "dumb" }, timeoutMs: 15_000 },
  ); // biome-ignore format: a command
  if (code !== 0) throw new Error(`sipp ended with ${code}\n${stdout.slice(-3000)}\n${stderr.slice(-1000)}`);
}

/** The director's counters of the module. */
async function counters(): Promise<Record<string, number>> {
  const { stdout } = await founding.daemon.vsnat("status", "--json");
  const { applications } = JSON.parse(stdout) as {
    applications: { name: string; counters: Record<string, number> }[];
  };
  return applications.find(({ name }) => name === "sip")!.counters;
}

/** A registrar and proxy. */
async function startKamailio({ namespace, ipv4 }: Host, name: string): Promise<void> {
  const folder = join(founding.laboratory.directory, `kamailio-${name}`);
  await mkdir(folder);
  const file = join(folder, "kamailio.cfg");
  const modules = ["tm", "sl", "rr", "pv", "textops", "siputils", "usrloc", "registrar"];
  await writeFile(
    file,
    `#!KAMAILIO
debug=0
log_stderror=yes
children=1
auto_aliases=no
listen=udp:${ipv4}:5060
${modules.map((module) => `loadmodule "${module}.so"`).join("\n")}
request_route {
  if (is_method("REGISTER")) { save("location"); exit; }
  if (has_totag()) {
    if (!loose_route() && is_method("ACK") && !t_check_trans()) exit;
    t_relay();
    exit;
  }
  if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
  record_route();
  if (!lookup("location")) { sl_send_reply("404", "Not Found"); exit; }
  t_relay();
}
`,
  );
  namespace.start([
    "kamailio", "-f", file, "-DD", "-E", "-m", "16", "-M", "4", "-P", join(folder, "pid"), "-Y", folder,
  ]); // biome-ignore format: a command
  await listening({ namespace } as Host, "u", 5060);
}

/** A phone that registers, answers every call, and sends back what it hears. */
async function startPhone({ namespace, ipv4 }: Host, user: string, registrar: string): Promise<Program> {
  const folder = join(founding.laboratory.directory, `baresip-${user}`);
  await mkdir(folder);
  const modules = ["module g711.so", "module aubridge.so", "module_tmp account.so", "module_app menu.so"];
  const sound = ["audio_source aubridge,x", "audio_player aubridge,x", "audio_alert aubridge,y"];
  const lines = [
    `sip_listen ${ipv4}:5062`,
    "module_path /usr/lib/baresip/modules",
    ...modules,
    ...sound,
    "rtp_ports 10000-10100",
    "net_interface eth0",
  ];
  await writeFile(join(folder, "config"), `${lines.join("\n")}\n`);
  await writeFile(
    join(folder, "accounts"),
    `<sip:${user}@${registrar};transport=udp>;regint=60;answermode=auto;auth_pass=x\n`,
  );
  const phone = namespace.start(["baresip", "-f", folder, "-v", "-s"]);
  await phone.waitFor(/200 OK .*\[1 binding\]/);
  return phone;
}

beforeAll(async () => {
  founding = await startFounding();
  await blackholeInside(founding.client);
  // Packets are counted.
  await turnOffloadsOff(founding);
  await founding.daemon.start(CONFIGURATION);
});
afterAll(() => founding?.laboratory.close());

describe.each([
  ["UDP", "ipv4", "u1"],
  ["TCP", "ipv4", "t1"],
  ["UDP", "ipv6", "u1"],
] as const)("sipp, %s, %s: media arrive from where they are expected, both ways", (_, family, transport) => {
  test("the one that is called is behind the director", async () => {
    const { client, serverA } = founding;
    const server = await answerCalls(serverA, family, transport);
    const there = await PacketCounter.start(serverA, family, {
      from: client[family],
      fromPort: 4000,
      toPort: 6000,
    });
    const back = await PacketCounter.start(client, family, {
      from: VIP[family],
      fromPort: 6000,
      toPort: 4000,
    });
    await call({ from: client, family, target: `${hostText(VIP[family])}:${SIPP}`, transport });
    await server.stop();
    expect([await there.count(), await back.count()]).toEqual([RTP_PACKETS, RTP_PACKETS]);
  });

  test("the one that calls is", async () => {
    const { client, serverA } = founding;
    const server = await answerCalls(client, family, transport);
    const there = await PacketCounter.start(client, family, {
      from: VIP[family],
      fromPort: 4000,
      toPort: 6000,
    });
    const back = await PacketCounter.start(serverA, family, {
      from: client[family],
      fromPort: 6000,
      toPort: 4000,
    });
    await call({ from: serverA, family, target: `${hostText(client[family])}:5060`, transport });
    await server.stop();
    expect([await there.count(), await back.count()]).toEqual([RTP_PACKETS, RTP_PACKETS]);
  });
});

test("baresip behind the director registers with a kamailio outside, and is called", async () => {
  const { client, serverA } = founding;
  await startKamailio(client, "outside");
  const phone = await startPhone(serverA, "alice", client.ipv4);
  const heard = await PacketCounter.start(serverA, "ipv4", { from: client.ipv4, fromPort: 4000 });
  const echoed = await PacketCounter.start(client, "ipv4", { from: VIP.ipv4, toPort: 4000 });
  await call({ from: client, family: "ipv4", target: `${client.ipv4}:5060`, user: "alice" });
  expect(await heard.count()).toBe(RTP_PACKETS);
  expect(await echoed.count()).toBeGreaterThan(5);
  await phone.waitFor(/session closed/);
  // It would wait to be unregistered.
  phone.kill("SIGKILL");
});

test("baresip outside registers with a kamailio behind the director, and is called through it", async () => {
  const { client, serverB } = founding;
  await startKamailio(serverB, "inside");
  const phone = await startPhone(client, "bob", `${VIP.ipv4}:${PROXY}`);
  await call({ from: client, family: "ipv4", target: `${VIP.ipv4}:${PROXY}`, user: "bob" });
  await phone.waitFor(/session closed/);
  // All it read (-s).
  expect(phone.stdout).toContain(`Record-Route: <sip:${VIP.ipv4}:${PROXY};lr`);
  expect(phone.stdout).not.toContain("172.16.");
  // It would wait to be unregistered.
  phone.kill("SIGKILL");
});

test("nothing was refused", async () => {
  const { rewritten = 0, announced = 0, begun = 0, ...refused } = await counters();
  expect([rewritten > 20, announced >= 10, begun >= 5]).toEqual([true, true, true]);
  expect([refused.lowPort, refused.noPlace, refused.noRoom, refused.failed]).toEqual([0, 0, 0, 0]);
});
