/** What ICMP is for, through the daemon: ping and traceroute to the VIP, path-MTU discovery, errors of real servers. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { builtProgram } from "../../src/cli/demo/director-daemon.ts";
import { type Host, PORT, VIP } from "../../src/cli/demo/founding-network.ts";
import {
  configurationText,
  FAMILIES,
  type Family,
  type Founding,
  hostText,
  startFounding,
  startServer,
  testProgram,
} from "../support/founding.ts";
import { addNarrowPath, NARROW_MTU } from "../support/narrow-path.ts";

/** Addresses of real servers and routers behind the director; no client may ever see one. */
const BEHIND = /172\.1[678]\.|fd00:/;

describe("the virtual address", () => {
  let founding: Founding;

  beforeAll(async () => {
    founding = await startFounding();
    const { serverA, daemon } = founding;
    await startServer(serverA, "http-server", "A", 80);
    await daemon.start(
      configurationText(founding, [
        { protocol: "tcp", port: 80, a: [80, 1] },
        { protocol: "udp", port: 9, a: [9, 1] },
      ]),
    );
  });
  afterAll(() => founding?.laboratory.close());

  describe.each(FAMILIES)("%s", (family) => {
    const vip = VIP[family];

    test.each([56, 1452, 8000])("answers ping with %i bytes", async (bytes) => {
      const command = ["ping", "-n", "-c", "3", "-i", "0.05", "-W", "2", "-s", String(bytes), vip];
      const { stdout } = await founding.client.namespace.run(command);
      expect(stdout).toContain("3 received");
    });

    test.each([
      ["UDP to ports without a service", []],
      ["TCP to a service", ["-T", "-p", "80"]],
      ["echo requests", ["-I"]],
    ])("is the end of a traceroute by %s", async (_, options) => {
      const command = ["traceroute", "-n", "-q", "1", "-w", "2", "-m", "6", ...options, vip];
      const { stdout } = await founding.client.namespace.run(command);
      const hops = stdout.trim().split("\n").slice(1);
      expect(hops.at(-1)).toContain(` ${vip} `);
      expect(hops.length).toBeLessThanOrEqual(2);
      expect(stdout).not.toMatch(BEHIND);
    });

    test("speaks for a real server that has no listener on its UDP port", async () => {
      const { client } = founding;
      const { stdout } = await client.namespace.attempt(testProgram("udp-client", vip, 9, 100, 1));
      expect(stdout).toBe("ECONNREFUSED after 0 echoes\n");
    });
  });
});

describe.each(["near", "far"] as const)("a narrow link, %s", (narrow) => {
  let founding: Founding;

  beforeAll(async () => {
    founding = await startFounding();
    const server = await addNarrowPath(founding, narrow);
    await startServer(server, "http-server", "C", 80);
    await startServer(server, "udp-echo", 7);
    const services = [
      { protocol: "tcp", port: 80, a: [80, 1] },
      { protocol: "udp", port: 7, a: [7, 1] },
    ] as const;
    await founding.daemon.start(configurationText({ serverA: server, serverB: server }, services));
  });
  afterAll(() => founding?.laboratory.close());

  describe.each(FAMILIES)("%s", (family) => {
    const url = `http://${hostText(VIP[family])}`;

    test("an upload teaches the client the MTU and arrives whole", async () => {
      const { client } = founding;
      const source = testProgram("test-stream", 10_000_000).join(" ");
      const wanted = (await client.namespace.run(["sh", "-c", `${source} | sha256sum`])).stdout.slice(0, 64);
      const capture = client.namespace.start(builtProgram("cli/demo/capture.js", PORT));
      await capture.waitFor(/^capturing$/m);
      const upload = `${source} | curl --silent --show-error --fail --max-time 20 --upload-file - '${url}/up'`;
      const { stdout } = await client.namespace.run(["sh", "-c", upload]);
      expect(stdout.trim()).toBe(wanted);
      const [tooBig] = await capture.waitFor(/^.* (fragmentation needed|packet too big) mtu 1280 .*$/m);
      expect(tooBig).toContain(`[${hostText(client[family])}:`);
      expect(tooBig).toContain(`> ${hostText(VIP[family])}:80 tcp]`);
      expect((await capture.stop()).stdout).not.toMatch(BEHIND);
      expect(await learnedMtu(client, family)).toBe(NARROW_MTU);
    });

    test("a download arrives whole", async () => {
      const download = `curl --silent --show-error --fail --max-time 20 '${url}/stream?bytes=10000000' | wc -c`;
      const { stdout } = await founding.client.namespace.run(["sh", "-c", download]);
      expect(stdout.trim()).toBe("10000000");
    });

    test("datagrams larger than the narrow link are echoed", async () => {
      // The first may be what teaches the client; from then on it fragments by itself.
      await founding.client.namespace.attempt(testProgram("udp-client", VIP[family], 7, 1400, 1, 300));
      const echo = testProgram("udp-client", VIP[family], 7, 1400, 20);
      expect((await founding.client.namespace.run(echo)).stdout).toBe("20 echoes\n");
    });
  });
});

/**
 * The path MTU the client's kernel holds for the VIP. Linux believes an ICMP error only if the header embedded in it
 * belongs to a socket of its own, so a value here means that the error carried the client's view of the addresses.
 */
async function learnedMtu(client: Host, family: Family): Promise<number | undefined> {
  const { stdout } = await client.namespace.run(["ip", "route", "get", VIP[family]]);
  const found = /\bmtu (\d+)/.exec(stdout)?.[1];
  return found === undefined ? undefined : Number(found);
}
