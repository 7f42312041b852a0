/**
 * Persistence, all ports, ranges, firewall marks, one-packet scheduling, thresholds and quiescing, with real programs in
 * namespaces: nginx, curl, dnsmasq, dig and Node.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import {
  addClientAddresses,
  type Balancing,
  buildBalancing,
  connectionsGone,
  curl,
  namesOf,
  openSeries,
  startNameServers,
  startNginx,
  vsadm,
} from "../support/balancing.ts";
import { FAMILIES, hostText, testProgram } from "../support/founding.ts";

const NEIGHBOURS = ["202.100.1.20", "202.100.1.21", "198.51.100.9"];
/** Addresses that belong to a mark rule and to no service. */
const MARKED = ["203.0.113.128", "203.0.113.129"];

let balancing: Balancing;

/** Configuration with a service's options, its servers A, B and C on one port, and short-lived entries. */
function service(listen: string, options: string, port: number | string = "", weights = [1, 1, 1]): string {
  const ipv6 = listen.includes("[");
  const servers = weights.map((weight, index) => {
    const address = ipv6 ? `[fd00:16::${index + 2}]` : `172.16.0.${index + 2}`;
    return `{ address: "${port === "" ? address : `${address}:${port}`}", weight: ${weight} }`;
  });
  return `  - { listen: "${listen}", ${options}, servers: [${servers.join(", ")}] }\n`;
}
const configuration = (services: string, more = ""): string =>
  `services:\n${services}\n${more}\ntimeouts: { tcp: { close: 1s, timeWait: 1s, closeWait: 1s, finWait: 1s }, udp: 2s }\n`;

async function run(services: string, more = ""): Promise<void> {
  await balancing.daemon.reload("services: []\ntimeouts: { tcp: { close: 1s, timeWait: 1s } }\n");
  await connectionsGone(balancing);
  await balancing.daemon.reload(configuration(services, more));
}

/** Who answers `count` requests of the client's address, in letters. */
async function names(url: string, count: number, ...args: readonly string[]): Promise<string> {
  const answers: string[] = [];
  for (let i = 0; i < count; i++) answers.push(await curl(balancing.client, url, ...args));
  return namesOf(answers.map((answer) => `${answer} `));
}

beforeAll(async () => {
  balancing = await buildBalancing();
  const { serverA, serverB, serverC } = balancing;
  await addClientAddresses(balancing, NEIGHBOURS);
  for (const [name, host] of [["A", serverA] as const, ["B", serverB] as const, ["C", serverC] as const]) {
    const listens = [80, 443, 8001, 8005].map((port) => `listen ${port}; listen [::]:${port};`).join(" ");
    await startNginx(
      balancing,
      host,
      `server { ${listens} return 200 "${name} $server_port $remote_addr\\n"; }`,
    );
  }
  await startNameServers(balancing, 9000);
  await balancing.daemon.start(configuration("").replace("services:\n", "services: []\n"));
});
afterAll(() => balancing?.laboratory.close());

