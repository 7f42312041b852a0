/**
 * Addresses and ports as text: `202.103.106.5:80`, `[2001:db8::1]:80`, `tcp://202.103.106.5:80`, `tcp://202.103.106.5:*`.
 *
 * Addresses come out in canonical form (RFC 5952 for IPv6, without brackets). Names are not resolved: a balancer whose
 * configuration depends on DNS starts only when DNS works. Ports are always numbers for the same reason.
 */
import { BlockList } from "node:net";
import type { ServiceConfig, ServiceKey, ServiceProtocol } from "../../nat/configuration.ts";
import { bracketed, formatAddress, parseAddress as parseIp } from "../../wire/address.ts";
import type { Parsed } from "./parsed.ts";

export type AddressFamily = "ipv4" | "ipv6";

export interface EndpointText {
  readonly address: string;
  readonly family: AddressFamily;
  /** 1..65535; undefined when the text named none. */
  readonly port: number | undefined;
}

export interface ListenText extends ServiceKey, Pick<ServiceConfig, "lastPort"> {
  readonly family: AddressFamily;
}

export const SERVICE_PROTOCOLS = ["tcp", "udp", "sctp"] as const satisfies readonly ServiceProtocol[];

/** For editors; the parsers below are the judges. */
export const LISTEN_PATTERN =
  "^((tcp|udp|sctp)://(\\d+\\.\\d+\\.\\d+\\.\\d+|\\[[0-9A-Fa-f:.]+\\]):(\\d+(-\\d+)?|\\*)|fwmark6?://\\d+)$";
export const SERVER_PATTERN = "^(\\d+\\.\\d+\\.\\d+\\.\\d+|\\[[0-9A-Fa-f:.]+\\])(:\\d+)?$";

/** Addresses that no router forwards to one host: RFC 1122 section 3.2.1.3, RFC 3927, RFC 4291 section 2.4. */
const NOT_UNICAST: Readonly<Record<AddressFamily, BlockList>> = {
  ipv4: new BlockList(),
  ipv6: new BlockList(),
};
NOT_UNICAST.ipv4.addSubnet("0.0.0.0", 8);
NOT_UNICAST.ipv4.addSubnet("127.0.0.0", 8);
NOT_UNICAST.ipv4.addSubnet("169.254.0.0", 16);
NOT_UNICAST.ipv4.addSubnet("224.0.0.0", 3); // multicast, reserved, broadcast
NOT_UNICAST.ipv6.addSubnet("::", 127, "ipv6"); // unspecified and loopback
NOT_UNICAST.ipv6.addSubnet("::ffff:0:0", 96, "ipv6"); // IPv4-mapped: write the IPv4 address
NOT_UNICAST.ipv6.addSubnet("fe80::", 10, "ipv6");
NOT_UNICAST.ipv6.addSubnet("ff00::", 8, "ipv6");

const ADDRESS_WANTED = "an IPv4 address, or an IPv6 address in brackets (names are not resolved)";

/** @param text - an address, IPv6 without brackets */
export function parseAddress(text: string): Parsed<{ address: string; family: AddressFamily }> {
  const parsed = parseIp(text);
  if (parsed === undefined) return { wanted: ADDRESS_WANTED };
  const family = parsed.family === 4 ? "ipv4" : "ipv6";
  const address = formatAddress(parsed.family, parsed.words);
  if (NOT_UNICAST[family].check(address, family)) {
    return {
      wanted:
        "a unicast address that routers forward (not loopback, link-local, multicast, broadcast or 0.0.0.0)",
    };
  }
  return { value: { address, family } };
}

