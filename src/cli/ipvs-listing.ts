/**
 * Listings as ipvsadm 1.31 prints them, column by column, trailing blanks included, so that scripts and exporters that
 * read them keep working. Pure: status in, lines out. Addresses and ports are always numbers (ipvsadm's -n).
 */
import { formatEndpoint } from "../control/config/endpoint.ts";
import type {
  ConnectionStatus,
  DestinationStatus,
  ServiceStatus,
  TrafficCounters,
} from "../control/director-status.ts";
import { parseAddress } from "../wire/address.ts";

export type ListVariant = "plain" | "stats" | "rate" | "thresholds" | "persistent-conn";

export interface ListOptions {
  readonly variant: ListVariant;
  /** Full numbers instead of 123K. */
  readonly isExact: boolean;
  /** Services in the director's order, servers newest first, as the kernel keeps them. */
  readonly isUnsorted: boolean;
}

const NAME_CHARACTERS = 28;
/** "  -> " or "TCP  " in front of the name. */
const PREFIXED_CHARACTERS = 5 + NAME_CHARACTERS;

const HEADERS: Readonly<Record<ListVariant, string>> = {
  plain:
    "Prot LocalAddress:Port Scheduler Flags\n" +
    "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
  stats:
    "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port",
  rate: "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  -> RemoteAddress:Port",
  thresholds:
    "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  -> RemoteAddress:Port",
  "persistent-conn":
    "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  -> RemoteAddress:Port",
};

/** `IP Virtual Server version 1.2.1 (size=N)`: the protocol version that these layouts belong to. */
export const banner = (connectionsMax: number): string =>
  `IP Virtual Server version 1.2.1 (size=${connectionsMax})`;

/** The listing behind the banner. */
export function listServices(services: readonly ServiceStatus[], options: ListOptions): string[] {
  const ordered = options.isUnsorted ? services : [...services].sort(compareServices);
  return [
    ...HEADERS[options.variant].split("\n"),
    ...ordered.flatMap((service) => {
      const { destinations } = service;
      const servers = options.isUnsorted ? destinations : [...destinations].sort(compareEndpoints);
      return [serviceLine(service, options), ...servers.map((server) => serverLine(server, options))];
    }),
  ];
}

function serviceLine(service: ServiceStatus, { variant, isExact }: ListOptions): string {
  const name = `${service.protocol.toUpperCase().padEnd(4)} ${endpoint(service, PREFIXED_CHARACTERS - 5)}`;
  if (variant === "stats") return name.padEnd(PREFIXED_CHARACTERS) + largeNumbers(service.counters, isExact);
  if (variant === "rate") return name.padEnd(PREFIXED_CHARACTERS) + largeNumbers(service.rates, isExact);
  const flags = service.schedulerFlags ?? [];
  return `${name} ${service.scheduler}${flags.length > 0 ? ` (${flags.join(",")})` : ""}`;
}

function serverLine(server: DestinationStatus, { variant, isExact }: ListOptions): string {
  const name = `  -> ${endpoint(server, NAME_CHARACTERS).padEnd(NAME_CHARACTERS)}`;
  const { weight, activeConnections, inactiveConnections, upperThreshold, lowerThreshold } = server;
  const connections = `${column(activeConnections, 10)} ${column(inactiveConnections, 10)}`;
  switch (variant) {
    case "plain":
      return `${name} ${"Masq".padEnd(7)} ${column(weight, 6)} ${connections}`;
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
      return `${name} ${column(weight, 9)} ${column(0, 11)} ${connections}`;
  }
}

/** `ipvsadm -Lnc`. */
export function listConnections(connections: readonly ConnectionStatus[]): string[] {
  return [
    "IPVS connection entries",
    "pro expire state       source             virtual            destination",
    ...connections.map(({ protocol, expiresSeconds, state, client, virtual, destination }) => {
      const minutes = String(Math.floor(expiresSeconds / 60)).padStart(2, "0");
      const seconds = String(expiresSeconds % 60).padStart(2, "0");
      const [source, service, server] = [client, virtual, destination].map((one) => endpoint(one));
      return (
        `${protocol.toUpperCase().padEnd(3)} ${minutes}:${seconds}  ${state.padEnd(11)} ` +
        `${source!.padEnd(18)} ${service!.padEnd(18)} ${server}`
      );
    }),
  ];
}

const column = (value: number, width: number): string => String(value).padEnd(width);

/** IPv4 text is cut, IPv6 never. */
function endpoint({ address, port }: { address: string; port: number }, charactersMax = Infinity): string {
  const text = formatEndpoint(address, port);
  return address.includes(":") ? text : text.slice(0, charactersMax);
}

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

interface Addressed {
  readonly address: string;
  readonly port: number;
}

const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;

/** Family, protocol, address, port. */
function compareServices(a: ServiceStatus, b: ServiceStatus): number {
  return (
    Number(a.address.includes(":")) - Number(b.address.includes(":")) ||
    PROTOCOL_NUMBERS[a.protocol] - PROTOCOL_NUMBERS[b.protocol] ||
    compareEndpoints(a, b)
  );
}

/** Addresses, then ports. IPv4 as ipvsadm compares: the difference as a signed 32-bit number. */
function compareEndpoints(a: Addressed, b: Addressed): number {
  const [left, right] = [parseAddress(a.address)!, parseAddress(b.address)!];
  if (left.family === 4 && right.family === 4)
    return (left.words[0]! - right.words[0]!) | 0 || a.port - b.port;
  for (let index = 0; index < 4; index++) {
    const difference = (left.words[index]! >>> 0) - (right.words[index]! >>> 0);
    if (difference !== 0) return difference;
  }
  return a.port - b.port;
}
