/** The founding network with `vsnat run` in it, for system tests; see src/cli/demo for what it is made of. */
import { fileURLToPath } from "node:url";
import { DirectorDaemon } from "../../src/cli/demo/director-daemon.ts";
import {
  buildFoundingNetwork,
  type FoundingNetwork,
  type Host,
  INSIDE,
  OUTSIDE,
  PORT,
  VIP,
} from "../../src/cli/demo/founding-network.ts";
import { Laboratory, type Namespace } from "../../src/cli/demo/laboratory.ts";
import type { Program } from "../../src/cli/demo/program.ts";

export type Family = "ipv4" | "ipv6";
export const FAMILIES: readonly Family[] = ["ipv4", "ipv6"];

export interface Founding extends FoundingNetwork {
  readonly laboratory: Laboratory;
  readonly daemon: DirectorDaemon;
}

/** Build the network and, with a configuration, start the director. Close it with `founding.laboratory.close()`. */
export async function startFounding(configuration?: string): Promise<Founding> {
  const laboratory = await Laboratory.create();
  try {
    const network = await buildFoundingNetwork(laboratory);
    const daemon = testDaemon(laboratory, network.director);
    if (configuration !== undefined) await daemon.start(configuration);
    return { ...network, laboratory, daemon };
  } catch (error) {
    await laboratory.close();
    throw error;
  }
}

/**
 * The daemon as the system tests run it: with the fast path, or without it (VSNAT_TEST_FAST_PATH=off), in which case
 * everything has to be just the same.
 */
export function testDaemon(laboratory: Laboratory, namespace: Namespace): DirectorDaemon {
  const daemon = new DirectorDaemon(laboratory, namespace);
  const mode = process.env.VSNAT_TEST_FAST_PATH;
  if (mode !== undefined) daemon.more = `fastPath: ${mode}\n`;
  return daemon;
}

/** Every link without offloads: packets of one MTU, checksums that receivers verify. */
export async function turnOffloadsOff({
  client,
  director,
  serverA,
  serverB,
}: FoundingNetwork): Promise<void> {
  await Promise.all([
    ...[client, serverA, serverB].map(({ namespace }) => namespace.turnOffloadsOff(PORT)),
    ...[OUTSIDE, INSIDE].map((device) => director.turnOffloadsOff(device)),
  ]);
}

/** An address as it stands in front of a port: IPv6 in brackets. */
export const hostText = (address: string): string => (address.includes(":") ? `[${address}]` : address);

export interface ServiceText {
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  readonly scheduler?: "rr" | "wrr" | "lc" | "wlc";
  /** Port and weight of server A, then of server B; a server left out is not in the service. */
  readonly a?: readonly [port: number, weight: number];
  readonly b?: readonly [port: number, weight: number];
}

/** Configuration text: every service on both VIPs, to the real servers of the same family; `more` is added as it is. */
export function configurationText(
  { serverA, serverB }: Pick<FoundingNetwork, "serverA" | "serverB">,
  services: readonly ServiceText[],
  more = "",
): string {
  const lines = FAMILIES.flatMap((family) =>
    services.flatMap(({ protocol, port, scheduler = "wrr", a, b }) => {
      const servers: readonly (readonly [Host, readonly [number, number] | undefined])[] = [
        [serverA, a],
        [serverB, b],
      ];
      return [
        `  - listen: "${protocol}://${hostText(VIP[family])}:${port}"`,
        `    scheduler: ${scheduler}`,
        "    servers:",
        ...servers.flatMap(([host, server]) =>
          server
            ? [`      - { address: "${hostText(host[family])}:${server[0]}", weight: ${server[1]} }`]
            : [],
        ),
      ];
    }),
  );
  return `services:\n${lines.join("\n")}\n${more}`;
}

/** The command that runs one of test/support/programs. */
export const testProgram = (name: string, ...args: readonly (string | number)[]): string[] => [
  process.execPath,
  fileURLToPath(new URL(`programs/${name}.mjs`, import.meta.url)),
  ...args.map(String),
];

/** Start one of the servers of test/support/programs and wait until it listens. */
export async function startServer(
  host: Host,
  name: string,
  ...args: readonly (string | number)[]
): Promise<Program> {
  const program = host.namespace.start(testProgram(name, ...args));
  await program.waitFor(/listening/);
  return program;
}
