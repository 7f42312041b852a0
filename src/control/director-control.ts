/**
 * The director as the control plane sees it: a desired configuration goes in and is compared with what runs, plain data
 * about what runs comes out. Lives in the thread that owns the director.
 */

import { isDeepStrictEqual } from "node:util";
import type { Milliseconds } from "../base/environment.ts";
import {
  type DirectorConfig,
  type ServiceConfig,
  type ServiceKey,
  TCP_STATES,
  type TcpState,
} from "../nat/configuration.ts";
import { ConnectionFlag, type ConnectionTable, TICK_MS } from "../nat/connection-table.ts";
import type { Destination } from "../nat/destination.ts";
import type { Director } from "../nat/director.ts";
import { DROP_REASONS, type DropReason } from "../nat/drop-reason.ts";
import { SCTP_ESTABLISHED, SCTP_STATE_NAMES } from "../nat/protocol/sctp.ts";
import { TCP_STATE_NAMES } from "../nat/protocol/tcp.ts";
import { CALL_STATE_NAMES } from "../nat/protocol/tunnel-call.ts";
import { Quantity, type Traffic } from "../nat/traffic.ts";
import { ownCallId, shownCallId } from "../nat/tunnel-calls.ts";
import { VERDICT_KINDS } from "../nat/verdict.ts";
import { nameOf as nameOfService, type VirtualService } from "../nat/virtual-service.ts";
import { formatAddress } from "../wire/address.ts";
import { Protocol } from "../wire/flow.ts";
import type { Departure } from "./datapath-protocol.ts";
import type {
  ConnectionStatus,
  DestinationStatus,
  DirectorStatus,
  Endpoint,
  ServiceStatus,
  TrafficCounters,
} from "./director-status.ts";
import { serverText, serviceText } from "./manual-layer.ts";

/** One difference between what runs and what is wanted, already made. */
export interface Change {
  readonly kind: "add" | "edit" | "remove";
  /** "service tcp 192.0.2.1:80" or "server 10.0.0.1:80 of tcp 192.0.2.1:80". */
  readonly subject: string;
  /** Live connections of what was edited or removed; they go on. */
  readonly connections: number;
}

export class DirectorControl {
  readonly #director: Director;

  constructor(director: Director) {
    this.#director = director;
  }

  /**
   * Make what runs what the configuration says; connections of everything else go on undisturbed. The sizes among the
   * settings (DirectorLimits) belong to the director's construction and are not looked at.
   * @throws RangeError, nothing changed, for more source addresses than there is room for
   */
  apply(config: DirectorConfig): Change[] {
    const changes: Change[] = [];
    const director = this.#director;
    director.sources.refuseTooMany([
      ...config.masquerade.flatMap(({ sources }) => sources),
      ...config.services.flatMap(({ fullNat }) => fullNat?.sources ?? []),
    ]);
    director.configure(config);
    const book = director.services;
    const wanted = new Map(config.services.map((one) => [serviceText(one), one]));
    for (const service of [...book.all]) {
      if (wanted.has(serviceText(service.attributes))) continue;
      changes.push({ kind: "remove", subject: nameOf(service), connections: connectionsOf(service) });
      book.removeService(service);
    }
    const running = new Map(book.all.map((service) => [serviceText(service.attributes), service]));
    for (const [key, one] of wanted) {
      const service = running.get(key);
      if (service === undefined) {
        changes.push({ kind: "add", subject: nameOf(director.addService(one)), connections: 0 });
      } else {
        this.#editService(service, one, changes);
      }
    }
    if (changes.some(({ kind }) => kind === "remove")) director.sweepRemoved();
    return changes;
  }

