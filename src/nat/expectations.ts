/**
 * Connections that an application module announces before they come. Each is an entry of the connection table from the
 * start, with 0 in place of what is not known yet, which a look-up with 0 for the packet's source finds:
 *
 * - the port of who opens it: always;
 * - his address too, where anyone may come;
 * - both ports, where a range was announced: the entry's own word then holds the range.
 *
 * The first packet that fits claims it; of datagrams it may also come from who listens, who is then seen where he was said
 * to listen. One connection takes the entry itself; a lasting one, and a range, stays, and every
 * connection gets an entry of its own.
 *
 * The entry hangs on the connection it was announced on (its control connection): it goes to the same server, keeps that
 * one alive, and cannot outlive it. One that lasts as long as its control connection is withdrawn when that one's time is up.
 */
import { Flow, Protocol } from "../wire/flow.ts";
import { isFirstSegment } from "../wire/tcp.ts";
import type { Bindings } from "./bindings.ts";
import type { ConnectionStates } from "./connection-states.ts";
import { BOUND_TICKS, ConnectionFlag, type ConnectionTable } from "./connection-table.ts";
import { FIRST_SOURCE_PORT, LAST_SOURCE_PORT } from "./dispatcher.ts";
import { TCP_STATE } from "./protocol/tcp.ts";
import type { ServiceBook } from "./service-book.ts";
import { NO_POOL, type SourceAddresses } from "./source-addresses.ts";

/** No public port is below, whatever is announced: those ports belong to services. */
export const PORT_MIN = 1024;
/** Public ports tried before giving up. */
const PORTS_TRIED = 256;
/** Connections that one lasting announcement may have at a time. */
export const CHILDREN_MAX = 1024;
/** Entries looked at for one whose range a packet is in. */
const RANGES_MAX = 16;

/** What is announced; reused, so that nothing is allocated. */
export interface Expected {
  protocol: number;
  /** Own port of who listens, and the last one of a range, or 0. */
  port: number;
  lastPort: number;
  /** Public port to try first. */
  preferredPort: number;
  /** `port` and the next one, on two neighbours that begin with an even one. */
  isPair: boolean;
  isAnyone: boolean;
  isLasting: boolean;
  /** Life; 0: the timeout `listen`, or, of a lasting one, the control connection's. */
  ticks: number;
  /** A client listens that is not hidden: where its server appears to connect from; 0: from its own port. */
  appearsFrom: number;
  /** Number of the application module for the connection; 0: none. */
  application: number;
  /** Destination that listens, where that is a server. */
  server: number;
}

export class Expectations {
  readonly wanted: Expected = {
    protocol: 0,
    port: 0,
    lastPort: 0,
    preferredPort: 0,
    isPair: false,
    isAnyone: false,
    isLasting: false,
    ticks: 0,
    appearsFrom: 0,
    application: 0,
    server: 0,
  };
  /** Entries that are still expected. */
  count = 0;
  /** Public port of the one made last, and the entry of a pair's other port, or -1. */
  publicPort = 0;
  second = -1;
  /** The connection that was claimed last, and the number of its application module. */
  claimed = -1;
  claimedApplication = 0;
  readonly #table: ConnectionTable;
  readonly #services: ServiceBook;
  readonly #sources: SourceAddresses;
  readonly #bindings: Bindings;
  readonly #states: ConnectionStates;
  /** The tuple of an entry to be made. */
  readonly #flow = new Flow();
  readonly #destination = new Int32Array(4);
  readonly #pool = new Int32Array(1);
  /** Of a packet, with what is not known of it taken out. */
  readonly #query = new Flow();

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
   * The server of this connection listens. `publicPort` then says where clients find it: on the preferred port where that
   * is free.
   * @returns the record of the entry, or -1: no free port, or the table is full
   */
  serverListens(control: number, wanted: Expected): number {
    const table = this.#table;
    const flow = this.#flow;
    this.second = -1;
    this.#takeTuple(control, wanted.protocol);
    // The far end of a masquerade rule is no destination: its address is the control connection's.
    if (wanted.server !== table.server(control))
      this.#destination.set(this.#services.destination(wanted.server).words);
    if (wanted.isAnyone) flow.words.fill(0, 0, 4);
    flow.sourcePort = 0;
    const source = table.source(control);
    const isHidden = !table.hasFlag(control, ConnectionFlag.masquerade);
    if (wanted.lastPort > 0 || !isHidden) {
      flow.destinationPort = wanted.lastPort > 0 ? 0 : wanted.port;
      this.publicPort = wanted.port;
      if (wanted.lastPort === 0 && table.find(flow) >= 0) return -1;
      return this.#insert(control, wanted, flow.destinationPort, source, 0, false);
    }
    this.#forgetListening(control, wanted);
    let port = Math.max(PORT_MIN, wanted.preferredPort);
    if (wanted.isPair) port += port & 1;
    for (let tries = 0; tries < PORTS_TRIED; tries++) {
      if (port > LAST_SOURCE_PORT) port = PORT_MIN;
      if (this.#isVirtualPortFree(port) && !(wanted.isPair && !this.#isVirtualPortFree(port + 1))) {
        flow.destinationPort = port;
        const record = this.#insert(control, wanted, wanted.port, source, 0, false);
        this.publicPort = port;
        if (record < 0 || !wanted.isPair) return record;
        flow.destinationPort = port + 1;
        return this.#insertSecond(control, wanted, record, wanted.port + 1, source, 0, false);
      }
      port += wanted.isPair ? 2 : 1;
    }
    return -1;
  }

