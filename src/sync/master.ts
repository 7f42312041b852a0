/**
 * The sending side of synchronisation: which connections other directors are told of, and when. The rules are those of
 * Linux IPVS (ip_vs_sync_conn as described by the project's reference, section 8.4), with its settings as they are at the
 * moment: only packets from clients count; by default a connection is told of at its 3rd, 53rd, 103rd ... such packet and
 * whenever it comes into a state of closing; a template at every packet of its connections.
 *
 * Not told of, because a message has no place for what they need: masqueraded connections, those whose server sees
 * another address or port than the client's own, those with a PROXY header.
 */

import type { CallTable } from "../nat/call-table.ts";
import { type IpvsSettings, SCTP_STATES } from "../nat/configuration.ts";
import { ConnectionFlag, type ConnectionTable, TICK_MS } from "../nat/connection-table.ts";
import type { Director } from "../nat/director.ts";
import type { ConnectionObserver } from "../nat/forwarding.ts";
import { TCP_STATE } from "../nat/protocol/tcp.ts";
import type { ServiceBook } from "../nat/service-book.ts";
import { CALL_ID_BYTES_MAX } from "../nat/sip-call-id.ts";
import { Protocol } from "../wire/flow.ts";
import { SIP, SyncEntry, SyncFlag } from "./entry.ts";
import { MessageWriter } from "./message.ts";

export interface MasterOptions {
  /** 0..255: groups of directors that share a segment are told apart by it. */
  readonly syncId: number;
  /** Bytes of a message, MESSAGE_BYTES_MIN at least. */
  readonly lengthMax: number;
}

export interface MasterCounters {
  sentMessages: number;
  sentEntries: number;
  /** Messages given up, because too many were made between two flushes. */
  lostMessages: number;
}

/** Messages that may be made between two calls of `flush`, unless sync_qlen_max lets more wait than that. */
const MESSAGES_PER_FLUSH_MAX = 4096;
const TICKS_PER_SECOND = 1000 / TICK_MS;
/** News of an end of life that is later by this, or by half the timeout if that is more, is no repetition (IPVS). */
const NEWS_TICKS = 10 * TICKS_PER_SECOND;
/** More retries than any setting allows. */
const TOO_EARLY = 255;

const TCP_IS_TOLD = Uint8Array.from(Object.values(TCP_STATE), () => 0);
for (const name of ["established", "finWait", "close", "closeWait", "timeWait"] as const)
  TCP_IS_TOLD[TCP_STATE[name]] = 1;
const SCTP_IS_TOLD = Uint8Array.from(SCTP_STATES, (name) =>
  Number(/^(established|shutdown.*|closed)$/.test(name)),
);
const SCTP_ESTABLISHED = SCTP_STATES.indexOf("established");

export class SyncMaster implements ConnectionObserver {
  readonly counters: MasterCounters = { sentMessages: 0, sentEntries: 0, lostMessages: 0 };
  readonly #director: Director;
  readonly #table: ConnectionTable;
  readonly #services: ServiceBook;
  readonly #calls: CallTable;
  readonly #options: MasterOptions;
  readonly #send: (message: Uint8Array) => void;
  readonly #entry = new SyncEntry();
  /** The Call-ID at hand; and, by length, the beginnings of this buffer, made as they are needed. */
  readonly #call = new Uint8Array(CALL_ID_BYTES_MAX);
  readonly #callViews: Uint8Array[] = [];
  /** By record, as long as its entry is of this generation: packets from the client; the state last told; the end of life
   * last told, in ticks, and how often that was repeated. */
  readonly #generations: Int32Array;
  readonly #counts: Uint32Array;
  readonly #toldStates: Uint8Array;
  readonly #toldEnds: Int32Array;
  readonly #retries: Uint8Array;
  #writer: MessageWriter;
  #messagesLeft = 0;
  #nowTick = 0;

  /** @param send - takes a message whose room is used up, or whose time has come; it is the receiver's to keep */
  constructor(director: Director, options: MasterOptions, send: (message: Uint8Array) => void) {
    this.#director = director;
    this.#table = director.connections;
    this.#services = director.services;
    this.#calls = director.calls;
    this.#options = options;
    this.#send = send;
    const { capacity } = director.connections;
    this.#generations = new Int32Array(capacity);
    this.#counts = new Uint32Array(capacity);
    this.#toldStates = new Uint8Array(capacity);
    this.#toldEnds = new Int32Array(capacity);
    this.#retries = new Uint8Array(capacity);
    this.#writer = this.#newWriter();
    this.#allowMessages();
  }

  packetSeen(record: number, packetCount: number, nowTick: number): void {
    if (packetCount === 0) return; // from the server
    this.#nowTick = nowTick;
    const count = this.#count(record, packetCount);
    if (this.#isOnePacket(record, packetCount)) this.#considerController(record);
    else this.#consider(record, count);
  }

  /** A template whose time was up lives on, because connections hang on it. */
  prolonged(record: number, nowTick: number): void {
    this.#nowTick = nowTick;
    this.#claim(record);
    this.#consider(record, this.#ipvs.sync_threshold[0]);
  }

  /**
   * News of the record came from another director.
   * @param state - that is known to others already
   */
  adopted(record: number, state: number, nowTick: number): void {
    this.#nowTick = nowTick;
    this.#claim(record);
    this.#counts[record] = this.#ipvs.sync_threshold[0];
    this.#toldStates[record] = state;
  }

  /** Send what there is, full or not. To be called about once a second. */
  flush(): void {
    this.#allowMessages();
    this.#sendMessage();
  }

  get #ipvs(): IpvsSettings {
    return this.#director.settings.ipvs;
  }

