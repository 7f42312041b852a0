/** A virtual service: what clients reach, the scheduler that picks for it, its destinations, newest first. */
import { bracketed, isSameAddress, parseAddress } from "../wire/address.ts";
import { Protocol } from "../wire/flow.ts";
import { prefixMask } from "../wire/prefix.ts";
import type { ApplicationName, RemovalPolicy, ServiceConfig, ServiceKey } from "./configuration.ts";
import { TICK_MS } from "./connection-table.ts";
import type { Scheduler } from "./contracts/scheduler.ts";
import type { Destination } from "./destination.ts";
import { NO_POOL } from "./source-addresses.ts";
import { Traffic } from "./traffic.ts";

/** Everything a service is but its destinations. */
export type ServiceAttributes = Omit<ServiceConfig, "destinations">;

export class VirtualService {
  /** As configured. The address is in canonical form. */
  attributes: ServiceAttributes;
  /** IP protocol number; 0: a mark service, which takes any. */
  readonly protocol: number;
  readonly family: 4 | 6;
  /** The virtual address in host-order words; a mark service's is zero. */
  readonly words: Int32Array;
  /** First port; 0: every port, or a mark service. */
  readonly port: number;
  lastPort = 0;
  /** 0: not a mark service. */
  readonly mark: number;
  scheduler: Scheduler;
  /** 0: not persistent. */
  templateTicks = 0;
  /** Which bits of a client's address say who it is; four words. */
  readonly clientMask = new Int32Array(4);
  hasEngine = false;
  isOnePacket = false;
  removal: RemovalPolicy | undefined;
  /** Numbers of the addresses servers see clients at. */
  sources: Int32Array = NO_POOL;
  isOnlyHairpin = false;
  hasProxyHeader = false;
  application: ApplicationName | undefined;
  /** It is not configured any more, and only connections refer to it. */
  isRemoved = false;
  /** Newest first: new ones are put at the head, as in IPVS; every list-walking scheduler depends on it. */
  readonly destinations: Destination[] = [];
  readonly traffic = new Traffic();
  /** Next service in the same bucket of the service table. */
  nextInBucket: VirtualService | undefined;

  /** @throws RangeError for an address that is none */
  constructor(attributes: ServiceAttributes, scheduler: Scheduler) {
    const { protocol, address, port, mark } = attributes;
    const parsed = parseAddress(address);
    if (parsed === undefined)
      throw new RangeError(`Cannot add service ${nameOf(attributes)}: not an IP address`);
    this.attributes = attributes;
    this.protocol = protocol === "fwmark" ? 0 : Protocol[protocol];
    this.family = parsed.family;
    this.words = parsed.words;
    this.port = port;
    this.mark = protocol === "fwmark" ? (mark ?? 0) : 0;
    this.scheduler = scheduler;
    this.describe(attributes, NO_POOL);
  }

  /** Take over everything that may change about a service, its scheduler apart. */
  describe(attributes: ServiceAttributes, sources: Int32Array): void {
    const { lastPort, persistence, isOnePacket, removal, fullNat, proxyProtocol, app } = attributes;
    this.attributes = attributes;
    this.lastPort = lastPort ?? this.port;
    this.templateTicks = persistence === undefined ? 0 : Math.ceil((persistence.timeout * 1000) / TICK_MS);
    this.clientMask.set(clientMask(this.family, persistence?.netmask));
    this.hasEngine = persistence?.engine !== undefined;
    this.isOnePacket = isOnePacket === true;
    this.removal = removal;
    this.sources = sources;
    this.isOnlyHairpin = fullNat?.clients === "servers";
    this.hasProxyHeader = proxyProtocol !== undefined;
    this.application = app;
  }

  /** Counters and rates of the service and its destinations. */
  zero(): void {
    this.traffic.zero();
    for (const destination of this.destinations) destination.traffic.zero();
  }

  /** Has it this protocol and address? Never a mark service. @param at - of the address's four words */
  isAt(family: 4 | 6, protocol: number, words: Int32Array, at: number): boolean {
    return this.protocol === protocol && this.family === family && isSameAddress(this.words, 0, words, at);
  }

  /** Is this destination port one that was asked for by name, rather than one of all? */
  hasPort(port: number): boolean {
    return this.port !== 0 && port >= this.port && port <= this.lastPort;
  }
}

/** Is it the same key? */
export const isSameService = (a: ServiceKey, b: ServiceKey): boolean =>
  a.port === b.port && a.address === b.address && a.protocol === b.protocol && a.mark === b.mark;

/** "tcp 192.0.2.1:80", "fwmark 7": for people. */
export function nameOf({
  protocol,
  address,
  port,
  lastPort,
  mark,
}: ServiceKey & { readonly lastPort?: number | undefined }): string {
  if (protocol === "fwmark") return address.includes(":") ? `fwmark6 ${mark}` : `fwmark ${mark}`;
  const ports = port === 0 ? "*" : lastPort === undefined ? `${port}` : `${port}-${lastPort}`;
  return `${protocol} ${bracketed(address)}:${ports}`;
}

function clientMask(family: 4 | 6, netmask: string | undefined): Int32Array {
  const bits = family === 4 ? 32 : 128;
  if (netmask === undefined) return prefixMask(family, bits);
  const dotted = parseAddress(netmask);
  if (dotted?.family === 4 && family === 4) return dotted.words;
  const length = Number(netmask);
  if (!Number.isInteger(length) || length < 0 || length > bits)
    throw new RangeError(
      `Cannot tell clients apart by the netmask "${netmask}", expected a mask of IPv${family}`,
    );
  return prefixMask(family, length);
}
