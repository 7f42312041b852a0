/**
 * Listings against the recorded ones of a real kernel, at nine moments: what the kernel shows in /proc/net and in the
 * exact numbers is read, and every listing that ipvsadm made of it at the same moment must come out of vsadm.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { procApplications, procConnections, procServices, procStats } from "../../src/cli/proc-files.ts";
import { type Ask, runVsadm } from "../../src/cli/vsadm/run-vsadm.ts";
import type {
  ConnectionStatus,
  DestinationStatus,
  DirectorStatus,
  Endpoint,
  ServiceStatus,
  TrafficCounters,
} from "../../src/control/director-status.ts";
import type { ServiceProtocol } from "../../src/nat/configuration.ts";
import { formatAddress, parseAddress } from "../../src/wire/address.ts";
import { NAMES } from "../support/administered.ts";
import { IPVS_SETTINGS } from "../support/replayed.ts";

/** Text by command. */
type Moment = Readonly<Record<string, string>>;

const MOMENTS = ["founding", "ipv6"].flatMap((name) => {
  const path = new URL(`vsadm/${name}-listings.json`, import.meta.url);
  const moments = JSON.parse(readFileSync(path, "utf8")) as Record<string, Moment>;
  return Object.entries(moments).map(([moment, texts]) => [`${name} ${moment}`, texts] as const);
});

const canonical = (text: string): string => {
  const { family, words } = parseAddress(text)!;
  return formatAddress(family, words);
};

function endpointOf(address: string, port: string): Endpoint {
  const word = Number.parseInt(address, 16);
  const text = address.includes(":") ? canonical(address.replace(/[[\]]/g, "")) : formatAddress(4, [word]);
  return { address: text, port: Number.parseInt(port, 16) };
}

const counters = (numbers: readonly number[]): TrafficCounters => {
  const [connections = 0, inPackets = 0, outPackets = 0, inBytes = 0, outBytes = 0] = numbers;
  return { connections, inPackets, outPackets, inBytes, outBytes };
};

/** Five numbers by "TCP service" and "TCP service -> server". */
function readNumbers(listing: string): Map<string, TrafficCounters> {
  const found = new Map<string, TrafficCounters>();
  let service = "";
  for (const line of listing.split("\n").slice(3, -1)) {
    const [kind, name, ...numbers] = line.trim().split(/\s+/);
    if (kind !== "->") service = `${kind} ${name}`;
    found.set(kind === "->" ? `${service} -> ${name}` : service, counters(numbers.map(Number)));
  }
  return found;
}

function readServices(moment: Moment): ServiceStatus[] {
  const totals = readNumbers(moment["ipvsadm -Ln --stats --exact"]!);
  const rates = readNumbers(moment["ipvsadm -Ln --rate"]!);
  const traffic = (name: string) => ({ counters: totals.get(name)!, rates: rates.get(name)! });
  const text = ({ address, port }: Endpoint) =>
    address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  const services: (ServiceStatus & { destinations: DestinationStatus[] })[] = [];
  let name = "";
  for (const line of moment["cat /proc/net/ip_vs"]!.split("\n").slice(3, -1)) {
    const [kind, end, ...rest] = line.trim().split(/\s+/);
    const [, address, port] = /^(.*):([\dA-F]+)$/.exec(end!)!;
    const endpoint = endpointOf(address!, port!);
    if (kind !== "->") {
      name = `${kind} ${text(endpoint)}`;
      const protocol = kind!.toLowerCase() as ServiceProtocol;
      services.push({ protocol, ...endpoint, scheduler: rest[0]!, ...traffic(name), destinations: [] });
      continue;
    }
    const [, weight, activeConnections, inactiveConnections] = rest.map(Number);
    services.at(-1)!.destinations.push({
      ...endpoint,
      weight: weight!,
      activeConnections: activeConnections!,
      inactiveConnections: inactiveConnections!,
      upperThreshold: 0,
      lowerThreshold: 0,
      persistentConnections: 0,
      isOverloaded: false,
      ...traffic(`${name} -> ${text(endpoint)}`),
    });
  }
  return services;
}

const readConnections = (moment: Moment): ConnectionStatus[] =>
  moment["cat /proc/net/ip_vs_conn"]!
    .split("\n")
    .slice(1, -1)
    .map((line) => {
      const cells = line.split(/\s+/);
      const [protocol, client, clientPort, virtual, virtualPort, server, serverPort, state, expires] = cells;
      return {
        protocol: protocol!.toLowerCase() as ServiceProtocol,
        state: state!,
        client: endpointOf(client!, clientPort!),
        virtual: endpointOf(virtual!, virtualPort!),
        destination: endpointOf(server!, serverPort!),
        expiresSeconds: Number(expires),
        isTemplate: false,
      };
    });

const sum = (all: readonly TrafficCounters[]): TrafficCounters =>
  counters(
    (["connections", "inPackets", "outPackets", "inBytes", "outBytes"] as const).map((name) =>
      all.reduce((total, one) => total + one[name], 0),
    ),
  );

describe.each(MOMENTS)("%s", (_, moment) => {
  const services = readServices(moment);
  const connections = readConnections(moment);
  const status = {
    services,
    connections: { count: connections.length, max: 4096, createdCount: 0 },
    counters: sum(services.map((service) => service.counters)),
    rates: sum(services.map((service) => service.rates)),
    applications: [],
  } as unknown as DirectorStatus;
  const answers: Record<string, unknown> = {
    "/v1/status": status,
    "/v1/connections": { connections },
    "/v1/settings": { director: IPVS_SETTINGS },
    "/v1/sync-daemons": { daemons: [] },
  };
  const ask: Ask = async <T>(_method: string, path: string) => answers[path.replace(/\?.*/, "")] as T;
  const commands = Object.keys(moment).filter((command) => command.startsWith("ipvsadm"));

  test.each(commands)("%s", async (command) => {
    let printed = "";
    const io = {
      names: NAMES,
      input: async () => "",
      print: (text: string) => void (printed += text),
      complain: (text: string) => void (printed += text),
    };
    expect(await runVsadm(command.split(" ").slice(1), io, ask)).toBe(0);
    // The two readings of the connections were made one after the other.
    const timeless = (text: string) => (command === "ipvsadm -Lcn" ? text.replace(/ \d\d:\d\d /g, " ") : text);
    expect(timeless(printed)).toBe(timeless(moment[command]!));
  });

  test("vsnat export", () => {
    expect(procServices(status)).toBe(moment["cat /proc/net/ip_vs"]);
    expect(procConnections(connections)).toBe(moment["cat /proc/net/ip_vs_conn"]);
    expect(procStats(status)).toBe(moment["cat /proc/net/ip_vs_stats"]);
    expect(procApplications(status)).toBe(moment["cat /proc/net/ip_vs_app"]);
  });
});
