/**
 * The receiving side of synchronisation: entries of other directors' connections and templates are put into this one's
 * table, so that the connections go on when its turn comes. The rules are those of Linux IPVS (ip_vs_proc_conn as described
 * by the project's reference, section 8.5).
 *
 * An entry whose destination is not configured here is kept nevertheless, bound to none; its packets are translated all the
 * same, and it is bound by the first message about it after the destination was added.
 *
 * Left out: shifted sequence numbers (FTP through IPVS) and client ports to be learnt, which no entry here can hold, and
 * templates of other persistence engines than SIP's. They are refused and counted.
 */
import { type Milliseconds, type Seconds, seconds } from "../base/environment.ts";
import type { Bindings } from "../nat/bindings.ts";
import { SCTP_STATES, TCP_STATES } from "../nat/configuration.ts";
import { ConnectionFlag, type ConnectionTable, IN_PACKETS_MAX, TICK_MS } from "../nat/connection-table.ts";
import type { Destination } from "../nat/destination.ts";
import type { Director } from "../nat/director.ts";
import type { ServiceBook } from "../nat/service-book.ts";
import type { VirtualService } from "../nat/virtual-service.ts";
import { isSameAddress } from "../wire/address.ts";
import { Flow, Protocol } from "../wire/flow.ts";
import { SIP, type SyncEntry, SyncFlag } from "./entry.ts";
import { MessageReader } from "./message.ts";

export interface BackupCounters {
  receivedMessages: number;
  /** Entries made, and entries brought up to date. */
  madeEntries: number;
  updatedEntries: number;
  /** Messages of another group of directors. */
  foreignMessages: number;
  /** Messages of which not everything could be read. */
  faultyMessages: number;
  /** Entries of a kind or in a state that this director cannot take over. */
  refusedEntries: number;
  /** Entries for which the connection table had no room. */
  overflowEntries: number;
}

type OnAdopted = (record: number, state: number, nowTick: number) => void;

const TICKS_PER_SECOND = 1000 / TICK_MS;
/** Longest life of an entry, 31 days: as everywhere. */
const TIMEOUT_SECONDS_MAX = 2_678_400;
/** Life of a template of which version 0 does not tell (IPVS). */
const TEMPLATE_SECONDS = seconds(180);
/** States of templates: NONE, ASSURED. */
const TEMPLATE_STATE_COUNT = 2;

export class SyncBackup {
  readonly counters: BackupCounters = {
    receivedMessages: 0,
    madeEntries: 0,
    updatedEntries: 0,
    foreignMessages: 0,
    faultyMessages: 0,
    refusedEntries: 0,
    overflowEntries: 0,
  };
  readonly #director: Director;
  readonly #table: ConnectionTable;
  readonly #services: ServiceBook;
  readonly #bindings: Bindings;
  readonly #syncId: number;
  readonly #onAdopted: OnAdopted;
  readonly #reader = new MessageReader();
  readonly #flow = new Flow();
  /** By family: stands for all destinations that are not configured here, while entries are bound to none. */
  readonly #nowhere: { 4?: Destination; 6?: Destination } = {};

  /**
   * @param syncId - whose messages count; 0: everybody's
   * @param onAdopted - told of every entry made or brought up to date, and its state
   */
  constructor(director: Director, syncId: number, onAdopted: OnAdopted) {
    this.#director = director;
    this.#table = director.connections;
    this.#services = director.services;
    this.#bindings = director.bindings;
    this.#syncId = syncId;
    this.#onAdopted = onAdopted;
  }

  /** Take a message over, whatever its bytes. */
  receive(message: Uint8Array, now: Milliseconds): void {
    const { counters } = this;
    const reader = this.#reader;
    counters.receivedMessages++;
    if (reader.attach(message) !== undefined) {
      counters.faultyMessages++;
      return;
    }
    if (this.#syncId !== 0 && reader.syncId !== this.#syncId) {
      counters.foreignMessages++;
      return;
    }
    const nowTick = Math.floor(now / TICK_MS);
    let outcome = reader.next();
    for (; outcome === "entry"; outcome = reader.next()) this.#take(reader.entry, nowTick);
    counters.refusedEntries += reader.skippedCount;
    if (outcome !== "end") counters.faultyMessages++;
  }