  /**
   * The client of this connection listens. `publicPort` then says where servers find it: on the preferred port, unless the
   * server sees the client at an address of the director's own, where that may be taken.
   * @returns the record of the entry, or -1: no free port, the same connection is open already, or the table is full
   */
  clientListens(control: number, wanted: Expected): number {
    const table = this.#table;
    const flow = this.#flow;
    this.second = -1;
    this.#takeTuple(control, wanted.protocol);
    const source = table.source(control);
    if (wanted.isAnyone && source > 0) {
      flow.words.fill(0, 4);
      this.#destination.fill(0);
    }
    if (wanted.lastPort > 0) {
      flow.sourcePort = flow.destinationPort = 0;
      this.publicPort = wanted.port;
      return this.#insert(control, wanted, 0, source, 0, true);
    }
    if (!this.#makeWay(control, wanted, 0) || (wanted.isPair && !this.#makeWay(control, wanted, 1)))
      return -1;
    const sourcePort = source > 0 ? this.#takeSource(source, wanted) : wanted.port;
    if (sourcePort === 0) return -1;
    this.#aim(control, wanted, 0);
    const record = this.#insert(control, wanted, 0, source, sourcePort, true);
    this.publicPort = sourcePort;
    if (record < 0 || !wanted.isPair) return record;
    this.#aim(control, wanted, 1);
    return this.#insertSecond(control, wanted, record, 0, source, sourcePort + 1, true);
  }

  /** Nobody may open it any more. Nothing, if it is none, or not this one's. */
  withdraw(record: number, control: number): void {
    if (this.#isOf(record, control) && this.#table.hasFlag(record, ConnectionFlag.expected))
      this.#bindings.remove(record);
  }

  /** Likewise, and flows without an end of their own that began by it are over. */
  end(record: number, control: number): void {
    if (!this.#isOf(record, control)) return;
    const table = this.#table;
    const isExpected = table.hasFlag(record, ConnectionFlag.expected);
    if (isExpected || (table.protocol(record) !== Protocol.tcp && table.controlledCount(record) === 0))
      this.#bindings.remove(record);
  }

  /** It was announced again. @param ticks - how long it lives from now on; 0: as long as before */
  renew(record: number, ticks: number): void {
    if (ticks > 0) this.#table.setTimeout(record, ticks);
    this.#table.touch(record, this.#states.nowTick);
  }

  /** Another server of the same service with this address, as a destination's number, or undefined. */
  fellow(server: number, words: Int32Array): number | undefined {
    const { destinations } = this.#services.destination(server).service;
    for (let index = 0; index < destinations.length; index++) {
      if (destinations[index]!.hasAddress(words, 0)) return destinations[index]!.number;
    }
    return undefined;
  }

  /**
   * The client of this connection is a server of ours: the virtual port of its TCP connection with this one's server, by
   * their ports there. 0: there is none.
   */
  virtualPortBetween(control: number, serverPort: number, clientPort: number): number {
    const table = this.#table;
    const flow = this.#flow;
    this.#takeTuple(control, Protocol.tcp);
    for (let i = 0; i < 4; i++) flow.words[4 + i] = this.#destination[i]!;
    flow.sourcePort = serverPort;
    flow.destinationPort = clientPort;
    const node = table.find(flow);
    return node >= 0 && (node & 1) === 1 ? table.virtualPort(node >> 1) : 0;
  }

  /**
   * A packet of no connection: does it open one that is expected? `claimed` is then its entry.
   * @returns the node its tuple matches, or -1
   */
  claim(flow: Flow, nowTick: number): number {
    const { protocol, sourcePort, destinationPort } = flow;
    if (this.count === 0 || sourcePort === 0 || destinationPort === 0) return -1;
    if (protocol !== Protocol.udp && (protocol !== Protocol.tcp || !isFirstSegment(flow))) return -1;
    const query = this.#query;
    query.family = flow.family;
    query.protocol = protocol;
    query.words.set(flow.words);
    const node = this.#findExpected(query, flow);
    return node < 0 ? -1 : this.#open(flow, node, nowTick);
  }

  #findExpected(query: Flow, flow: Flow): number {
    const { protocol, sourcePort, destinationPort } = flow;
    const { words } = query;
    const isDatagram = protocol === Protocol.udp;
    let node = this.#find(query, 0, destinationPort);
    // Who listens for datagrams may send the first one himself.
    if (node < 0 && isDatagram) node = this.#find(query, sourcePort, 0);
    if (node < 0) node = this.#findRange(query, sourcePort, destinationPort);
    if (node >= 0) return node;
    words.fill(0, 0, 4);
    node = this.#find(query, 0, destinationPort);
    if (node >= 0 || !isDatagram) return node;
    for (let i = 0; i < 4; i++) words[i] = flow.words[i]!;
    words.fill(0, 4);
    return this.#find(query, sourcePort, 0);
  }

  #find(query: Flow, sourcePort: number, destinationPort: number): number {
    query.sourcePort = sourcePort;
    query.destinationPort = destinationPort;
    return this.#table.find(query);
  }

  #findRange(query: Flow, sourcePort: number, destinationPort: number): number {
    const table = this.#table;
    let node = this.#find(query, 0, 0);
    for (let looks = 0; node >= 0 && looks < RANGES_MAX; looks++) {
      const range = table.sequence(node >> 1);
      const port = this.#isByListener(node) ? sourcePort : destinationPort;
      if (port >= range >>> 16 && port <= (range & 0xffff)) return node;
      node = table.findNext(query, node);
    }
    return -1;
  }

