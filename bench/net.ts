/**
 * `npm run bench:net`: every director side by side, in one run, over the same kind of network. Rounds interleave the
 * directors (ABCDE, ABCDE, ...), so that what else the machine does falls on all of them; figures are medians.
 */
import { execFileSync } from "node:child_process";
import { parseArgs } from "node:util";
import { Laboratory } from "../src/cli/demo/laboratory.ts";
import { describeMachine, today, writeResult } from "./machine.ts";
import { makeConntrackRoom } from "./net/conntrack.ts";
import { cpuTime } from "./net/cpu.ts";
import { FORWARD_QUANTITIES, FORWARD_SERVICES, prepareForwarding } from "./net/forward.ts";
import { PEERS, type Peer } from "./net/peers.ts";
import { QUANTITIES, type Quantity } from "./net/quantities.ts";
import { quantityTable, targetTable } from "./net/report.ts";
import { buildStation, directorPids, type Station } from "./net/station.ts";
import type { MeasuredReading } from "./net/targets.ts";
import { three } from "./sample.ts";

const ALL_QUANTITIES = [...QUANTITIES, ...FORWARD_QUANTITIES];

const HELP = `Usage: npm run bench:net -- [options]

  --rounds N       readings of each quantity and director (default 5)
  --seconds N      length of a reading, at least 1 (default 3)
  --only NAMES     some quantities or directors only, separated by commas
                   ${QUANTITIES.map(({ name }) => name).join(", ")}
                   ${FORWARD_QUANTITIES.map(({ name }) => name).join(", ")}
                   ${PEERS.map(({ name }) => name).join(", ")}
  --out FILE       where the result goes; default bench/results/<date>-net.txt, and nowhere with --only`;

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "3" },
    only: { type: "string", default: "" },
    out: { type: "string" },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  console.log(HELP);
  process.exit(0);
}
const only = options.only.split(",").filter(Boolean);
const rounds = wholeNumber("rounds", options.rounds);
const seconds = wholeNumber("seconds", options.seconds);
const quantities = chosen(ALL_QUANTITIES);
const peers = chosen(PEERS);
for (const name of only) {
  if (![...ALL_QUANTITIES, ...PEERS].some((one) => one.name === name))
    fail(`--only: no "${name}"\n\n${HELP}`);
}

const laboratory = await Laboratory.create();
let putBack = async (): Promise<void> => {};
const leave = async (): Promise<void> => {
  await laboratory.close();
  await putBack();
};
process.once("SIGINT", () => void leave().finally(() => process.exit(130)));
process.once("SIGTERM", () => void leave().finally(() => process.exit(143)));
try {
  const text = await run();
  console.log(`\n${text}`);
  const file = options.out ?? (only.length === 0 ? `bench/results/${today()}-net.txt` : undefined);
  if (file !== undefined) writeResult(file, text);
} finally {
  await leave();
}

async function run(): Promise<string> {
  const absent: string[] = [];
  const all = new Map<string, Map<string, (MeasuredReading | undefined)[]>>();
  for (const { name } of quantities) all.set(name, new Map(peers.map((peer) => [peer.name, []])));

  const ordinary = quantities.filter(({ needs }) => needs !== "forwarding");
  if (ordinary.length > 0) await measureAll(all, ordinary, await start(peers, absent));
  const forwarding = quantities.filter(({ needs }) => needs === "forwarding");
  if (forwarding.length > 0) {
    const stations = await start(
      peers.filter(({ forwards }) => forwards),
      absent,
      FORWARD_SERVICES,
    );
    putBack = makeConntrackRoom();
    for (const station of stations.values()) await prepareForwarding(station);
    await measureAll(all, forwarding, stations);
  }

  const head = [
    ...describeMachine(),
    `peers     ${versions()}`,
    `method    ${rounds} rounds of ${seconds} s, directors interleaved; medians, half the range as spread`,
    "          datagrams made and dropped by the kernel: only where forwarding is the kernel's; one processor does all of it",
    "          machine ns: processor time of both ends and the path together; director ns: its processes alone",
    "",
    ...peers.map(({ name, description }) => `${name.padEnd(10)}${description}`),
    ...absent,
  ];
  const tables = quantities.map((quantity) => {
    const takingPart = peers.filter((peer) => canMeasure(quantity, peer));
    return quantityTable(quantity, takingPart, all.get(quantity.name)!);
  });
  return [head.join("\n"), ...tables, targetTable(all)].filter(Boolean).join("\n\n");
}

