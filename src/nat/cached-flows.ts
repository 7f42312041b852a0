/**
 * The director's side of a flow cache: which connections go there, and how what happened there comes back into the table,
 * the counters and the timers, so that everybody else finds them as if every packet had been here.
 *
 * Not cached: what an application module reads or a PROXY header renumbers; services that schedule packet by packet;
 * connections of removed destinations; everything but TCP and UDP.
 */
import { Protocol } from "../wire/flow.ts";
import type { ConnectionStates } from "./connection-states.ts";
import { ConnectionFlag, type ConnectionTable, IN_PACKETS_MAX } from "./connection-table.ts";
import type { ChangeSink, FlowCache } from "./contracts/flow-cache.ts";
import type { Delegations } from "./delegations.ts";
import type { Destination } from "./destination.ts";
import type { ConnectionObserver } from "./forwarding.ts";
import type { ServiceBook } from "./service-book.ts";
import { Quantity, type Traffic } from "./traffic.ts";
import { TO_CLIENT, TO_SERVER } from "./verdict.ts";

/** Each packet of these has to be read, or is not yet one of a connection. */
const NEEDS_DIRECTOR = ConnectionFlag.proxy | ConnectionFlag.application | ConnectionFlag.expected;

const NEVER: readonly [number, number] = [0, 0];
/** Packets of a connection that an observer hears of at a time; where it counts them, it does so modulo less. */
const OBSERVED_MAX = 1 << 16;
/** Entries looked at, and put into the cache, by one call of `advance`. */
const LOOKS_PER_ADVANCE = 4096;
const PUTS_PER_ADVANCE = 256;

export class CachedFlows {
  /** Packets by verdict, the director's own count. */
  readonly verdictCounts: Float64Array;
  /** conn_reuse_mode; `rulesChanged` makes it known. */
  isReusing = false;
  /** What the cache may decide by itself. */
  delegations: Delegations | undefined;
  readonly #table: ConnectionTable;
  readonly #services: ServiceBook;
  readonly #states: ConnectionStates;
  readonly #traffic: Traffic;
  #cache: FlowCache | undefined;
  #observer: ConnectionObserver | undefined;
  #told = NEVER;
  /** Connections whose changes were entered one by one. */
  readonly #observed: number[] = [];
  readonly #suspensions = new Set<string>();
  /** Entries with a number below this may belong into the cache and not be there. */
  #sweepCursor = 0;
  /** The last one found no room. */
  #isFull = false;

  constructor(
    table: ConnectionTable,
    services: ServiceBook,
    states: ConnectionStates,
    traffic: Traffic,
    verdictCounts: Float64Array,
  ) {
    this.#table = table;
    this.#services = services;
    this.#states = states;
    this.#traffic = traffic;
    this.verdictCounts = verdictCounts;
  }

