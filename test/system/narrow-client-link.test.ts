/** The director's own link towards the client is narrower than the client's and the servers': downloads go on. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { OUTSIDE, VIP } from "../../src/cli/demo/founding-network.ts";
import {
  configurationText,
  FAMILIES,
  type Founding,
  hostText,
  startFounding,
  startServer,
} from "../support/founding.ts";
import { NARROW_MTU } from "../support/narrow-path.ts";

const BYTES = 10_000_000;

let founding: Founding;

beforeAll(async () => {
  founding = await startFounding();
  const { director, serverA, daemon } = founding;
  // The other end of the link still sends, and offers to take, 1500 bytes.
  await director.ip(`link set ${OUTSIDE} mtu ${NARROW_MTU}`);
  await startServer(serverA, "http-server", "A", 80);
  await daemon.start(configurationText(founding, [{ protocol: "tcp", port: 80, a: [80, 1] }]));
});
afterAll(() => founding?.laboratory.close());

test.each(FAMILIES)("%s: a download arrives whole", async (family) => {
  const { client, serverA } = founding;
  const url = `http://${hostText(VIP[family])}/stream?bytes=${BYTES}`;
  const download = `curl --silent --show-error --fail --max-time 20 '${url}' | wc -c`;
  const { stdout } = await client.namespace.run(["sh", "-c", download]);
  expect(stdout.trim()).toBe(String(BYTES));
  // The kernel's "too big" about the virtual address's packet reached the real server, as one about its own.
  const route = await serverA.namespace.run(["ip", "route", "get", client[family]]);
  expect(route.stdout).toMatch(new RegExp(`\\bmtu ${NARROW_MTU}\\b`));
});
