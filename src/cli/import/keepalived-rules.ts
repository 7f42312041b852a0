/**
 * What keepalived.conf says about IPVS (keepalived.conf(5)), as vsadm's edits: virtual_server and virtual_server_group, and
 * lvs_timeouts of global_defs. What watches the servers has no counterpart in this version: every server counts as up.
 */
import { isIPv4 } from "node:net";
import { PERSISTENCE_SECONDS } from "../../control/config/quantity.ts";
import type { ServiceAttributes } from "../../control/edit.ts";
import type { SchedulerFlag, ServiceKey, ServiceProtocol } from "../../nat/configuration.ts";
import { SCHEDULERS } from "../../schedulers/registry.ts";
import { type Address, formatAddress, parseAddress } from "../../wire/address.ts";
import { Refusal } from "../vsadm/refusal.ts";
import { parseSchedulerFlags } from "../vsadm/scheduler-flags.ts";
import { AS_MASQUERADING, type ImportedLine } from "./imported-line.ts";
import { parseKeepalived, type Statement } from "./keepalived-text.ts";

const RANGE_ADDRESSES_MAX = 4096;

const NO_PROTOCOL = "it names no protocol: becomes tcp (keepalived 2.2 takes UDP, later versions TCP)";
const NO_CHECKS = "this version does not watch servers: every one counts as up";
const NOT_OURS = "not about balancing; keepalived can go on doing it";
const NOT_WORKED_OUT =
  "definitions, ~SEQ and lines for certain hosts are not worked out: write what they stand for";

/** @throws ImportError */
export function readKeepalived(text: string, file: string): ImportedLine[] {
  const statements = parseKeepalived(text, file);
  const groups = new Map<string, Statement[]>();
  for (const { words, block } of statements)
    if (words[0] === "virtual_server_group") groups.set(words[1] ?? "", block ?? []);
  return statements.flatMap((statement) => readStatement(statement, groups));
}

function readStatement(statement: Statement, groups: ReadonlyMap<string, Statement[]>): ImportedLine[] {
  switch (statement.words[0]) {
    case "virtual_server":
      return readVirtualServer(statement, groups);
    case "virtual_server_group":
      return [mapped(statement)];
    case "global_defs":
    case "static":
      return [mapped(statement), ...(statement.block ?? []).map(readGlobal)];
    default:
      return [without(statement, NOT_OURS)];
  }
}

function readGlobal(statement: Statement): ImportedLine {
  const [keyword, ...values] = statement.words;
  switch (keyword) {
    case "lvs_timeouts": {
      const seconds = { tcp: 0, tcpFin: 0, udp: 0 };
      const names = { tcp: "tcp", tcpfin: "tcpFin", udp: "udp" } as const;
      for (let at = 0; at < values.length; at += 2) {
        const name = names[values[at] as keyof typeof names];
        const value = wholeOf(values[at + 1]);
        if (name === undefined || value === undefined)
          return refused(statement, "expected tcp, tcpfin or udp, each with seconds");
        seconds[name] = value;
      }
      return { ...mapped(statement), edits: [{ kind: "set-timeouts", ...seconds }] };
    }
    case "lvs_sync_daemon":
      return refused(
        statement,
        "synchronisation is no part of the configuration file: vsadm --start-daemon while it runs",
      );
    case "lvs_flush":
    case "lvs_flush_on_stop":
      return { ...mapped(statement), remarks: ["as it is always: services live and end with vsnat"] };
    default:
      return without(statement, NOT_OURS);
  }
}

/** A virtual_server block, while it is read. */
class VirtualServerBlock {
  readonly lines: ImportedLine[] = [];
  scheduler = "wlc";
  flags: string[] = [];
  protocol: ServiceProtocol | undefined;
  persistence: { timeout?: number; netmask?: string; engine?: "sip" } | undefined;
  isOnePacket = false;
  isIpv6 = false;
  method = "NAT";
  weight = 1;

  constructor(block: readonly Statement[]) {
    for (const statement of block) if (statement.words[0] !== "real_server") this.#read(statement);
  }