  set cache(cache: FlowCache | undefined) {
    if (this.delegations !== undefined) this.delegations.chooser = cache?.chooser;
    this.#cache = cache;
    this.#beginSweep();
    this.rulesChanged();
    cache?.setEnabled(this.#suspensions.size === 0);
  }

  /** Has the cache every entry that it may have? Only then what it does not know is new. */
  get isComplete(): boolean {
    return this.#sweepCursor === 0 && this.#suspensions.size === 0;
  }

  /** A bounded part of what is to be done besides packets: put entries into the cache that are not there. */
  advance(): void {
    const cache = this.#cache;
    if (cache === undefined) return;
    if (this.#suspensions.size === 0) this.#sweep(cache);
    this.delegations?.advance();
  }

  /** Is a sweep under way that could go on? */
  get isBusy(): boolean {
    return (
      this.#cache !== undefined && this.#sweepCursor > 0 && this.#suspensions.size === 0 && !this.#isFull
    );
  }

  #beginSweep(): void {
    this.#sweepCursor = this.#table.highWater;
  }

  #sweep(cache: FlowCache): void {
    const table = this.#table;
    const { nowTick } = this.#states;
    const end = Math.max(0, this.#sweepCursor - LOOKS_PER_ADVANCE);
    let puts = PUTS_PER_ADVANCE;
    while (this.#sweepCursor > end && puts > 0) {
      const record = this.#sweepCursor - 1;
      if (table.isLive(record) && !table.isTemplate(record) && !cache.isCurrent(record)) {
        const destination = this.#services.destination(table.server(record));
        const seenTick = nowTick - (table.timeout(record) - table.ticksLeft(record, nowTick));
        this.#isFull = !this.#put(cache, record, destination, seenTick);
        if (this.#isFull) return; // tried again
        puts--;
      }
      this.#sweepCursor = record;
    }
  }

  /** Timeouts or the state table changed. */
  rulesChanged(): void {
    const told = this.#observer === undefined ? NEVER : this.#told;
    this.#cache?.setRules({ ...this.#states.rules, isReusing: this.isReusing, told });
  }

  /**
   * Somebody hears of every packet of every connection, and has to in time at these packets from the client.
   * @param told - threshold and period; with period 0 no cache can tell, and every packet comes to the director
   */
  observe(
    observer: ConnectionObserver | undefined,
    told: readonly [threshold: number, period: number],
  ): void {
    this.#observer = observer;
    this.#told = told;
    this.suspend("synchronisation without a period", observer !== undefined && told[1] === 0);
    this.rulesChanged();
  }

  /** Let every packet come to the director as long as there is a reason to. What is cached stays. */
  suspend(reason: string, isSuspended: boolean): void {
    if (this.#suspensions.has(reason) === isSuspended) return;
    this.delegations?.recall();
    if (isSuspended) this.#suspensions.add(reason);
    else this.#suspensions.delete(reason);
    this.#beginSweep();
    this.#cache?.setEnabled(this.#suspensions.size === 0);
  }

  /** Why every packet comes to the director now; empty: it does not. */
  get suspensions(): readonly string[] {
    return [...this.#suspensions];
  }

  /** A packet of this connection came to the director, which knows what to do with it and its like. */
  followed(record: number, destination: Destination): void {
    const cache = this.#cache;
    if (cache === undefined) return;
    const { nowTick } = this.#states;
    if (cache.isCurrent(record)) cache.tell(record, this.#stateOf(record), nowTick);
    else if (this.#suspensions.size === 0 && !this.#put(cache, record, destination, nowTick)) {
      this.delegations?.recall();
      this.#beginSweep();
    }
  }

  #put(cache: FlowCache, record: number, destination: Destination, seenTick: number): boolean {
    return this.#isCacheable(record, destination)
      ? cache.install(record, this.#stateOf(record), seenTick, this.#states.nowTick)
      : !this.#isKnowable(record, destination) || cache.except(record);
  }

  /** Might another packet from a client be of it? What lives for one packet may look like another one. */
  #isKnowable(record: number, { service }: Destination): boolean {
    const table = this.#table;
    const isOfClient = (table.flags(record) & (ConnectionFlag.masquerade | ConnectionFlag.expected)) === 0;
    const protocol = table.protocol(record);
    return isOfClient && (protocol === Protocol.tcp || (protocol === Protocol.udp && !service.isOnePacket));
  }

  /** Bring an entry up to what the cache saw of it. To be called before its state, time or counts are looked at. */
  catchUp(record: number): void {
    if (this.#cache?.isCached(record) === true && this.#cache.hasNews(record)) this.enter(record);
  }

  /** Likewise of one that has news, or that the cache began. */
  enter(record: number): void {
    const cache = this.#cache!;
    this.inherit(record, cache.state(record), cache.seenTick(record), cache.takeInPackets(record));
  }

  /** An entry of a director before, and what a cache of its saw of it. */
  inherit(record: number, state: number, seenTick: number, inPackets: number): void {
    const table = this.#table;
    this.#states.catchUp(record, state, seenTick, this.#services.destination(table.server(record)));
    const observed = this.#observer === undefined ? 0 : Math.min(inPackets, OBSERVED_MAX);
    for (let i = 0; i < observed; i++)
      this.#observer?.packetSeen(record, table.countInPacket(record), this.#states.nowTick);
    table.setInPackets(record, Math.min(table.inPackets(record) + inPackets - observed, IN_PACKETS_MAX));
  }

  /** Follow the connections whose state changed. Costs a look at memory when there are none. */
  catchUpChanges(): void {
    this.#cache?.takeChanges(this.#catchUp);
    // Where changes were entered one by one, the last one may not be the last packet.
    if (this.#observed.length > 0)
      for (const record of this.#observed.splice(0)) if (this.#cache?.isCached(record)) this.enter(record);
  }
  readonly #catchUp: ChangeSink = (record, state, inPackets, isIn) => {
    const cache = this.#cache;
    this.#states.passed(record, state);
    if (this.#observer !== undefined && cache?.hasNews(record) === true) {
      // Packet by packet, as others would have heard of it, although the connection may have gone on from there.
      const seenTick = this.#states.nowTick;
      this.inherit(record, this.#stateOf(record), seenTick, cache.takeInPackets(record, inPackets));
      this.inherit(record, state, seenTick, cache.takeInPackets(record, inPackets + isIn));
      this.#observed.push(record);
    } else this.catchUp(record);
  };

  /** The entry is about to go: what is still to be told of it matters to its template, and to who observes. It may go by that. */
  settle(record: number): void {
    if (this.#cache?.isCached(record) === true) this.catchUpChanges();
  }

  /** The entry goes, and was settled. */
  withdraw(record: number): void {
    this.#cache?.withdraw(record);
  }

  /** The entry goes, and the cache has another connection in its place already. */
  lapse(record: number): void {
    this.catchUp(record);
    this.#cache?.lapse(record);
  }

  /** Routes or interfaces changed, or the destination is being removed: its connections come here again. */
  flush(destination: Destination): void {
    if (this.#cache === undefined) return;
    this.#count(destination);
    this.#cache.flushServer(destination.number);
  }

  flushAll(): void {
    this.delegations?.recall();
    for (const destination of this.#services.destinations()) this.flush(destination);
  }

  /** Enter the packets that the cache forwarded into everybody's counters. */
  count(): void {
    if (this.#cache === undefined) return;
    for (const destination of this.#services.destinations()) this.#count(destination);
  }

  #count(destination: Destination): void {
    this.#cache?.takeCounts(destination.number, (inPackets, inBytes, outPackets, outBytes) => {
      this.verdictCounts[TO_SERVER.code]! += inPackets;
      this.verdictCounts[TO_CLIENT.code]! += outPackets;
      if (!destination.isAvailable) return;
      const { traffic, service, isDetached } = destination;
      for (const one of isDetached ? [traffic, service.traffic] : [traffic, service.traffic, this.#traffic]) {
        one.add(Quantity.inPackets, inPackets);
        one.add(Quantity.inBytes, inBytes);
        one.add(Quantity.outPackets, outPackets);
        one.add(Quantity.outBytes, outBytes);
      }
    });
  }

  #isCacheable(record: number, { isAvailable, service }: Destination): boolean {
    const table = this.#table;
    if (!isAvailable || (table.flags(record) & NEEDS_DIRECTOR) !== 0) return false;
    const protocol = table.protocol(record);
    return protocol === Protocol.tcp || (protocol === Protocol.udp && !service.isOnePacket);
  }

  /** UDP has no state but whether its template is assured, which is kept there. */
  #stateOf(record: number): number {
    return this.#table.protocol(record) === Protocol.tcp ? this.#table.state(record) : 0;
  }
}
