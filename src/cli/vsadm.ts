#!/usr/bin/env node
/**
 * The `vsadm` command: ipvsadm's options and output for the running daemon. In this version it lists (-L, -l) and zeroes
 * (-Z); services and servers are changed in the configuration file. Names are not resolved: -n is always on.
 */
import { parseArgs } from "node:util";
import type { Connections } from "../api/connections.ts";
import type { Settings, Status } from "../api/operations.ts";
import { parseListen } from "../control/config/endpoint.ts";
import type { ServiceStatus } from "../control/director-status.ts";
import { ask } from "./control-client.ts";
import { CommandFailure, ExitCode } from "./exit-code.ts";
import { banner, type ListVariant, listConnections, listServices } from "./ipvs-listing.ts";
import { VERSION } from "./version.ts";

const CONNECTIONS_MAX = 100_000;

const HELP = `vsadm ${VERSION}: ipvsadm for vsnat

Usage:
  vsadm [-L|-l] [-n] [-c | --stats | --rate | --thresholds | --persistent-conn | --timeout]
        [--exact] [--nosort] [-t|-u|--sctp-service VIP:PORT]
  vsadm -Z                set all counters to zero
  vsadm -h | -v

Addresses are always numbers. Everything else ipvsadm does comes with a later version;
change services in the configuration file, then: vsnat reload
`;

const LATER = [
  "-A", "-E", "-D", "-C", "-R", "-S", "-a", "-e", "-d", "--add-service", "--edit-service", "--delete-service", "--clear",
  "--restore", "--save", "--add-server", "--edit-server", "--delete-server", "--set", "--start-daemon", "--stop-daemon",
]; // biome-ignore format: a list to read

/** ipvsadm's long and short options; two short ones of `list` make two options here. */
const OPTIONS = {
  list: { type: "boolean", short: "L" },
  "list-too": { type: "boolean", short: "l" },
  zero: { type: "boolean", short: "Z" },
  numeric: { type: "boolean", short: "n" },
  connection: { type: "boolean", short: "c" },
  stats: { type: "boolean" },
  rate: { type: "boolean" },
  thresholds: { type: "boolean" },
  "persistent-conn": { type: "boolean" },
  timeout: { type: "boolean" },
  daemon: { type: "boolean" },
  exact: { type: "boolean" },
  "exact-too": { type: "boolean", short: "X" },
  nosort: { type: "boolean" },
  sort: { type: "boolean" },
  "tcp-service": { type: "string", short: "t" },
  "udp-service": { type: "string", short: "u" },
  "sctp-service": { type: "string" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "v" },
} as const;

const parse = (args: string[]) => parseArgs({ args, options: OPTIONS, strict: true }).values;
type Values = ReturnType<typeof parse>;

async function main(args: string[]): Promise<void> {
  const later = LATER.find(
    (option) => args[0] === option || (!option.startsWith("--") && args[0]?.startsWith(option)),
  );
  if (later !== undefined) {
    const advice = "change the configuration file instead, then: vsnat reload";
    throw new CommandFailure(`${later} comes with a later version; ${advice}`, ExitCode.usage);
  }
  const values = parseOrFailure(args);
  if (values.help) process.stdout.write(HELP);
  else if (values.version) process.stdout.write(`vsadm v${VERSION} (vsnat, compatible with IPVS v1.2.1)\n`);
  else if (values.zero) await ask("POST", "/v1/zero");
  else await list(values);
}

function parseOrFailure(args: string[]): Values {
  try {
    return parse(args);
  } catch (error) {
    throw new CommandFailure(
      `${(error as Error).message}\nTry "vsadm -h" for more information.`,
      ExitCode.usage,
    );
  }
}

async function list(values: Values): Promise<void> {
  const variants = (["stats", "rate", "thresholds", "persistent-conn"] as const).filter(
    (name) => values[name],
  );
  const others = [values.connection, values.timeout, values.daemon].filter((isSet) => isSet);
  if (variants.length + others.length > 1)
    throw new CommandFailure("options conflicts in the list command", ExitCode.usage);
  if (values.daemon) return; // no synchronisation daemon runs
  if (values.timeout) return print(await timeoutLine());
  if (values.connection) {
    const { connections } = await ask<Connections>("GET", `/v1/connections?limit=${CONNECTIONS_MAX}`);
    return print(listConnections(connections).join("\n"));
  }
  const { services, connections } = await ask<Status>("GET", "/v1/status");
  const selected = select(services, values);
  const variant: ListVariant = variants[0] ?? "plain";
  const isExact = values.exact === true || values["exact-too"] === true;
  const lines = listServices(selected, { variant, isExact, isUnsorted: values.nosort === true });
  // As ipvsadm: no banner when one service was asked for.
  print([...(selected === services ? [banner(connections.max)] : []), ...lines].join("\n"));
}

async function timeoutLine(): Promise<string> {
  const { timeouts } = (await ask<Settings>("GET", "/v1/settings")).director;
  return `Timeout (tcp tcpfin udp): ${timeouts.tcp.established} ${timeouts.tcp.finWait} ${timeouts.udp}`;
}

/** The service that was asked for; all of them when none was. */
function select(services: readonly ServiceStatus[], values: Values): readonly ServiceStatus[] {
  for (const protocol of ["tcp", "udp", "sctp"] as const) {
    const text = values[`${protocol}-service`];
    if (text === undefined) continue;
    const listen = parseListen(`${protocol}://${text}`);
    if ("wanted" in listen)
      throw new CommandFailure("illegal virtual server address[:port] specified", ExitCode.usage);
    const { address, port } = listen.value;
    const found = services.filter(
      (one) => one.protocol === protocol && one.address === address && one.port === port,
    );
    if (found.length === 0) throw new CommandFailure("No such service");
    return found;
  }
  return services;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

process.stdout.on("error", () => process.exit());
try {
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof CommandFailure)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error.exitCode;
}
