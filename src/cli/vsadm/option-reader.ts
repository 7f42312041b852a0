/** Options of one command line, read one after the other, because some depend on those in front of them. */
import { isIPv4, isIPv6 } from "node:net";
import { seconds } from "../../base/environment.ts";
import { DURATION_SECONDS_MAX, PERSISTENCE_SECONDS } from "../../control/config/quantity.ts";
import type { ServiceAttributes } from "../../control/edit.ts";
import type {
  DestinationConfig,
  PersistenceConfig,
  SchedulerFlag,
  ServiceKey,
  ServiceProtocol,
} from "../../nat/configuration.ts";
import { type AddressText, readAddress, readIpv4OrName, readNumber } from "./address-text.ts";
import type { GivenOption } from "./arguments.ts";
import type { ListFormat } from "./listing.ts";
import type { Names } from "./names.ts";
import { checkTunnel, type Trait, type TunnelType, traitOf, tunnelType } from "./options.ts";
import { Refusal } from "./refusal.ts";
import { parseSchedulerFlags } from "./scheduler-flags.ts";

/** What was said of a synchronisation daemon; what is absent is the default of whoever runs it. */
export interface SyncDaemonOptions {
  readonly interface?: string;
  readonly syncId?: number;
  readonly group?: string;
  readonly port?: number;
  readonly ttl?: number;
  readonly maxLength?: number;
}

/** What is listed. */
export type ListSubject =
  | { readonly kind: "services" | "connections" | "timeout" | "daemon" }
  | { readonly kind: "service"; readonly service: ServiceKey };

const INT_MAX = 2 ** 31 - 1;
const SYNC_BYTES_MAX = 65_535 - 20 - 8;
const SERVICE_PROTOCOLS = { "tcp-service": "tcp", "udp-service": "udp", "sctp-service": "sctp" } as const;
const ANY_ADDRESS = { 4: "0.0.0.0", 6: "::" } as const;
const VARIANTS = ["stats", "rate", "thresholds", "persistent-conn", "tun-info"] as const;
const TUNNEL_TRAITS = ["tun-type", "tun-port", "tun-nocsum", "tun-csum", "tun-remcsum"] as const;

export class OptionReader {
  readonly given = new Set<Trait>();
  daemon: SyncDaemonOptions = {};
  readonly #names: Names;
  #service: (AddressText & { readonly protocol: ServiceProtocol; readonly mark?: number }) | undefined;
  #scheduler = "";
  #flagsText = "";
  #persistence: PersistenceConfig | undefined;
  #netmask: string | undefined;
  #engine = "";
  #server: AddressText | undefined;
  #method: "masquerading" | "ipip" | "gatewaying" | undefined;
  #tunnelType: TunnelType = "ipip";
  #weight = 1;
  #upperThreshold = 0;
  #lowerThreshold = 0;

  constructor(names: Names) {
    this.#names = names;
  }

