/**
 * What the demo shows, as data: each experiment sends real requests through the running director and returns what was
 * seen. Nothing is printed here, so that `--json` and the story on the terminal tell the same.
 */

import { builtProgram } from "./director-daemon.ts";
import { type FoundingNetwork, INSIDE, OUTSIDE, VIP } from "./founding-network.ts";
import { Program } from "./program.ts";

/** The client port of the founding example. */
export const CLIENT_PORT = 3456;
export const REQUEST_COUNT = 12;
/** No service listens there. */
export const REFUSED_PORT = 8080;

const PATIENCE_SECONDS = "5";

/** One packet as captured on one of the director's interfaces. */
export interface Sighting {
  readonly device: typeof OUTSIDE | typeof INSIDE;
  readonly direction: "arrives" | "leaves";
  readonly packet: string;
}

export interface Rewriting {
  /** A request's first packet and the first packet of its answer, before and after the director. */
  readonly sightings: readonly Sighting[];
  /** What the client read in the end. */
  readonly answer: string;
}

const EXPECTED_SIGHTINGS: readonly (Omit<Sighting, "packet"> & { readonly pattern: RegExp })[] = [
  {
    device: OUTSIDE,
    direction: "arrives",
    pattern: /^outside (202\.100\.1\.2:3456 > 202\.103\.106\.5:80 tcp S .*)$/m,
  },
  {
    device: INSIDE,
    direction: "leaves",
    pattern: /^inside (202\.100\.1\.2:3456 > 172\.16\.0\.3:8000 tcp S .*)$/m,
  },
  {
    device: INSIDE,
    direction: "arrives",
    pattern: /^inside (172\.16\.0\.3:8000 > 202\.100\.1\.2:3456 tcp SA .*)$/m,
  },
  {
    device: OUTSIDE,
    direction: "leaves",
    pattern: /^outside (202\.103\.106\.5:80 > 202\.100\.1\.2:3456 tcp SA .*)$/m,
  },
];

/** The founding packet: from port 3456, captured on both sides of the director. Must be the first connection. */
export async function showRewriting({ client, director }: FoundingNetwork): Promise<Rewriting> {
  const capture = director.start(builtProgram("cli/demo/capture.js", OUTSIDE, INSIDE));
  await capture.waitFor(/^capturing$/m);
  const localPort = ["--local-port", String(CLIENT_PORT)];
  const { stdout } = await client.namespace.run(curl(`http://${VIP.ipv4}/`, ...localPort));
  const sightings: Sighting[] = [];
  for (const { device, direction, pattern } of EXPECTED_SIGHTINGS) {
    const [, packet = ""] = await capture.waitFor(pattern);
    sightings.push({ device, direction, packet });
  }
  await capture.stop();
  return { sightings, answer: stdout.trim() };
}

/** Twelve requests, one connection each. @returns the answers in order. */
export async function showDistribution({ client }: FoundingNetwork): Promise<string[]> {
  const { stdout } = await client.namespace.run(curl(`http://${VIP.ipv4}/?[1-${REQUEST_COUNT}]`));
  return stdout.trim().split("\n");
}

/** One request to the IPv6 twin. */
export async function showIpv6({ client }: FoundingNetwork): Promise<string> {
  return (await client.namespace.run(curl(`http://[${VIP.ipv6}]/`))).stdout.trim();
}

export interface Refusal {
  /** The packet that told the client. */
  readonly packet: string;
  /** What curl made of it. */
  readonly message: string;
}

/** A port of the VIP without a service. */
export async function showRefusal({ client, director }: FoundingNetwork): Promise<Refusal> {
  const capture = director.start(builtProgram("cli/demo/capture.js", OUTSIDE));
  await capture.waitFor(/^capturing$/m);
  const { stderr } = await client.namespace.attempt(curl(`http://${VIP.ipv4}:${REFUSED_PORT}/`));
  const reset = new RegExp(
    `^outside (202\\.103\\.106\\.5:${REFUSED_PORT} > 202\\.100\\.1\\.2:\\d+ tcp RA? .*)$`,
    "m",
  );
  const [, packet = ""] = await capture.waitFor(reset);
  await capture.stop();
  return { packet, message: stderr.trim() };
}

/** A conversation with the FTP server's control port. @returns its replies. */
export async function showFtp({ client }: FoundingNetwork): Promise<string[]> {
  const command = curl(`telnet://${VIP.ipv4}:21`);
  const { stdout } = await client.namespace.run(command, {
    input: "USER anonymous\r\nPASS guest\r\nQUIT\r\n",
  });
  return stdout.trim().split(/\r?\n/);
}

/** Routes, rules and links of this machine itself: the demo must not change them. */
export async function hostState(): Promise<string> {
  const queries = [["rule"], ["-6", "rule"], ["route", "show", "table", "all"], ["-brief", "link"]];
  const answers = await Promise.all(queries.map((query) => new Program(["ip", ...query]).result()));
  return answers.map(({ stdout }) => stdout).join("\n");
}

function curl(url: string, ...options: readonly string[]): string[] {
  return ["curl", "--silent", "--show-error", "--max-time", PATIENCE_SECONDS, ...options, url];
}
