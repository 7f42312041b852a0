/** RTSP through the director with real programs in namespaces: GStreamer's server; ffmpeg and GStreamer as players. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import {
  FAMILIES,
  type Family,
  type Founding,
  hostText,
  startFounding,
  turnOffloadsOff,
} from "../support/founding.ts";
import { blackholeInside, PacketCounter } from "../support/media.ts";

let founding: Founding;

/** Ports of the virtual address, all of the server on B. */
const SERVED = { same: 554, other: 8554, fullNat: 1554 } as const;
const FRAMES = 20;

// Only A goes out: what B sends by itself to the client comes there from B.
const CONFIGURATION = `services:
${FAMILIES.map((family) => {
  const vip = hostText(VIP[family]);
  const [b, pool] = family === "ipv4" ? ["172.16.0.3", "172.16.0.250"] : ["[fd00:16::3]", "fd00:16::fa"];
  return `
  - { listen: "tcp://${vip}:${SERVED.same}", app: rtsp, servers: ["${b}:554"] }
  - { listen: "tcp://${vip}:${SERVED.other}", app: rtsp, servers: ["${b}:554"] }
  - { listen: "tcp://${vip}:${SERVED.fullNat}", app: rtsp, fullNat: { sources: ["${pool}"] }, servers: ["${b}:554"] }`;
}).join("")}
masquerade:
  - { from: [172.16.0.2/32], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [rtsp] }
`;

async function startServer(host: Host, family: Family): Promise<void> {
  const file = fileURLToPath(new URL("../support/programs/rtsp-server.py", import.meta.url));
  // Debian's own Python has its libraries.
  const program = host.namespace.start(["/usr/bin/python3", file, host[family], "554"]);
  await program.waitFor(/listening/);
}

/** Pictures that a player shows, up to FRAMES. */
type Player = (host: Host, url: string) => Promise<number>;

const ffmpeg =
  (transport: "udp" | "tcp"): Player =>
  async ({ namespace }, url) => {
    const options = ["-nostdin", "-hide_banner", "-analyzeduration", "100000", "-timeout", "5000000"];
    const { stderr } = await namespace.attempt([
      "ffmpeg", ...options, "-rtsp_transport", transport, "-i", url, "-map", "0", "-frames:v", `${FRAMES}`, "-f", "null", "-",
    ]); // biome-ignore format: a command
    return Number([...stderr.matchAll(/frame= *(\d+)/g)].at(-1)?.[1] ?? 0);
  };

const gstreamer: Player = async ({ namespace }, url) => {
  const source = ["rtspsrc", `location=${url}`, "protocols=udp", "timeout=0", "latency=50", "name=s"];
  const video = ["s.", "!", "application/x-rtp,media=video", "!", "rtpjpegdepay", "!", "jpegdec"];
  const { stdout } = await namespace.attempt([
    "timeout", "10", "gst-launch-1.0", "-v", ...source, ...video, "!", "identity", `eos-after=${FRAMES + 1}`, "silent=false", "!", "fakesink",
  ]); // biome-ignore format: a command
  return Math.min(FRAMES, [...stdout.matchAll(/last-message = chain/g)].length);
};

const url = (address: string, port: number): string => `rtsp://${hostText(address)}:${port}/film`;

beforeAll(async () => {
  founding = await startFounding();
  const { client, serverB } = founding;
  await blackholeInside(client);
  await turnOffloadsOff(founding);
  await Promise.all([
    startServer(serverB, "ipv4"),
    startServer(serverB, "ipv6"),
    startServer(client, "ipv4"),
    founding.daemon.start(CONFIGURATION),
  ]);
});
afterAll(() => founding?.laboratory.close());

describe("a server behind the director", () => {
  test.each([
    ["ffmpeg", "ipv4", SERVED.same, ffmpeg("udp")],
    ["ffmpeg, another port", "ipv4", SERVED.other, ffmpeg("udp")],
    ["ffmpeg", "ipv6", SERVED.same, ffmpeg("udp")],
    ["ffmpeg, FullNAT", "ipv4", SERVED.fullNat, ffmpeg("udp")],
    ["GStreamer", "ipv4", SERVED.same, gstreamer],
  ] as const)("%s, %s: pictures come by UDP from the virtual address", async (_, family, port, play) => {
    const { client } = founding;
    const media = await PacketCounter.start(client, family, { from: VIP[family] });
    expect(await play(client, url(VIP[family], port))).toBe(FRAMES);
    expect(await media.count()).toBeGreaterThanOrEqual(FRAMES);
  });

  test("ffmpeg records there: ANNOUNCE and RECORD, a tone of half a second", async () => {
    const { client, serverB } = founding;
    const media = await PacketCounter.start(serverB, "ipv4", { from: client.ipv4 });
    const tone = [
      "-re",
      "-f",
      "lavfi",
      "-i",
      "sine",
      "-t",
      "0.5",
      "-ar",
      "8000",
      "-ac",
      "1",
      "-c:a",
      "pcm_alaw",
    ];
    await client.namespace.run([
      "ffmpeg", "-nostdin", "-hide_banner", ...tone, "-f", "rtsp", "-rtsp_transport", "udp", `rtsp://${VIP.ipv4}:${SERVED.same}/record`,
    ]); // biome-ignore format: a command
    expect(await media.count()).toBeGreaterThanOrEqual(5);
  });

  test("ffmpeg, interleaved: nothing but the one connection", async () => {
    const { client } = founding;
    const media = await PacketCounter.start(client, "ipv4", { from: VIP.ipv4 });
    expect(await ffmpeg("tcp")(client, url(VIP.ipv4, SERVED.other))).toBe(FRAMES);
    expect(await media.count()).toBe(0);
  });
});

describe("a player behind the director", () => {
  test.each([
    ["ffmpeg", ffmpeg("udp")],
    ["GStreamer", gstreamer],
  ] as const)("%s: pictures come by UDP", async (_, play) => {
    const { client, serverA } = founding;
    const media = await PacketCounter.start(serverA, "ipv4", { from: client.ipv4 });
    expect(await play(serverA, url(client.ipv4, 554))).toBe(FRAMES);
    expect(await media.count()).toBeGreaterThanOrEqual(FRAMES);
  });

  test("a player that never sends by UDP", async () => {
    const { client, serverA } = founding;
    const file = fileURLToPath(new URL("../support/programs/rtsp-player.py", import.meta.url));
    const command = ["/usr/bin/python3", file, client.ipv4, "554", "20000", "20"];
    const { stdout } = await serverA.namespace.run(command);
    expect(stdout).toMatch(/^20 packets, .*client_port=20000-20001/);
  });

  test("ffmpeg, interleaved", async () => {
    const { client, serverA } = founding;
    expect(await ffmpeg("tcp")(serverA, url(client.ipv4, 554))).toBe(FRAMES);
  });
});

test("nothing was refused, and what was announced came", async () => {
  const { stdout } = await founding.daemon.vsnat("status", "--json");
  const { applications } = JSON.parse(stdout) as {
    applications: { name: string; counters: Record<string, number> }[];
  };
  const { rewritten, begun, ...refused } = applications.find(({ name }) => name === "rtsp")!.counters;
  expect([rewritten! > 20, begun! >= 14]).toEqual([true, true]);
  expect(refused).toMatchObject({ foreign: 0, lowPort: 0, noPlace: 0, noRoom: 0, failed: 0, unattended: 0 });
});
