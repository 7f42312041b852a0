/**
 * What is measured, as plain data: one load each, started by the client and bounded in time. A reading carries the rate
 * it is compared by, and the units of work done, by which the processor time is divided.
 */
import { DATAGRAMS_PROGRAM, HTTP_PORT, IPERF_PORT, SINK_PORT, type Station } from "./station.ts";

export interface Reading {
  /** In the quantity's unit; more is better. */
  readonly rate: number;
  readonly workCount: number;
  /** Further figures for the report, by column title. */
  readonly details: Readonly<Record<string, number>>;
}

export interface Quantity {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  /** What processor time is divided by. */
  readonly work: "KB" | "datagram" | "connection" | "request";
  /** Who can be measured: everyone, those that carry UDP, those that forward inside the kernel. */
  readonly needs: "nothing" | "udp" | "forwarding";
  measure(station: Station, target: string, seconds: number): Promise<Reading>;
}

const HTTP_CONNECTIONS = 64;
const DATAGRAM_BYTES = 18;
const FLOWS = 500;
/** How long a load may take beyond its measuring time before it counts as stuck. */
const PATIENCE_MS = 30_000;

/** In one station of each director. */
export const QUANTITIES: readonly Quantity[] = [
  {
    name: "bulk-up",
    title: "Bulk TCP, client to server (iperf3, one stream)",
    unit: "Gbit/s",
    work: "KB",
    needs: "nothing",
    measure: (station, target, seconds) => bulk(station, target, seconds, []),
  },
  {
    name: "bulk-down",
    title: "Bulk TCP, server to client (iperf3 -R, one stream)",
    unit: "Gbit/s",
    work: "KB",
    needs: "nothing",
    measure: (station, target, seconds) => bulk(station, target, seconds, ["-R"]),
  },
  {
    name: "udp",
    title: `Datagrams of ${DATAGRAM_BYTES} bytes, over-driven (iperf3 -u -b 0, four streams), received`,
    unit: "packets/s",
    work: "datagram",
    needs: "udp",
    measure: iperfDatagrams,
  },
  {
    name: "udp-lean",
    title: `Datagrams of ${DATAGRAM_BYTES} bytes, over-driven (sendmmsg to a socket nobody reads), received`,
    unit: "packets/s",
    work: "datagram",
    needs: "udp",
    measure: (station, target, seconds) => leanDatagrams(station, target, seconds, 1),
  },
  {
    name: "udp-flows",
    title: `Datagrams of ${DATAGRAM_BYTES} bytes, over-driven (${FLOWS} flows in turn), received`,
    unit: "packets/s",
    work: "datagram",
    needs: "udp",
    measure: (station, target, seconds) => leanDatagrams(station, target, seconds, FLOWS),
  },
  {
    name: "connections",
    title: `New TCP connections, one HTTP request each (wrk, ${HTTP_CONNECTIONS} at a time)`,
    unit: "connections/s",
    work: "connection",
    needs: "nothing",
    measure: (station, target, seconds) => http(station, target, seconds, ["-H", "Connection: close"]),
  },
  {
    name: "requests",
    title: `HTTP requests on ${HTTP_CONNECTIONS} kept connections (wrk)`,
    unit: "requests/s",
    work: "request",
    needs: "nothing",
    measure: (station, target, seconds) => http(station, target, seconds, []),
  },
];

interface IperfReport {
  readonly error?: string;
  readonly end: {
    readonly sum_received?: { readonly bytes: number; readonly bits_per_second: number };
    readonly sum?: { readonly packets: number; readonly lost_packets: number; readonly seconds: number };
  };
}

async function iperf(
  station: Station,
  target: string,
  seconds: number,
  options: readonly string[],
): Promise<IperfReport["end"]> {
  const command = ["iperf3", "-J", "-c", target, "-p", `${IPERF_PORT}`, "-t", `${seconds}`, ...options];
  const { stdout, stderr } = await station.client.attempt(command, limit(seconds));
  if (stdout === "") throw new Error(`${command.join(" ")}: no report; ${stderr}`);
  const report = JSON.parse(stdout) as IperfReport;
  if (report.error !== undefined) throw new Error(`${command.join(" ")}: ${report.error}`);
  return report.end;
}

async function bulk(
  station: Station,
  target: string,
  seconds: number,
  options: readonly string[],
): Promise<Reading> {
  const received = (await iperf(station, target, seconds, options)).sum_received!;
  return { rate: received.bits_per_second / 1e9, workCount: received.bytes / 1000, details: {} };
}

async function iperfDatagrams(station: Station, target: string, seconds: number): Promise<Reading> {
  const options = ["-u", "-b", "0", "-l", `${DATAGRAM_BYTES}`, "-P", "4"];
  const sum = (await iperf(station, target, seconds, options)).sum!;
  const received = sum.packets - sum.lost_packets;
  return { rate: received / sum.seconds, workCount: received, details: loss(sum.packets, received) };
}

async function leanDatagrams(
  station: Station,
  target: string,
  seconds: number,
  flowCount: number,
): Promise<Reading> {
  const before = await arrivedDatagrams(station);
  const sender = [process.execPath, DATAGRAMS_PROGRAM, "send", target, `${SINK_PORT}`];
  const load = [`${DATAGRAM_BYTES}`, `${seconds}`, `${flowCount}`];
  const { stdout } = await station.client.run([...sender, ...load], limit(seconds));
  const received = (await arrivedDatagrams(station)) - before;
  const sent = Number(/sent (\d+)/.exec(stdout)?.[1]);
  return { rate: received / seconds, workCount: received, details: loss(sent, received) };
}

/** Datagrams that reached a socket of the server, read or not (RFC 4113 udpInDatagrams, and Linux's RcvbufErrors). */
async function arrivedDatagrams(station: Station): Promise<number> {
  const { stdout } = await station.server.run(["cat", "/proc/net/snmp"]);
  const [titles = [], values = []] = stdout
    .split("\n")
    .filter((line) => line.startsWith("Udp: "))
    .map((line) => line.split(" "));
  const value = (title: string): number => Number(values[titles.indexOf(title)]);
  return value("InDatagrams") + value("RcvbufErrors");
}

async function http(
  station: Station,
  target: string,
  seconds: number,
  options: readonly string[],
): Promise<Reading> {
  const load = ["-t", "1", "-c", `${HTTP_CONNECTIONS}`, "-d", `${seconds}s`, "--latency", "--timeout", "5s"];
  const url = `http://${target}:${HTTP_PORT}/`;
  const { stdout } = await station.client.run(["wrk", ...load, ...options, url], limit(seconds));
  const socketErrors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout);
  const failed = (socketErrors ?? []).slice(1).reduce((sum, count) => sum + Number(count), 0);
  const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? 0);
  return {
    rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]),
    workCount: Number(/(\d+) requests in/.exec(stdout)?.[1]),
    details: {
      "p50 ms": percentileMs(stdout, 50),
      "p99 ms": percentileMs(stdout, 99),
      errors: failed + refused,
    },
  };
}

const WRK_UNITS_MS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000 };

function percentileMs(report: string, percentile: number): number {
  const [, value, unit] = new RegExp(`${percentile}%\\s+([\\d.]+)([a-z]+)`).exec(report) ?? [];
  return Number(value) * (WRK_UNITS_MS[unit ?? ""] ?? Number.NaN);
}

const loss = (sent: number, received: number): Record<string, number> => ({
  "lost %": Math.max(0, (100 * (sent - received)) / sent),
});

const limit = (seconds: number): { timeoutMs: number } => ({ timeoutMs: seconds * 1000 + PATIENCE_MS });