  #editService(service: VirtualService, config: ServiceConfig, changes: Change[]): void {
    const book = this.#director.services;
    const subject = (one: { address: string; port: number }) =>
      `server ${serverText(one)} of ${nameOf(service)}`;
    const wantedEnds = new Set(config.destinations.map(serverText));
    for (const destination of [...service.destinations]) {
      if (wantedEnds.has(serverText(destination))) continue;
      const connections = destination.connectionCount;
      changes.push({ kind: "remove", subject: subject(destination), connections });
      book.removeDestination(service, destination);
    }
    const running = new Map(
      service.destinations.map((destination) => [serverText(destination), destination]),
    );
    for (const wanted of config.destinations) {
      const destination = running.get(serverText(wanted));
      if (destination === undefined) {
        const { connectionCount } = book.addDestination(service, wanted);
        changes.push({ kind: "add", subject: subject(wanted), connections: connectionCount });
      } else if (book.editDestination(service, destination, wanted)) {
        changes.push({ kind: "edit", subject: subject(wanted), connections: destination.connectionCount });
      }
    }
    const { destinations: _, ...attributes } = config;
    if (!isDeepStrictEqual(service.attributes, attributes)) {
      book.editService(service, config);
      changes.push({ kind: "edit", subject: nameOf(service), connections: connectionsOf(service) });
    }
  }

  /**
   * Tell the director how large a packet towards a real server may be.
   * @param address - as configured
   * @param mtuBytes - IP packet; 0: not known
   */
  setMtu(address: string, mtuBytes: number): void {
    for (const destination of this.#director.services.destinations())
      if (destination.address === address) destination.mtuBytes = mtuBytes;
  }

  /** Addresses that live connections of removed services, servers and rules still need. */
  draining(): { readonly virtualAddresses: string[]; readonly serverAddresses: string[] } {
    const { services, sources } = this.#director;
    const virtualAddresses = new Set(sources.texts);
    const serverAddresses = new Set<string>();
    /** Destinations whose connections alone know the addresses: of mark services, and of masquerade rules. */
    const anonymous = new Set<Destination>();
    for (const destination of services.destinations()) {
      if (destination.isAvailable || destination.connectionCount === 0) continue;
      const { protocol, address } = destination.service.attributes;
      if (protocol === "fwmark") anonymous.add(destination);
      else virtualAddresses.add(address);
      if (!destination.isDetached) serverAddresses.add(destination.address);
    }
    if (anonymous.size > 0) this.#addEndsOf(anonymous, virtualAddresses, serverAddresses);
    return { virtualAddresses: [...virtualAddresses], serverAddresses: [...serverAddresses] };
  }

  #addEndsOf(wanted: ReadonlySet<Destination>, virtual: Set<string>, behind: Set<string>): void {
    const { connections: table, services } = this.#director;
    for (let record = 0; record < table.highWater; record++) {
      if (!table.isLive(record) || table.isTemplate(record)) continue;
      const destination = services.destination(table.server(record));
      if (!wanted.has(destination)) continue;
      // What another director told of, and has a server that is not configured here: nobody of this host's.
      if (destination.isDetached && !table.hasFlag(record, ConnectionFlag.masquerade)) continue;
      const at = destination.isDetached ? table.clientAt(record) : table.virtualAt(record);
      const address = formatAddress(table.family(record) as 4 | 6, table.words, at);
      (destination.isDetached ? behind : virtual).add(address);
    }
  }

  /**
   * Counters and rates back to zero, of one service or of everything.
   * @returns false: there is no such service
   */
  zero(key?: ServiceKey): boolean {
    if (key === undefined) {
      this.#director.zero();
      return true;
    }
    const service = this.#director.services.findService(key);
    this.#director.cached.count();
    service?.zero();
    return service !== undefined;
  }

  status(): DirectorStatus {
    this.#director.cached.catchUpChanges();
    const { connections, services, traffic, verdictCounts, createdCount, masquerade, defence, applications } =
      this.#director;
    this.#director.cached.count();
    const drops: Partial<Record<DropReason, number>> = {};
    let dropCount = 0;
    DROP_REASONS.forEach((reason, index) => {
      const count = verdictCounts[VERDICT_KINDS.length + index]!;
      if (count > 0) drops[reason] = count;
      dropCount += count;
    });
    const verdicts = Object.fromEntries(VERDICT_KINDS.map((kind, code) => [kind, verdictCounts[code]!]));
    return {
      connections: { count: connections.count, max: connections.capacity, createdCount },
      verdicts: { ...verdicts, drop: dropCount } as DirectorStatus["verdicts"],
      drops,
      counters: countersOf(traffic),
      rates: ratesOf(traffic),
      services: services.all.map(serviceStatus),
      masquerade: masquerade.rules.map(({ destination }) => ({
        connections: destination.connectionCount,
        counters: countersOf(destination.traffic),
        rates: ratesOf(destination.traffic),
      })),
      defences: DEFENCES.map((name) => ({ name, mode: defence.mode(name) })),
      applications: applications?.usage() ?? [],
    };
  }

  /** What the next process could go on with. */
  departure(now: Milliseconds): Departure {
    const { connections: table, cached } = this.#director;
    const nowTick = Math.floor(now / TICK_MS);
    let entries = 0;
    let open = 0;
    cached.catchUpChanges();
    for (let record = 0; record < table.highWater; record++) {
      cached.catchUp(record);
      if (!table.isLive(record) || table.isExpired(record, nowTick)) continue;
      entries++;
      if (!table.isTemplate(record) && isOpen(table.protocol(record), table.state(record))) open++;
    }
    return { entries, open };
  }

  /** @param limit - most entries to return, in no particular order */
  connections(now: Milliseconds, limit: number): ConnectionStatus[] {
    const { connections: table, cached } = this.#director;
    const nowTick = Math.floor(now / TICK_MS);
    const list: ConnectionStatus[] = [];
    cached.catchUpChanges(); // a template's state is that of the connections on it
    for (let record = 0; record < table.highWater && list.length < limit; record++) {
      if (!table.isLive(record)) continue;
      cached.catchUp(record);
      if (table.ticksLeft(record, nowTick) > 0) list.push(this.#connectionStatus(record, nowTick));
    }
    return list;
  }

  #connectionStatus(record: number, nowTick: number): ConnectionStatus {
    const { connections: table, sources, calls } = this.#director;
    const family = table.family(record) as 4 | 6;
    const endpoint = (words: Int32Array, at: number, port: number): Endpoint => ({
      address: formatAddress(family, words, at),
      port,
    });
    const { words } = table;
    const isTemplate = table.isTemplate(record);
    const source = table.source(record);
    const protocol = table.protocol(record);
    const { clientPort, virtualPort, destinationPort, sourcePort } =
      protocol === Protocol.gre ? callIdsOf(table, record) : portsOf(table, record);
    const hasSource = !isTemplate && (source > 0 || sourcePort !== clientPort);
    const callId = isTemplate ? calls.callId(record) : undefined;
    return {
      protocol: PROTOCOL_NAMES[protocol] ?? "ip",
      state: isTemplate
        ? TEMPLATE_STATE_NAMES[table.state(record)]!
        : stateName(protocol, table.state(record)),
      client: endpoint(words, table.clientAt(record), clientPort),
      virtual: endpoint(words, table.virtualAt(record), virtualPort),
      destination: endpoint(words, table.destinationAt(record), destinationPort),
      ...(hasSource && {
        source:
          source > 0
            ? endpoint(sources.words, source * 4, sourcePort)
            : endpoint(words, table.clientAt(record), sourcePort),
      }),
      isTemplate,
      ...(table.hasFlag(record, ConnectionFlag.synchronised) && { isSynchronised: true }),
      ...(callId !== undefined && { engine: { name: "sip" as const, data: callId } }),
      expiresSeconds: Math.ceil((table.ticksLeft(record, nowTick) * TICK_MS) / 1000),
    };
  }
}