  #take(entry: SyncEntry, nowTick: number): void {
    const table = this.#table;
    const { counters } = this;
    this.#aim(entry);
    let record = isPossible(entry) ? this.#find(entry, nowTick) : REFUSED;
    if (record === REFUSED) {
      counters.refusedEntries++;
      return;
    }
    if (record >= 0 && this.#hasFoundHome(record, entry)) {
      this.#bindings.remove(record);
      record = NONE;
    }
    if (record >= 0) {
      this.#director.cached.withdraw(record);
      this.#setInactive(record, entry);
      counters.updatedEntries++;
    } else {
      record = this.#make(entry);
      if (record < 0) {
        counters.overflowEntries++;
        return;
      }
      counters.madeEntries++;
    }
    table.setFlag(record, ConnectionFlag.synchronised, true);
    table.setState(record, entry.state);
    table.setInPackets(record, Math.min(this.#director.settings.ipvs.sync_threshold[0], IN_PACKETS_MAX));
    table.setTimeout(record, this.#lifeSeconds(entry) * TICKS_PER_SECOND);
    table.touch(record, nowTick);
    this.#onAdopted(record, entry.state, nowTick);
  }

  /** Let `#flow` be that of a packet from the client. */
  #aim({ family, protocol, client, virtual, clientPort, virtualPort }: SyncEntry): void {
    const flow = this.#flow;
    flow.family = family;
    flow.protocol = protocol;
    flow.words.set(client);
    flow.words.set(virtual, 4);
    flow.sourcePort = clientPort;
    flow.destinationPort = virtualPort;
  }

  /** The entry it is about; NONE: there is none; REFUSED: what there is stays as it is. */
  #find(entry: SyncEntry, nowTick: number): number {
    const table = this.#table;
    const { family, protocol, client, virtual, virtualPort } = entry;
    if (entry.isTemplate) {
      const data = entry.engineData;
      if (data === undefined) return table.findTemplate(family, protocol, client, virtual, 0, virtualPort);
      const { calls } = this.#director;
      return calls.find(data, 0, data.length, table, family, protocol, client, virtual, 0, virtualPort);
    }
    const node = table.find(this.#flow);
    if (node < 0) return this.#isTaken(entry) ? REFUSED : NONE;
    const record = node >> 1;
    this.#director.cached.catchUp(record);
    // A tuple of answers, or of what goes out from here, is no client's.
    if ((node & 1) === 1 || table.hasFlag(record, ConnectionFlag.masquerade)) return REFUSED;
    const isGone = table.isExpired(record, nowTick);
    if (!isGone && this.#hasDestination(record, entry)) return record;
    // Late news of a connection whose client port was used again since.
    if (!isGone && entry.isInactive) return REFUSED;
    if (table.controlledCount(record) > 0) return REFUSED;
    this.#bindings.remove(record);
    return this.#isTaken(entry) ? REFUSED : NONE;
  }

  #hasDestination(record: number, { destination, destinationPort }: SyncEntry): boolean {
    const table = this.#table;
    return (
      isSameAddress(table.words, table.destinationAt(record), destination, 0) &&
      table.destinationPort(record) === destinationPort
    );
  }

  /** Would its answers be taken for those of another connection? */
  #isTaken({ family, protocol, client, destination, clientPort, destinationPort }: SyncEntry): boolean {
    const ports = (destinationPort << 16) | clientPort;
    return this.#table.hasTuple(family, protocol, destination, 0, client, 0, ports);
  }

