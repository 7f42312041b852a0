import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { readCapture } from "../wire/capture.ts";
import { findIp } from "../wire/link-layer.ts";
import { ExitCode } from "./exit-code.ts";
import { command } from "./replay.ts";

const recording = (name: string, side: "client" | "server") =>
  new URL(`../../test/golden/ipvs/${name}/${side}-side.pcap`, import.meta.url).pathname;
const service = (scheduler: string, weights: readonly [number, number]) => `services:
  - listen: tcp://202.103.106.5:80
    scheduler: ${scheduler}
    servers:
      - { address: 172.16.0.2:80, weight: ${weights[0]} }
      - { address: 172.16.0.3:8000, weight: ${weights[1]} }
timeouts: { profile: ipvs }
`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vsnat-replay-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
  process.exitCode = undefined;
  vi.restoreAllMocks();
});

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

async function replay(...options: string[]): Promise<string> {
  let output = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    output += String(text);
    return true;
  });
  await command().parseAsync(options, { from: "user" });
  return output;
}

const bothSides = (name: string) => [
  "--client-side",
  recording(name, "client"),
  "--server-side",
  recording(name, "server"),
];

test("the founding recording is reproduced, and written as it was sent", async () => {
  const config = file("vsnat.yaml", service("wrr", [1, 2]));
  const output = await replay("-c", config, ...bothSides("founding"), "--compare", "--out-dir", folder);
  expect(output).toContain("all 130 packets are equal, byte for byte from the IP header on");
  expect(process.exitCode).toBeUndefined();
  const counts = ["client", "server"].map(
    (side) => [...readCapture(readFileSync(join(folder, `${side}-side.pcap`)))].length,
  );
  expect(counts).toEqual([53, 77]);
});

test("a wrong configuration makes other choices: differences are shown, status 1", async () => {
  const config = file("vsnat.yaml", service("wrr", [2, 1]));
  const output = await replay("-c", config, ...bothSides("founding"), "--compare");
  expect(output).toMatch(/here {5}202\.100\.1\.2:\d+ > 172\.16\.0\.2:80 tcp S/);
  expect(output).toMatch(/\d+ differences: 130 packets here, 130 recorded/);
  expect(process.exitCode).toBe(ExitCode.failure);
});

test("services made anew on the way: the recording of TCP states is reproduced", async () => {
  const config = file("vsnat.yaml", service("rr", [1, 2]));
  const records = [...readCapture(readFileSync(recording("states", "client")))];
  const starts = new Map<number, number>();
  for (const { bytes, linkType, timestampMs } of records) {
    const at = findIp(linkType, bytes);
    if (typeof at !== "number") continue;
    const port = (bytes[at + 20]! << 8) | bytes[at + 21]!;
    if (port >= 20_000 && !starts.has(port)) starts.set(port, timestampMs);
  }
  const lines = [...starts.values()].map(
    (startMs) => `- { at: ${(startMs - records[0]!.timestampMs) / 1000}, config: vsnat.yaml, anew: true }`,
  );
  expect(lines).toHaveLength(23);
  const changes = file("changes.yaml", lines.join("\n"));
  const output = await replay("-c", config, ...bothSides("states"), "--compare", "--changes", changes);
  expect(output).toContain("all 113 packets are equal");
});

test("one capture, traced", async () => {
  const config = file("vsnat.yaml", service("wrr", [1, 2]));
  const out = join(folder, "out.pcap");
  const output = await replay(
    ...["-c", config, "--in", recording("founding", "client"), "--out", out, "--trace"],
  );
  expect(output.split("\n").slice(0, 2)).toEqual([
    expect.stringMatching(/ client > 202\.100\.1\.2:3456 > 202\.103\.106\.5:80 tcp S/),
    expect.stringMatching(/^to-server +server < 202\.100\.1\.2:3456 > 172\.16\.0\.3:8000 tcp S/),
  ]);
  expect([...readCapture(readFileSync(out))]).toHaveLength(130);
});

test.each([
  [["--compare"], "nothing to replay"],
  [["--in", "x", "--compare"], "--compare needs --client-side and --server-side"],
  [["--client-side", "x"], "--client-side and --server-side go together"],
  [["--in", "/dev/null"], "the file is empty"],
  [["--in", "x", "--own-address", "here"], "expected an IPv4 or IPv6 address"],
])("%j is refused: %s", async (options, message) => {
  const config = file("vsnat.yaml", service("wrr", [1, 2]));
  await expect(replay("-c", config, ...options)).rejects.toThrow(message);
});

test.each([
  ["- { at: -1, config: vsnat.yaml }", "0.at"],
  ["- { at: 5, config: vsnat.yaml }\n- { at: 4, config: vsnat.yaml }", "not in order of time"],
  ["changes: none", "expected a list"],
])("changes %j are refused: %s", async (text, message) => {
  const config = file("vsnat.yaml", service("wrr", [1, 2]));
  const changes = file("changes.yaml", text);
  const run = replay("-c", config, "--in", recording("founding", "client"), "--changes", changes);
  await expect(run).rejects.toThrow(message);
});
