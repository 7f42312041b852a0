/**
 * RealAudio, VDOLive, CU-SeeMe and Battle.net through the director, in both situations. No packaged program speaks them as their
 * modules are for: both ends are ours, written from the protocols' references. mplayer plays RealAudio over TCP.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Host, PORT, VIP } from "../../src/cli/demo/founding-network.ts";
import { type Founding, startFounding } from "../support/founding.ts";

/** More addresses of the client's host, whose first one is its servers'. */
const CLIENT = "202.100.1.3";
const STRANGER = "202.100.1.66";
const peer = (...args: readonly string[]): string[] => [
  "python3",
  fileURLToPath(new URL("../support/programs/media-peer.py", import.meta.url)),
  ...args,
];

interface Protocol {
  readonly name: string;
  readonly listen: string;
  readonly app: string;
  readonly isDone: string;
}
const PROTOCOLS: readonly Protocol[] = [
  {
    name: "pna",
    listen: "tcp://VIP:7070",
    app: "realaudio",
    isDone: "played 50 packets and got the lost one\n",
  },
  { name: "vdo", listen: "tcp://VIP:7000", app: "vdolive", isDone: "saw 50 packets\n" },
  { name: "cuseeme", listen: "udp://VIP:7648", app: "cuseeme", isDone: "met it, me, 203.0.113.66\n" },
  { name: "bnet", listen: "tcp://VIP:6112", app: "diablo", isDone: "found my game and it\n" },
];

/** @param taken - UDP ports of the virtual address that are a service's */
function configuration(hasModules: boolean, taken: readonly number[] = []): string {
  const apps = PROTOCOLS.map(({ app }) => app).join();
  return `services:
${PROTOCOLS.map(({ listen, app }) => `  - { listen: "${listen.replace("VIP", VIP.ipv4)}", ${hasModules ? `app: ${app}, ` : ""}servers: [172.16.0.2] }`).join("\n")}
${taken.map((port) => `  - { listen: "udp://${VIP.ipv4}:${port}", servers: [172.16.0.3] }`).join("\n")}
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}]${hasModules ? `, apps: [${apps}]` : ""} }
`;
}

let founding: Founding;
beforeAll(async () => {
  founding = await startFounding(configuration(true));
  const { client, serverA } = founding;
  await client.namespace.ip(...[CLIENT, STRANGER].map((one) => `address add ${one}/24 dev ${PORT}`));
  const start = (host: Host, name: string, ...more: string[]) =>
    host.namespace.start(peer("server", name, host.ipv4, ...more)).waitFor(/listening/);
  await Promise.all(PROTOCOLS.map(({ name }) => start(serverA, name)));
  await Promise.all(PROTOCOLS.map(({ name }) => start(client, name, ...(name === "bnet" ? [STRANGER] : []))));
});
afterAll(() => founding?.laboratory.close());

/** What a client says became of it; of what went wrong the last line. */
async function meet(
  { namespace }: Host,
  own: string,
  name: string,
  address: string,
  { stranger, patienceSeconds = 5 }: { readonly stranger?: string; readonly patienceSeconds?: number } = {},
): Promise<string> {
  const more = stranger === undefined ? [] : [stranger];
  const env = { PATIENCE_S: String(patienceSeconds) };
  const { stdout, stderr } = await namespace.attempt(peer("client", name, address, own, ...more), { env });
  return stdout + stderr.trimEnd().split("\n").at(-1);
}

test.each(PROTOCOLS)("$name: a server behind a virtual address", async ({ name, isDone }) => {
  expect(await meet(founding.client, CLIENT, name, VIP.ipv4)).toBe(isDone);
});

describe("clients behind the director", () => {
  test.each(PROTOCOLS)("$name", async ({ name, isDone }) => {
    const { client, serverB } = founding;
    expect(await meet(serverB, serverB.ipv4, name, client.ipv4)).toBe(isDone);
  });

  test("on other ports than they want, because those are taken", async () => {
    const { client, serverB, daemon } = founding;
    await daemon.reload(configuration(true, [6970, 15_000]));
    const ends = PROTOCOLS.slice(0, 2).map(({ name }) => meet(serverB, serverB.ipv4, name, client.ipv4));
    expect(await Promise.all(ends)).toEqual(PROTOCOLS.slice(0, 2).map(({ isDone }) => isDone));
  });
});

test.each(["the server behind a virtual address", "the player behind the director"])(
  "mplayer, which asks for nothing but TCP: %s",
  async (situation) => {
    const { client, serverB, laboratory } = founding;
    const [host, address] = situation.startsWith("the server") ? [client, VIP.ipv4] : [serverB, client.ipv4];
    const file = join(laboratory.directory, "clip.ra");
    // It looks at the network for ever once there is nothing more: it has to be told where to stop.
    const mplayer = "mplayer -nocache -noconsolecontrols -nolirc -dumpstream -endpos 20kb -dumpfile";
    const command = [...mplayer.split(" "), file, `pnm://${address}:7070/clip.ra`];
    await host.namespace.run(command, { env: { HOME: laboratory.directory } });
    const dump = await readFile(file, "latin1");
    expect(dump).toHaveLength(20_480);
    expect([...new Set(dump.match(/sound (?: \d|\d\d) /g))]).toHaveLength(45);
  },
);

test("Diablo: a stranger joins the game of a player behind the director", async () => {
  const { client, serverB } = founding;
  expect(await meet(serverB, serverB.ipv4, "bnet", client.ipv4, { stranger: STRANGER })).toBe(
    "found my game, and a stranger in it\n",
  );
});

test("without the modules nobody meets", async () => {
  const { client, serverB, daemon } = founding;
  // Nothing is known of these addresses.
  const [outside, inside] = ["202.100.1.4", "172.16.0.4"];
  await client.namespace.ip(`address add ${outside}/24 dev ${PORT}`);
  await serverB.namespace.ip(`address add ${inside}/24 dev ${PORT}`);
  const meetAll = (host: Host, own: string, address: string) =>
    Promise.all(
      PROTOCOLS.map(
        async ({ name }) => `${name}: ${await meet(host, own, name, address, { patienceSeconds: 1 })}`,
      ),
    );
  const bare = configuration(false);
  // The masquerade rule would do for VDOLive's datagrams what the module does.
  await daemon.reload(bare.slice(0, bare.indexOf("masquerade")));
  const ends = await meetAll(client, outside, VIP.ipv4);
  await daemon.reload(bare);
  ends.push(...(await meetAll(serverB, inside, client.ipv4)));
  expect(ends.filter((end) => !/timed out|AssertionError|EOFError/.test(end))).toEqual([]);
});
