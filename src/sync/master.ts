/**
 * The sending side of synchronisation: which connections other directors are told of, and when. The rules are those of
 * Linux IPVS (ip_vs_sync_conn as described by the project's reference, section 8.4): only packets from clients count; a
 * connection is told of at its 3rd, 53rd, 103rd ... such packet and whenever it comes into a state of closing; a template
 * at every packet of its connections.
 *
 * Not told of, because a message has no place for what they need: masqueraded connections, those whose server sees
 * another address or port than the client's own, those with a PROXY header.
 */

import type { CallTable } from "../nat/call-table.ts";
import { SCTP_STATES } from "../nat/configuration.ts";
import { ConnectionFlag, type ConnectionTable, TICK_MS } from "../nat/connection-table.ts";
import type { Director } from "../nat/director.ts";
import type { ConnectionObserver } from "../nat/forwarding.ts";
import { TCP_STATE } from "../nat/protocol/tcp.ts";
import type { ServiceBook } from "../nat/service-book.ts";
import { CALL_ID_BYTES_MAX } from "../nat/sip-call-id.ts";
import { Protocol } from "../wire/flow.ts";
import { SIP, SYNC_THRESHOLD, SyncEntry, SyncFlag } from "./entry.ts";
import { MessageWriter, type SyncVersion } from "./message.ts";

export interface MasterOptions {
  /** 0..255: groups of directors that share a segment are told apart by it. */
  readonly syncId: number;
  /** Bytes of a message, MESSAGE_BYTES_MIN at least. */
  readonly lengthMax: number;
  /** IPVS's sync_version; default 1. */
  readonly version?: SyncVersion;
  /** IPVS's sync_threshold: packets, modulo the period, at which a connection is told of; default 3. */
  readonly threshold?: number;
  /** 1..255, default 50. */
  readonly period?: number;
}

export interface MasterCounters {
  sentMessages: number;
  sentEntries: number;
  /** Messages given up, because too many were made between two flushes. */
  lostMessages: number;
}

/** Messages that may be made between two calls of `flush`, which bounds what waits for being sent. */
const MESSAGES_PER_FLUSH_MAX = 4096;
const TICKS_PER_SECOND = 1000 / TICK_MS;

const TCP_IS_TOLD = Uint8Array.from(Object.values(TCP_STATE), () => 0);
for (const name of ["established", "finWait", "close", "closeWait", "timeWait"] as const)
  TCP_IS_TOLD[TCP_STATE[name]] = 1;
const SCTP_IS_TOLD = Uint8Array.from(SCTP_STATES, (name) =>
  Number(/^(established|shutdown.*|closed)$/.test(name)),
);
const SCTP_ESTABLISHED = SCTP_STATES.indexOf("established");

export class SyncMaster implements ConnectionObserver {
  readonly counters: MasterCounters = { sentMessages: 0, sentEntries: 0, lostMessages: 0 };
  readonly #table: ConnectionTable;
  readonly #services: ServiceBook;
  readonly #calls: CallTable;
  readonly #writer: MessageWriter;
  readonly #threshold: number;
  readonly #period: number;
  readonly #send: (message: Uint8Array) => void;
  readonly #entry = new SyncEntry();
  /** The Call-ID at hand; and, by length, the beginnings of this buffer, made as they are needed. */
  readonly #call = new Uint8Array(CALL_ID_BYTES_MAX);
  readonly #callViews: Uint8Array[] = [];
  /** By record: packets from the client modulo the period, and the state last told. */
  readonly #phases: Uint8Array;
  readonly #toldStates: Uint8Array;
  #messagesLeft = MESSAGES_PER_FLUSH_MAX;

  /** @param send - takes a message whose room is used up, or whose time has come; it is the receiver's to keep */
  constructor(
    { connections: table, services, calls }: Director,
    { syncId, lengthMax, version = 1, threshold = SYNC_THRESHOLD, period = 50 }: MasterOptions,
    send: (message: Uint8Array) => void,
  ) {
    this.#table = table;
    this.#services = services;
    this.#calls = calls;
    this.#writer = new MessageWriter(lengthMax, syncId, version);
    this.#threshold = threshold;
    this.#period = period;
    this.#send = send;
    this.#phases = new Uint8Array(table.capacity);
    this.#toldStates = new Uint8Array(table.capacity);
    for (let record = 0; record < table.highWater; record++)
      this.#phases[record] = table.inPackets(record) % period;
  }

