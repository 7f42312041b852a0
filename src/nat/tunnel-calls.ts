/**
 * PPTP's calls: tunnels of GRE between client and server, announced on a TCP connection (RFC 2637 section 4.1). A packet
 * has the call ID that its receiver gave, and no other; it is read as destination port, with 0 as source port.
 *
 * A call is an entry of the connection table, controlled by the one it was announced on. Each tuple has the ID under which
 * that end is *shown* to the other one; the ends' own IDs, which the packets get, are in the word for an application's use.
 * The first end to say its ID makes half an entry; nothing matches the other half before the answer. Then it is whole, and
 * needs no packet that begins it: what has no entry is nobody's.
 *
 * An ID is shown as it is, unless that would make two calls alike: several clients behind one address, several servers
 * behind another. A call is over when its control connection is no longer ESTABLISHED.
 */
import { isSameAddress } from "../wire/address.ts";
import { Flow, Protocol } from "../wire/flow.ts";
import { pptpCallId } from "../wire/gre.ts";
import type { Bindings } from "./bindings.ts";
import type { ConnectionStates } from "./connection-states.ts";
import { ConnectionFlag, type ConnectionTable } from "./connection-table.ts";
import { TCP_STATE } from "./protocol/tcp.ts";
import { CallState } from "./protocol/tunnel-call.ts";
import type { ServiceBook } from "./service-book.ts";

export type End = "client" | "server";

/** IDs tried before giving up. */
const IDS_TRIED = 256;
const ID_MAX = 0xffff;
/** Power of two. */
const QUOTED_SLOTS = 4096;

export class TunnelCalls {
  /** How the ID that was said last is shown to the other end. */
  shownId = 0;
  readonly #table: ConnectionTable;
  readonly #services: ServiceBook;
  readonly #bindings: Bindings;
  readonly #states: ConnectionStates;
  /** The original tuple of an entry to be made. */
  readonly #flow = new Flow();
  readonly #destination = new Int32Array(4);
  /**
   * Calls by what an ICMP error quotes: addresses and the receiver's own ID, by which the table cannot find them. Record + 1;
   * of two calls with the same slot the later one has it, and errors about the other are not translated.
   */
  readonly #quoted = new Int32Array(QUOTED_SLOTS);

  constructor(table: ConnectionTable, services: ServiceBook, bindings: Bindings, states: ConnectionStates) {
    this.#table = table;
    this.#services = services;
    this.#bindings = bindings;
    this.#states = states;
  }

  /**
   * One end of a control connection has given a call its ID, and waits for the other's.
   * @param ownId - 0..65535
   * @returns the record of the entry, or -1: no free ID, or the table is full
   */
  begin(control: number, end: End, ownId: number): number {
    const shownId = this.#choose(control, end, ownId);
    if (shownId < 0) return -1;
    const table = this.#table;
    const flow = this.#flow;
    this.#takeTuple(control);
    const source = table.source(control);
    const server = table.server(control);
    const record = table.insert(flow, this.#destination, 0, source, 0, server);
    if (record < 0) return -1;
    const isMasquerade = table.hasFlag(control, ConnectionFlag.masquerade);
    table.setFlag(record, ConnectionFlag.masquerade, isMasquerade);
    this.#setShown(record, end === "client" ? shownId : -1, end === "server" ? shownId : -1);
    this.#setOwn(record, end, ownId);
    this.#bindings.bind(record, this.#services.destination(server), source, control);
    this.#states.enterCall(record, CallState.announced);
    this.shownId = shownId;
    return record;
  }

  /**
   * The other end answers with its ID: the call is whole. To say it again changes nothing.
   * @returns false: it was answered otherwise before, or there is no free ID
   */
  answer(record: number, end: End, ownId: number): boolean {
    const table = this.#table;
    const known = shownCallId(table, record, end);
    if (known >= 0) {
      this.shownId = known;
      return ownCallId(table, record, end) === ownId;
    }
    const shownId = this.#choose(table.controller(record), end, ownId);
    if (shownId < 0) return false;
    const first = shownCallId(table, record, end === "client" ? "server" : "client");
    if (end === "client") this.#setShown(record, shownId, first);
    else this.#setShown(record, first, shownId);
    this.#setOwn(record, end, ownId);
    this.#states.enterCall(record, CallState.whole);
    this.shownId = shownId;
    const { words } = table;
    const [clientAt, destinationAt] = [table.clientAt(record), table.destinationAt(record)];
    const { seen, seenAt } = this.#seen(record);
    this.#quoted[slotOf(seen, seenAt, words, destinationAt, ownCallId(table, record, "server"))] = record + 1;
    const virtualAt = table.virtualAt(record);
    this.#quoted[slotOf(words, virtualAt, words, clientAt, ownCallId(table, record, "client"))] = record + 1;
    return true;
  }

  /**
   * The node a packet that the director sent belongs to, turned round: 2 x record, + 1 when it went to the server; -1: none.
   * @param quoted - its addresses, and its call ID as destination port
   */
  findQuoted(quoted: Flow): number {
    const table = this.#table;
    const { words: from, destinationPort: id } = quoted;
    const record = this.#quoted[slotOf(from, 0, from, 4, id)]! - 1;
    if (record < 0 || !table.isLive(record) || table.isTemplate(record)) return -1;
    if (table.protocol(record) !== Protocol.gre || table.family(record) !== quoted.family) return -1;
    if (table.state(record) === CallState.announced) return -1;
    const { words } = table;
    const { seen, seenAt } = this.#seen(record);
    const isToServer =
      isSameAddress(words, table.destinationAt(record), from, 4) && isSameAddress(seen, seenAt, from, 0);
    if (isToServer && ownCallId(table, record, "server") === id) return record * 2 + 1;
    const isToClient =
      isSameAddress(words, table.clientAt(record), from, 4) &&
      isSameAddress(words, table.virtualAt(record), from, 0);
    return isToClient && ownCallId(table, record, "client") === id ? record * 2 : -1;
  }

  /** Is this, still, a call of this control connection? */
  isCall(record: number, control: number): boolean {
    const table = this.#table;
    if (record < 0 || !table.isLive(record) || table.isTemplate(record)) return false;
    return table.protocol(record) === Protocol.gre && table.controller(record) === control;
  }

  /** The call is over. Nothing, if it is not one of this control connection. */
  end(record: number, control: number): void {
    if (this.isCall(record, control)) this.#bindings.remove(record);
  }

  /** Has its control connection ended? */
  isOver(record: number): boolean {
    const control = this.#table.controller(record);
    return control < 0 || this.#table.state(control) !== TCP_STATE.established;
  }

  /** @returns how it is shown to the other end, or -1 */
  #choose(control: number, end: End, ownId: number): number {
    const table = this.#table;
    const family = table.family(control);
    const { words } = table;
    const isClient = end === "client";
    const { seen, seenAt } = this.#seen(control);
    let id = ownId;
    for (let tries = 0; tries < IDS_TRIED; tries++) {
      const isTaken = isClient
        ? table.hasTuple(family, Protocol.gre, words, table.destinationAt(control), seen, seenAt, id)
        : table.hasTuple(
            family,
            Protocol.gre,
            words,
            table.clientAt(control),
            words,
            table.virtualAt(control),
            id,
          );
      if (!isTaken) return id;
      id = id === ID_MAX ? 1 : id + 1;
    }
    return -1;
  }