/** @param text - `ADDRESS`, `ADDRESS:PORT`, `[IPV6]` or `[IPV6]:PORT` */
export function parseEndpoint(text: string): Parsed<EndpointText> {
  if (isIpv6(text)) return { wanted: `the IPv6 address in brackets, as in "[${text}]:80"` };
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/s.exec(text);
  if (match === null) return { wanted: "ADDRESS:PORT, as in 172.16.0.2:80 or [fd00::2]:80" };
  const [, bracketed, bare, portText] = match;
  if (bracketed !== undefined && !isIpv6(bracketed))
    return { wanted: "an IPv6 address between the brackets" };
  const parsed = parseAddress(bracketed ?? bare ?? "");
  if ("wanted" in parsed) return parsed;
  if (portText === undefined) return { value: { ...parsed.value, port: undefined } };
  const port = parsePort(portText);
  return port === undefined
    ? { wanted: "a port from 1 to 65535 after the address" }
    : { value: { ...parsed.value, port } };
}

/** Largest firewall mark; 0 means none. */
export const MARK_MAX = 0xffff_ffff;

/** @param text - `PROTOCOL://ADDRESS:PORT`, with `FIRST-LAST` or `*` in place of the port, or `fwmark://MARK` */
export function parseListen(text: string): Parsed<ListenText> {
  const match = /^([^:]*):\/\/(.*)$/s.exec(text);
  if (match === null) return { wanted: "PROTOCOL://ADDRESS:PORT, as in tcp://202.103.106.5:80" };
  if (match[1] === "fwmark" || match[1] === "fwmark6") return parseMark(match[1], match[2]!);
  const protocol = SERVICE_PROTOCOLS.find((name) => name === match[1]);
  if (protocol === undefined)
    return { wanted: "the protocol tcp, udp, sctp, fwmark or fwmark6 (firewall marks) before ://" };
  const [, addressText, portsText] = /^(.*):(\*|\d+-\d+)$/s.exec(match[2]!) ?? [];
  const endpoint = parseEndpoint(addressText ?? match[2]!);
  if ("wanted" in endpoint) return endpoint;
  const { address, family, port } = endpoint.value;
  if (portsText === "*" && port === undefined) return { value: { protocol, address, family, port: 0 } };
  const [first, last] = portsText?.split("-").map(parsePort) ?? [port, port];
  if (
    first === undefined ||
    last === undefined ||
    last < first ||
    (portsText !== undefined && port !== undefined)
  )
    return { wanted: "a port after the address, as in tcp://202.103.106.5:80, or 8000-8010, or * for all" };
  return { value: { protocol, address, family, port: first, ...(last === first ? {} : { lastPort: last }) } };
}

function parseMark(scheme: "fwmark" | "fwmark6", text: string): Parsed<ListenText> {
  const mark = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  if (mark < 1 || mark > MARK_MAX) return { wanted: `a mark from 1 to ${MARK_MAX} after ${scheme}://` };
  const place =
    scheme === "fwmark"
      ? ({ address: "0.0.0.0", family: "ipv4" } as const)
      : ({ address: "::", family: "ipv6" } as const);
  return { value: { protocol: "fwmark", ...place, port: 0, mark } };
}

/** A service as `listen` says it: `tcp://202.103.106.5:80`, `fwmark6://7`. */
export function formatListen({
  protocol,
  address,
  port,
  lastPort,
  mark,
}: ServiceKey & { readonly lastPort?: number }): string {
  if (protocol === "fwmark") return `${address.includes(":") ? "fwmark6" : "fwmark"}://${mark}`;
  const ports = port === 0 ? "*" : lastPort === undefined ? `${port}` : `${port}-${lastPort}`;
  return `${protocol}://${bracketed(address)}:${ports}`;
}

/** Port of a server that names none: the service's, or 0, the client's, where the service has more than one. */
export const defaultPort = ({ port, lastPort }: Pick<ListenText, "port" | "lastPort">): number =>
  lastPort === undefined ? port : 0;

function parsePort(text: string): number | undefined {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}

/** `ADDRESS:PORT`, IPv6 in brackets. */
export const formatEndpoint = (address: string, port: number): string => `${bracketed(address)}:${port}`;

const isIpv6 = (text: string): boolean => parseIp(text)?.family === 6;