describe.each(FAMILIES)("%s", (family) => {
  const vip = VIP[family];
  const at = (port: number | string) => `tcp://${hostText(vip)}:${port}`;
  const url = (port: number) => `http://${hostText(vip)}:${port}/`;

  test("persistence: one client stays with one server, and its template is listed", async () => {
    await run(service(at(80), "scheduler: rr, persistence: 3s", 80));
    expect(await names(url(80), 6)).toMatch(/^(A{6}|B{6}|C{6})$/);
    const { stdout } = await balancing.daemon.vsnat("connections", "--json");
    const { connections } = JSON.parse(stdout) as { connections: { isTemplate: boolean; state: string }[] };
    expect(connections.filter(({ isTemplate }) => isTemplate)).toMatchObject([{ state: "ASSURED" }]);
  });

  test("all ports: one service serves what no other does, persistent across ports", async () => {
    await run(service(at("*"), "scheduler: rr, persistence: 3s"));
    const seen = [
      ...(await names(url(80), 2)),
      ...(await names(url(443), 2)),
      ...(await names(url(8005), 2)),
    ];
    expect(new Set(seen).size).toBe(1);
    expect(await curl(balancing.client, url(8005))).toMatch(/^[ABC] 8005 /);
  });

  test("a range of ports, each connection for itself; ports beside it are refused", async () => {
    await run(service(at("8001-8005"), "scheduler: rr"));
    expect([...(await names(url(8001), 3))].sort().join("")).toBe("ABC");
    expect(await curl(balancing.client, url(8005))).toMatch(/^[ABC] 8005 /);
    const refused = ["curl", "--silent", "--max-time", "5", url(80)];
    expect((await balancing.client.namespace.attempt(refused)).code).toBe(7);
  });

  test("the scheduler none refuses everybody", async () => {
    await run(service(at(80), "scheduler: none", 80));
    const { code } = await balancing.client.namespace.attempt([
      "curl",
      "--silent",
      "--max-time",
      "5",
      url(80),
    ]);
    expect(code).toBe(7);
  });

  test("quiescing: open connections go on, new ones go elsewhere", async () => {
    await run(service(at(9000), "scheduler: wrr", 9000));
    const sources = Array.from({ length: 3 }, () => `${balancing.client[family]}:0`);
    const { program, answers } = await openSeries(balancing.client, vip, 9000, sources);
    expect([...namesOf(answers)].sort().join("")).toBe("ABC");
    const ofB = answers.findIndex((answer) => answer.startsWith("B "));
    await balancing.daemon.reload(configuration(service(at(9000), "scheduler: wrr", 9000, [1, 0, 1])));
    program.tell(`${ofB} still there`);
    await program.waitFor(new RegExp(`^${ofB} B still there$`, "m"));
    const later = await openSeries(balancing.client, vip, 9000, [...sources, ...sources]);
    expect([...namesOf(later.answers)].sort().join("")).toBe("AAACCC");
    for (const one of [program, later.program]) {
      one.tell("bye");
      await one.result();
    }
  });
});

describe.each(FAMILIES)("SIP, %s", (family) => {
  const vip = VIP[family];
  const options = "scheduler: rr, persistence: { timeout: 3s, engine: sip }";

  /** The letters of who answers requests with these Call-IDs, each from another address or port. */
  async function answerers(...callIds: readonly string[]): Promise<string> {
    const sources = family === "ipv4" ? [balancing.client.ipv4, ...NEIGHBOURS] : [balancing.client.ipv6];
    const requests = callIds.map((id, at) => `${sources[at % sources.length]}:${5060 + at}=${id}`);
    const { stdout } = await balancing.client.namespace.run(
      testProgram("sip-client", vip, 5060, ...requests),
    );
    return stdout.trim();
  }

  test("without a Call-ID there is no answer; a call stays with its server, whoever speaks of it from wherever", async () => {
    await run(service(`udp://${hostText(vip)}:5060`, options, 9000));
    const before = await dropCount("no-call-id");
    expect(await answerers("")).toBe("-");
    expect(await dropCount("no-call-id")).toBe(before + 1);
    const calls = ["one@a", "two@b", "three@c"];
    const letters = await answerers(...calls, ...calls, "one@a");
    expect([...letters.slice(0, 3)].sort().join("")).toBe("ABC");
    expect(letters.slice(3)).toBe(`${letters.slice(0, 3)}${letters[0]}`);
    const { stdout } = await vsadm(balancing, "-Lnc", "--persistent-conn");
    const listed = [...stdout.matchAll(/^UDP .* sip +(\S+)$/gm)].map(([, callId]) => callId);
    expect([...new Set(listed)].sort()).toEqual([...calls].sort());
  });
});

async function dropCount(reason: string): Promise<number> {
  return JSON.parse((await balancing.daemon.vsnat("status", "--json")).stdout).drops[reason] ?? 0;
}

test("persistence: a netmask makes a network one client", async () => {
  const options = "scheduler: rr, persistence: { timeout: 3s, netmask: 255.255.255.0 }";
  await run(service(`tcp://${VIP.ipv4}:80`, options, 80));
  const url = `http://${VIP.ipv4}/`;
  const first = await names(url, 1);
  const neighbours = await names(url, 3, "--interface", NEIGHBOURS[0]!);
  expect(neighbours).toBe(first.repeat(3));
  expect(await names(url, 1, "--interface", NEIGHBOURS[1]!)).toBe(first);
  expect(await names(url, 1, "--interface", NEIGHBOURS[2]!)).not.toBe(first);
});

test("persistence outlives connections, and ends by its own time", async () => {
  await run(service(`tcp://${VIP.ipv4}:80`, "scheduler: rr, persistence: 2s", 80));
  const url = `http://${VIP.ipv4}/`;
  const first = await names(url, 4);
  expect(first).toMatch(/^(A{4}|B{4}|C{4})$/);
  await connectionsGone(balancing);
  expect(await names(url, 1)).not.toBe(first[0]);
});

