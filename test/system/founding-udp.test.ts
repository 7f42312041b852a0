/** UDP through the daemon with real programs: echo, fragments, DNS by dnsmasq and dig, the refused port. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import {
  configurationText,
  FAMILIES,
  type Founding,
  startFounding,
  startServer,
  testProgram,
  turnOffloadsOff,
} from "../support/founding.ts";

const ECHO_PORT = 7;
const DNS_PORT = 53;

let founding: Founding;

beforeAll(async () => {
  founding = await startFounding();
  const { serverA, serverB, daemon } = founding;
  for (const server of [serverA, serverB]) await startServer(server, "udp-echo", ECHO_PORT);
  await startDns(serverA, "192.0.2.1", "2001:db8:a::1");
  await startDns(serverB, "192.0.2.2", "2001:db8:b::1");
  await daemon.start(
    configurationText(founding, [
      { protocol: "udp", port: ECHO_PORT, scheduler: "rr", a: [ECHO_PORT, 1], b: [ECHO_PORT, 1] },
      { protocol: "udp", port: DNS_PORT, scheduler: "rr", a: [DNS_PORT, 1], b: [DNS_PORT, 1] },
      { protocol: "tcp", port: DNS_PORT, scheduler: "rr", a: [DNS_PORT, 1], b: [DNS_PORT, 1] },
    ]),
  );
});
afterAll(() => founding?.laboratory.close());

/** A DNS server that knows one name, by an address that tells which server answered. */
async function startDns(host: Host, ipv4: string, ipv6: string): Promise<void> {
  const options = ["--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file="];
  const records = [`--address=/who.test/${ipv4}`, `--address=/who.test/${ipv6}`];
  const dnsmasq = host.namespace.start(["dnsmasq", "--no-daemon", ...options, ...records]);
  await dnsmasq.waitFor(/started, version/);
}

describe.each(FAMILIES)("%s", (family) => {
  const vip = VIP[family];
  const exchange = (port: number, bytes: number, count: number) =>
    founding.client.namespace.attempt(testProgram("udp-client", vip, port, bytes, count));

  test.each([1, 512, 1400])("1,000 datagrams of %i bytes are echoed", async (bytes) => {
    const { stdout, code } = await exchange(ECHO_PORT, bytes, 1000);
    expect(stdout).toBe("1000 echoes\n");
    expect(code).toBe(0);
  });

  test("datagrams of 9,000 bytes pass in fragments, both ways", async () => {
    const { stdout } = await exchange(ECHO_PORT, 9000, 200);
    expect(stdout).toBe("200 echoes\n");
  });

  test("datagrams of 65,000 bytes pass in fragments, both ways", async () => {
    const { stdout } = await exchange(ECHO_PORT, 65_000, 20);
    expect(stdout).toBe("20 echoes\n");
  });

  test("an empty datagram passes", async () => {
    const { stdout } = await exchange(ECHO_PORT, 0, 1);
    expect(stdout).toBe("1 echoes\n");
  });

  test.each(["+notcp", "+tcp"])("DNS %s is answered by both servers in turn", async (transport) => {
    const answers: string[] = [];
    for (let query = 0; query < 4; query++) {
      const command = ["dig", `@${vip}`, transport, "+short", "+tries=1", "+time=5", "who.test", "A"];
      answers.push((await founding.client.namespace.run(command)).stdout.trim());
    }
    expect(answers).toEqual(["192.0.2.2", "192.0.2.1", "192.0.2.2", "192.0.2.1"]);
  });

  test("a port without a service is refused at once", async () => {
    const { stdout, code } = await exchange(9, 100, 1);
    expect(stdout).toBe("ECONNREFUSED after 0 echoes\n");
    expect(code).toBe(1);
  });
});

describe("without offloads, so that every checksum is full and verified by its receiver", () => {
  beforeAll(() => turnOffloadsOff(founding));

  test.each(FAMILIES.flatMap((family) => [1, 1400, 9000].map((bytes) => [family, bytes] as const)))(
    "%s datagrams of %i bytes are echoed",
    async (family, bytes) => {
      const echo = testProgram("udp-client", VIP[family], ECHO_PORT, bytes, 200);
      expect((await founding.client.namespace.run(echo)).stdout).toBe("200 echoes\n");
    },
  );
});
