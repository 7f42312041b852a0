/**
 * Making a connection for a packet that begins one: persistence, the scheduler's choice, the source the server sees, the
 * entry. In the order of Linux IPVS (ip_vs_schedule and ip_vs_sched_persist as described by the project's reference,
 * sections 1.4 and 4.5).
 */
import { Flow, Protocol } from "../wire/flow.ts";
import type { Packet } from "../wire/packet.ts";
import type { Bindings } from "./bindings.ts";
import { ConnectionFlag, type ConnectionTable } from "./connection-table.ts";
import type { Applications } from "./contracts/application.ts";
import type { Delegations } from "./delegations.ts";
import type { Destination } from "./destination.ts";
import type { ServiceBook } from "./service-book.ts";
import { NO_POOL, type SourceAddresses } from "./source-addresses.ts";
import type { Templates } from "./templates.ts";
import type { Traffic } from "./traffic.ts";
import type { VirtualService } from "./virtual-service.ts";

/** Why there is no connection; a record otherwise. */
export const Refusal = {
  /** No destination may take it. */
  noDestination: -1,
  /** The connection table is full. */
  tableFull: -2,
  /** No source is left under which the server could tell it from others. */
  noSource: -3,
  /** The packet has nothing the persistence engine pins by. */
  noKey: -4,
  /** The service was only asked in case the packet was FTP data. */
  notServed: -5,
} as const;

export const FIRST_SOURCE_PORT = 1024;
export const LAST_SOURCE_PORT = 65_535;

export class Dispatcher {
  /** expire_quiescent_template = 0. */
  pinsQuiescent = true;
  /** Connections that got another source port towards the server, because two looked alike there. */
  portChangedCount = 0;
  applications: Applications | undefined;
  /** Services for which a flow cache chooses as well. */
  delegations: Delegations | undefined;
  readonly #table: ConnectionTable;
  readonly #services: ServiceBook;
  readonly #sources: SourceAddresses;
  readonly #bindings: Bindings;
  readonly #templates: Templates;
  readonly #traffic: Traffic;
  /** A server's own connection, seen from the other end. */
  readonly #peer = new Flow();

  constructor(
    table: ConnectionTable,
    services: ServiceBook,
    sources: SourceAddresses,
    bindings: Bindings,
    templates: Templates,
    traffic: Traffic,
  ) {
    this.#table = table;
    this.#services = services;
    this.#sources = sources;
    this.#bindings = bindings;
    this.#templates = templates;
    this.#traffic = traffic;
  }

  /**
   * @param replaced - an entry whose place the connection takes, or -1
   * @returns the record of the new entry, without a timer, or a refusal
   */
  dispatch(packet: Packet, flow: Flow, service: VirtualService, replaced: number, nowTick: number): number {
    const isOfPort = service.port === 0 || service.hasPort(flow.destinationPort);
    if (service.templateTicks > 0)
      return this.#persistent(packet, flow, service, isOfPort, replaced, nowTick);
    if (!isOfPort) return Refusal.notServed;
    // The scheduler still sees the old connection counted, as in IPVS, where its timer fires a moment later.
    const destination =
      this.delegations === undefined
        ? service.scheduler.pick(service.destinations, flow)
        : this.delegations.pick(service, flow);
    if (destination === undefined) return Refusal.noDestination;
    const port = destination.port === 0 ? flow.destinationPort : destination.port;
    return this.#connect(flow, service, destination, port, -1, replaced);
  }

