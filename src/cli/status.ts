/** `vsnat status`: services, servers, connections, rates and drops of the running daemon. */
import { Command } from "commander";
import type { Status } from "../api/operations.ts";
import { unreachable } from "../base/unreachable.ts";
import { formatListen } from "../control/config/endpoint.ts";
import { printable } from "../control/config/issue.ts";
import type { DestinationStatus, ServiceStatus, TrafficRates } from "../control/director-status.ts";
import type { FastPathInterface } from "../control/fast-path-interfaces.ts";
import { persistenceText } from "../control/manual-changes.ts";
import { serverText, serviceText } from "../control/manual-layer.ts";
import { ask } from "./control-client.ts";
import { manualLine } from "./manual-line.ts";
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
    .description("Show what the running daemon does, and what of it was changed by hand (vsadm).")
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
/** After the others, where a service is persistent. */
const TEMPLATES_HEADING = "templates";

/** The lines that `vsnat status` prints. */
export function formatStatus(status: Status, paint: Paint): string[] {
  const { daemon, device, connections, drops, services, verdicts, masquerade, manual } = status;
  const state = device.state === "up" ? "" : paint("red", ` (${device.state})`);
  const isByHand = new Set(manual.filter((one) => !one.dormantBecause).map(({ subject }) => subject));
  const hasTemplates = services.some(({ persistence }) => persistence !== undefined);
  const headings = hasTemplates ? [...HEADINGS, TEMPLATES_HEADING] : HEADINGS;
  const rows = [
    ...services.flatMap((one) => serviceRows(one, isByHand, paint)),
    ...masquerade.map((one) => masqueradeRow(one, paint)),
  ];
  const lines = [
    `vsnat ${daemon.version}, pid ${daemon.pid}, up ${duration(status.uptimeSeconds)}, ${daemon.configFile}, device ${device.name}${state}`,
    `connections ${connections.count} of ${connections.max}, ${connections.createdCount} made`,
    `packets to servers ${verdicts["to-server"]}, to clients ${verdicts["to-client"]}, own replies ${verdicts.reply}, ` +
      `passed ${verdicts.pass}, dropped ${verdicts.drop}`,
    fastPathLine(status.fastPath, paint),
    ...defenceLines(status.defences, paint),
    "",
    ...formatTable(
      [headings.map((cell) => paint("dim", cell)), ...rows],
      headings.map((_, column): Alignment => (column === 0 ? "left" : "right")),
    ),
  ];
  if (services.length === 0) lines.push("no services");
  for (const { schedulerFailure, ...service } of services) {
    if (schedulerFailure === undefined) continue;
    const problem = `scheduler ${service.scheduler}: ${printable(schedulerFailure)}`;
    lines.push(`${formatListen(service)} ${paint("red", problem)}`);
  }
  if (manual.length > 0) lines.push("", "changed by hand", ...manual.map((one) => `  ${manualLine(one)}`));
  lines.push(...applicationLines(status.applications));
  const reasons = Object.entries(drops).sort((a, b) => b[1] - a[1]);
  if (reasons.length > 0) {
    const reasonRows = reasons.map(([reason, count]) => [`  ${reason}`, String(count)]);
    lines.push("", "dropped packets", ...formatTable(reasonRows, ["left", "right"]));
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

function fastPathLine(fastPath: Status["fastPath"], paint: Paint): string {
  switch (fastPath.state) {
    case "off":
      return "fast path off";
    case "unavailable":
      return `${paint("yellow", "no fast path")}: ${printable(fastPath.reason)}`;
    case "on": {
      const { connections, interfaces, lostInterfaces, suspendedBy } = fastPath;
      const { audited, mismatches, classesOff, refused, delegated, begun } = fastPath;
      const parts = [
        `connections ${connections}`,
        `interfaces ${names(interfaces.filter(({ refusal }) => refusal === undefined))}`,
        `audited packets ${shortNumber(audited)}`,
      ];
      if (delegated > 0)
        parts.push(`servers chosen for ${delegated} services, ${shortNumber(begun)} connections begun`);
      const without = interfaces.filter(({ refusal }) => refusal !== undefined);
      if (without.length > 0) parts.push(paint("yellow", `not at ${names(without)}`));
      if (lostInterfaces > 0) parts.push(`interfaces lost ${lostInterfaces}`);
      if (mismatches > 0) parts.push(paint("red", `wrong ${mismatches}, off for ${classesOff.join(", ")}`));
      if (refused > 0) parts.push(paint("yellow", `refused ${shortNumber(refused)}`));
      const state =
        suspendedBy.length === 0 ? "on" : paint("yellow", `suspended by ${suspendedBy.join(", ")}`);
      return `fast path ${state}: ${parts.join(", ")}`;
    }
    default:
      return unreachable(fastPath);
  }
}

const INTERFACES_NAMED_MAX = 8;

/** Blanks between them, which no name has; of many, how many. */
function names(interfaces: readonly FastPathInterface[]): string {
  if (interfaces.length === 0 || interfaces.length > INTERFACES_NAMED_MAX) return String(interfaces.length);
  return interfaces
    .map(({ name, refusal }) => `${printable(name)}${refusal ? ` (${refusal})` : ""}`)
    .join(" ");
}

/** What the application modules did; those that did nothing are left out. */
function applicationLines(applications: Status["applications"]): string[] {
  return applications.flatMap(({ name, ports, counters }) => {
    const connections = ports.reduce((total, one) => total + one.connections, 0);
    const counts = Object.entries(counters).filter(([, count]) => count > 0);
    if (connections + counts.length === 0) return [];
    const texts = counts.map(([what, count]) => `${WHAT_MODULES_DID[what] ?? what} ${shortNumber(count)}`);
    return ["", `module ${name}: ${[`connections ${connections}`, ...texts].join(", ")}`];
  });
}

const WHAT_MODULES_DID: Readonly<Record<string, string>> = {
  foreign: "refused for another host's address",
  lowPort: "refused for a port below 1024",
  noPlace: "refused for lack of room",
  noRoom: "not changed for lack of room",
  badChecksum: "dropped for a wrong checksum",
  outOfOrder: "dropped out of order",
  unacknowledged: "dropped behind too much unacknowledged",
};

const DEFENCE_MODES = ["off", "automatic, at rest", "automatic, in action", "always"] as const;

function defenceLines(defences: Status["defences"], paint: Paint): string[] {
  const texts = defences
    .filter(({ mode }) => mode > 0)
    .map(({ name, mode }) => {
      const text = `${name} ${DEFENCE_MODES[mode]}`;
      return mode >= 2 ? paint("yellow", text) : text;
    });
  return texts.length === 0 ? [] : [`defences: ${texts.join("; ")}`];
}

function serviceRows(service: ServiceStatus, isByHand: ReadonlySet<string>, paint: Paint): string[][] {
  const { counters, rates, destinations } = service;
  const sum = (quantity: (one: DestinationStatus) => number): number =>
    destinations.reduce((total, one) => total + quantity(one), 0);
  const name = serviceText(service);
  const mark = (subject: string): string => (isByHand.has(subject) ? paint("cyan", " by hand") : "");
  return [
    [
      `${paint("bold", formatListen(service))} ${traits(service).join(", ")}${mark(`service ${name}`)}`,
      "",
      ...numbers([
        sum((one) => one.activeConnections),
        sum((one) => one.inactiveConnections),
        counters.connections,
      ]),
      ...rateCells(rates),
      ...(service.persistence ? [shortNumber(sum((one) => one.persistentConnections))] : []),
    ],
    ...destinations.map((one) => {
      return destinationRow(one, service, mark(`server ${serverText(one)} of ${name}`), paint);
    }),
  ];
}

/** The scheduler, and everything that is not at its default. */
function traits(service: ServiceStatus): string[] {
  const {
    scheduler,
    schedulerFlags = [],
    persistence,
    isOnePacket,
    removal,
    fullNat,
    proxyProtocol,
    app,
  } = service;
  return [
    [scheduler, ...schedulerFlags].join(" "),
    ...(persistence ? [`persistent ${persistenceText(persistence)}`] : []),
    ...(isOnePacket ? ["one packet"] : []),
    ...(fullNat ? [`FullNAT for ${fullNat.clients === "all" ? "all clients" : "its servers"}`] : []),
    ...(proxyProtocol ? [`PROXY protocol ${proxyProtocol}`] : []),
    ...(app ? [`app ${app}`] : []),
    ...(removal ? [`removed servers ${removal}`] : []),
  ];
}

function destinationRow(
  destination: DestinationStatus,
  { persistence }: ServiceStatus,
  byHand: string,
  paint: Paint,
): string[] {
  const { weight, activeConnections, inactiveConnections, counters, rates } = destination;
  const mark = destination.isOverloaded
    ? paint("yellow", " overloaded")
    : weight === 0
      ? paint("yellow", " quiesced")
      : "";
  return [
    `  ${serverText(destination)}${mark}${byHand}`,
    String(weight),
    ...numbers([activeConnections, inactiveConnections, counters.connections]),
    ...rateCells(rates),
    ...(persistence ? [shortNumber(destination.persistentConnections)] : []),
  ];
}

function masqueradeRow(rule: Status["masquerade"][number], paint: Paint): string[] {
  const { from, to, sources, connections, counters, rates } = rule;
  const name = `${paint("bold", `masquerade ${from.join(",")}`)}${to ? ` to ${to}` : ""} as ${sources.join(",")}`;
  return [name, "", ...numbers([connections]), "", ...numbers([counters.connections]), ...rateCells(rates)];
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
