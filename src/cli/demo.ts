/**
 * `vsnat demo`: the founding example in network namespaces, with real servers, a real client and the real daemon.
 * Whatever ends it, Ctrl-C included, it removes everything it made.
 */
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, join } from "node:path";
import { Command } from "commander";
import { parseConfig } from "../control/config/config.ts";
import type { DirectorConfig } from "../nat/configuration.ts";
import { DirectorDaemon } from "./demo/director-daemon.ts";
import {
  hostState,
  showDistribution,
  showFtp,
  showIpv6,
  showRefusal,
  showRewriting,
} from "./demo/experiment.ts";
import { FOUNDING_CONFIGURATION } from "./demo/founding-configuration.ts";
import { buildFoundingNetwork } from "./demo/founding-network.ts";
import { startFoundingServers } from "./demo/founding-servers.ts";
import { Laboratory } from "./demo/laboratory.ts";
import { Story } from "./demo/story.ts";
import { CommandFailure } from "./exit-code.ts";
import { painter, printJson } from "./terminal.ts";

interface DemoOptions {
  readonly keep?: boolean;
  readonly json?: boolean;
}

export const command = (): Command =>
  new Command("demo")
    .summary("show the founding example with real traffic")
    .description(
      "Build the founding example of LVS via NAT in network namespaces of its own, send real requests through it, " +
        "show what happens to the packets, and clean up. Needs root, iproute2 and curl.",
    )
    .option("--keep", "leave it running for playing, until Ctrl-C")
    .option("--json", "print what was seen as JSON")
    .addHelpText("after", "\nExamples:\n  vsnat demo\n  vsnat demo --keep")
    .action(demo);

async function demo(options: DemoOptions): Promise<void> {
  checkRequirements();
  const stopSignal = firstStopSignal();
  const before = await hostState();
  await reportLeftovers();
  const laboratory = await Laboratory.create();
  const story = new Story(painter(), options.json ? () => {} : (text) => process.stdout.write(text));
  try {
    const playing = play(laboratory, story, options, stopSignal.received);
    // Interrupted, it fails some time later, because its programs are stopped under it.
    playing.catch(() => {});
    await Promise.race([playing, stopSignal.received]);
  } catch (error) {
    if (stopSignal.name === undefined) throw error;
  } finally {
    await laboratory.close();
  }
  story.closing(before === (await hostState()));
  // As shells report a program that a signal ended; ending `--keep` is no failure.
  if (stopSignal.name !== undefined && !options.keep)
    process.exitCode = 128 + constants.signals[stopSignal.name];
}

async function play(
  laboratory: Laboratory,
  story: Story,
  { keep, json }: DemoOptions,
  stop: Promise<void>,
): Promise<void> {
  story.opening();
  const network = await buildFoundingNetwork(laboratory);
  const { ftpServer } = await startFoundingServers(laboratory, network);
  const daemon = new DirectorDaemon(laboratory, network.director);
  await daemon.start(FOUNDING_CONFIGURATION);
  story.configuration(directorConfiguration(), ftpServer);

  // The order matters: the rewriting example is the first connection, which wrr gives to the heavier server.
  const rewriting = await showRewriting(network);
  story.rewriting(rewriting);
  const distribution = await showDistribution(network);
  story.distribution(distribution);
  const ipv6 = await showIpv6(network);
  story.ipv6(ipv6);
  const ftp = await showFtp(network);
  story.ftp(ftp);
  const refusal = await showRefusal(network);
  story.refusal(refusal);
  story.counters((await daemon.vsnat("status")).stdout);

  if (json) {
    const { stdout } = await daemon.vsnat("status", "--json");
    printJson({ rewriting, distribution, ipv6, ftp, refusal, status: JSON.parse(stdout) as unknown });
  }
  if (keep) {
    story.hints(network, daemon);
    await stop;
  }
}

function directorConfiguration(): DirectorConfig {
  const result = parseConfig(FOUNDING_CONFIGURATION);
  if (!result.ok) throw new Error(`The demo's configuration has mistakes: ${JSON.stringify(result.issues)}`);
  return result.config.director;
}

/** What a demo left that was killed together with its guardian. Its owner being gone is only what we see from here. */
async function reportLeftovers(): Promise<void> {
  for (const name of await Laboratory.leftovers()) {
    process.stderr.write(`left over from an earlier run: ip netns delete ${name}\n`);
  }
}

interface StopSignal {
  /** The signal that came, if one did. */
  readonly name: "SIGINT" | "SIGTERM" | undefined;
  readonly received: Promise<void>;
}

/** Catch Ctrl-C and SIGTERM once; the second time they act as ever. */
function firstStopSignal(): StopSignal {
  let name: StopSignal["name"];
  const received = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.once(signal, () => {
        name ??= signal;
        resolve();
      });
    }
  });
  return {
    received,
    get name() {
      return name;
    },
  };
}

function checkRequirements(): void {
  if (process.getuid?.() !== 0)
    throw new CommandFailure("Cannot build network namespaces: run the demo as root");
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  const programs = { ip: "iproute2", curl: "curl" };
  const missing = Object.entries(programs).filter(
    ([name]) => !folders.some((one) => existsSync(join(one, name))),
  );
  if (missing.length === 0) return;
  const names = missing.map(([, packageName]) => packageName).join(" ");
  throw new CommandFailure(`The demo needs ${names}; on Debian: apt-get install ${names}`);
}
