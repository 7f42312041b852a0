/** ipvsadm 1.31's commands and options, and which go together. */
import { Refusal } from "./refusal.ts";

export interface OptionSpec {
  readonly letters?: string;
  readonly value?: "required" | "optional";
}

/** Commands, which come first on the command line; "flush" is what messages call --clear. */
export const COMMANDS = {
  "add-service": "add-service",
  "edit-service": "edit-service",
  "delete-service": "delete-service",
  clear: "flush",
  list: "list",
  "add-server": "add-server",
  "delete-server": "delete-server",
  "edit-server": "edit-server",
  set: "set",
  "start-daemon": "start-daemon",
  "stop-daemon": "stop-daemon",
  restore: "restore",
  save: "save",
  zero: "zero",
} as const;
export type CommandName = keyof typeof COMMANDS;

const VALUE = { value: "required" } as const;

export const OPTIONS = {
  "add-service": { letters: "A" },
  "edit-service": { letters: "E" },
  "delete-service": { letters: "D" },
  clear: { letters: "C" },
  list: { letters: "Ll" },
  zero: { letters: "Z" },
  "add-server": { letters: "a" },
  "edit-server": { letters: "e" },
  "delete-server": { letters: "d" },
  set: {},
  help: { letters: "h" },
  version: { letters: "v" },
  restore: { letters: "R" },
  save: { letters: "S" },
  "start-daemon": VALUE,
  "stop-daemon": VALUE,
  "tcp-service": { letters: "t", ...VALUE },
  "udp-service": { letters: "u", ...VALUE },
  "sctp-service": VALUE,
  "fwmark-service": { letters: "f", ...VALUE },
  ipv6: { letters: "6" },
  scheduler: { letters: "s", ...VALUE },
  persistent: { letters: "p", value: "optional" },
  netmask: { letters: "M", ...VALUE },
  pe: VALUE,
  "sched-flags": { letters: "b", ...VALUE },
  ops: { letters: "o" },
  "real-server": { letters: "r", ...VALUE },
  masquerading: { letters: "m" },
  ipip: { letters: "i" },
  gatewaying: { letters: "g" },
  "tun-type": VALUE,
  "tun-port": VALUE,
  "tun-nocsum": {},
  "tun-csum": {},
  "tun-remcsum": {},
  weight: { letters: "w", ...VALUE },
  "u-threshold": { letters: "x", ...VALUE },
  "l-threshold": { letters: "y", ...VALUE },
  numeric: { letters: "n" },
  connection: { letters: "c" },
  stats: {},
  rate: {},
  thresholds: {},
  "persistent-conn": {},
  "tun-info": {},
  timeout: {},
  daemon: {},
  exact: { letters: "X" },
  nosort: {},
  sort: {},
  "mcast-interface": VALUE,
  syncid: VALUE,
  "mcast-group": VALUE,
  "mcast-port": VALUE,
  "mcast-ttl": VALUE,
  "sync-maxlen": VALUE,
  /** Ours: a list as JSON. */
  json: {},
} as const satisfies Record<string, OptionSpec>;
export type OptionName = keyof typeof OPTIONS;

/** What messages call options, in the order in which ipvsadm checks them. */
const TRAITS = [
  "numeric", "connection", "service-address", "scheduler", "persistent", "netmask", "real-server",
  "forwarding-method", "weight", "u-threshold", "l-threshold", "mcast-interface", "timeout", "daemon", "stats", "rate",
  "thresholds", "persistent-conn", "nosort", "syncid", "exact", "ops", "pe", "sched-flags", "mcast-group", "mcast-port",
  "mcast-ttl", "sync-maxlen", "tun-info", "tun-type", "tun-port", "tun-nocsum", "tun-csum", "tun-remcsum", "json",
] as const; // biome-ignore format: a list to read
export type Trait = (typeof TRAITS)[number];

const TRAIT_OF: Partial<Record<OptionName, Trait>> = {
  "tcp-service": "service-address",
  "udp-service": "service-address",
  "sctp-service": "service-address",
  "fwmark-service": "service-address",
  masquerading: "forwarding-method",
  ipip: "forwarding-method",
  gatewaying: "forwarding-method",
};