interface Ports {
  readonly clientPort: number;
  readonly virtualPort: number;
  readonly destinationPort: number;
  readonly sourcePort: number;
}

const portsOf = (table: ConnectionTable, record: number): Ports => ({
  clientPort: table.clientPort(record),
  virtualPort: table.virtualPort(record),
  destinationPort: table.destinationPort(record),
  sourcePort: table.sourcePort(record),
});

/** Of a tunnel's call: what each end calls it, and how that is shown to the other one; 0 where it has not said so yet. */
const callIdsOf = (table: ConnectionTable, record: number): Ports => ({
  clientPort: ownCallId(table, record, "client"),
  virtualPort: Math.max(0, shownCallId(table, record, "server")),
  destinationPort: ownCallId(table, record, "server"),
  sourcePort: Math.max(0, shownCallId(table, record, "client")),
});

/** May something still be sent over a connection in this state? */
function isOpen(protocol: number, state: number): boolean {
  if (protocol === Protocol.tcp) return OPEN_TCP_STATES.includes(TCP_STATES[state]!);
  if (protocol === Protocol.sctp) return state === SCTP_ESTABLISHED;
  return protocol === Protocol.udp || protocol === Protocol.gre;
}

/** One end that has said its last may still hear the other. */
const OPEN_TCP_STATES: readonly TcpState[] = ["established", "finWait", "closeWait"];
const DEFENCES = ["drop_entry", "drop_packet", "secure_tcp"] as const;
const TEMPLATE_STATE_NAMES = ["NONE", "ASSURED"] as const;
const PROTOCOL_NAMES: Readonly<Record<number, ConnectionStatus["protocol"]>> = {
  [Protocol.tcp]: "tcp",
  [Protocol.udp]: "udp",
  [Protocol.sctp]: "sctp",
  [Protocol.gre]: "gre",
  [Protocol.icmp]: "icmp",
  [Protocol.icmp6]: "icmp",
};

