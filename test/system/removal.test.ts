/**
 * What becomes of live connections whose server, or whole service, is removed under them: every policy, by a reload and by
 * vsadm, with socat as the client.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import {
  type Balancing,
  buildBalancing,
  connectionsGone,
  startNameServers,
  vsadm,
} from "../support/balancing.ts";
import { type Family, hostText } from "../support/founding.ts";

const PROTOCOLS = ["tcp", "udp"] as const;
type Protocol = (typeof PROTOCOLS)[number];
type Policy = "drain" | "drop" | "reset" | "expire" | "reschedule";

/** Where real servers answer. */
const PORT = 9000;
/** How long silence must last to be believed. */
const SILENCE_MS = 700;

const SERVERS = { ipv4: ["172.16.0.2", "172.16.0.3"], ipv6: ["[fd00:16::2]", "[fd00:16::3]"] } as const;
const RESET = /Connection reset by peer/;
const REFUSED = /Connection refused/;

let balancing: Balancing;
/** Every case has a port of its own, so that none waits for the connections of another to end. */
let port = 10_000;
const talkers: Program[] = [];

beforeAll(async () => {
  balancing = await buildBalancing();
  await startNameServers(balancing, PORT);
  await balancing.daemon.start("services: []\n");
});
afterEach(() => Promise.all(talkers.splice(0).map((program) => program.stop())));
afterAll(() => balancing?.laboratory.close());

/** Both protocols' service at the case's port, with the servers of these letters. */
const configuration = (policy: Policy, family: Family, letters: string, at = PORT): string => {
  const servers = [...letters].map((letter) => `"${SERVERS[family]["AB".indexOf(letter)]}:${at}"`);
  const services = PROTOCOLS.map((protocol) => {
    const listen = `${protocol}://${hostText(VIP[family])}:${port}`;
    return `  - { listen: "${listen}", scheduler: rr, removedServers: ${policy}, servers: [${servers.join(", ")}] }\n`;
  });
  return `services:\n${services.join("")}${TIMEOUTS}`;
};
const TIMEOUTS = "timeouts: { tcp: { close: 1s, timeWait: 1s, finWait: 1s, closeWait: 1s }, udp: 3s }\n";

/** socat at the case's port; what is told it goes out, one datagram a line. */
const talk = (protocol: Protocol, family: Family): Program => {
  const target = `${protocol.toUpperCase()}:${hostText(VIP[family])}:${port}`;
  const program = balancing.client.namespace.start(["socat", "-d", "-", target], { isInteractive: true });
  talkers.push(program);
  return program;
};

/** Say a word and wait for the server's answer. @returns the server's letter */
async function ask(program: Program, word: string): Promise<string> {
  program.tell(word);
  return (await program.waitFor(new RegExp(`^([A-C]) .*\\b${word}$`, "m")))[1]!;
}

/** Say a word that nobody answers. */
async function askInVain(program: Program, word: string): Promise<void> {
  program.tell(word);
  await new Promise((resolve) => setTimeout(resolve, SILENCE_MS));
  expect(program.stdout).not.toMatch(new RegExp(`\\b${word}$`, "m"));
  expect(program.isRunning).toBe(true);
}

/** Say a word, after which the connection is gone. @returns what socat complains of */
async function askFatally(program: Program): Promise<string> {
  program.tell("fatal");
  return (await program.end(5000)).stderr;
}

const reload = (text: string) => balancing.daemon.reload(text, "--discard-edits");

/** Ways to exchange server A for B. */
const EXCHANGES: Record<string, (policy: Policy, family: Family) => Promise<void>> = {
  reload: async (policy, family) => void (await reload(configuration(policy, family, "B"))),
  vsadm: async (_, family) => {
    for (const flag of ["-t", "-u"]) {
      const service = [flag, `${hostText(VIP[family])}:${port}`];
      await vsadm(balancing, "-a", ...service, "-r", `${SERVERS[family][1]}:${PORT}`, "-m");
      await vsadm(balancing, "-d", ...service, "-r", `${SERVERS[family][0]}:${PORT}`);
    }
  },
};