/** Undefined: the option may be repeated and goes with everything (-6, --sort), or it is a command. */
export const traitOf = (name: OptionName): Trait | undefined =>
  TRAIT_OF[name] ?? TRAITS.find((trait) => trait === name);

/** What is in none of the lists is refused. */
interface Combination {
  readonly required?: readonly Trait[];
  readonly optional?: readonly Trait[];
  /** At most one of them. */
  readonly exclusive?: readonly Trait[];
}

const SERVICE_ATTRIBUTES = ["scheduler", "persistent", "netmask", "ops", "pe", "sched-flags"] as const;
const TUNNEL_CHECKSUMS = ["tun-nocsum", "tun-csum", "tun-remcsum"] as const;
const SERVER_ATTRIBUTES = [
  "forwarding-method", "weight", "u-threshold", "l-threshold", "tun-type", "tun-port", ...TUNNEL_CHECKSUMS,
] as const; // biome-ignore format: a list to read

const COMBINATIONS: Readonly<Record<CommandName, Combination>> = {
  "add-service": { required: ["service-address"], optional: SERVICE_ATTRIBUTES },
  "edit-service": { required: ["service-address"], optional: SERVICE_ATTRIBUTES },
  "delete-service": { required: ["service-address"] },
  clear: {},
  list: {
    exclusive: ["connection", "service-address", "timeout", "daemon"],
    optional: [
      "numeric", "stats", "rate", "thresholds", "persistent-conn", "nosort", "syncid", "exact", "tun-info", "json",
    ], // biome-ignore format: a list to read
  },
  "add-server": { required: ["service-address", "real-server"], optional: SERVER_ATTRIBUTES },
  "edit-server": { required: ["service-address", "real-server"], optional: SERVER_ATTRIBUTES },
  "delete-server": { required: ["service-address", "real-server"] },
  set: {},
  "start-daemon": {
    optional: ["mcast-interface", "syncid", "mcast-group", "mcast-port", "mcast-ttl", "sync-maxlen"],
  },
  "stop-daemon": { optional: ["syncid"] },
  restore: {},
  save: { optional: ["numeric"] },
  zero: { optional: ["service-address"] },
};

/** @throws Refusal */
export function checkCombination(command: CommandName, given: ReadonlySet<Trait>): void {
  checkAgainst(COMBINATIONS[command], given, TRAITS, `${COMMANDS[command]}' command`);
}

const TUNNEL_TYPES = {
  ipip: {},
  gue: { required: ["tun-port"], exclusive: TUNNEL_CHECKSUMS },
  gre: { exclusive: ["tun-nocsum", "tun-csum"] },
} as const satisfies Record<string, Combination>;
export type TunnelType = keyof typeof TUNNEL_TYPES;

export const tunnelType = (text: string): TunnelType | undefined =>
  Object.hasOwn(TUNNEL_TYPES, text) ? (text as TunnelType) : undefined;

/** Whether options of tunnels go with each other. @throws Refusal */
export function checkTunnel(type: TunnelType, given: ReadonlySet<Trait>): void {
  checkAgainst(TUNNEL_TYPES[type], given, ["tun-port", ...TUNNEL_CHECKSUMS], `${type}' tunnel type`);
}

/** @param whose - the end of the message: "list' command" */
function checkAgainst(rule: Combination, given: ReadonlySet<Trait>, order: readonly Trait[], whose: string) {
  const { required = [], optional = [], exclusive = [] } = rule;
  let first: Trait | undefined;
  for (const trait of order) {
    if (!given.has(trait)) {
      if (required.includes(trait))
        throw new Refusal(`You need to supply the '${trait}' option for the '${whose}`);
    } else if (exclusive.includes(trait)) {
      if (first !== undefined)
        throw new Refusal(`The option '${trait}' conflicts with the '${first}' option in the '${whose}`);
      first = trait;
    } else if (!required.includes(trait) && !optional.includes(trait)) {
      throw new Refusal(`Illegal '${trait}' option with the '${whose}`);
    }
  }
}