  /** Is it bound to no destination, although there is one by now? */
  #hasFoundHome(record: number, entry: SyncEntry): boolean {
    const destination = this.#services.destination(this.#table.server(record));
    return destination === this.#nowhere[entry.family] && this.#destinationOf(entry) !== undefined;
  }

  /** @returns the record, or -1 when there is no room */
  #make(entry: SyncEntry): number {
    const table = this.#table;
    if (table.count === table.capacity) return -1;
    const { family, destination, destinationPort, clientPort } = entry;
    const server = this.#destinationOf(entry) ?? this.#nowhereOf(family);
    if (!entry.isTemplate) {
      const record = table.insert(this.#flow, destination, destinationPort, 0, clientPort, server.number);
      this.#bindings.bind(record, server, 0, -1);
      this.#setInactive(record, entry);
      return record;
    }
    const { protocol, client, virtual, virtualPort, engineData: data } = entry;
    // biome-ignore format: the whole key
    const record = table.insertTemplate(
      family, protocol, client, virtual, 0, virtualPort, destination, destinationPort, server.number,
      data !== undefined,
    );
    server.persistentConnections++;
    if (data === undefined || this.#director.calls.insert(record, data, 0, data.length)) return record;
    this.#bindings.remove(record);
    return -1;
  }

  #setInactive(record: number, { isInactive, isTemplate }: SyncEntry): void {
    const table = this.#table;
    if (isTemplate || table.hasFlag(record, ConnectionFlag.inactive) === isInactive) return;
    table.setFlag(record, ConnectionFlag.inactive, isInactive);
    this.#services.destination(table.server(record)).move(isInactive);
  }

  /** As configured here; undefined: it is not. */
  #destinationOf(entry: SyncEntry): Destination | undefined {
    const destinations = this.#serviceOf(entry)?.destinations ?? [];
    const { destination, destinationPort: port } = entry;
    return destinations.find(
      (one) => one.hasAddress(destination, 0) && (one.port === port || one.port === 0 || port === 0),
    );
  }

  #serviceOf({ family, mark }: SyncEntry): VirtualService | undefined {
    if (mark !== 0) {
      const marked = this.#services.all.find((one) => one.mark === mark && one.family === family);
      if (marked !== undefined) return marked;
    }
    return this.#services.find(this.#flow);
  }

  /** It is forgotten, like any removed destination, with the last entry that is bound to it. */
  #nowhereOf(family: 4 | 6): Destination {
    const known = this.#nowhere[family];
    if (known !== undefined && this.#services.destination(known.number) === known) return known;
    const made = this.#services.addDetached(family);
    made.isAvailable = false; // so that its templates pin nobody
    this.#nowhere[family] = made;
    return made;
  }

  #lifeSeconds({ timeoutSeconds, isTemplate, protocol, state }: SyncEntry): Seconds {
    if (timeoutSeconds > 0) return seconds(Math.min(timeoutSeconds, TIMEOUT_SECONDS_MAX));
    if (isTemplate) return TEMPLATE_SECONDS;
    const { tcp, udp, sctp } = this.#director.settings.timeouts;
    if (protocol === Protocol.tcp) return tcp[TCP_STATES[state]!];
    return protocol === Protocol.sctp ? sctp[SCTP_STATES[state]!] : udp;
  }
}

const NONE = -1;
const REFUSED = -2;

/** Something this director could have made itself? */
function isPossible(entry: SyncEntry): boolean {
  if (entry.hasShiftedSequence || (entry.flags & SyncFlag.noClientPort) !== 0) return false;
  if (entry.isTemplate && entry.engineData !== undefined && !isSip(entry.engineName)) return false;
  // From a virtual address to itself: both tuples could be one, and no packet of it is ever let in.
  if (isSameAddress(entry.client, 0, entry.virtual, 0)) return false;
  return entry.state < stateCount(entry);
}

const isSip = (name: Uint8Array | undefined): boolean =>
  name?.length === SIP.length && name.every((octet, index) => octet === SIP[index]);

/** States of the entry's protocol; 0: no protocol of ours. */
function stateCount({ isTemplate, protocol }: SyncEntry): number {
  if (isTemplate) return TEMPLATE_STATE_COUNT;
  if (protocol === Protocol.tcp) return TCP_STATES.length;
  if (protocol === Protocol.sctp) return SCTP_STATES.length;
  return protocol === Protocol.udp ? 1 : 0;
}