  /** Is a packet with this tuple sent by who listens? */
  #isByListener(node: number): boolean {
    return ((node & 1) === 0) === this.#table.hasFlag(node >> 1, ConnectionFlag.ofClient);
  }

  #open(flow: Flow, node: number, nowTick: number): number {
    const table = this.#table;
    const record = node >> 1;
    if (!table.hasFlag(record, ConnectionFlag.expected) || table.isExpired(record, nowTick)) return -1;
    const control = table.controller(record);
    const isFree = table.hasFlag(record, ConnectionFlag.lasting) && table.timeout(record) !== BOUND_TICKS;
    if (!isFree && table.protocol(control) === Protocol.tcp && table.state(control) !== TCP_STATE.established)
      return -1;
    const isRange = table.clientPort(record) === 0 && table.virtualPort(record) === 0;
    this.claimedApplication = isRange ? 0 : table.sequence(record);
    const isByClient = (node & 1) === 0;
    let isOpen: boolean;
    if (!this.#isByListener(node))
      isOpen = isByClient
        ? this.#openByClient(flow, record, isRange)
        : this.#openByServer(flow, record, isRange);
    else if (flow.protocol !== Protocol.udp) return -1;
    else
      isOpen = isByClient
        ? this.#openByListeningClient(flow, record, isRange)
        : this.#openByListeningServer(flow, record, isRange);
    return isOpen ? this.claimed * 2 + (node & 1) : -1;
  }

  /** A client behind the director sends from where it listens, and is seen where it was said to listen. */
  #openByListeningClient(flow: Flow, record: number, isRange: boolean): boolean {
    const table = this.#table;
    if (!table.hasFlag(record, ConnectionFlag.masquerade)) return false;
    const { family, protocol, words, sourcePort, destinationPort } = flow;
    const publicPort = isRange ? sourcePort : table.sourcePort(record);
    const ports = (destinationPort << 16) | publicPort;
    const sourceAt = table.source(record) * 4;
    if (table.hasTuple(family, protocol, words, 4, table.sourceWords, sourceAt, ports)) return false;
    return this.#begin(record, sourcePort, destinationPort, destinationPort, publicPort, words, 4, false);
  }

  /** Likewise a server. Where clients have other addresses for it, it must know which one is meant. */
  #openByListeningServer(flow: Flow, record: number, isRange: boolean): boolean {
    const table = this.#table;
    if (table.hasFlag(record, ConnectionFlag.masquerade) || table.source(record) > 0) return false;
    const { words, sourcePort, destinationPort } = flow;
    const virtualPort = isRange ? sourcePort : table.virtualPort(record);
    const ports = (destinationPort << 16) | virtualPort;
    const virtualAt = table.virtualAt(record);
    if (table.hasTuple(flow.family, flow.protocol, words, 4, table.words, virtualAt, ports)) return false;
    return this.#begin(record, destinationPort, virtualPort, sourcePort, destinationPort, words, 4, true);
  }

  #openByClient(flow: Flow, record: number, isRange: boolean): boolean {
    const table = this.#table;
    const { words } = table;
    const port = isRange ? flow.destinationPort : table.destinationPort(record);
    const virtualPort = isRange ? port : table.virtualPort(record);
    const number = table.source(record);
    this.#pool[0] = number;
    // biome-ignore format: client, server, range
    const isFound = this.#sources.choose(
      number === 0 ? NO_POOL : this.#pool, flow.family, flow.protocol, flow.words, flow.sourcePort,
      words, table.destinationAt(record), port, FIRST_SOURCE_PORT, LAST_SOURCE_PORT, this.#services,
    );
    if (!isFound) return false;
    return this.#begin(
      record,
      flow.sourcePort,
      virtualPort,
      port,
      this.#sources.found.port,
      flow.words,
      0,
      true,
    );
  }

  #openByServer(flow: Flow, record: number, isRange: boolean): boolean {
    const table = this.#table;
    const isMasquerade = table.hasFlag(record, ConnectionFlag.masquerade);
    const clientPort = isRange ? flow.destinationPort : table.clientPort(record);
    const sourcePort = isRange ? flow.destinationPort : table.sourcePort(record);
    const virtualPort = isMasquerade
      ? this.#originalPort(flow, record, clientPort)
      : this.#apparentPort(flow, record, clientPort);
    if (virtualPort === 0) return false;
    // The far end's address may be news; a server behind a virtual address is known, and so is its client.
    const peer = isMasquerade ? flow.words : table.words;
    const peerAt = isMasquerade ? 0 : table.clientAt(record);
    // biome-ignore format: one call
    return this.#begin(
      record, clientPort, virtualPort, flow.sourcePort, sourcePort, peer, peerAt, !isMasquerade,
    );
  }

  /** The far end's own port, unless the client has a connection to there from this port. */
  #originalPort({ family, protocol, words, sourcePort }: Flow, record: number, clientPort: number): number {
    const table = this.#table;
    const ports = (clientPort << 16) | sourcePort;
    const isTaken = table.hasTuple(family, protocol, table.words, table.clientAt(record), words, 0, ports);
    return isTaken ? 0 : sourcePort;
  }

  /**
   * The port of the virtual address that the client is to see this server's packet come from: a certain one; where clients
   * find the server on the packet's port; the port's own number, or the next that is free.
   */
  #apparentPort(flow: Flow, record: number, clientPort: number): number {
    const table = this.#table;
    const control = table.controller(record);
    const certain = table.virtualPort(record);
    if (certain > 0) return certain; // the entry's own tuple already
    const query = this.#query;
    query.words.set(flow.words);
    query.sourcePort = flow.sourcePort;
    query.destinationPort = 0;
    const listening = table.find(query);
    if (listening >= 0 && (listening & 1) === 1 && table.hasFlag(listening >> 1, ConnectionFlag.expected)) {
      const port = table.virtualPort(listening >> 1);
      if (this.#isOriginalFree(flow, record, clientPort, port)) return port;
    }
    const isControls = table.destinationPort(control) === flow.sourcePort;
    let port = isControls ? table.virtualPort(control) : Math.max(PORT_MIN, flow.sourcePort);
    for (let tries = 0; tries < PORTS_TRIED; tries++) {
      if (port > LAST_SOURCE_PORT) port = PORT_MIN;
      if (this.#isOriginalFree(flow, record, clientPort, port)) return port;
      port = Math.max(PORT_MIN, port + 1);
    }
    return 0;
  }

  #isOriginalFree({ family, protocol }: Flow, record: number, clientPort: number, port: number): boolean {
    const table = this.#table;
    const { words } = table;
    const ports = (clientPort << 16) | port;
    return !table.hasTuple(
      family,
      protocol,
      words,
      table.clientAt(record),
      words,
      table.virtualAt(record),
      ports,
    );
  }

  /**
   * The entry, or one of its own, becomes the connection.
   * @param peer - four words from `peerAt` on: the address of the far side, of a client or else of a server
   */
  #begin(
    record: number,
    clientPort: number,
    virtualPort: number,
    destinationPort: number,
    sourcePort: number,
    peer: Int32Array,
    peerAt: number,
    isPeerClient: boolean,
  ): boolean {
    const table = this.#table;
    const isMasquerade = table.hasFlag(record, ConnectionFlag.masquerade);
    if (!table.hasFlag(record, ConnectionFlag.lasting)) {
      table.setPorts(
        record,
        clientPort,
        virtualPort,
        destinationPort,
        sourcePort,
        peer,
        peerAt,
        isPeerClient,
      );
      table.setFlag(record, ConnectionFlag.expected | ConnectionFlag.ofClient, false);
      table.setSequence(record, 0);
      this.count--;
      this.claimed = record;
      return true;
    }
    const control = table.controller(record);
    if (table.controlledCount(control) >= CHILDREN_MAX) return false;
    const flow = this.#flow;
    flow.family = table.family(record) as 4 | 6;
    flow.protocol = table.protocol(record);
    const { words } = table;
    for (let i = 0; i < 4; i++) {
      const peerWord = peer[peerAt + i]!;
      flow.words[i] = isPeerClient ? peerWord : words[table.clientAt(record) + i]!;
      flow.words[4 + i] = isPeerClient ? words[table.virtualAt(record) + i]! : peerWord;
      this.#destination[i] = isPeerClient ? words[table.destinationAt(record) + i]! : peerWord;
    }
    flow.sourcePort = clientPort;
    flow.destinationPort = virtualPort;
    const source = table.source(record);
    const server = table.server(record);
    const child = table.insert(flow, this.#destination, destinationPort, source, sourcePort, server);
    if (child < 0) return false;
    table.setFlag(child, ConnectionFlag.masquerade, isMasquerade);
    this.#bindings.bind(child, this.#services.destination(server), source, control);
    if (flow.protocol === Protocol.tcp) table.setState(child, TCP_STATE.listen);
    this.claimed = child;
    return true;
  }

  #isOf(record: number, control: number): boolean {
    const table = this.#table;
    return table.isLive(record) && !table.isTemplate(record) && table.controller(record) === control;
  }

  /** Client and virtual address of a connection, and its destination's. */
  #takeTuple(control: number, protocol: number): void {
    const table = this.#table;
    const flow = this.#flow;
    const { words } = table;
    flow.family = table.family(control) as 4 | 6;
    flow.protocol = protocol;
    for (let i = 0; i < 4; i++) {
      flow.words[i] = words[table.clientAt(control) + i]!;
      flow.words[4 + i] = words[table.virtualAt(control) + i]!;
      this.#destination[i] = words[table.destinationAt(control) + i]!;
    }
  }

  /**
   * What this server was expected to be asked for at this port by the same client, or by anyone, because of another
   * connection, and never was: it listens anew.
   */
  #forgetListening(control: number, { protocol, port, isPair, isAnyone }: Expected): void {
    const table = this.#table;
    const query = this.#query;
    query.family = this.#flow.family;
    query.protocol = protocol;
    const source = table.source(control);
    for (let i = 0; i < 4; i++) {
      const isPool = source > 0 && !isAnyone;
      query.words[4 + i] = isPool ? table.sourceWords[source * 4 + i]! : this.#flow.words[i]!;
      query.words[i] = this.#destination[i]!;
    }
    query.destinationPort = 0;
    for (query.sourcePort = port; query.sourcePort <= (isPair ? port + 1 : port); query.sourcePort++) {
      const record = table.find(query) >> 1;
      if (record >= 0 && table.hasFlag(record, ConnectionFlag.expected)) this.#bindings.remove(record);
    }
  }

  #isVirtualPortFree(port: number): boolean {
    const flow = this.#flow;
    flow.destinationPort = port;
    if (port > LAST_SOURCE_PORT || this.#table.find(flow) >= 0) return false;
    const { family, protocol, words } = flow;
    return !this.#services.isServed(family, protocol, words, 4, port);
  }

  /** A port of a source address of the director's own, or the first of two; 0: none is free. */
  #takeSource(source: number, { isPair, preferredPort, port: ownPort }: Expected): number {
    const flow = this.#flow;
    if (!isPair && preferredPort === ownPort) {
      this.#pool[0] = source;
      // biome-ignore format: client, server, range
      const isFound = this.#sources.choose(
        this.#pool, flow.family, flow.protocol, flow.words, ownPort, this.#destination, 0, 0,
        FIRST_SOURCE_PORT, LAST_SOURCE_PORT, this.#services,
      );
      return isFound ? this.#sources.found.port : 0;
    }
    let port = Math.max(PORT_MIN, preferredPort);
    if (isPair) port += port & 1;
    for (let tries = 0; tries < PORTS_TRIED; tries++) {
      if (port > LAST_SOURCE_PORT) port = PORT_MIN;
      if (this.#isSourceFree(source, port) && !(isPair && !this.#isSourceFree(source, port + 1))) return port;
      port += isPair ? 2 : 1;
    }
    return 0;
  }

  #isSourceFree(source: number, port: number): boolean {
    const table = this.#table;
    const { family, protocol } = this.#flow;
    if (port > LAST_SOURCE_PORT || this.#services.isReserved(protocol, source, port)) return false;
    return !table.hasTuple(family, protocol, this.#destination, 0, table.sourceWords, source * 4, port);
  }

  /** The tuple of a client that listens. @param index - which one of a pair */
  #aim(control: number, { port, appearsFrom, isLasting }: Expected, index: 0 | 1): void {
    this.#flow.sourcePort = port + index;
    const isMasquerade = this.#table.hasFlag(control, ConnectionFlag.masquerade);
    // One port is for one connection.
    this.#flow.destinationPort = isLasting || isMasquerade ? 0 : appearsFrom;
  }

  /** An earlier connection with that tuple may linger, but not be open. */
  #makeWay(control: number, wanted: Expected, index: 0 | 1): boolean {
    const table = this.#table;
    const flow = this.#flow;
    this.#aim(control, wanted, index);
    const node = table.find(flow);
    if (node >= 0) {
      if (!this.#isOver(node >> 1)) return false;
      this.#bindings.remove(node >> 1);
    }
    if (table.source(control) > 0) return true;
    const { family, protocol, words, sourcePort } = flow;
    return !table.hasTuple(family, protocol, this.#destination, 0, words, 0, sourcePort);
  }

  #isOver(record: number): boolean {
    const table = this.#table;
    if (table.controlledCount(record) > 0) return false;
    if (table.hasFlag(record, ConnectionFlag.expected)) return true;
    const state = table.state(record);
    return (
      table.protocol(record) === Protocol.tcp && (state === TCP_STATE.timeWait || state === TCP_STATE.close)
    );
  }

  #insertSecond(
    control: number,
    wanted: Expected,
    first: number,
    destinationPort: number,
    source: number,
    sourcePort: number,
    isOfClient: boolean,
  ): number {
    this.second = this.#insert(control, wanted, destinationPort, source, sourcePort, isOfClient);
    if (this.second >= 0) return first;
    this.#bindings.remove(first);
    return -1;
  }

  #insert(
    control: number,
    wanted: Expected,
    destinationPort: number,
    source: number,
    sourcePort: number,
    isOfClient: boolean,
  ): number {
    const table = this.#table;
    const { server, lastPort, port, application, isLasting, ticks } = wanted;
    const record = table.insert(this.#flow, this.#destination, destinationPort, source, sourcePort, server);
    if (record < 0) return -1;
    const isMasquerade = table.hasFlag(control, ConnectionFlag.masquerade);
    table.setFlag(record, ConnectionFlag.masquerade, isMasquerade);
    table.setFlag(record, ConnectionFlag.expected, true);
    table.setFlag(record, ConnectionFlag.lasting, isLasting || lastPort > 0);
    table.setFlag(record, ConnectionFlag.ofClient, isOfClient);
    table.setSequence(record, lastPort > 0 ? (port << 16) | lastPort : application);
    this.#bindings.bind(record, this.#services.destination(server), source, control);
    const isBound = (isLasting || lastPort > 0) && ticks === 0;
    this.#states.listen(record, isBound ? BOUND_TICKS : ticks);
    this.count++;
    return record;
  }
}
