/**
 * Connections that were announced on another one: "the server listens on this port", "the client does". Each is an entry of
 * the connection table from the beginning, in state LISTEN and controlled by the one that announced it, with one thing
 * missing: the port of whoever opens it, which is 0 until its SYN comes (IPVS's NO_CPORT). So it is counted, listed,
 * bounded and run out of time as every other entry, and goes to the same real server as its controller.
 *
 * Whoever opens it is always the source of its first packet. So one look-up with source port 0, made only for a packet
 * that belongs to no connection, and only while something is expected, finds it.
 *
 * An expectation is bound to both addresses and dies when the connection that announced it is no longer ESTABLISHED.
 * Left out: anything but TCP.
 */
import { Flow, Protocol } from "../wire/flow.ts";
import { isFirstSegment } from "../wire/tcp.ts";
import type { Bindings } from "./bindings.ts";
import type { ConnectionStates } from "./connection-states.ts";
import { ConnectionFlag, type ConnectionTable } from "./connection-table.ts";
import { FIRST_SOURCE_PORT, LAST_SOURCE_PORT } from "./dispatcher.ts";
import { TCP_STATE } from "./protocol/tcp.ts";
import type { ServiceBook } from "./service-book.ts";
import { NO_POOL, type SourceAddresses } from "./source-addresses.ts";

/** Never below, whatever is announced: those ports belong to services. */
export const ANNOUNCED_PORT_MIN = 1024;
/** Public ports tried before giving up. */
const PORTS_TRIED = 256;

export class Expectations {
  /** Entries that are still expected. */
  count = 0;
  /** Public port of the one made last. */
  publicPort = 0;
  readonly #table: ConnectionTable;
  readonly #services: ServiceBook;
  readonly #sources: SourceAddresses;
  readonly #bindings: Bindings;
  readonly #states: ConnectionStates;
  /** The tuple of an entry to be made. */
  readonly #flow = new Flow();
  readonly #destination = new Int32Array(4);
  readonly #pool = new Int32Array(1);

  constructor(
    table: ConnectionTable,
    services: ServiceBook,
    sources: SourceAddresses,
    bindings: Bindings,
    states: ConnectionStates,
  ) {
    this.#table = table;
    this.#services = services;
    this.#sources = sources;
    this.#bindings = bindings;
    this.#states = states;
  }

  /**
   * The server of this connection listens for its client. `publicPort` then says where the client finds it: on the same
   * port where that is free.
   * @returns the record of the entry, or -1: no free port, or the table is full
   */
  serverListens(control: number, port: number): number {
    const table = this.#table;
    const known = this.#findListening(control, port);
    if (known >= 0) {
      if (table.controller(known) === control) {
        this.publicPort = table.virtualPort(known);
        return known;
      }
      // Announced to this client on another connection, and never followed: the server listens anew.
      this.#bindings.remove(known);
    }
    this.#takeTuple(control);
    const flow = this.#flow;
    flow.sourcePort = 0;
    flow.destinationPort = port;
    for (let tries = 0; tries < PORTS_TRIED; tries++) {
      if (table.find(flow) < 0 && !this.#isService(flow)) {
        this.publicPort = flow.destinationPort;
        return this.#insert(control, port, table.source(control), 0);
      }
      flow.destinationPort =
        flow.destinationPort === LAST_SOURCE_PORT ? ANNOUNCED_PORT_MIN : flow.destinationPort + 1;
    }
    return -1;
  }

