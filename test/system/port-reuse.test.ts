/** The same client port again, right after its connection ended: it connects at once, never after TCP's second of waiting. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import { type Balancing, buildBalancing, startNginx } from "../support/balancing.ts";
import { FAMILIES, hostText } from "../support/founding.ts";

/** A SYN that went unheard is sent again after a second; this is well below, and ten times a busy machine's round trip. */
const AT_ONCE_SECONDS = 0.5;
/** curl's exit code when it may not have the port. */
const PORT_IN_USE = 45;

let balancing: Balancing;

/** nginx closes first where it keeps no connection alive; else curl does. */
const ENDS = { server: 80, client: 81 } as const;
const CONFIGURATION = (mode: number): string => {
  const services = FAMILIES.flatMap((family) =>
    Object.values(ENDS).map((port) => {
      const servers = family === "ipv4" ? ["172.16.0.2", "172.16.0.3"] : ["[fd00:16::2]", "[fd00:16::3]"];
      const ends = servers.map((server) => `"${server}:${port}"`).join(", ");
      return `  - { listen: "tcp://${hostText(VIP[family])}:${port}", scheduler: rr, servers: [${ends}] }\n`;
    }),
  );
  return `services:\n${services.join("")}ipvs: { conn_reuse_mode: ${mode} }\n`;
};

beforeAll(async () => {
  balancing = await buildBalancing();
  for (const [name, host] of [["A", balancing.serverA] as const, ["B", balancing.serverB] as const]) {
    const answer = `return 200 "${name}\\n";`;
    await startNginx(
      balancing,
      host,
      `server { listen ${ENDS.server}; listen [::]:${ENDS.server}; keepalive_timeout 0; ${answer} }
       server { listen ${ENDS.client}; listen [::]:${ENDS.client}; ${answer} }`,
    );
  }
  // Who closed first may use the port again while it is in TIME-WAIT: a client that is in a hurry, or behind a NAT.
  await balancing.client.namespace.sysctl({ "net.ipv4.tcp_max_tw_buckets": 0 });
  await balancing.daemon.start(CONFIGURATION(1));
});
afterAll(() => balancing?.laboratory.close());

/** Connect from one port several times in a row. @returns letters of who answered, and the slowest connect in seconds */
async function connectAgain(url: string, port: number): Promise<{ letters: string; slowest: number }> {
  const again = ["curl", "--silent", "--show-error", "--max-time", "5", "--local-port", String(port)];
  let letters = "";
  let slowest = 0;
  while (letters.length < 6) {
    const curl = [...again, "--write-out", "%{time_connect}", url];
    const { code, stdout, stderr } = await balancing.client.namespace.attempt(curl);
    // On a busy machine the client's own kernel may still wait for the end of the connection before.
    if (code === PORT_IN_USE) continue;
    const [letter, seconds] = stdout.split("\n");
    expect(letter, stderr).toMatch(/^[AB]$/);
    letters += letter;
    slowest = Math.max(slowest, Number(seconds));
  }
  return { letters, slowest };
}

describe.each(FAMILIES)("%s", (family) => {
  const url = (port: number) => `http://${hostText(VIP[family])}:${port}/`;

  test.each(Object.entries(ENDS))(
    "the %s closes first: a new connection each time, at once",
    async (_, port) => {
      await balancing.daemon.reload(CONFIGURATION(1));
      const { letters, slowest } = await connectAgain(url(port), 40_000 + port);
      expect(slowest).toBeLessThan(AT_ONCE_SECONDS);
      expect(letters).toMatch(/^(ABABAB|BABABA)$/);
    },
  );

  test.each(Object.entries(ENDS))(
    "conn_reuse_mode 0, the %s closes first: the same server, at once",
    async (_, port) => {
      await balancing.daemon.reload(CONFIGURATION(0));
      const { letters, slowest } = await connectAgain(url(port), 41_000 + port);
      expect(slowest).toBeLessThan(AT_ONCE_SECONDS);
      expect(letters).toMatch(/^(A{6}|B{6})$/);
    },
  );
});
