/**
 * H.323 through the director: calls with media in both directions between two endpoints of our own, which compare every byte that
 * is no address (test/support/programs/h323-endpoint.py), and tshark, which dissects what either side of the director carried.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Host, PORT, VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import { type Founding, startFounding } from "../support/founding.ts";

let founding: Founding;
const captures: Record<string, Program> = {};

const endpoint = (...args: readonly (string | number)[]): string[] => {
  const program = fileURLToPath(new URL("../support/programs/h323-endpoint.py", import.meta.url));
  return ["python3", program, ...args.map(String)];
};
const start = async ({ namespace }: Host, ...args: readonly (string | number)[]): Promise<Program> => {
  const program = namespace.start(endpoint(...args));
  await program.waitFor(/listening/);
  return program;
};
const run = async (host: Host, ...args: readonly (string | number)[]): Promise<string> => {
  const { code, stdout, stderr } = await host.namespace.attempt(endpoint(...args));
  expect(`${stdout}${stderr}`).toMatch(/done\n$/);
  expect(code).toBe(0);
  return stdout;
};
const file = (name: string) => join(founding.laboratory.directory, `${name}.pcapng`);

beforeAll(async () => {
  founding = await startFounding();
  const { client, serverA, serverB } = founding;
  const both = `scheduler: rr, servers: [${serverA.ipv4}, { address: ${serverB.ipv4}, weight: 0 }]`;
  await founding.daemon.start(`services:
  - { listen: "tcp://${VIP.ipv4}:1720", app: h323, ${both} }
  - { listen: "tcp://${VIP.ipv4}:1721", app: h323, servers: ["${serverB.ipv4}:1720"] }
  - { listen: "tcp://${VIP.ipv4}:1730", app: h323, scheduler: rr, servers: ["${serverA.ipv4}:1730", { address: "${serverB.ipv4}:1720", weight: 0 }] }
  - { listen: "udp://${VIP.ipv4}:1719", app: h323, servers: [${serverB.ipv4}] }
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [h323] }
`);
  for (const [name, { namespace }] of Object.entries({ client, serverA })) {
    captures[name] = namespace.start(["dumpcap", "-q", "-i", PORT, "-f", "ip", "-w", file(name)]);
    await captures[name].waitFor(/File: /);
  }
  await start(serverA, "answer", serverA.ipv4, 1720);
  await start(serverB, "answer", serverB.ipv4, 1720);
  await start(serverA, "answer", serverA.ipv4, 1730, `${serverB.ipv4}:1720`);
  await start(client, "answer", client.ipv4, 1720);
});
afterAll(() => founding?.laboratory.close());

const WAYS = ["h245", "fast", "tunnel"];

describe.each(WAYS)("%s", (way) => {
  test("a call to the virtual address; two callees at a time with the same ports", async () => {
    const { client } = founding;
    const told = await Promise.all(
      [1720, 1721].map((port) => run(client, "call", client.ipv4, `${VIP.ipv4}:${port}`, way)),
    );
    const media = told.map((text) => /media to \('(.*?)', (\d+)\)/.exec(text)!.slice(1));
    expect(media.map(([address]) => address)).toEqual([VIP.ipv4, VIP.ipv4]);
  });

  test("a call from behind the director", async () => {
    const { serverA, client } = founding;
    await run(serverA, "call", serverA.ipv4, `${client.ipv4}:1720`, way);
  });
});

test("a call that is forwarded to another server of the service", async () => {
  const { client } = founding;
  const told = await run(client, "call", client.ipv4, `${VIP.ipv4}:1730`, "h245");
  expect(told).toMatch(/calling 202\.103\.106\.5 1730 h245\ncalling 202\.103\.106\.5 \d+ h245\nmedia/);
});

test("an endpoint behind the director registers outside, is called by its gatekeeper, and goes", async () => {
  const { serverB, client } = founding;
  const gatekeeper = await start(client, "gatekeeper", client.ipv4);
  // Port 1720 of this host is taken by who answers there.
  const registered = serverB.namespace.start(endpoint("register", serverB.ipv4, client.ipv4, 1722));
  expect((await gatekeeper.end()).stdout).toMatch(
    /calling 202\.103\.106\.5 \d+ h245\nmedia to .*\nmedia heard\ndone\n$/,
  );
  expect((await registered.end()).stdout).toMatch(/done\n$/);
});

test("an endpoint outside registers with a gatekeeper behind the virtual address, and is called by it", async () => {
  const { serverB, client } = founding;
  const gatekeeper = await start(serverB, "gatekeeper", serverB.ipv4);
  const registered = client.namespace.start(endpoint("register", client.ipv4, VIP.ipv4, 1722));
  expect((await gatekeeper.end()).stdout).toMatch(/done\n$/);
  expect((await registered.end()).stdout).toMatch(/done\n$/);
});

describe("tshark", () => {
  const [CLIENT_VIEW, SERVER_VIEW] = ["client", "serverA"];
  beforeAll(() => Promise.all(Object.values(captures).map((one) => one.stop())));

  /** What it says of each packet; a field that comes several times has its values behind each other. */
  const dissect = async (name: string, filter: string, ...fields: string[]): Promise<string[][]> => {
    const columns = fields.flatMap((field) => ["-e", field]);
    const command = ["tshark", "-n", "-r", file(name), "-Y", filter, "-T", "fields", ...columns];
    const { stdout } = await founding.client.namespace.run(command);
    return stdout.split("\n").flatMap((line) => (line === "" ? [] : [line.split("\t")]));
  };
  const TOLD = ["ip.src", "h225.ipV4", "h225.h245Ip", "h245.ip4_network"];
  /** Addresses that an address told in messages. */
  const toldBy = (packets: string[][], source: string): string[] => [
    ...new Set(
      packets.filter(([from]) => from === source).flatMap(([, ...told]) => told.join(",").split(",")),
    ),
  ];

  test.each([CLIENT_VIEW, SERVER_VIEW])(
    "at %s: nothing is malformed, and media are what was announced",
    async (name) => {
      const packets = await dissect(
        name,
        "_ws.malformed || h225 || h245 || rtp",
        "_ws.malformed",
        "rtp.setup-method",
      );
      expect(packets.filter(([malformed]) => malformed !== "")).toEqual([]);
      expect(packets.filter(([, setup]) => setup === "H245").length).toBeGreaterThan(20);
      expect(packets.filter(([, setup = ""]) => setup === "").length).toBeGreaterThan(20);
    },
  );

  test("outside, both sides are told public addresses only; inside, the server's own", async () => {
    const { client, serverA, serverB } = founding;
    const outside = await dissect(CLIENT_VIEW, "h225 || h245", ...TOLD);
    expect(toldBy(outside, VIP.ipv4).sort()).toEqual(["", client.ipv4, VIP.ipv4].sort());
    expect(toldBy(outside, client.ipv4).sort()).toEqual(["", client.ipv4, VIP.ipv4].sort());
    const inside = await dissect(SERVER_VIEW, "h225 || h245", ...TOLD);
    // serverB: where a call is forwarded to.
    expect(toldBy(inside, serverA.ipv4).sort()).toEqual(["", client.ipv4, serverA.ipv4, serverB.ipv4].sort());
    expect(toldBy(inside, client.ipv4).sort()).toEqual(["", client.ipv4, serverA.ipv4].sort());
  });
});