test("a firewall mark joins two ports of two addresses in one persistent service", async () => {
  const marks = `marks: [{ mark: 7, protocol: tcp, destination: 203.0.113.128/31, ports: 80-443 }]`;
  await run(service("fwmark://7", "scheduler: rr, persistence: 3s"), marks);
  const seen = [
    ...(await names(`http://${MARKED[0]}/`, 2)),
    ...(await names(`http://${MARKED[0]}:443/`, 2)),
    ...(await names(`http://${MARKED[1]}/`, 2)),
  ];
  expect(seen.join("")).toMatch(/^(A{6}|B{6}|C{6})$/);
  // What the rule leaves out is nobody's.
  const beside = ["curl", "--silent", "--max-time", "5", `http://${MARKED[0]}:8001/`];
  expect((await balancing.client.namespace.attempt(beside)).code).toBe(7);
});

test("thresholds: a full server is left alone until it is below its lower threshold", async () => {
  const servers = `{ address: "172.16.0.2:9000", weight: 9, upperThreshold: 2, lowerThreshold: 1 }, { address: "172.16.0.3:9000", weight: 1 }`;
  await run(`  - { listen: "tcp://${VIP.ipv4}:9000", scheduler: wrr, servers: [${servers}] }\n`);
  const sources = Array.from({ length: 6 }, () => `${balancing.client.ipv4}:0`);
  const { program, answers } = await openSeries(balancing.client, VIP.ipv4, 9000, sources);
  expect([...namesOf(answers)].sort().join("")).toBe("AABBBB");
  for (const [number, answer] of answers.entries()) {
    if (!answer.startsWith("A")) continue;
    program.tell(`close ${number}`);
    await program.waitFor(new RegExp(`^${number} closed$`, "m"));
  }
  await vi.waitUntil(async () => {
    const { stdout } = await balancing.daemon.vsnat("status", "--json");
    const { activeConnections, inactiveConnections } = JSON.parse(stdout).services[0].destinations.at(-1);
    return activeConnections + inactiveConnections === 0;
  }, 10_000);
  const later = await openSeries(balancing.client, VIP.ipv4, 9000, sources.slice(0, 3));
  expect([...namesOf(later.answers)].sort().join("")).toBe("AAB");
  for (const one of [program, later.program]) {
    one.tell("bye");
    await one.result();
  }
});

test("one-packet scheduling: every datagram of one socket is scheduled for itself", async () => {
  await run(service(`udp://${VIP.ipv4}:9000`, "scheduler: rr, onePacket: true", 9000));
  // The servers' answers come under their own addresses, as with IPVS: an unconnected socket takes them.
  const script = `
    const socket = require("node:dgram").createSocket("udp4");
    let answers = "";
    socket.on("message", (message, from) => {
      answers += message.toString()[0];
      if (answers.length === 6) { console.log([...answers].sort().join("")); process.exit(0); }
    });
    for (let i = 0; i < 6; i++) socket.send("x", 9000, "${VIP.ipv4}");
    setTimeout(() => { console.log("only " + answers); process.exit(1); }, 5000);`;
  const { stdout } = await balancing.client.namespace.attempt([process.execPath, "-e", script]);
  expect(stdout.trim()).toBe("AABBCC");
  await connectionsGone(balancing);
  const { services } = JSON.parse((await balancing.daemon.vsnat("status", "--json")).stdout);
  expect(services[0].counters).toMatchObject({ connections: 6, inPackets: 6, outPackets: 0 });
});

test("without it, all datagrams of one socket go to one server", async () => {
  await run(service(`udp://${VIP.ipv4}:9000`, "scheduler: rr", 9000));
  const script = `
    const socket = require("node:dgram").createSocket("udp4");
    let answers = "";
    socket.on("message", (message) => {
      answers += message.toString()[0];
      if (answers.length === 6) { console.log(answers); process.exit(0); }
    });
    socket.connect(9000, "${VIP.ipv4}", () => { for (let i = 0; i < 6; i++) socket.send("x"); });
    setTimeout(() => { console.log("only " + answers); process.exit(1); }, 5000);`;
  const { stdout } = await balancing.client.namespace.attempt([process.execPath, "-e", script]);
  expect(stdout.trim()).toMatch(/^(A{6}|B{6}|C{6})$/);
});
