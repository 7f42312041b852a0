/** `vsnat status`: services, servers, connections, rates and drops of the running daemon. */
import { Command } from "commander";
import type { Status } from "../api/operations.ts";
import { formatEndpoint } from "../control/config/endpoint.ts";
import type { DestinationStatus, ServiceStatus, TrafficRates } from "../control/director-status.ts";
import { ask } from "./control-client.ts";
import { type Alignment, formatTable, shortNumber } from "./table.ts";
import { painter, printJson } from "./terminal.ts";

const WATCH_INTERVAL_MS = 1000;

interface Options {
  readonly json?: boolean;
  readonly watch?: boolean;
}

export const command = (): Command =>
  new Command("status")
    .summary("show services, servers, connections, rates and drops")
    .description("Show what the running daemon does.")
    .option("--json", "print everything as JSON")
    .option("-w, --watch", "show it anew every second, until Ctrl-C")
    .addHelpText("after", "\nExamples:\n  vsnat status\n  vsnat status --json | jq .drops")
    .action(status);

async function status({ json, watch }: Options): Promise<void> {
  for (;;) {
    const current = await ask<Status>("GET", "/v1/status");
    if (json) printJson(current);
    else
      process.stdout.write(`${watch ? "\x1b[H\x1b[2J" : ""}${formatStatus(current, painter()).join("\n")}\n`);
    if (!watch) return;
    await new Promise((resolve) => setTimeout(resolve, WATCH_INTERVAL_MS));
  }
}

type Paint = ReturnType<typeof painter>;

const HEADINGS = [
  "",
  "weight",
  "active",
  "inactive",
  "conns",
  "conn/s",
  "in pkt/s",
  "out pkt/s",
  "in B/s",
  "out B/s",
];
const ALIGNMENTS: readonly Alignment[] = HEADINGS.map((_, column) => (column === 0 ? "left" : "right"));

/** The lines that `vsnat status` prints. */
export function formatStatus(status: Status, paint: Paint): string[] {
  const { daemon, device, connections, drops, services, verdicts } = status;
  const state = device.state === "up" ? "" : paint("red", ` (${device.state})`);
  const lines = [
    `vsnat ${daemon.version}, pid ${daemon.pid}, up ${duration(status.uptimeSeconds)}, ${daemon.configFile}, device ${device.name}${state}`,
    `connections ${connections.count} of ${connections.max}, ${connections.createdCount} made`,
    `packets to servers ${verdicts["to-server"]}, to clients ${verdicts["to-client"]}, own replies ${verdicts.reply}, ` +
      `passed ${verdicts.pass}, dropped ${verdicts.drop}`,
    "",
    ...formatTable(
      [HEADINGS.map((cell) => paint("dim", cell)), ...services.flatMap((one) => serviceRows(one, paint))],
      ALIGNMENTS,
    ),
  ];
  if (services.length === 0) lines.push("no services");
  const reasons = Object.entries(drops).sort((a, b) => b[1] - a[1]);
  if (reasons.length > 0) {
    const rows = reasons.map(([reason, count]) => [`  ${reason}`, String(count)]);
    lines.push("", "dropped packets", ...formatTable(rows, ["left", "right"]));
  }
  const { lostPackets, refusedPackets, unreadablePackets } = device;
  if (lostPackets + refusedPackets + unreadablePackets > 0) {
    lines.push("", `device: lost ${lostPackets}, refused ${refusedPackets}, unreadable ${unreadablePackets}`);
  }
  if (status.internalErrorCount > 0) {
    lines.push(
      "",
      paint("red", `internal errors ${status.internalErrorCount}: please report what the log says of them`),
    );
  }
  return lines;
}

function serviceRows(service: ServiceStatus, paint: Paint): string[][] {
  const { protocol, address, port, scheduler, counters, rates, destinations } = service;
  const active = destinations.reduce((sum, one) => sum + one.activeConnections, 0);
  const inactive = destinations.reduce((sum, one) => sum + one.inactiveConnections, 0);
  const name = `${paint("bold", `${protocol}://${formatEndpoint(address, port)}`)} ${scheduler}`;
  return [
    [name, "", ...numbers([active, inactive, counters.connections]), ...rateCells(rates)],
    ...destinations.map((one) => destinationRow(one, paint)),
  ];
}

function destinationRow(destination: DestinationStatus, paint: Paint): string[] {
  const { address, port, weight, activeConnections, inactiveConnections, counters, rates } = destination;
  const mark = destination.isOverloaded
    ? paint("yellow", " overloaded")
    : weight === 0
      ? paint("yellow", " quiesced")
      : "";
  return [
    `  ${formatEndpoint(address, port)}${mark}`,
    String(weight),
    ...numbers([activeConnections, inactiveConnections, counters.connections]),
    ...rateCells(rates),
  ];
}

const numbers = (values: readonly number[]): string[] => values.map(shortNumber);
const rateCells = ({ connections, inPackets, outPackets, inBytes, outBytes }: TrafficRates): string[] =>
  numbers([connections, inPackets, outPackets, inBytes, outBytes]);

function duration(seconds: number): string {
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
  ];
  if (days > 0) return `${days}d ${hours}h`;
  if (hours > 0) return `${hours}h ${minutes}m`;
  return minutes > 0 ? `${minutes}m ${seconds % 60}s` : `${seconds}s`;
}