  #read(statement: Statement): void {
    const [keyword, value] = statement.words;
    const remarks: string[] = [];
    switch (keyword) {
      case "lvs_sched":
      case "lb_algo":
        this.scheduler = value ?? "";
        if (!Object.hasOwn(SCHEDULERS, this.scheduler)) {
          remarks.push(`there is no scheduler "${this.scheduler}": becomes wlc`);
          this.scheduler = "wlc";
        }
        break;
      case "lvs_method":
      case "lb_kind":
        this.method = value ?? "NAT";
        if (this.method !== "NAT") remarks.push(AS_MASQUERADING);
        break;
      case "protocol": {
        const protocol = value?.toLowerCase();
        if (protocol !== "tcp" && protocol !== "udp" && protocol !== "sctp") {
          this.lines.push(refused(statement, "expected TCP, UDP or SCTP"));
          return;
        }
        this.protocol = protocol;
        break;
      }
      case "persistence_timeout":
        this.persistence = { ...this.persistence, timeout: wholeOf(value) ?? PERSISTENCE_SECONDS };
        break;
      case "persistence_granularity":
        if (value === undefined || !(isIPv4(value) || /^\d{1,3}$/.test(value))) {
          this.lines.push(
            refused(statement, "expected a mask such as 255.255.255.0, or an IPv6 prefix length"),
          );
          return;
        }
        this.persistence = { ...this.persistence, netmask: value };
        break;
      case "persistence_engine":
        if (value !== "sip") {
          this.lines.push(refused(statement, "expected sip"));
          return;
        }
        this.persistence = { ...this.persistence, engine: value };
        break;
      case "ops":
        this.isOnePacket = true;
        break;
      case "ip_family":
        this.isIpv6 = value === "inet6";
        break;
      case "weight":
        this.weight = wholeOf(value) ?? 1;
        break;
      case "sh-port":
      case "sh-fallback":
      case "mh-port":
      case "mh-fallback":
      case "flag-1":
      case "flag-2":
      case "flag-3":
        this.flags.push(keyword);
        break;
      default:
        this.lines.push(without(statement, NO_CHECKS));
        return;
    }
    this.lines.push({ ...mapped(statement), remarks });
  }

  attributes(key: ServiceKey): { service: ServiceAttributes; remarks: string[] } {
    const remarks: string[] = [];
    let schedulerFlags: SchedulerFlag[] = [];
    try {
      schedulerFlags = parseSchedulerFlags(this.flags.join(), this.scheduler);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      remarks.push(`${error.message}: left out`);
    }
    const { persistence = isEveryPort(key) ? {} : undefined } = this;
    if (persistence !== undefined && persistence.timeout === undefined)
      remarks.push(
        isEveryPort(key)
          ? `a service of every port is persistent: ${PERSISTENCE_SECONDS} seconds, as keepalived has it`
          : `persistence without persistence_timeout: ${PERSISTENCE_SECONDS} seconds`,
      );
    const service = {
      ...key,
      scheduler: this.scheduler,
      ...(schedulerFlags.length > 0 && { schedulerFlags }),
      ...(persistence && { persistence: { timeout: PERSISTENCE_SECONDS, ...persistence } }),
      ...(this.isOnePacket && { isOnePacket: true }),
    } as ServiceAttributes;
    return { service, remarks };
  }
}

function readVirtualServer(statement: Statement, groups: ReadonlyMap<string, Statement[]>): ImportedLine[] {
  const { words, block = [] } = statement;
  const attributes = new VirtualServerBlock(block);
  const servers = block.filter((one) => one.words[0] === "real_server");
  const isIpv6 = attributes.isIpv6 || servers.some((one) => one.words[1]?.includes(":"));
  const members =
    words[1] === "group" ? groups.get(words[2] ?? "") : [{ ...statement, words: words.slice(1) }];
  if (members === undefined) return [refused(statement, `there is no virtual_server_group ${words[2]}`)];

  const lines: ImportedLine[] = [];
  const keys: ServiceKey[] = [];
  const remarks = new Set<string>();
  for (const member of members) {
    const found = keysOf(member.words, attributes.protocol ?? "tcp", isIpv6);
    if (found === undefined)
      lines.push(refused(member, "expected ADDRESS [PORT], a range of addresses, or fwmark MARK"));
    else keys.push(...found);
    if (member.words[0] !== "fwmark" && attributes.protocol === undefined) remarks.add(NO_PROTOCOL);
    if (member.words[0] === "fwmark")
      remarks.add(
        "marks come from the configuration's own `marks`, not from the kernel's firewall: add rules",
      );
  }
  const services = keys.map((key) => {
    const { service, remarks: some } = attributes.attributes(key);
    for (const remark of some) remarks.add(remark);
    return service;
  });
  lines.push(
    {
      ...mapped(statement),
      edits: services.map((service) => ({ kind: "add-service", service })),
      remarks: [...remarks],
    },
    ...attributes.lines,
    ...servers.flatMap((server) => readRealServer(server, keys, attributes)),
  );
  return lines.sort((a, b) => (a.place.file === b.place.file ? a.place.line - b.place.line : 0));
}