describe.each([
  ["ipv4", "reload"],
  ["ipv6", "vsadm"],
] as const)("a server is removed, %s, by %s", (family, exchange) => {
  /** A connection of each protocol to server A, which then makes room for B. */
  async function conversations(policy: Policy): Promise<Record<Protocol, Program>> {
    port++;
    await reload(configuration(policy, family, "A"));
    const programs = { tcp: talk("tcp", family), udp: talk("udp", family) };
    for (const protocol of PROTOCOLS) expect(await ask(programs[protocol], "before")).toBe("A");
    await EXCHANGES[exchange]!(policy, family);
    return programs;
  }

  test("drain: both go on, both ways; whoever comes is served by the other server", async () => {
    const { tcp, udp } = await conversations("drain");
    for (const word of ["one", "two"])
      for (const program of [tcp, udp]) expect(await ask(program, word)).toBe("A");
    for (const protocol of PROTOCOLS) expect(await ask(talk(protocol, family), "anew")).toBe("B");
  });

  test("drop: silence, until the server is there again", async () => {
    const { tcp, udp } = await conversations("drop");
    await Promise.all([askInVain(tcp, "lost"), askInVain(udp, "lost")]);
    await reload(configuration("drop", family, "AB"));
    // What TCP could not deliver it sends again; a datagram is gone.
    await tcp.waitFor(/^A lost$/m);
    for (const program of [tcp, udp]) expect(await ask(program, "revived")).toBe("A");
  });

  test("reset: the client is told at its next packet, and is served by the other server then", async () => {
    const { tcp, udp } = await conversations("reset");
    expect(await askFatally(tcp)).toMatch(RESET);
    expect(await askFatally(udp)).toMatch(REFUSED);
    for (const protocol of PROTOCOLS) expect(await ask(talk(protocol, family), "anew")).toBe("B");
  });

  test("expire: TCP is reset at the client's next packet, a datagram goes to the other server", async () => {
    const { tcp, udp } = await conversations("expire");
    expect(await askFatally(tcp)).toMatch(RESET);
    expect(await ask(udp, "elsewhere")).toBe("B");
    expect(await ask(talk("tcp", family), "anew")).toBe("B");
  });

  test("reschedule: TCP goes on, the next datagram goes to the other server", async () => {
    const { tcp, udp } = await conversations("reschedule");
    expect(await ask(tcp, "one")).toBe("A");
    expect(await ask(udp, "elsewhere")).toBe("B");
  });
});

test("reset: a server that speaks first is told first, and then the client", async () => {
  const at = 9001;
  port++;
  await reload(configuration("reset", "ipv4", "A", at));
  const ticking = [
    "socat",
    "-d",
    "-d",
    `TCP-LISTEN:${at},reuseaddr`,
    "SYSTEM:while sleep 0.2 && echo tick; do true; done",
  ];
  const server = balancing.serverA.namespace.start(ticking);
  await server.waitFor(/listening/);
  const client = talk("tcp", "ipv4");
  await client.waitFor(/tick/);
  await reload(configuration("reset", "ipv4", "B", at));
  expect((await server.end(5000)).stderr).toMatch(RESET);
  expect(await askFatally(client)).toMatch(RESET);
});

describe("a whole service is removed", () => {
  const OTHER = `services: []\n${TIMEOUTS}`;

  async function conversations(policy: Policy): Promise<Record<Protocol, Program>> {
    port++;
    await reload(configuration(policy, "ipv4", "A"));
    const programs = { tcp: talk("tcp", "ipv4"), udp: talk("udp", "ipv4") };
    for (const protocol of PROTOCOLS) expect(await ask(programs[protocol], "before")).toBe("A");
    await reload(OTHER);
    return programs;
  }

  test("drain: connections go on, and with the last of them the host's routes and rules go", async () => {
    const { tcp, udp } = await conversations("drain");
    for (const word of ["one", "two"])
      for (const program of [tcp, udp]) expect(await ask(program, word)).toBe("A");
    expect(await hostState()).toMatch(/202\.103\.106\.5/);
    expect(await hostState()).toMatch(/\b172\.16\.0\.2\b/);
    expect((await talk("tcp", "ipv4").end(5000)).stderr).toMatch(REFUSED);
    await Promise.all([tcp.stop(), udp.stop()]);
    await connectionsGone(balancing);
    await vi.waitUntil(
      async () => !/\b(202\.103\.106\.5|172\.16\.0\.[23])\b/.test(await hostState()),
      15_000,
    );
  });

  test("reset, expire: TCP is reset, datagrams are refused", async () => {
    for (const policy of ["reset", "expire"] as const) {
      const { tcp, udp } = await conversations(policy);
      expect(await askFatally(tcp)).toMatch(RESET);
      expect(await askFatally(udp)).toMatch(REFUSED);
    }
  });

  test("reschedule: TCP goes on, datagrams are refused", async () => {
    const { tcp, udp } = await conversations("reschedule");
    expect(await ask(tcp, "one")).toBe("A");
    expect(await askFatally(udp)).toMatch(REFUSED);
  });

  test("drop: silence, until the service is there again", async () => {
    const { tcp, udp } = await conversations("drop");
    await Promise.all([askInVain(tcp, "lost"), askInVain(udp, "lost")]);
    await reload(configuration("drop", "ipv4", "A"));
    await tcp.waitFor(/^A lost$/m);
    for (const program of [tcp, udp]) expect(await ask(program, "revived")).toBe("A");
  });
});

/** The director's routes and rules, as text. */
async function hostState(): Promise<string> {
  return (await balancing.director.run(["sh", "-c", "ip rule; ip route show table all"])).stdout;
}