  /**
   * The client of this connection listens for its server. `publicPort` then says where the server finds it: on the same
   * port, unless the server sees the client at an address of the director's own, where that may be taken.
   * @param virtualPort - what the client sees the server's connection come from; 0: its own
   * @returns the record of the entry, or -1: no free port, the same connection is open already, or the table is full
   */
  clientListens(control: number, port: number, virtualPort: number): number {
    const table = this.#table;
    this.#takeTuple(control);
    const flow = this.#flow;
    flow.sourcePort = port;
    flow.destinationPort = virtualPort;
    const source = table.source(control);
    const node = table.find(flow);
    if (node >= 0) {
      // The port of an earlier transfer again, whose connection may linger, but not be open.
      if (!this.#isOver(node >> 1)) return -1;
      this.#bindings.remove(node >> 1);
    }
    let sourcePort = port;
    if (source > 0) {
      this.#pool[0] = source;
      // biome-ignore format: client, server, range
      const isFound = this.#sources.choose(
        this.#pool, flow.family, flow.protocol, flow.words, port, this.#destination, 0, 0,
        FIRST_SOURCE_PORT, LAST_SOURCE_PORT, this.#services,
      );
      if (!isFound) return -1;
      sourcePort = this.#sources.found.port;
    } else if (table.hasTuple(flow.family, flow.protocol, this.#destination, 0, flow.words, 0, sourcePort))
      return -1;
    this.publicPort = sourcePort;
    return this.#insert(control, 0, source, sourcePort);
  }

  /** Nobody may open it any more. Nothing, if it is none, or not this one's. */
  withdraw(record: number, control: number): void {
    const table = this.#table;
    if (!table.isLive(record) || table.isTemplate(record) || table.controller(record) !== control) return;
    if (table.hasFlag(record, ConnectionFlag.expected)) this.#bindings.remove(record);
  }

  /**
   * A packet of no connection: does it open one that is expected? It has its ports from now on.
   * @returns the node its tuple matches, or -1
   */
  claim(flow: Flow, nowTick: number): number {
    if (this.count === 0 || flow.protocol !== Protocol.tcp) return -1;
    if (!isFirstSegment(flow)) return -1;
    const table = this.#table;
    const port = flow.sourcePort;
    flow.sourcePort = 0;
    const node = table.find(flow);
    flow.sourcePort = port;
    const record = node >> 1;
    if (node < 0 || !table.hasFlag(record, ConnectionFlag.expected) || table.isExpired(record, nowTick))
      return -1;
    const control = table.controller(record);
    if (table.state(control) !== TCP_STATE.established) return -1;
    if (!((node & 1) === 0 ? this.#openByClient(flow, record) : this.#openByServer(flow, record))) return -1;
    table.setFlag(record, ConnectionFlag.expected, false);
    this.count--;
    return node;
  }

  #openByClient(flow: Flow, record: number): boolean {
    const table = this.#table;
    const { words } = table;
    const port = table.destinationPort(record);
    const number = table.source(table.controller(record));
    this.#pool[0] = number;
    // biome-ignore format: client, server, range
    const isFound = this.#sources.choose(
      number === 0 ? NO_POOL : this.#pool, flow.family, flow.protocol, flow.words, flow.sourcePort,
      words, table.destinationAt(record), port, FIRST_SOURCE_PORT, LAST_SOURCE_PORT, this.#services,
    );
    if (!isFound) return false;
    table.setPorts(record, flow.sourcePort, table.virtualPort(record), port, this.#sources.found.port);
    return true;
  }

  #openByServer(flow: Flow, record: number): boolean {
    const table = this.#table;
    const isMasquerade = table.hasFlag(record, ConnectionFlag.masquerade);
    const virtualPort = isMasquerade ? flow.sourcePort : table.virtualPort(record);
    const clientPort = table.clientPort(record);
    const { family, protocol } = flow;
    const { words } = table;
    const ports = (clientPort << 16) | virtualPort;
    const clientAt = table.clientAt(record);
    const virtualAt = table.virtualAt(record);
    if (isMasquerade && table.hasTuple(family, protocol, words, clientAt, words, virtualAt, ports))
      return false;
    table.setPorts(record, clientPort, virtualPort, flow.sourcePort, table.sourcePort(record));
    return true;
  }

  /** Client and virtual address of a connection, and its destination's. */
  #takeTuple(control: number): void {
    const table = this.#table;
    const flow = this.#flow;
    const { words } = table;
    flow.family = table.family(control) as 4 | 6;
    flow.protocol = Protocol.tcp;
    for (let i = 0; i < 4; i++) {
      flow.words[i] = words[table.clientAt(control) + i]!;
      flow.words[4 + i] = words[table.virtualAt(control) + i]!;
      this.#destination[i] = words[table.destinationAt(control) + i]!;
    }
  }

  /** What this server is expected to be asked for at this port by the client of a connection, or -1. */
  #findListening(control: number, port: number): number {
    const table = this.#table;
    const flow = this.#flow;
    this.#takeTuple(control);
    const source = table.source(control);
    for (let i = 0; i < 4; i++) {
      flow.words[4 + i] = source === 0 ? flow.words[i]! : table.sourceWords[source * 4 + i]!;
      flow.words[i] = this.#destination[i]!;
    }
    flow.sourcePort = port;
    flow.destinationPort = 0;
    const record = table.find(flow) >> 1;
    return record >= 0 && table.hasFlag(record, ConnectionFlag.expected) ? record : -1;
  }

  #isOver(record: number): boolean {
    const table = this.#table;
    if (table.controlledCount(record) > 0) return false;
    const state = table.state(record);
    const isClosed = state === TCP_STATE.timeWait || state === TCP_STATE.close;
    return isClosed || table.hasFlag(record, ConnectionFlag.expected);
  }

  #isService({ family, protocol, words, destinationPort }: Flow): boolean {
    return this.#services.isServed(family, protocol, words, 4, destinationPort);
  }

  #insert(control: number, destinationPort: number, source: number, sourcePort: number): number {
    const table = this.#table;
    const server = table.server(control);
    const record = table.insert(this.#flow, this.#destination, destinationPort, source, sourcePort, server);
    if (record < 0) return -1;
    const isMasquerade = table.hasFlag(control, ConnectionFlag.masquerade);
    table.setFlag(record, ConnectionFlag.masquerade, isMasquerade);
    table.setFlag(record, ConnectionFlag.expected, true);
    this.#bindings.bind(record, this.#services.destination(server), source, control);
    this.#states.listen(record);
    this.count++;
    return record;
  }
}
