/**
 * Listings as ipvsadm 1.31 prints them, column by column, trailing blanks included, so that scripts and exporters that
 * read them keep working. Pure: status in, lines out.
 */
import type {
  ConnectionStatus,
  DestinationStatus,
  Endpoint,
  ServiceStatus,
  TrafficCounters,
} from "../../control/director-status.ts";
import type { ServiceProtocol } from "../../nat/configuration.ts";
import { inOrder } from "./scheduler-flags.ts";
import { byDestination, byService } from "./sorting.ts";

export type ListVariant = "plain" | "stats" | "rate" | "thresholds" | "persistent-conn" | "tun-info";

export interface ListFormat {
  readonly variant: ListVariant;
  /** Addresses and ports as numbers, not names. */
  readonly isNumeric: boolean;
  /** Full numbers instead of 123K. */
  readonly isExact: boolean;
  /** Services in the director's order, servers newest first, as the kernel keeps them. */
  readonly isUnsorted: boolean;
  readonly isJson: boolean;
}

/** How an endpoint is written: in numbers or names. Protocol undefined: its ports have no names. */
export type Label = (endpoint: Endpoint, protocol: ServiceProtocol | undefined) => string;

/** GET /v1/sync-daemons */
export interface SyncDaemonStatus {
  readonly role: "master" | "backup";
  readonly interface: string;
  readonly syncId: number;
  readonly group: string;
  readonly port: number;
  readonly ttl: number;
  readonly maxLength: number;
}

const NAME_CHARACTERS = 28;
/** "  -> " or "TCP  " in front of the name. */
const PREFIXED_CHARACTERS = 5 + NAME_CHARACTERS;

const SERVER_TITLE = "  -> RemoteAddress:Port";
const HEADERS: Readonly<Record<ListVariant, readonly string[]>> = {
  plain: [
    "Prot LocalAddress:Port Scheduler Flags",
    `${SERVER_TITLE}           Forward Weight ActiveConn InActConn`,
  ],
  stats: ["Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes", SERVER_TITLE],
  rate: ["Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS", SERVER_TITLE],
  thresholds: ["Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn ", SERVER_TITLE],
  "persistent-conn": [
    "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn ",
    SERVER_TITLE,
  ],
  "tun-info": [
    "Prot LocalAddress:Port Scheduler Flags",
    `${SERVER_TITLE}           Forward TunnelInfo    Weight ActiveConn InActConn`,
  ],
};

/** `IP Virtual Server version 1.2.1 (size=N)`: the protocol version that these layouts belong to. */
export const banner = (connectionsMax: number): string =>
  `IP Virtual Server version 1.2.1 (size=${connectionsMax})`;

/** The listing behind the banner. */
export function listServices(services: readonly ServiceStatus[], format: ListFormat, label: Label): string[] {
  const ordered = format.isUnsorted ? services : services.toSorted(byService);
  return [
    ...HEADERS[format.variant],
    ...ordered.flatMap((service) => {
      const { destinations } = service;
      const servers = format.isUnsorted ? destinations : destinations.toSorted(byDestination);
      const protocol = protocolOf(service);
      return [
        serviceLine(service, format, label),
        ...servers.map((server) => serverLine(server, format, cut(server, label(server, protocol)))),
      ];
    }),
  ];
}

/** Whose names of ports are shown: a mark service has no protocol. */
export const protocolOf = ({ protocol }: ServiceStatus): ServiceProtocol | undefined =>
  protocol === "fwmark" ? undefined : protocol;

/** Port ranges, which ipvsadm does not know, as "80-89". */
export function serviceEndpoint(service: ServiceStatus, label: Label): string {
  const range = service.lastPort === undefined ? "" : `-${service.lastPort}`;
  return label(service, range === "" ? protocolOf(service) : undefined) + range;
}

function serviceLine(service: ServiceStatus, { variant, isExact }: ListFormat, label: Label): string {
  const name =
    service.protocol === "fwmark"
      ? `FWM  ${service.mark}${isIpv6(service) ? " IPv6" : ""}`
      : `${service.protocol.toUpperCase().padEnd(4)} ${cut(service, serviceEndpoint(service, label))}`;
  if (variant === "stats") return name.padEnd(PREFIXED_CHARACTERS) + largeNumbers(service.counters, isExact);
  if (variant === "rate") return name.padEnd(PREFIXED_CHARACTERS) + largeNumbers(service.rates, isExact);
  const { scheduler, persistence, isOnePacket } = service;
  const flags = inOrder(service.schedulerFlags ?? [], scheduler);
  return [
    name,
    scheduler,
    ...(flags.length > 0 ? [`(${flags.join(",")})`] : []),
    ...(persistence === undefined ? [] : [`persistent ${persistence.timeout}`]),
    ...(persistence?.netmask === undefined ? [] : [`mask ${persistence.netmask}`]),
    ...(persistence?.engine === undefined ? [] : [`pe ${persistence.engine}`]),
    ...(isOnePacket ? ["ops"] : []),
  ].join(" ");
}