  packetSeen(record: number, packetCount: number): void {
    if (packetCount === 0) return; // from the server
    if (packetCount === 1) this.begin(record, 0, 0);
    const phase = this.#phases[record]! + 1;
    this.#phases[record] = phase === this.#period ? 0 : phase;
    if (this.#isWanted(record)) this.#tell(record);
    const controller = this.#table.controller(record);
    if (controller >= 0 && this.#table.isTemplate(controller)) this.#tell(controller);
  }

  /** A template whose time was up lives on, because connections hang on it. */
  prolonged(record: number): void {
    this.#tell(record);
  }

  /**
   * The record is another connection's from now on.
   * @param state - that is known to others already
   * @param packetCount - packets from its client so far
   */
  begin(record: number, state: number, packetCount: number): void {
    this.#phases[record] = packetCount % this.#period;
    this.#toldStates[record] = state;
  }

  /** Send what there is, full or not. To be called about once a second. */
  flush(): void {
    this.#messagesLeft = MESSAGES_PER_FLUSH_MAX;
    this.#sendMessage();
  }

  #isWanted(record: number): boolean {
    const table = this.#table;
    const state = table.state(record);
    const protocol = table.protocol(record);
    if (protocol !== Protocol.udp) {
      const isTcp = protocol === Protocol.tcp;
      if ((isTcp ? TCP_IS_TOLD : SCTP_IS_TOLD)[state] !== 1) return false;
      const established = isTcp ? TCP_STATE.established : SCTP_ESTABLISHED;
      if (state !== this.#toldStates[record] && state !== established) return true;
    }
    return this.#phases[record] === this.#threshold;
  }

  #tell(record: number): void {
    if (!this.#describe(record)) return;
    this.#toldStates[record] = this.#entry.state;
    if (this.#writer.add(this.#entry)) return;
    this.#sendMessage();
    this.#writer.add(this.#entry); // version 0 has no place for IPv6: then it is not told
  }

  /** Fill `#entry`. @returns false when a message has no place for it */
  #describe(record: number): boolean {
    const table = this.#table;
    const entry = this.#entry;
    const isTemplate = table.isTemplate(record);
    if (table.hasFlag(record, ConnectionFlag.masquerade | ConnectionFlag.proxy)) return false;
    if (!this.#describeEngine(record)) return false;
    if (!isTemplate && (table.source(record) !== 0 || table.sourcePort(record) !== table.clientPort(record)))
      return false;
    const isInactive = isTemplate || table.hasFlag(record, ConnectionFlag.inactive);
    entry.family = table.family(record) as 4 | 6;
    entry.protocol = table.protocol(record);
    entry.flags = (isTemplate ? SyncFlag.template : 0) | (isInactive ? SyncFlag.inactive : 0);
    entry.state = table.state(record);
    entry.clientPort = table.clientPort(record);
    entry.virtualPort = table.virtualPort(record);
    entry.destinationPort = table.destinationPort(record);
    entry.mark = this.#services.destination(table.server(record)).service.mark;
    entry.timeoutSeconds = Math.floor(table.timeout(record) / TICKS_PER_SECOND);
    const { words } = table;
    const client = table.clientAt(record);
    const virtual = table.virtualAt(record);
    const destination = table.destinationAt(record);
    for (let i = 0; i < 4; i++) {
      entry.client[i] = words[client + i]!;
      entry.virtual[i] = words[virtual + i]!;
      entry.destination[i] = words[destination + i]!;
    }
    return true;
  }

  /** @returns false for a template that nothing finds any more */
  #describeEngine(record: number): boolean {
    const entry = this.#entry;
    entry.engineName = entry.engineData = undefined;
    if (!this.#table.hasFlag(record, ConnectionFlag.engine)) return true;
    const length = this.#calls.copy(record, this.#call);
    if (length === 0) return false;
    entry.engineName = SIP;
    entry.engineData = this.#callViews[length] ??= this.#call.subarray(0, length);
    return true;
  }

  #sendMessage(): void {
    const { entryCount } = this.#writer;
    const message = this.#writer.take();
    if (message === undefined) return;
    if (this.#messagesLeft === 0) {
      this.counters.lostMessages++;
      return;
    }
    this.#messagesLeft--;
    this.counters.sentMessages++;
    this.counters.sentEntries += entryCount;
    this.#send(message);
  }
}
