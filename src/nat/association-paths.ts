/**
 * Further addresses of one end of an SCTP association (RFC 9260 section 6.4): packets from them and to them belong to it, and
 * go to the same server. Each is an entry of its own with the ports of the association's, controlled by that one, and lives
 * like any other of an established association.
 *
 * An INIT on such a path begins an association of its own: whoever has the address has nothing to do with who claimed it.
 *
 * A server with several addresses may answer from any of them, even before it has said that it has it. Its packets to where it
 * sees the client are known by their verification tag, which the client chose, and are the association's.
 */
import { isSameAddress } from "../wire/address.ts";
import { Flow, Protocol } from "../wire/flow.ts";
import { SCTP_VERIFICATION_TAG_AT } from "../wire/sctp.ts";
import type { Bindings } from "./bindings.ts";
import type { ConnectionStates } from "./connection-states.ts";
import { ConnectionFlag, type ConnectionTable } from "./connection-table.ts";
import type { ServiceBook } from "./service-book.ts";

/** Power of two. */
const TAG_SLOTS = 4096;

export class AssociationPaths {
  readonly #table: ConnectionTable;
  readonly #services: ServiceBook;
  readonly #bindings: Bindings;
  readonly #states: ConnectionStates;
  /** The original tuple of an entry to be made. */
  readonly #flow = new Flow();
  readonly #destination = new Int32Array(4);
  /** Associations by the tag of packets to the client: record + 1. Of two with the same slot the later one has it. */
  readonly #byTag = new Int32Array(TAG_SLOTS);
  readonly #tags = new Int32Array(TAG_SLOTS);

  constructor(table: ConnectionTable, services: ServiceBook, bindings: Bindings, states: ConnectionStates) {
    this.#table = table;
    this.#services = services;
    this.#bindings = bindings;
    this.#states = states;
  }

  /**
   * The end of an association that is known by its own address is at this address too: its client, or the server that a
   * masqueraded client reached.
   * @param address - four words
   * @returns the record of the path's entry, a new one or the one that was made before; `control` itself, if it is its
   *   address; -1: it is somebody else's, or the table is full
   */
  add(control: number, address: Int32Array): number {
    const table = this.#table;
    const flow = this.#flow;
    const { words } = table;
    const isMasquerade = table.hasFlag(control, ConnectionFlag.masquerade);
    const [clientAt, virtualAt] = [table.clientAt(control), table.virtualAt(control)];
    flow.family = table.family(control) as 4 | 6;
    flow.protocol = Protocol.sctp;
    flow.sourcePort = table.clientPort(control);
    flow.destinationPort = table.virtualPort(control);
    for (let i = 0; i < 4; i++) {
      flow.words[i] = isMasquerade ? words[clientAt + i]! : address[i]!;
      flow.words[4 + i] = isMasquerade ? address[i]! : words[virtualAt + i]!;
      this.#destination[i] = isMasquerade ? address[i]! : words[table.destinationAt(control) + i]!;
    }
    const node = table.find(flow);
    if (node >= 0) {
      const record = node >> 1;
      const isOwn = (node & 1) === 0 && (record === control || table.controller(record) === control);
      return isOwn ? record : -1;
    }
    const source = table.source(control);
    const destinationPort = table.destinationPort(control);
    const sourcePort = table.sourcePort(control);
    const seen = source === 0 ? flow.words : table.sourceWords;
    const ports = (destinationPort << 16) | sourcePort;
    if (table.hasTuple(flow.family, Protocol.sctp, this.#destination, 0, seen, source * 4, ports)) return -1;
    const server = table.server(control);
    const record = table.insert(flow, this.#destination, destinationPort, source, sourcePort, server);
    if (record < 0) return -1;
    table.setFlag(record, ConnectionFlag.masquerade, isMasquerade);
    this.#bindings.bind(record, this.#services.destination(server), source, control);
    this.#states.enterPath(record);
    return record;
  }

  /** The client of this association, which is about to begin, has chosen the tag. */
  remember(record: number, tag: number): void {
    const slot = slotOf(tag);
    this.#byTag[slot] = record + 1;
    this.#tags[slot] = tag;
  }

  /** The entry that a packet of an unknown address to a client belongs to, an association's or a path's, or -1. */
  findByTag(view: DataView, flow: Flow): number {
    const table = this.#table;
    const tag = view.getInt32(flow.transportAt + SCTP_VERIFICATION_TAG_AT);
    const slot = slotOf(tag);
    const record = this.#byTag[slot]! - 1;
    if (record < 0 || this.#tags[slot] !== tag || tag === 0) return -1;
    if (!table.isLive(record) || table.isTemplate(record)) return -1;
    if (table.protocol(record) !== Protocol.sctp || table.family(record) !== flow.family) return -1;
    if (flow.sourcePort !== table.destinationPort(record)) return -1;
    if (flow.destinationPort !== table.sourcePort(record)) return -1;
    const source = table.source(record);
    const seen = source === 0 ? table.words : table.sourceWords;
    const seenAt = source === 0 ? table.clientAt(record) : source * 4;
    if (isSameAddress(seen, seenAt, flow.words, 4)) return record;
    // To another address of the client's, then: what the server's own packets to there are of.
    const query = this.#flow;
    query.family = flow.family;
    query.protocol = Protocol.sctp;
    for (let i = 0; i < 4; i++) {
      query.words[i] = table.words[table.destinationAt(record) + i]!;
      query.words[4 + i] = flow.words[4 + i]!;
    }
    query.sourcePort = flow.sourcePort;
    query.destinationPort = flow.destinationPort;
    const node = table.find(query);
    return node >= 0 && (node & 1) === 1 && table.controller(node >> 1) === record ? node >> 1 : -1;
  }

  /** It leads nowhere any more. Nothing, if it is none of this association. */
  end(record: number, control: number): void {
    const table = this.#table;
    if (!table.isLive(record) || table.controller(record) !== control || record === control) return;
    if (isPath(table, record)) this.#bindings.remove(record);
  }
}

const slotOf = (tag: number): number => (Math.imul(tag, 0x9e3779b1) >>> 16) & (TAG_SLOTS - 1);

/** Is this entry a further path of an association? */
export function isPath(table: ConnectionTable, record: number): boolean {
  if (table.isTemplate(record) || table.protocol(record) !== Protocol.sctp) return false;
  const controller = table.controller(record);
  return controller >= 0 && !table.isTemplate(controller);
}