function serviceStatus(service: VirtualService): ServiceStatus {
  return {
    ...service.attributes,
    ...(service.scheduler.failure !== undefined && { schedulerFailure: service.scheduler.failure }),
    counters: countersOf(service.traffic),
    rates: ratesOf(service.traffic),
    destinations: service.destinations.map(destinationStatus),
  };
}

function destinationStatus(destination: Destination): DestinationStatus {
  const { address, port, weight, upperThreshold, lowerThreshold } = destination;
  const { activeConnections, inactiveConnections, persistentConnections, isOverloaded } = destination;
  return {
    address,
    port,
    weight,
    upperThreshold,
    lowerThreshold,
    activeConnections,
    inactiveConnections,
    persistentConnections,
    isOverloaded,
    counters: countersOf(destination.traffic),
    rates: ratesOf(destination.traffic),
  };
}

function countersOf(traffic: Traffic): TrafficCounters {
  return {
    connections: traffic.count(Quantity.connections),
    inPackets: traffic.count(Quantity.inPackets),
    outPackets: traffic.count(Quantity.outPackets),
    inBytes: traffic.count(Quantity.inBytes),
    outBytes: traffic.count(Quantity.outBytes),
  };
}

function ratesOf(traffic: Traffic): TrafficCounters {
  return {
    connections: traffic.rate(Quantity.connections),
    inPackets: traffic.rate(Quantity.inPackets),
    outPackets: traffic.rate(Quantity.outPackets),
    inBytes: traffic.rate(Quantity.inBytes),
    outBytes: traffic.rate(Quantity.outBytes),
  };
}

function stateName(protocol: number, state: number): string {
  if (protocol === Protocol.tcp) return TCP_STATE_NAMES[state] ?? "NONE";
  if (protocol === Protocol.sctp) return SCTP_STATE_NAMES[state] ?? "NONE";
  if (protocol === Protocol.gre) return CALL_STATE_NAMES[state] ?? "NONE";
  return protocol === Protocol.udp ? "UDP" : "ECHO";
}

const connectionsOf = (service: VirtualService): number =>
  service.destinations.reduce((total, destination) => total + destination.connectionCount, 0);

const nameOf = (service: VirtualService): string => nameOfService(service.attributes);