  /** @returns true when the record is another entry's than before: nothing was told of it */
  #claim(record: number): boolean {
    const generation = this.#table.generation(record);
    if (this.#generations[record] === generation) return false;
    this.#generations[record] = generation;
    this.#counts[record] = this.#toldStates[record] = this.#retries[record] = 0;
    this.#toldEnds[record] = this.#nowTick;
    return true;
  }

  /** @param packetCount - as far as the table can count */
  #count(record: number, packetCount: number): number {
    const count = this.#claim(record) ? packetCount : this.#counts[record]! + 1;
    this.#counts[record] = count;
    return count;
  }

  /** Of a service that schedules every packet for itself? Such an entry lives for one packet. */
  #isOnePacket(record: number, packetCount: number): boolean {
    if (packetCount !== 1 || this.#table.protocol(record) !== Protocol.udp) return false;
    return this.#services.destination(this.#table.server(record)).service.isOnePacket;
  }

  /** Tell of the entry, if it is time to; and likewise of what it hangs on. @param count - packets from the client */
  #consider(record: number, count: number): void {
    if (this.#isWanted(record, count)) this.#tell(record);
    this.#considerController(record);
  }

  #considerController(record: number): void {
    const table = this.#table;
    const controller = table.controller(record);
    if (controller < 0) return;
    // A template counts these occasions; any other controller counts as if it were at the threshold.
    if (table.isTemplate(controller)) {
      this.#consider(controller, this.#count(controller, table.countInPacket(controller)));
    } else {
      this.#claim(controller);
      this.#consider(controller, this.#ipvs.sync_threshold[0]);
    }
  }

  #isWanted(record: number, count: number): boolean {
    const table = this.#table;
    const ipvs = this.#ipvs;
    const isTemplate = table.isTemplate(record);
    if (!isTemplate) {
      if (ipvs.sync_persist_mode === 1 && this.#isPersistent(record)) return false;
      const protocol = table.protocol(record);
      // Its IDs are not among what IPVS's messages can say.
      if (protocol === Protocol.gre) return false;
      if (protocol !== Protocol.udp) {
        const state = table.state(record);
        const isTcp = protocol === Protocol.tcp;
        if ((isTcp ? TCP_IS_TOLD : SCTP_IS_TOLD)[state] !== 1) return false;
        const established = isTcp ? TCP_STATE.established : SCTP_ESTABLISHED;
        if (state !== this.#toldStates[record] && state !== established) {
          this.#remember(record, 0);
          return true;
        }
      }
    }
    const retries = this.#retriesIfToldNow(record);
    if (retries > ipvs.sync_retries) return false;
    const threshold = ipvs.sync_threshold[0];
    const period = ipvs.sync_threshold[1];
    if (period > 0) {
      if (!isTemplate && count % period !== threshold) return false;
    } else if (ipvs.sync_refresh_period === 0 && count !== threshold) return false;
    this.#remember(record, retries);
    return true;
  }

  /** Does a template pin it? */
  #isPersistent(record: number): boolean {
    const table = this.#table;
    let controller = table.controller(record);
    while (controller >= 0 && !table.isTemplate(controller)) controller = table.controller(controller);
    return controller >= 0;
  }

  /** sync_refresh_period: 0 for news; for a repetition its number, too large to be allowed while it is too early for one. */
  #retriesIfToldNow(record: number): number {
    const refreshTicks = this.#ipvs.sync_refresh_period * TICKS_PER_SECOND;
    if (refreshTicks === 0) return 0;
    const timeout = this.#table.timeout(record);
    const told = this.#toldEnds[record]!;
    const difference = Math.abs((this.#nowTick + timeout - told) | 0);
    if (difference >= Math.min(refreshTicks, Math.max(timeout >> 1, NEWS_TICKS))) return 0;
    const ticksSinceTold = (this.#nowTick - (told - timeout)) | 0;
    return ticksSinceTold < refreshTicks >> 3 ? TOO_EARLY : this.#retries[record]! + 1;
  }

  #remember(record: number, retries: number): void {
    const table = this.#table;
    this.#toldStates[record] = table.state(record);
    this.#toldEnds[record] = this.#nowTick + table.timeout(record);
    this.#retries[record] = retries;
  }

  #tell(record: number): void {
    if (!this.#describe(record)) return;
    if (this.#writer.version !== this.#ipvs.sync_version) {
      this.#sendMessage();
      this.#writer = this.#newWriter();
    }
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

  #newWriter(): MessageWriter {
    const { lengthMax, syncId } = this.#options;
    return new MessageWriter(lengthMax, syncId, this.#ipvs.sync_version);
  }

  #allowMessages(): void {
    this.#messagesLeft = Math.max(MESSAGES_PER_FLUSH_MAX, this.#ipvs.sync_qlen_max);
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
