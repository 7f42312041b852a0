/** TCP through the daemon with real programs: curl and Node clients, HTTP servers, IPv4 and IPv6. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import {
  configurationText,
  FAMILIES,
  type Founding,
  hostText,
  startFounding,
  startServer,
  testProgram,
  turnOffloadsOff,
} from "../support/founding.ts";

const GIB = 1024 ** 3;
/** Of the first GiB of test/support/programs/test-stream.mjs. */
const GIB_SHA256 = "a110c53382d90198328a45c24dfc98a504911e2abf65c16d6c879ae958528cbd";

let founding: Founding;

beforeAll(async () => {
  founding = await startFounding();
  const { serverA, serverB, daemon } = founding;
  await startServer(serverA, "http-server", "A", 80);
  await startServer(serverB, "http-server", "B", 8000);
  await daemon.start(configurationText(founding, [{ protocol: "tcp", port: 80, a: [80, 1], b: [8000, 2] }]));
});
afterAll(() => founding?.laboratory.close());

describe.each(FAMILIES)("%s", (family) => {
  const vip = VIP[family];
  const url = `http://${hostText(vip)}`;

  test("1,000 connections alternate over servers of weight 1 and 2 exactly as IPVS's wrr does", async () => {
    const { client } = founding;
    const { stdout } = await client.namespace.run(["curl", "--silent", "--show-error", `${url}/?[1-1000]`]);
    const expected = Array.from({ length: 1000 }, (_, index) => (index % 3 === 1 ? "A" : "B"));
    expect(stdout.trim().split("\n")).toEqual(expected);
  });

  test("500 connections at the same time are all served, 1:2", async () => {
    const { stdout } = await founding.client.namespace.run(testProgram("parallel-client", vip, 80, 500));
    const { A, B, ...others } = JSON.parse(stdout) as Record<string, number>;
    expect(others).toEqual({});
    expect((A ?? 0) + (B ?? 0)).toBe(500);
    expect(A).toBeGreaterThanOrEqual(166);
    expect(A).toBeLessThanOrEqual(167);
  });

  test("a download of 1 GiB arrives whole", async () => {
    const script = `set -o pipefail; curl --silent --show-error --fail '${url}/stream?bytes=${GIB}' | sha256sum`;
    const { stdout } = await founding.client.namespace.run(["bash", "-c", script]);
    expect(stdout).toContain(GIB_SHA256);
  });

  test("an upload of 1 GiB arrives whole", async () => {
    const source = testProgram("test-stream", GIB).join(" ");
    const script = `set -o pipefail; ${source} | curl --silent --show-error --fail --upload-file - '${url}/up'`;
    const { stdout } = await founding.client.namespace.run(["bash", "-c", script]);
    expect(stdout.trim()).toBe(GIB_SHA256);
  });

  test("a port without a service is refused at once", async () => {
    const { client } = founding;
    const command = ["curl", "--silent", "--show-error", "--max-time", "5", `${url}:81/`];
    const { code, stderr } = await client.namespace.attempt(command);
    expect(stderr).toMatch(/refused|Couldn't connect/);
    expect(code).toBe(7);
  });
});

describe("without offloads, so that every checksum is full and verified by its receiver", () => {
  const BYTES = 100_000_000;

  beforeAll(() => turnOffloadsOff(founding));

  test.each(FAMILIES)("%s carries an upload and a download", async (family) => {
    const url = `http://${hostText(VIP[family])}`;
    const source = testProgram("test-stream", BYTES).join(" ");
    const transfer = "curl --silent --show-error --fail --max-time 60";
    const script = `set -o pipefail
      ${source} | sha256sum
      ${source} | ${transfer} --upload-file - '${url}/up'
      ${transfer} '${url}/stream?bytes=${BYTES}' | sha256sum`;
    const { stdout } = await founding.client.namespace.run(["bash", "-ec", script]);
    const [sent, uploaded, downloaded] = stdout.split("\n").map((line) => line.slice(0, 64));
    expect(uploaded).toBe(sent);
    expect(downloaded).toBe(sent);
    for (const host of [founding.client, founding.serverA, founding.serverB]) {
      const { stdout: counters } = await host.namespace.run(["cat", "/proc/net/snmp", "/proc/net/snmp6"]);
      expect(inChecksumErrors(counters)).toBe(0);
    }
  });
});

/** Segments and datagrams the kernel refused because of their checksum. */
function inChecksumErrors(snmp: string): number {
  const tcp = snmp.split("\n").filter((line) => line.startsWith("Tcp:"));
  const [names, values] = tcp.map((line) => line.split(" "));
  return Number(values?.[names?.indexOf("InCsumErrors") ?? -1]);
}