  /**
   * A connection that a server begins, of a service whose persistence engine knows what belongs together: its packet leaves
   * as an answer of the virtual address, and what comes back reaches the same server (ip_vs_new_conn_out, reference 5.8).
   * @param flow - of the server's packet
   * @returns the record of the new entry, without a timer, or a refusal: the packet is none of ours
   */
  dispatchOut(packet: Packet, flow: Flow, destination: Destination, nowTick: number): number {
    const table = this.#table;
    const { service, words } = destination;
    const peer = this.#peer;
    peer.family = flow.family;
    peer.protocol = flow.protocol;
    for (let i = 0; i < 4; i++) {
      peer.words[i] = flow.words[4 + i]!;
      peer.words[4 + i] = service.words[i]!;
    }
    peer.sourcePort = flow.destinationPort;
    peer.destinationPort = service.port;
    peer.transportAt = flow.transportAt;
    peer.transportBytes = flow.transportBytes;
    const ports = (peer.sourcePort << 16) | peer.destinationPort;
    if (table.hasTuple(peer.family, peer.protocol, peer.words, 0, peer.words, 4, ports))
      return Refusal.noSource;
    if (!this.#templates.prepare(packet, peer, service)) return Refusal.noKey;
    let template = this.#templates.find(packet, peer, nowTick, this.pinsQuiescent, destination.number);
    if (template < 0) template = this.#templates.create(packet, peer, service, destination);
    if (template < 0) return Refusal.tableFull;
    table.touch(template, nowTick);
    const record = table.insert(peer, words, flow.sourcePort, 0, peer.sourcePort, destination.number);
    if (record < 0) return Refusal.tableFull;
    this.#bind(record, destination, 0, template);
    return record;
  }

  /**
   * A connection that a flow cache made.
   * @param lent - the record it was lent for that; -1: another one
   * @returns the record of the new entry, without a timer, or a refusal
   */
  enter(flow: Flow, destination: Destination, port: number, lent: number): number {
    const { words, number } = destination;
    const record = this.#table.insert(flow, words, port, 0, flow.sourcePort, number, lent);
    if (record < 0) return Refusal.tableFull;
    this.#bind(record, destination, 0, -1);
    return record;
  }

  #persistent(
    packet: Packet,
    flow: Flow,
    service: VirtualService,
    isOfPort: boolean,
    replaced: number,
    nowTick: number,
  ): number {
    if (!this.#templates.prepare(packet, flow, service)) return Refusal.noKey;
    let template = this.#templates.find(packet, flow, nowTick, this.pinsQuiescent, -1);
    let destination: Destination | undefined;
    if (template >= 0) destination = this.#services.destination(this.#table.server(template));
    else {
      destination = service.scheduler.pick(service.destinations, flow);
      if (destination === undefined) return isOfPort ? Refusal.noDestination : Refusal.notServed;
      template = this.#templates.create(packet, flow, service, destination);
      if (template < 0) return Refusal.tableFull;
    }
    this.#table.touch(template, nowTick);
    const hasOwnPort = service.hasPort(flow.destinationPort) && destination.port !== 0;
    const port = hasOwnPort ? destination.port : flow.destinationPort;
    return this.#connect(flow, service, destination, port, template, replaced);
  }

  #connect(
    flow: Flow,
    service: VirtualService,
    destination: Destination,
    port: number,
    template: number,
    replaced: number,
  ): number {
    if (replaced >= 0) this.#bindings.remove(replaced);
    const table = this.#table;
    const { found } = this.#sources;
    if (isOnePacket(service, flow) && service.sources.length === 0) {
      // Nothing is remembered, so nothing can be mistaken.
      found.number = 0;
      found.port = flow.sourcePort;
    } else if (!this.#chooseSource(flow, service, destination, port)) return Refusal.noSource;
    const { number, port: sourcePort } = found;
    if (number === 0 && sourcePort !== flow.sourcePort) this.portChangedCount++;
    const record = table.insert(flow, destination.words, port, number, sourcePort, destination.number);
    if (record < 0) return Refusal.tableFull;
    this.#bind(record, destination, number, template);
    if (service.hasProxyHeader && flow.protocol === Protocol.tcp)
      table.setFlag(record, ConnectionFlag.proxy, true);
    else if (service.application !== undefined && !isOnePacket(service, flow))
      this.applications?.begin(record, service.application, service.attributes.appOptions);
    return record;
  }

  #bind(record: number, destination: Destination, source: number, template: number): void {
    this.#bindings.bind(record, destination, source, template);
    destination.traffic.countConnection();
    destination.service.traffic.countConnection();
    this.#traffic.countConnection();
  }

  #chooseSource(flow: Flow, service: VirtualService, destination: Destination, port: number): boolean {
    const { family, protocol, words, sourcePort } = flow;
    const isPooled = service.sources.length > 0 && (!service.isOnlyHairpin || isServer(flow, service));
    const pool = isPooled ? service.sources : NO_POOL;
    // biome-ignore format: client, server, range
    return this.#sources.choose(
      pool, family, protocol, words, sourcePort, destination.words, 0, port,
      FIRST_SOURCE_PORT, LAST_SOURCE_PORT, this.#services,
    );
  }
}

/** Is every packet of this flow scheduled for itself? */
export const isOnePacket = (service: VirtualService, { protocol }: Flow): boolean =>
  service.isOnePacket && protocol === Protocol.udp;

/** Is the client itself a server of the service? */
function isServer(flow: Flow, { destinations }: VirtualService): boolean {
  for (let index = 0; index < destinations.length; index++) {
    if (destinations[index]!.hasAddress(flow.words, 0)) return true;
  }
  return false;
}
