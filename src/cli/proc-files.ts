/**
 * The kernel's files of IPVS in /proc/net, as they would be of this director: for exporters and scripts that read them.
 * Numbers are hexadecimal, host order. Pure: status in, text out.
 */
import type {
  ConnectionStatus,
  DirectorStatus,
  ServiceStatus,
  TrafficCounters,
} from "../control/director-status.ts";
import { bracketed, parseAddress } from "../wire/address.ts";
import { banner } from "./vsadm/listing.ts";

/** What the kernel counts persistence in; it depends on how it was built, and is often 250 or 1000 instead. */
const JIFFIES_PER_SECOND = 100;

/** /proc/net/ip_vs */
export function procServices({ services, connections }: DirectorStatus): string {
  return lines(
    banner(connections.max),
    "Prot LocalAddress:Port Scheduler Flags",
    "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn",
    ...services.filter(({ protocol }) => protocol !== "fwmark").flatMap(serviceLines),
    ...services.filter(({ protocol }) => protocol === "fwmark").flatMap(serviceLines),
  );
}

function serviceLines(service: ServiceStatus): string[] {
  const { protocol, mark, scheduler, isOnePacket, persistence, destinations } = service;
  const isMark = protocol === "fwmark";
  const isIpv6 = service.address.includes(":");
  const name = isMark ? `FWM  ${hex(mark!, 8)}` : `${protocol.toUpperCase()}  ${endpointHex(service)}`;
  const onePacket = isIpv6 && !isMark ? "" : `${isOnePacket ? "ops " : ""}${isMark ? "" : " "}`;
  const persistent =
    persistence === undefined
      ? ""
      : `persistent ${persistence.timeout * JIFFIES_PER_SECOND} ${maskHex(persistence.netmask, isIpv6)}`;
  return [
    `${name} ${scheduler} ${onePacket}${persistent}`,
    ...destinations.map((server) => {
      const { weight, activeConnections, inactiveConnections } = server;
      const counts = [weight, activeConnections, inactiveConnections].map(String);
      const [first, second, third] = [counts[0]!.padEnd(6), counts[1]!.padEnd(10), counts[2]!.padEnd(10)];
      return `  -> ${endpointHex(server)}      ${"Masq".padEnd(7)} ${first} ${second} ${third}`;
    }),
  ];
}

/** Of IPv6, the prefix length, in the wrong byte order as the kernel shows it. */
function maskHex(netmask: string | undefined, isIpv6: boolean): string {
  if (isIpv6) return hex((Number(netmask ?? 128) << 24) >>> 0, 8);
  return netmask === undefined ? "FFFFFFFF" : addressHex(netmask);
}

/** /proc/net/ip_vs_conn */
export const procConnections = (connections: readonly ConnectionStatus[]): string =>
  lines(
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData",
    ...connections.map((connection) => {
      const { expiresSeconds, engine } = connection;
      const row = [...connectionColumns(connection), pad(expiresSeconds, 7)];
      return [...row, ...(engine === undefined ? [] : [engine.name, engine.data])].join(" ");
    }),
  );

/** /proc/net/ip_vs_conn_sync */
export const procConnectionOrigins = (connections: readonly ConnectionStatus[]): string =>
  lines(
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires",
    ...connections.map((connection) => {
      const origin = connection.isSynchronised ? "SYNC" : "LOCAL";
      return [...connectionColumns(connection), origin.padEnd(6), pad(connection.expiresSeconds, 7)].join(
        " ",
      );
    }),
  );

/** Protocol, the three ends, state. */
const connectionColumns = ({ protocol, client, virtual, destination, state }: ConnectionStatus): string[] => [
  protocol.toUpperCase().padEnd(3),
  ...[client, virtual, destination].map(({ address, port }) => `${addressHex(address)} ${hex(port, 4)}`),
  state.padEnd(11),
];

const TITLE = "   Total Incoming Outgoing         Incoming         Outgoing";
const UNITS = "   Conns  Packets  Packets            Bytes            Bytes";
const RATE_UNITS = " Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s";

/** /proc/net/ip_vs_stats */
export const procStats = ({ counters, rates }: DirectorStatus): string =>
  lines(TITLE, UNITS, numbers(counters), "", RATE_UNITS, numbers(rates));

/** /proc/net/ip_vs_stats_percpu: one processor has it all. */
export const procStatsPerProcessor = ({ counters, rates }: DirectorStatus): string =>
  lines(
    `    ${TITLE}`,
    `CPU ${UNITS}`,
    `  0 ${numbers(counters)}`,
    `  ~ ${numbers(counters)}`,
    "",
    `    ${RATE_UNITS}`,
    `    ${numbers(rates)}`,
  );

/** /proc/net/ip_vs_app: the modules that services have, by port. */
export const procApplications = ({ services, applications }: DirectorStatus): string =>
  lines(
    "prot port    usecnt name",
    ...applications.flatMap(({ name, ports }) => {
      const configured = services.filter(({ app, port }) => app === name && port !== 0);
      const all = new Set([...configured, ...ports].map(({ protocol, port }) => `${protocol} ${port}`));
      return [...all].map((key) => {
        const [protocol = "", port = ""] = key.split(" ");
        const count = ports.find((one) => key === `${one.protocol} ${one.port}`)?.connections ?? 0;
        return `${protocol.toUpperCase().padEnd(4)} ${port.padEnd(7)} ${String(count).padEnd(6)} ${name.padEnd(17)}`;
      });
    }),
  );

const numbers = ({ connections, inPackets, outPackets, inBytes, outBytes }: TrafficCounters): string =>
  [
    ...[connections, inPackets, outPackets].map((value) => hex(value, 1).padStart(8)),
    ...[inBytes, outBytes].map((value) => hex(value, 1).padStart(16)),
  ].join(" ");

/** IPv4 as one number, IPv6 in full. */
function addressHex(address: string): string {
  const { family, words } = parseAddress(address)!;
  if (family === 4) return hex(words[0]! >>> 0, 8);
  const groups = [...words].flatMap((word) => [word >>> 16, word & 0xffff]);
  return groups.map((group) => hex(group, 4).toLowerCase()).join(":");
}

function endpointHex({ address, port }: { readonly address: string; readonly port: number }): string {
  const text = addressHex(address);
  return `${bracketed(text)}:${hex(port, 4)}`;
}

const hex = (value: number, digits: number): string => value.toString(16).toUpperCase().padStart(digits, "0");
const pad = (value: number, characters: number): string => String(value).padStart(characters);
const lines = (...all: readonly string[]): string => all.map((line) => `${line}\n`).join("");