  /** Where the server of an entry sees its client. */
  #seen(record: number): { readonly seen: Int32Array; readonly seenAt: number } {
    const table = this.#table;
    const source = table.source(record);
    if (source === 0) return { seen: table.words, seenAt: table.clientAt(record) };
    return { seen: table.sourceWords, seenAt: source * 4 };
  }

  /** Client and virtual address of the control connection, and its destination's. */
  #takeTuple(control: number): void {
    const table = this.#table;
    const flow = this.#flow;
    flow.family = table.family(control) as 4 | 6;
    flow.protocol = Protocol.gre;
    // No packet has such ports: those of GRE have no source port.
    flow.sourcePort = 1;
    for (let i = 0; i < 4; i++) {
      flow.words[i] = table.words[table.clientAt(control) + i]!;
      flow.words[4 + i] = table.words[table.virtualAt(control) + i]!;
      this.#destination[i] = table.words[table.destinationAt(control) + i]!;
    }
  }

  /** @param clientId - -1: not known, and until then a tuple that no packet and no other entry has */
  #setShown(record: number, clientId: number, serverId: number): void {
    const high = (record >>> 16) + 1;
    const low = record & 0xffff;
    const [clientPort, virtualPort] = serverId < 0 ? [high, low] : [0, serverId];
    const [destinationPort, sourcePort] = clientId < 0 ? [high, low] : [0, clientId];
    const { words } = this.#table;
    const clientAt = this.#table.clientAt(record);
    this.#table.setPorts(record, clientPort, virtualPort, destinationPort, sourcePort, words, clientAt, true);
  }

  #setOwn(record: number, end: End, id: number): void {
    const word = this.#table.sequence(record);
    this.#table.setSequence(record, end === "client" ? (word & 0xffff) | (id << 16) : (word & ~0xffff) | id);
  }
}

/** How this end's ID is shown to the other one; -1: it has not said one. */
export function shownCallId(table: ConnectionTable, record: number, end: End): number {
  if (end === "client") return table.destinationPort(record) === 0 ? table.sourcePort(record) : -1;
  return table.clientPort(record) === 0 ? table.virtualPort(record) : -1;
}

/** What this end calls it, and packets to it have: meaningless as long as it has not said so. */
export function ownCallId(table: ConnectionTable, record: number, end: End): number {
  const word = table.sequence(record);
  return end === "client" ? word >>> 16 : word & 0xffff;
}

/** @param from - four words from `fromAt` on; `to` likewise */
function slotOf(from: Int32Array, fromAt: number, to: Int32Array, toAt: number, id: number): number {
  let hash = id;
  for (let i = 0; i < 4; i++) {
    hash = Math.imul(hash ^ from[fromAt + i]!, 0x9e3779b1);
    hash = Math.imul(hash ^ to[toAt + i]! ^ (hash >>> 15), 0x85ebca6b);
  }
  return (hash ^ (hash >>> 13)) & (QUOTED_SLOTS - 1);
}

/** Fill in the ports of a packet of a call. @returns false for any other GRE */
export function readCallId(view: DataView, flow: Flow): boolean {
  const id = pptpCallId(view, flow.transportAt, flow.transportBytes);
  if (id < 0) return false;
  flow.sourcePort = 0;
  flow.destinationPort = id;
  flow.hasPorts = true;
  return true;
}
