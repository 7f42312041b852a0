/**
 * The director as the control plane sees it: a desired configuration goes in and is compared with what runs, plain data
 * about what runs comes out. Lives in the thread that owns the director.
 */
import type { Milliseconds } from "../base/environment.ts";
import type { ServiceConfig } from "../nat/configuration.ts";
import { TICK_MS } from "../nat/connection-table.ts";
import type { Destination } from "../nat/destination.ts";
import type { Director } from "../nat/director.ts";
import { DROP_REASONS, type DropReason } from "../nat/drop-reason.ts";
import { SCTP_STATE_NAMES } from "../nat/protocol/sctp.ts";
import { TCP_STATE_NAMES } from "../nat/protocol/tcp.ts";
import { Quantity, type Traffic } from "../nat/traffic.ts";
import { VERDICT_KINDS } from "../nat/verdict.ts";
import type { VirtualService } from "../nat/virtual-service.ts";
import { formatAddress } from "../wire/address.ts";
import { Protocol } from "../wire/flow.ts";
import type {
  ConnectionStatus,
  DestinationStatus,
  DirectorStatus,
  Endpoint,
  ServiceStatus,
  TrafficCounters,
} from "./director-status.ts";

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
   * Make the running services what the configuration says; connections of everything else go on undisturbed.
   * Settings (timeouts, limits) belong to the director's construction and are not looked at.
   */
  apply(services: readonly ServiceConfig[]): Change[] {
    const changes: Change[] = [];
    const book = this.#director.services;
    for (const service of [...book.all]) {
      const isWanted = services.some(
        (one) =>
          one.protocol === service.protocolName &&
          one.address === service.address &&
          one.port === service.port,
      );
      if (isWanted) continue;
      changes.push({ kind: "remove", subject: nameOf(service), connections: connectionsOf(service) });
      book.removeService(service);
    }
    for (const config of services) {
      const service = book.findService(config);
      if (service === undefined) {
        changes.push({ kind: "add", subject: nameOf(this.#director.addService(config)), connections: 0 });
      } else {
        this.#editService(service, config, changes);
      }
    }
    return changes;
  }

  #editService(service: VirtualService, config: ServiceConfig, changes: Change[]): void {
    const book = this.#director.services;
    const subject = (one: { address: string; port: number }) =>
      `server ${endpointText(one.address, one.port)} of ${nameOf(service)}`;
    for (const destination of [...service.destinations]) {
      const isWanted = config.destinations.some(
        (one) => one.address === destination.address && one.port === destination.port,
      );
      if (isWanted) continue;
      const connections = destination.connectionCount;
      changes.push({ kind: "remove", subject: subject(destination), connections });
      book.removeDestination(service, destination);
    }
    for (const wanted of config.destinations) {
      const destination = book.findDestination(service, wanted);
      if (destination === undefined) {
        const { connectionCount } = book.addDestination(service, wanted);
        changes.push({ kind: "add", subject: subject(wanted), connections: connectionCount });
      } else if (book.editDestination(service, destination, wanted)) {
        changes.push({ kind: "edit", subject: subject(wanted), connections: destination.connectionCount });
      }
    }
    const { scheduler, schedulerFlags = [] } = config;
    if (service.scheduler.name !== scheduler || !isSameSet(service.schedulerFlags, schedulerFlags)) {
      book.changeScheduler(service, scheduler, schedulerFlags);
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

  /** Addresses of removed services and servers that live connections still need. */
  draining(): { readonly virtualAddresses: string[]; readonly serverAddresses: string[] } {
    const virtualAddresses = new Set<string>();
    const serverAddresses = new Set<string>();
    for (const destination of this.#director.services.destinations()) {
      if (destination.isAvailable) continue;
      virtualAddresses.add(destination.service.address);
      serverAddresses.add(destination.address);
    }
    return { virtualAddresses: [...virtualAddresses], serverAddresses: [...serverAddresses] };
  }

  zero(): void {
    this.#director.zero();
  }

  status(): DirectorStatus {
    const { connections, services, traffic, verdictCounts, createdCount } = this.#director;
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
    };
  }

  /** @param limit - most entries to return, in no particular order */
  connections(now: Milliseconds, limit: number): ConnectionStatus[] {
    const table = this.#director.connections;
    const nowTick = Math.floor(now / TICK_MS);
    const list: ConnectionStatus[] = [];
    for (let record = 0; record < table.highWater && list.length < limit; record++) {
      if (!table.isLive(record)) continue;
      const ticksLeft = table.ticksLeft(record, nowTick);
      if (ticksLeft <= 0) continue;
      const family = table.family(record) as 4 | 6;
      const endpoint = (at: number, port: number): Endpoint => ({
        address: formatAddress(family, table.words, at),
        port,
      });
      const protocol = table.protocol(record);
      list.push({
        protocol: protocol === Protocol.tcp ? "tcp" : protocol === Protocol.udp ? "udp" : "sctp",
        state: stateName(protocol, table.state(record)),
        client: endpoint(table.clientAt(record), table.clientPort(record)),
        virtual: endpoint(table.virtualAt(record), table.virtualPort(record)),
        destination: endpoint(table.destinationAt(record), table.destinationPort(record)),
        expiresSeconds: Math.ceil((ticksLeft * TICK_MS) / 1000),
      });
    }
    return list;
  }
}

function serviceStatus(service: VirtualService): ServiceStatus {
  return {
    protocol: service.protocolName,
    address: service.address,
    port: service.port,
    scheduler: service.scheduler.name,
    ...(service.schedulerFlags.length > 0 && { schedulerFlags: service.schedulerFlags }),
    counters: countersOf(service.traffic),
    rates: ratesOf(service.traffic),
    destinations: service.destinations.map(destinationStatus),
  };
}

function destinationStatus(destination: Destination): DestinationStatus {
  const { address, port, weight, upperThreshold, lowerThreshold } = destination;
  const { activeConnections, inactiveConnections, isOverloaded } = destination;
  return {
    address,
    port,
    weight,
    upperThreshold,
    lowerThreshold,
    activeConnections,
    inactiveConnections,
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
  return "UDP";
}

const isSameSet = <T>(one: readonly T[], other: readonly T[]): boolean =>
  one.every((item) => other.includes(item)) && other.every((item) => one.includes(item));

const connectionsOf = (service: VirtualService): number =>
  service.destinations.reduce((total, destination) => total + destination.connectionCount, 0);

const endpointText = (address: string, port: number): string =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;

const nameOf = (service: VirtualService): string =>
  `${service.protocolName} ${endpointText(service.address, service.port)}`;