/** A station of its own for each. @param absent - gets a line for each that does not start */
async function start(
  peers: readonly Peer[],
  absent: string[],
  serviceCount = 0,
): Promise<ReadonlyMap<Peer, Station>> {
  const stations = new Map<Peer, Station>();
  for (const peer of peers) {
    const name = serviceCount > 0 ? `${peer.name}-forward` : peer.name;
    const station = await buildStation(laboratory, name, serviceCount);
    try {
      await peer.start(station);
      stations.set(peer, station);
    } catch (error) {
      absent.push(`${name} is not in this run: it did not start`);
      console.log(`${absent.at(-1)}: ${(error as Error).message}`);
    }
  }
  return stations;
}

async function measureAll(
  all: ReadonlyMap<string, ReadonlyMap<string, (MeasuredReading | undefined)[]>>,
  quantities: readonly Quantity[],
  stations: ReadonlyMap<Peer, Station>,
): Promise<void> {
  // Round 0 warms up caches, connections and compilers; it is short and not counted.
  for (let round = 0; round <= rounds; round++) {
    for (const quantity of quantities) {
      for (const [peer, station] of stations) {
        if (!canMeasure(quantity, peer)) continue;
        const reading = await measure(quantity, peer, station, round === 0 ? 1 : seconds);
        if (round === 0) continue;
        all.get(quantity.name)!.get(peer.name)!.push(reading);
        const found = reading ? `${three(reading.rate)} ${quantity.unit}` : "failed";
        console.log(
          `round ${round} of ${rounds}  ${quantity.name.padEnd(16)} ${peer.name.padEnd(12)} ${found}`,
        );
      }
    }
  }
}

function canMeasure({ needs }: Quantity, { carriesUdp, forwards }: Peer): boolean {
  return needs === "nothing" || (needs === "udp" ? carriesUdp : forwards);
}

/** One reading, or undefined when the load failed: that is said, and the run goes on. */
async function measure(
  quantity: Quantity,
  peer: Peer,
  station: Station,
  lengthSeconds: number,
): Promise<MeasuredReading | undefined> {
  const pids = await directorPids(station);
  const before = cpuTime(pids);
  try {
    const reading = await quantity.measure(station, peer.target, lengthSeconds);
    const after = cpuTime(pids);
    return {
      ...reading,
      machineNsPerWork: (after.machineNs - before.machineNs) / reading.workCount,
      directorNsPerWork: (after.directorNs - before.directorNs) / reading.workCount,
    };
  } catch (error) {
    console.log(`${quantity.name} ${peer.name}: ${(error as Error).message}`);
    return undefined;
  }
}

function versions(): string {
  const packages = ["iperf3", "wrk", "nginx", "haproxy", "nftables"];
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
  const query = ["--show", "--showformat", "${Package} ${Version}  ", ...packages];
  try {
    return execFileSync("dpkg-query", query, { encoding: "utf8" }).trim();
  } catch {
    return "of unknown versions: dpkg-query does not know all of them";
  }
}

/** Those named by --only; all, when it names none of this kind. */
function chosen<T extends { readonly name: string }>(all: readonly T[]): readonly T[] {
  const named = all.filter(({ name }) => only.includes(name));
  return named.length === 0 ? all : named;
}

function wholeNumber(option: string, text: string): number {
  if (!/^[1-9]\d*$/.test(text)) fail(`--${option} is "${text}", expected a whole number from 1 on`);
  return Number(text);
}

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
