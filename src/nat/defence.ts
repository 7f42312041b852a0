/**
 * IPVS's three defences against floods (ip_vs_ctl.c, ip_vs_conn.c as described by the project's reference, section 4.9):
 * drop_entry ends half-open and idle connections at random, drop_packet refuses one new connection in so many, secure_tcp
 * asks for proof from the server's side. Automatic ones act while memory is low; for vsnat that is also a connection
 * table that is nearly full, since nothing else of it grows.
 */
import type { RandomU32 } from "../base/environment.ts";
import { Protocol } from "../wire/flow.ts";
import { type Bindings, TEMPLATE_STATE } from "./bindings.ts";
import type { DefenceMode, IpvsSettings } from "./configuration.ts";
import { type ConnectionTable, TICK_MS } from "./connection-table.ts";
import { SCTP_ESTABLISHED } from "./protocol/sctp.ts";
import { TCP_STATE } from "./protocol/tcp.ts";
import type { ServiceBook } from "./service-book.ts";

export const DEFENCE_INTERVAL_MS = 1000;
/** The table is nearly full from 15/16 on. */
const NEARLY_FULL = 15 / 16;
/** Every second one entry in so many is looked at. */
const SWEPT_PART = 32;
const QUIET_TICKS = 60_000 / TICK_MS;
/** An entry with more packets than this is not quiet. */
const QUIET_PACKETS_MAX = 8;
const SCTP_INIT_STATES_MAX = 2;

export class Defence {
  /** What the system could still give, in pages of 4 KiB. */
  availablePages = Number.POSITIVE_INFINITY;
  /** secure_tcp acts: asked about for every TCP packet, so it is kept. */
  isSecureTcp = false;
  #settings: IpvsSettings;
  #isLow = false;
  #dropPacketCounter = 0;
  #sweepsDue = 0;
  /** For each number of packets, entries until the next one is dropped. */
  readonly #quietCounters = new Int32Array(QUIET_PACKETS_MAX + 1);

  constructor(settings: IpvsSettings) {
    this.#settings = settings;
    this.isSecureTcp = this.#isActive(settings.secure_tcp);
  }

  configure(settings: IpvsSettings): void {
    this.#settings = settings;
    this.isSecureTcp = this.#isActive(settings.secure_tcp);
  }

  /** The kernel's way to show it: an automatic defence is 2 while it acts. */
  mode(name: "drop_entry" | "drop_packet" | "secure_tcp"): 0 | 1 | 2 | 3 {
    const mode = this.#settings[name];
    return mode === 1 && this.#isLow ? 2 : mode;
  }

  /** To be called every second. */
  update(table: ConnectionTable): void {
    const isNearlyFull = table.count >= table.capacity * NEARLY_FULL;
    this.#isLow = isNearlyFull || this.availablePages < this.#settings.amemthresh;
    this.isSecureTcp = this.#isActive(this.#settings.secure_tcp);
    if (this.#isActive(this.#settings.drop_entry)) this.#sweepsDue = Math.ceil(table.highWater / SWEPT_PART);
  }

  /** Shall this packet, for which there is a service, be dropped? */
  dropsPacket(): boolean {
    const { drop_packet, am_droprate, amemthresh } = this.#settings;
    if (!this.#isActive(drop_packet)) return false;
    const missing = amemthresh - this.availablePages;
    const rate = drop_packet === 3 || missing <= 0 ? am_droprate : Math.floor(amemthresh / missing);
    if (--this.#dropPacketCounter > 0) return false;
    this.#dropPacketCounter = rate;
    return true;
  }

  /** End some entries of those that are due for a look. @param lookMax - most entries to look at now */
  sweep(
    table: ConnectionTable,
    services: ServiceBook,
    bindings: Bindings,
    randomU32: RandomU32,
    nowTick: number,
    lookMax: number,
  ): void {
    const looks = Math.min(lookMax, this.#sweepsDue);
    this.#sweepsDue -= looks;
    for (let look = 0; look < looks; look++) {
      const record = randomU32() % table.highWater;
      if (!table.isLive(record) || table.controlledCount(record) > 0) continue;
      bindings.cached?.catchUp(record);
      if (this.#isDropped(table, services, record, nowTick)) bindings.removeWithTemplate(record);
    }
  }

  #isDropped(table: ConnectionTable, services: ServiceBook, record: number, nowTick: number): boolean {
    const state = table.state(record);
    if (table.isTemplate(record)) {
      const { service } = services.destination(table.server(record));
      return service.isOnePacket ? this.#isQuiet(table, record, nowTick) : state !== TEMPLATE_STATE.assured;
    }
    switch (table.protocol(record)) {
      case Protocol.tcp:
        if (state === TCP_STATE.synReceived || state === TCP_STATE.synAck) return true;
        return state === TCP_STATE.established && this.#isQuiet(table, record, nowTick);
      case Protocol.sctp:
        if (state > 0 && state <= SCTP_INIT_STATES_MAX) return true;
        return state === SCTP_ESTABLISHED && this.#isQuiet(table, record, nowTick);
      default:
        return this.#isQuiet(table, record, nowTick);
    }
  }

  /** Silent for a minute after a few packets; of such with n packets every n-th one. */
  #isQuiet(table: ConnectionTable, record: number, nowTick: number): boolean {
    if (table.timeout(record) - table.ticksLeft(record, nowTick) < QUIET_TICKS) return false;
    const count = table.inPackets(record);
    if (count === 0 || count > QUIET_PACKETS_MAX) return false;
    if (--this.#quietCounters[count]! > 0) return false;
    this.#quietCounters[count] = count;
    return true;
  }

  #isActive(mode: DefenceMode): boolean {
    return mode === 3 || (mode === 1 && this.#isLow);
  }
}