function serverLine(server: DestinationStatus, { variant, isExact }: ListFormat, label: string): string {
  const name = `  -> ${label.padEnd(NAME_CHARACTERS)}`;
  const { weight, activeConnections, inactiveConnections, upperThreshold, lowerThreshold } = server;
  const connections = `${column(activeConnections, 10)} ${column(inactiveConnections, 10)}`;
  const forward = "Masq".padEnd(7);
  switch (variant) {
    case "plain":
      return `${name} ${forward} ${column(weight, 6)} ${connections}`;
    case "tun-info":
      return `${name} ${forward} ${"n/a".padEnd(13)} ${column(weight, 6)} ${connections}`;
    case "stats":
      return name + largeNumbers(server.counters, isExact);
    case "rate": {
      const { connections: perSecond, inPackets, outPackets, inBytes, outBytes } = server.rates;
      const plain = [perSecond, inPackets, outPackets].map((value) => ` ${String(value).padStart(8)}`);
      return `${name}${plain.join("")}${largeNumber(inBytes, isExact)}${largeNumber(outBytes, isExact)}`;
    }
    case "thresholds":
      return `${name} ${column(upperThreshold, 10)} ${column(lowerThreshold, 10)} ${connections}`;
    case "persistent-conn":
      return `${name} ${column(weight, 9)} ${column(server.persistentConnections, 11)} ${connections}`;
  }
}

/** Protocols whose ports have no names. */
const NAMELESS: readonly ConnectionStatus["protocol"][] = ["ip", "icmp", "gre"];

/**
 * `ipvsadm -Lc`.
 * @param withEngine - `--persistent-conn`: what a persistence engine pins by, in two more columns
 */
export function listConnections(
  connections: readonly ConnectionStatus[],
  withEngine: boolean,
  label: Label,
): string[] {
  const titles = ["pro", "expire", "state", "source", "virtual", "destination"];
  return [
    "IPVS connection entries",
    withEngine ? `${connectionRow(titles, 18)} ${"pe name".padEnd(16)} pe_data` : connectionRow(titles, 0),
    ...connections.map((one) => {
      const { protocol, expiresSeconds, state, client, virtual, destination, engine } = one;
      const minutes = String(Math.floor(expiresSeconds / 60)).padStart(2, "0");
      const seconds = String(expiresSeconds % 60).padStart(2, "0");
      const named = NAMELESS.includes(protocol) ? undefined : (protocol as ServiceProtocol);
      const endpoints = [client, virtual, destination].map((endpoint) => label(endpoint, named));
      const cells = [protocol.toUpperCase(), `${minutes}:${seconds}`, state, ...endpoints];
      if (!withEngine || engine === undefined) return connectionRow(cells, 0);
      return `${connectionRow(cells, 16)} ${engine.name.padEnd(18)} ${engine.data}`;
    }),
  ];
}

function connectionRow(cells: readonly string[], lastCharacters: number): string {
  const widths = [3, 6, 11, 18, 18, lastCharacters];
  return cells.map((cell, index) => cell.padEnd(widths[index]!)).join(" ");
}

/** `ipvsadm -L --daemon`: one line each, masters first. */
export const listDaemons = (daemons: readonly SyncDaemonStatus[]): string[] =>
  daemons
    .toSorted((a, b) => Number(a.role === "backup") - Number(b.role === "backup"))
    .map(
      (one) =>
        `${one.role} sync daemon (mcast=${one.interface}, syncid=${one.syncId}, maxlen=${one.maxLength}, ` +
        `group=${one.group}, port=${one.port}, ttl=${one.ttl})`,
    );

const column = (value: number, width: number): string => String(value).padEnd(width);

/** IPv4 text is cut, IPv6 never. */
const cut = (endpoint: Endpoint, text: string): string =>
  isIpv6(endpoint) ? text : text.slice(0, NAME_CHARACTERS);

const isIpv6 = ({ address }: { readonly address: string }): boolean => address.includes(":");

const largeNumbers = (counters: TrafficCounters, isExact: boolean): string =>
  [counters.connections, counters.inPackets, counters.outPackets, counters.inBytes, counters.outBytes]
    .map((value) => largeNumber(value, isExact))
    .join("");

/** Nine columns: eight digits, or eight and a decimal unit, cut off rather than rounded. */
export function largeNumber(value: number, isExact: boolean): string {
  const digits = String(value);
  if (isExact) return digits.length <= 8 ? digits.padStart(9) : ` ${digits}`;
  if (value < 1e8) return digits.padStart(9);
  const [divisor, unit] =
    value < 1e9 ? [1e3, "K"] : value < 1e11 ? [1e6, "M"] : value < 1e14 ? [1e9, "G"] : [1e12, "T"];
  return String(Math.floor(value / (divisor as number))).padStart(8) + unit;
}
