/**
 * The PROXY protocol, for a server that compares everything and for haproxy: over links that carry super-packets, over plain
 * ones, and over ones that lose packets. Which ones is counted, not drawn, so that a failure comes back.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import { curl } from "../support/balancing.ts";
import {
  FAMILIES,
  type Founding,
  hostText,
  startFounding,
  startServer,
  testProgram,
  turnOffloadsOff,
} from "../support/founding.ts";

/** One packet in so many is lost at each end: 2 %. A prime, so that every place in a connection has its turn. */
const LOSS_INTERVAL = 47;
const LOSS = `table inet loss {
  chain input { type filter hook input priority 0; meta l4proto tcp numgen inc mod ${LOSS_INTERVAL} 7 counter drop; }
}`;

let founding: Founding;

beforeAll(async () => {
  founding = await startFounding();
  const { serverA, laboratory, daemon } = founding;
  await startServer(serverA, "proxy-server", 8443);
  const file = join(laboratory.directory, "haproxy.cfg");
  await writeFile(
    file,
    `defaults
  mode http
  timeout client 30s
frontend web
  bind 0.0.0.0:8080,[::]:8080 v6only accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port] %[req.body_size]"
`,
  );
  const program = serverA.namespace.start(["haproxy", "-d", "-f", file]);
  await program.waitFor(/Using epoll/);
  const services = FAMILIES.flatMap((family) =>
    [443, 80].map((port) => {
      const server = `${hostText(serverA[family])}:${port + 8000}`;
      const listen = `tcp://${hostText(VIP[family])}:${port}`;
      return `  - { listen: "${listen}", proxyProtocol: v2, servers: ["${server}"] }\n`;
    }),
  );
  await daemon.start(`services:\n${services.join("")}`);
});
afterAll(() => founding?.laboratory.close());

describe.each([
  ["super-packets", 1, async () => {}],
  ["packets of the links' size", 1, () => turnOffloadsOff(founding)],
  [
    "lost packets",
    0.4,
    async () => {
      for (const { namespace } of [founding.client, founding.serverA])
        await namespace.run(["nft", "-f", "-"], { input: LOSS });
    },
  ],
] as const)("%s", (_, share, prepare) => {
  beforeAll(prepare);

  describe.each(FAMILIES)("%s", (family) => {
    test.each([
      ["client", 100, 5],
      ["server", 100, 5],
      ["client", 10, 1_000_000],
      ["server", 50, 20_000],
    ])("the %s speaks first, %i connections of %i bytes", async (speaksFirst, count, bytes) => {
      const wanted = Math.ceil(count * share);
      const client = testProgram("proxy-client", VIP[family], 443, wanted, bytes, speaksFirst);
      const { stdout } = await founding.client.namespace.attempt(client);
      expect(stdout).toBe(`${wanted} right\n`);
    });

    test("haproxy learns the client's address, and the virtual one", async () => {
      const { client, laboratory } = founding;
      const url = `http://${hostText(VIP[family])}/`;
      const body = join(laboratory.directory, "body");
      await writeFile(body, "x".repeat(10_000));
      const seen = await curl(client, url, "--data-binary", `@${body}`, "--local-port", "40000-40100");
      const [address, port, virtual, virtualPort] = seen.split(" ");
      expect([address, virtual, virtualPort]).toEqual([client[family], VIP[family], "80"]);
      expect(Number(port)).toBeGreaterThanOrEqual(40_000);
      expect(Number(port)).toBeLessThanOrEqual(40_100);
    });
  });
});

test("packets were lost, and none that the director should have sent", async () => {
  for (const { namespace } of [founding.client, founding.serverA]) {
    const { stdout } = await namespace.run(["nft", "list", "ruleset"]);
    expect(Number(/counter packets (\d+)/.exec(stdout)?.[1])).toBeGreaterThan(50);
  }
  const status = JSON.parse((await founding.daemon.vsnat("status", "--json")).stdout);
  expect(status).toMatchObject({ internalErrorCount: 0, drops: {}, device: { lostPackets: 0 } });
});
