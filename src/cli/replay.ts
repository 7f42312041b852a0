/**
 * `vsnat replay`: the director over captures instead of interfaces; no privilege, no daemon. Time comes from the capture,
 * chance from a fixed seed, so the same input gives the same output.
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { Engine } from "../alg/engine/engine.ts";
import { triggerModule } from "../alg/engine/trigger.ts";
import { APPLICATIONS } from "../alg/registry.ts";
import { milliseconds } from "../base/environment.ts";
import { seededRandom } from "../base/seeded-random.ts";
import type { Config } from "../control/config/config.ts";
import { DirectorControl } from "../control/director-control.ts";
import { type ComparedPacket, compare, type Difference } from "../datapath/replay/compare.ts";
import { type Outcome, Replay } from "../datapath/replay/replay.ts";
import { type AddressKind, readSide, type SidedPacket } from "../datapath/replay/two-sided-capture.ts";
import { Director } from "../nat/director.ts";
import type { Verdict } from "../nat/verdict.ts";
import { SCHEDULERS } from "../schedulers/registry.ts";
import { formatAddress, parseAddress } from "../wire/address.ts";
import { readCapture } from "../wire/capture.ts";
import { CaptureError, type CaptureRecord } from "../wire/capture-record.ts";
import { frameIp, isLinkType, LinkType } from "../wire/link-layer.ts";
import { pcapFileHeader, pcapRecord } from "../wire/pcap.ts";
import { formatPacket } from "../wire/text.ts";
import { configOrFailure } from "./config-report.ts";
import { CommandFailure, ExitCode } from "./exit-code.ts";
import { loadReplayChanges } from "./replay-changes.ts";
import { painter, printJson } from "./terminal.ts";

const SEED = 1;
const DIFFERENCES_SHOWN_MAX = 50;

interface Options {
  readonly config: string;
  readonly in?: string;
  readonly out?: string;
  readonly clientSide?: string;
  readonly serverSide?: string;
  readonly outDir?: string;
  readonly compare?: boolean;
  readonly trace?: boolean;
  readonly json?: boolean;
  readonly changes?: string;
  readonly ownAddress: readonly string[];
}

interface Result {
  readonly verdicts: Record<string, number>;
  readonly made: readonly (ComparedPacket & { readonly timestampMs: number })[];
}

export const command = (): Command =>
  new Command("replay")
    .summary("run the director over packet captures")
    .description(
      "Run the director over a capture (pcap or pcapng), with no privilege at all. Either every packet of one\n" +
        "capture (--in), or, for captures taken on both sides of a director, the packets that arrived at it\n" +
        "(--client-side, --server-side), which can then be compared with what that director sent.",
    )
    .requiredOption("-c, --config <file>", "configuration file, or - for standard input")
    .option("--in <pcap>", "packets that arrive")
    .option("--out <pcap>", "write the packets that leave, for --in")
    .option("--client-side <pcap>", "capture of a director's client-side interface")
    .option("--server-side <pcap>", "capture of its server-side interface")
    .option("--out-dir <dir>", "write what leaves to client-side.pcap and server-side.pcap there")
    .option("--compare", "compare what leaves with what the captures say left; status 1 if it differs")
    .option(
      "--changes <file>",
      "configuration changes on the way: a YAML list of { at: SECONDS, config: FILE }",
    )
    .option("--trace", "print every packet before and after")
    .option("--json", "print the result as JSON")
    .option(
      "--own-address <address>",
      "the director's own address towards the servers, for its ICMP errors to them; may be repeated",
      (value: string, before: readonly string[]) => [...before, value],
      [] as readonly string[],
    )
    .addHelpText(
      "after",
      "\nExamples:\n" +
        "  vsnat replay -c vsnat.yaml --in clients.pcap --out translated.pcap --trace\n" +
        "  vsnat replay -c vsnat.yaml --client-side eth0.pcap --server-side eth1.pcap --compare",
    )
    .action(replay);

function replay(options: Options): void {
  const isTwoSided = options.clientSide !== undefined || options.serverSide !== undefined;
  checkOptions(options, isTwoSided);
  const director = makeDirector(configOrFailure(options.config), options.ownAddress);
  if (isTwoSided) replayTwoSided(director, options);
  else replayOne(director, options);
}

function checkOptions(options: Options, isTwoSided: boolean): void {
  const wrong = (message: string): never => {
    throw new CommandFailure(`${message} (vsnat replay --help)`, ExitCode.usage);
  };
  if (isTwoSided && (options.in !== undefined || options.out !== undefined))
    wrong("--in and --out go without --client-side and --server-side");
  if (isTwoSided && (options.clientSide === undefined || options.serverSide === undefined))
    wrong("--client-side and --server-side go together");
  if (!isTwoSided && options.in === undefined) wrong("nothing to replay: give --in, or both sides");
  if (!isTwoSided && options.compare) wrong("--compare needs --client-side and --server-side");
  if (!isTwoSided && options.outDir !== undefined)
    wrong("--out-dir goes with --client-side and --server-side");
}

function makeDirector(config: Config, ownAddresses: readonly string[]): Director {
  const director = new Director({
    settings: config.director.settings,
    schedulers: SCHEDULERS,
    applications: APPLICATIONS,
    randomU32: seededRandom(SEED),
    hopChange: -1,
    now: milliseconds(0),
  });
  for (const one of config.applications)
    if (one.kind === "trigger" && director.applications instanceof Engine)
      director.applications.define(triggerModule(one.trigger));
  for (const service of config.director.services) director.addService(service);
  for (const text of ownAddresses) {
    const address = parseAddress(text);
    if (address === undefined)
      throw new CommandFailure(`--own-address ${text}: expected an IPv4 or IPv6 address`, ExitCode.usage);
    director.ownAddress[address.family] = address.words;
  }
  return director;
}

function replayOne(director: Director, options: Options): void {
  const records = readFile(options.in!);
  const kindOf = addressKinds(director);
  const packets = readSide(records, "client", kindOf).map((one) => ({ ...one, hasArrived: true }));
  const result = run(director, packets, options);
  if (options.out !== undefined) write(options.out, linkTypeOf(records), result.made);
  report(options, packets.length, records.length - packets.length, result, undefined, 0);
}

function replayTwoSided(director: Director, options: Options): void {
  const kindOf = addressKinds(director);
  const clientRecords = readFile(options.clientSide!);
  const serverRecords = readFile(options.serverSide!);
  const packets = [
    ...readSide(clientRecords, "client", kindOf),
    ...readSide(serverRecords, "server", kindOf),
  ].sort((a, b) => a.timestampMs - b.timestampMs);
  const arrivals = packets.filter((packet) => packet.hasArrived);
  const recorded = packets.filter((packet) => !packet.hasArrived);
  const result = run(director, arrivals, options);
  if (options.outDir !== undefined) {
    mkdirSync(options.outDir, { recursive: true });
    for (const [side, records] of [
      ["client", clientRecords],
      ["server", serverRecords],
    ] as const) {
      const made = result.made.filter((one) => one.side === side);
      write(join(options.outDir, `${side}-side.pcap`), linkTypeOf(records), made);
    }
  }
  const differences = options.compare ? compare(result.made, recorded) : undefined;
  const skipped = clientRecords.length + serverRecords.length - packets.length;
  report(options, arrivals.length, skipped, result, differences, recorded.length);
}

function run(director: Director, arrivals: readonly SidedPacket[], options: Options): Result {
  const replayed = new Replay(director);
  const changes = options.changes === undefined ? undefined : loadReplayChanges(options.changes);
  const control = new DirectorControl(director);
  const originMs = arrivals[0]?.timestampMs ?? 0;
  const verdicts: Record<string, number> = {};
  const made: (ComparedPacket & { timestampMs: number })[] = [];
  for (const arrival of arrivals) {
    changes?.apply(control, arrival.timestampMs - originMs);
    const outcome = replayed.feed(arrival);
    const name = nameOf(outcome.verdict);
    verdicts[name] = (verdicts[name] ?? 0) + 1;
    for (const { side, bytes, timestampMs } of outcome.departures)
      made.push({ side, bytes, timestampMs, isOwn: outcome.verdict.kind === "reply" });
    if (options.trace) printTrace(outcome, replayed.now);
  }
  return { verdicts, made };
}

function printTrace({ arrival, verdict, departures }: Outcome, nowMs: number): void {
  const paint = painter();
  const time = (nowMs / 1000).toFixed(6).padStart(12);
  const lines = [`${time} ${arrival.side.padEnd(6)} > ${formatPacket(arrival.bytes)}`];
  const label = nameOf(verdict).padEnd(19);
  if (departures.length === 0) lines.push(`${label}   ${paint("dim", "nothing is sent")}`);
  for (const { side, bytes } of departures) lines.push(`${label} ${side.padEnd(6)} < ${formatPacket(bytes)}`);
  process.stdout.write(`${lines.join("\n")}\n`);
}

function report(
  options: Options,
  arrivedCount: number,
  skippedCount: number,
  { verdicts, made }: Result,
  differences: readonly Difference[] | undefined,
  recordedCount: number,
): void {
  if (differences !== undefined && differences.length > 0) process.exitCode = ExitCode.failure;
  if (options.json) {
    printJson({
      arrived: arrivedCount,
      notIp: skippedCount,
      sent: made.length,
      verdicts,
      ...(differences && { recorded: recordedCount, differences: differences.map(differenceText) }),
    });
    return;
  }
  const byVerdict = Object.entries(verdicts).map(([name, count]) => `${name} ${count}`);
  const lines = [`${arrivedCount} packets arrived, ${made.length} left (${byVerdict.join(", ") || "none"})`];
  if (skippedCount > 0) lines.push(`${skippedCount} frames that are not IP were passed over`);
  if (differences !== undefined) lines.push(...comparison(differences, made.length, recordedCount));
  process.stdout.write(`${lines.join("\n")}\n`);
}

function comparison(differences: readonly Difference[], madeCount: number, recordedCount: number): string[] {
  const paint = painter();
  if (differences.length === 0)
    return [paint("green", `all ${recordedCount} packets are equal, byte for byte from the IP header on`)];
  const lines = differences.slice(0, DIFFERENCES_SHOWN_MAX).map((difference) => {
    const { side, made, recorded } = differenceText(difference);
    return `${side} side\n  here     ${made ?? "nothing"}\n  recorded ${recorded ?? "nothing"}`;
  });
  const more = differences.length - lines.length;
  if (more > 0) lines.push(`${more} more`);
  lines.push(
    paint("red", `${differences.length} differences: ${madeCount} packets here, ${recordedCount} recorded`),
  );
  return lines;
}

const differenceText = ({ side, made, recorded }: Difference) => ({
  side,
  made: made && formatPacket(made),
  recorded: recorded && formatPacket(recorded),
});

const nameOf = (verdict: Verdict): string =>
  verdict.kind === "drop" ? `drop ${verdict.reason}` : verdict.kind;

/** Which addresses are virtual ones and which are real servers', by the director's services. */
function addressKinds(director: Director): (family: 4 | 6, words: Int32Array, at: number) => AddressKind {
  const virtual = new Set(director.services.all.map(({ attributes }) => attributes.address));
  const servers = new Set([...director.services.destinations()].map((destination) => destination.address));
  return (family, words, at) => {
    const text = formatAddress(family, words, at);
    return virtual.has(text) ? "virtual" : servers.has(text) ? "server" : "other";
  };
}

function readFile(file: string): CaptureRecord[] {
  try {
    return [...readCapture(readFileSync(file))];
  } catch (error) {
    if (error instanceof CaptureError || (error instanceof Error && "code" in error))
      throw new CommandFailure(`${file}: ${error.message}`, ExitCode.failure, {
        cause: error,
      });
    throw error;
  }
}

/** The link type to write: the input's, when it is one that can be written; raw IP otherwise. */
function linkTypeOf(records: readonly CaptureRecord[]): LinkType {
  const linkType = records[0]?.linkType ?? LinkType.raw;
  return isLinkType(linkType) ? linkType : LinkType.raw;
}

function write(
  file: string,
  linkType: LinkType,
  packets: readonly { readonly bytes: Uint8Array; readonly timestampMs: number }[],
): void {
  const parts = [pcapFileHeader(linkType)];
  for (const { bytes, timestampMs } of packets) {
    const frame = frameIp(linkType, bytes);
    parts.push(pcapRecord(timestampMs, frame, frame.length));
  }
  try {
    writeFileSync(file, Buffer.concat(parts));
  } catch (error) {
    throw new CommandFailure(`Cannot write ${file}: ${(error as Error).message}`, ExitCode.failure, {
      cause: error,
    });
  }
}