function readRealServer(
  statement: Statement,
  services: readonly ServiceKey[],
  { weight: usualWeight, method }: VirtualServerBlock,
): ImportedLine[] {
  const { words, block = [] } = statement;
  const lines: ImportedLine[] = [];
  const numbers = { weight: usualWeight, uthreshold: 0, lthreshold: 0 };
  const remarks: string[] = [];
  for (const one of block) {
    const [keyword, value] = one.words;
    if (keyword === "weight" || keyword === "uthreshold" || keyword === "lthreshold") {
      const number = wholeOf(value);
      if (number === undefined) lines.push(refused(one, "expected a whole number"));
      else {
        numbers[keyword] = number;
        lines.push(mapped(one));
      }
    } else if (keyword === "lvs_method") {
      const isOther = value !== "NAT" && value !== method;
      lines.push({ ...mapped(one), remarks: isOther ? [AS_MASQUERADING] : [] });
    } else lines.push(without(one, NO_CHECKS));
  }
  const address = parseAddress(words[1] ?? "");
  const port = words[2] === undefined ? undefined : portOf(words[2]);
  if (address === undefined || (words[2] !== undefined && port === undefined))
    return [refused(statement, "expected ADDRESS [PORT]"), ...lines];
  const edits = services.map((service) => ({
    kind: "add-server" as const,
    service,
    server: {
      address: formatAddress(address.family, address.words),
      port: port ?? service.port,
      weight: numbers.weight,
      upperThreshold: numbers.uthreshold,
      lowerThreshold: numbers.lthreshold,
    },
  }));
  return [{ ...mapped(statement), edits, remarks }, ...lines];
}

/** @param words - `ADDRESS [PORT]`, `FIRST-LAST [PORT]` or `fwmark MARK [inet6]` */
function keysOf(
  words: readonly string[],
  protocol: ServiceProtocol,
  isIpv6: boolean,
): ServiceKey[] | undefined {
  if (words[0] === "fwmark") {
    const mark = wholeOf(words[1]);
    const address = isIpv6 || words[2] === "inet6" ? "::" : "0.0.0.0";
    return mark === undefined ? undefined : [{ protocol: "fwmark", address, port: 0, mark }];
  }
  const addresses = addressesOf(words[0] ?? "");
  const port = words[1] === undefined ? 0 : portOf(words[1]);
  if (addresses === undefined || port === undefined) return undefined;
  return addresses.map(({ family, words: four }) => ({
    protocol,
    address: formatAddress(family, four),
    port,
  }));
}

/** One address; or a range: `192.0.2.1-10`, `2001:db8::1-a`, `192.0.2.250-192.0.3.10`, `192.0.2.8/29`. */
function addressesOf(text: string): Address[] | undefined {
  const [, firstText = text, separator, rest = ""] = /^(.*)([-/])(.*)$/.exec(text) ?? [];
  const address = parseAddress(firstText);
  if (address === undefined || separator === undefined) return address && [address];
  const { family } = address;
  // Ranges differ in the last word only.
  const at = family === 4 ? 0 : 3;
  let first = address.words[at]! >>> 0;
  let last: number;
  if (separator === "/") {
    const count = 2 ** ((family === 4 ? 32 : 128) - (wholeOf(rest) ?? Number.NaN));
    first -= first % count;
    last = first + count - 1;
  } else {
    const lastAddress = parseAddress(rest.length <= 4 ? firstText.replace(/[^.:]*$/, rest) : rest);
    if (lastAddress?.family !== family) return undefined;
    if (address.words.some((word, index) => index !== at && word !== lastAddress.words[index]))
      return undefined;
    last = lastAddress.words[at]! >>> 0;
  }
  if (!(last >= first && last - first < RANGE_ADDRESSES_MAX)) return undefined;
  return Array.from({ length: last - first + 1 }, (_, index) => {
    const words = address.words.slice();
    words[at] = first + index;
    return { family, words };
  });
}

const isEveryPort = ({ protocol, port }: ServiceKey): boolean => port === 0 && protocol !== "fwmark";

const portOf = (text: string): number | undefined => {
  const port = wholeOf(text);
  return port !== undefined && port <= 0xffff ? port : undefined;
};

const wholeOf = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined;

/** @param usual - why a statement of this place has no counterpart */
function without(statement: Statement, usual: string): ImportedLine {
  const { words } = statement;
  if (/^include/.test(words[0]!)) return refused(statement, "no such file can be read");
  const isUnresolved = words.some((word) => /^[@$~]|\$\{/.test(word));
  return refused(statement, isUnresolved ? NOT_WORKED_OUT : usual);
}

const textOf = ({ words, block }: Statement): string =>
  words.join(" ") + (block === undefined ? "" : " { ... }");

const mapped = (statement: Statement): ImportedLine => ({
  place: statement.place,
  text: textOf(statement),
  edits: [],
  remarks: [],
});

const refused = (statement: Statement, refusal: string): ImportedLine => ({ ...mapped(statement), refusal });
