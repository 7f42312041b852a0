/**
 * One change to the host, as plain data: listed by --dry-run, written to the journal before it is made, and undone from
 * there. Interfaces go by name, because the journal is read when indexes may have changed.
 */

import { unreachable } from "../../../base/unreachable.ts";
import type { Family } from "../../../wire/address.ts";
import { MAIN_TABLE } from "../netlink/route.ts";
import type { Rule } from "../netlink/rule.ts";

export interface SysctlChange {
  readonly kind: "sysctl";
  /** Below /proc/sys: "net/ipv4/ip_forward". */
  readonly path: string;
  readonly value: string;
  /** Value to go back to; undefined when it belongs to the TUN device and goes with it. */
  readonly before?: string;
  /** Other sysctls the kernel changes by itself along with this one, and their values before. */
  readonly alongside?: Readonly<Record<string, string>>;
}

export interface LinkGroupChange {
  readonly kind: "link-group";
  readonly device: string;
  readonly group: number;
}

/** The TUN device, from the moment on when it outlives the process. */
export interface DeviceChange {
  readonly kind: "device";
  readonly device: string;
  /** Its interface index: another device of the same name has another. */
  readonly index: number;
}

export interface RouteChange {
  readonly kind: "route";
  readonly family: Family;
  readonly destination: string;
  readonly prefixLength: number;
  readonly table: number;
  readonly device: string;
  readonly protocol: number;
}

export interface RuleChange {
  readonly kind: "rule";
  readonly rule: Rule;
}

export interface ProxyChange {
  readonly kind: "proxy";
  readonly family: Family;
  readonly address: string;
  readonly device: string;
  readonly protocol: number;
}

export type HostChange =
  | DeviceChange
  | SysctlChange
  | LinkGroupChange
  | RouteChange
  | RuleChange
  | ProxyChange;

/** Equal for changes with the same effect, whatever was there before. */
export function changeKey(change: HostChange): string {
  if (change.kind !== "sysctl") return JSON.stringify(change);
  return JSON.stringify({ kind: change.kind, path: change.path, value: change.value });
}

/** The command an operator would type. */
export function describe(change: HostChange): string {
  switch (change.kind) {
    case "sysctl": {
      const was = change.before === undefined ? "" : `   # was ${change.before}`;
      return `sysctl -w ${sysctlName(change.path)}=${change.value}${was}`;
    }
    case "device":
      return `ip tuntap add dev ${change.device} mode tun`;
    case "link-group":
      return `ip link set dev ${change.device} group ${change.group}`;
    case "route": {
      const { family, prefixLength, destination, device, table, protocol } = change;
      const to = prefixLength === 0 ? "default" : `${destination}/${prefixLength}`;
      const where = table === MAIN_TABLE ? "" : ` table ${table}`;
      return `${ip(family)} route add ${to} dev ${device}${where} proto ${protocol}`;
    }
    case "rule":
      return `${ip(change.rule.family)} rule add ${describeRule(change.rule)}`;
    case "proxy":
      return `${ip(change.family)} neighbour add proxy ${change.address} dev ${change.device} protocol ${change.protocol}`;
    default:
      return unreachable(change);
  }
}

function describeRule(rule: Rule): string {
  const words = [`priority ${rule.priority}`];
  if (rule.from !== undefined) words.push(`from ${rule.from}`);
  if (rule.inputDevice !== undefined) words.push(`iif ${rule.inputDevice}`);
  if (rule.ipProtocol !== undefined) words.push(`ipproto ${rule.family === 4 ? "icmp" : "ipv6-icmp"}`);
  if (rule.action === "unreachable") words.push("unreachable");
  else words.push(`lookup ${rule.table === MAIN_TABLE ? "main" : rule.table}`);
  if (rule.suppressGroup !== undefined) words.push(`suppress_ifgroup ${rule.suppressGroup}`);
  words.push(`protocol ${rule.protocol}`);
  return words.join(" ");
}

const ip = (family: Family): string => (family === 4 ? "ip" : "ip -6");

/** sysctl(8) separates with dots, and writes a dot inside an interface's name as a slash. */
const sysctlName = (path: string): string =>
  path.replace(/[/.]/g, (separator) => (separator === "/" ? "." : "/"));