  /** @throws Refusal */
  async read({ name, value, word }: GivenOption): Promise<void> {
    const trait = traitOf(name);
    if (trait !== undefined) {
      if (this.given.has(trait)) throw new Refusal(`multiple '${trait}' options specified`);
      this.given.add(trait);
    }
    const text = value ?? "";
    switch (name) {
      case "tcp-service":
      case "udp-service":
      case "sctp-service":
        this.#service = await this.#readService(text, SERVICE_PROTOCOLS[name]);
        break;
      case "fwmark-service": {
        const mark = numberOr(text, 1, 2 ** 32 - 1, `invalid fwmark value \`${text}' specified`);
        // TCP says whose names of ports -r may use.
        this.#service = { family: 4, address: ANY_ADDRESS[4], port: 0, protocol: "tcp", mark };
        break;
      }
      case "ipv6":
        if (this.#service?.mark === undefined) throw new Refusal("-6 used before -f\n");
        this.#service = { ...this.#service, family: 6, address: ANY_ADDRESS[6] };
        this.#netmask = undefined;
        break;
      case "scheduler":
        this.#scheduler = text;
        break;
      case "sched-flags":
        this.#flagsText = text; // they mean what the scheduler, which may come later, makes of them
        break;
      case "persistent": {
        const timeout = value === undefined ? PERSISTENCE_SECONDS : timeoutSeconds(value, 1);
        this.#persistence = { timeout: seconds(timeout) };
        break;
      }
      case "netmask":
        this.#netmask = await this.#readNetmask(text);
        break;
      case "pe":
        this.#engine = text;
        break;
      case "real-server":
        this.#server = await readAddress(text, this.#service?.protocol, this.#names);
        if (this.#server === undefined || this.#server.lastPort !== undefined)
          throw new Refusal("illegal real server address[:port] specified");
        this.#server = { ...this.#server, port: this.#server.port ?? this.#service?.port };
        break;
      case "masquerading":
      case "ipip":
      case "gatewaying":
        this.#method = name;
        break;
      case "tun-type": {
        const type = tunnelType(text);
        if (type === undefined) throw new Refusal("illegal tunnel type specified");
        this.#tunnelType = type;
        break;
      }
      case "tun-port":
        numberOr(text, 1, 65_535, "illegal tunnel port specified");
        break;
      case "weight":
        this.#weight = numberOr(text, 0, INT_MAX, "illegal weight specified");
        break;
      case "u-threshold":
        this.#upperThreshold = numberOr(text, 0, INT_MAX, "illegal u_threshold specified");
        break;
      case "l-threshold":
        this.#lowerThreshold = numberOr(text, 0, INT_MAX, "illegal l_threshold specified");
        break;
      case "mcast-interface":
      case "syncid":
      case "mcast-group":
      case "mcast-port":
      case "mcast-ttl":
      case "sync-maxlen":
        this.daemon = { ...this.daemon, ...daemonOption(name, text) };
        break;
      default:
        if (trait === undefined && name !== "sort") throw new Refusal(`invalid option \`${word}'`);
    }
  }

  /** -b, for the scheduler of -s. @throws Refusal */
  schedulerFlags(): SchedulerFlag[] {
    return parseSchedulerFlags(this.#flagsText, this.#scheduler);
  }

  key(): ServiceKey {
    const { protocol, address, port = 0, mark } = this.#service!;
    return mark === undefined ? { protocol, address, port } : { protocol: "fwmark", address, port: 0, mark };
  }

  /** What -A and -E say of a service. @throws Refusal */
  attributes(schedulerFlags: readonly SchedulerFlag[]): ServiceAttributes {
    const key = this.key();
    const isOnePacket = this.given.has("ops");
    if (key.protocol !== "fwmark" && key.port === 0 && this.#persistence === undefined)
      throw new Refusal("Zero port specified for non-persistent service");
    if (isOnePacket && key.protocol !== "fwmark" && key.protocol !== "udp")
      throw new Refusal("One-Packet Scheduling is only for UDP virtual services");
    const lastPort = this.#service?.lastPort;
    return {
      ...key,
      ...(lastPort !== undefined && { lastPort }),
      scheduler: this.#scheduler || "wlc",
      ...(schedulerFlags.length > 0 && { schedulerFlags }),
      ...(this.#persistence !== undefined && {
        persistence: {
          ...this.#persistence,
          ...(this.#netmask !== undefined && { netmask: this.#netmask }),
          // The director knows which engines there are, and answers ENOENT for others.
          ...(this.#engine !== "" && { engine: this.#engine as "sip" }),
        },
      }),
      ...(isOnePacket && { isOnePacket }),
    };
  }

  /** Whether the server's family and forwarding method go with each other and with vsnat. @throws Refusal */
  checkForwarding(): void {
    const isTunnel = this.#method === "ipip";
    if (!isTunnel && this.#server?.family !== this.#service?.family)
      throw new Refusal("Different address family is allowed only for tunneling servers");
    if (isTunnel) checkTunnel(this.#tunnelType, this.given);
    else if (TUNNEL_TRAITS.some((trait) => this.given.has(trait)))
      throw new Refusal("Tunnel options conflict with forward method");
    if (isTunnel || this.#method === "gatewaying") {
      const method = isTunnel ? "-i (tunneling)" : "-g (direct routing)";
      // Like what a kernel refuses: the other lines of a restored file can still be done.
      throw new Refusal(`${method} is not supported: vsnat forwards by rewriting addresses, use -m`, 255, {
        endsRestore: false,
      });
    }
  }

  destination(): DestinationConfig {
    const { address, port = 0 } = this.#server!;
    const [upperThreshold, lowerThreshold] = [this.#upperThreshold, this.#lowerThreshold];
    return { address, port, weight: this.#weight, upperThreshold, lowerThreshold };
  }

  /** What -L is about. @throws Refusal */
  listSubject(): ListSubject {
    const has = (...traits: Trait[]) => traits.some((trait) => this.given.has(trait));
    if (
      (has("connection", "timeout", "daemon") && has("stats", "rate", "thresholds")) ||
      (has("timeout", "daemon") && has("persistent-conn"))
    )
      throw new Refusal("options conflicts in the list command");
    if (has("connection")) return { kind: "connections" };
    if (has("service-address")) return { kind: "service", service: this.key() };
    if (has("timeout")) return { kind: "timeout" };
    return { kind: has("daemon") ? "daemon" : "services" };
  }

  format(): ListFormat {
    return {
      variant: VARIANTS.find((variant) => this.given.has(variant)) ?? "plain",
      isNumeric: this.given.has("numeric"),
      isExact: this.given.has("exact"),
      isUnsorted: this.given.has("nosort"),
      isJson: this.given.has("json"),
    };
  }

  async #readService(text: string, protocol: ServiceProtocol) {
    const service = await readAddress(text, protocol, this.#names);
    if (service === undefined) throw new Refusal("illegal virtual server address[:port] specified");
    if (service.family === 6) this.#netmask = undefined; // ipvsadm forgets a mask in front of it
    return { ...service, protocol };
  }

  /** @returns undefined for the mask of a single host */
  async #readNetmask(text: string): Promise<string | undefined> {
    if (this.#service?.family === 6) {
      const bits = Number.parseInt(text, 10);
      if (!(bits >= 1 && bits <= 128)) throw new Refusal("illegal ipv6 netmask specified");
      return bits === 128 ? undefined : String(bits);
    }
    const mask = await readIpv4OrName(text, this.#names);
    if (mask === undefined) throw new Refusal("illegal virtual server persistent mask specified");
    return mask === "255.255.255.255" ? undefined : mask;
  }
}

/** @throws Refusal */
export const timeoutSeconds = (text: string, min: number): number =>
  numberOr(text, min, DURATION_SECONDS_MAX, `invalid timeout value \`${text}' specified`);

function numberOr(text: string, min: number, max: number, complaint: string): number {
  const number = readNumber(text, min, max);
  if (number === undefined) throw new Refusal(complaint);
  return number;
}

type DaemonOptionName =
  | "mcast-interface"
  | "syncid"
  | "mcast-group"
  | "mcast-port"
  | "mcast-ttl"
  | "sync-maxlen";

function daemonOption(name: DaemonOptionName, text: string): SyncDaemonOptions {
  switch (name) {
    case "mcast-interface":
      return { interface: text };
    case "syncid":
      return { syncId: numberOr(text, 0, 255, "illegal syncid specified") };
    case "mcast-group":
      return { group: multicastGroup(text) };
    case "mcast-port":
      return { port: numberOr(text, 1, 65_535, "illegal mcast-port specified") };
    case "mcast-ttl":
      return { ttl: numberOr(text, 1, 255, "illegal mcast-ttl specified") };
    case "sync-maxlen":
      return { maxLength: numberOr(text, 1, SYNC_BYTES_MAX, "illegal sync-maxlen specified") };
  }
}

function multicastGroup(text: string): string {
  const isIpv6Text = text.includes(":");
  const isMulticast = isIpv6Text
    ? isIPv6(text) && /^ff/i.test(text)
    : isIPv4(text) && /^2(2[4-9]|3\d)\./.test(text);
  if (!isMulticast) throw new Refusal(`invalid ${isIpv6Text ? "IPv6" : "IPv4"} mcast-group \`${text}'`);
  return text;
}
