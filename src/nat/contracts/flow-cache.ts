/**
 * What the director asks of a flow cache: something in front of it that repeats its decisions for connections it knows,
 * without asking it (the eBPF fast path). Everything works without one; with one, packets of a cached connection are only
 * seen here afterwards, as its state, the time of its last packet, and counters.
 */
export interface FlowCache {
  /**
   * Repeat for this connection, whose last packet came just now, what was decided. It may decline: no way out that it can
   * use, no room.
   * @param state - as `state` gives it back
   */
  install(record: number, state: number, nowTick: number): void;
  /** Forget this connection, before its entry is removed. Nothing for one that is not cached. */
  withdraw(record: number): void;
  /** Forget every connection of this destination at once. @param number - the destination's */
  flushServer(number: number): void;
  /** Is there something that a packet of this connection may have changed? */
  isCached(record: number): boolean;
  /** Is it cached, and not forgotten with its destination since? */
  isCurrent(record: number): boolean;

  // What became of a cached connection

  /** TCP: its state, by the code of TCP_STATES. UDP: 1 once the server has answered, 0 before. */
  state(record: number): number;
  /** When its last packet came, in ticks. */
  seenTick(record: number): number;
  /**
   * Packets from the client since this was last asked.
   * @param until - only of the first so many of the connection, modulo 2^32
   */
  takeInPackets(record: number, until?: number): number;
  /** Has it had a packet since `tell`, or since this was last asked? */
  hasNews(record: number): boolean;
  /** A packet of it went through the director just now: this is its state. */
  tell(record: number, state: number, nowTick: number): void;

  // Of all connections together

  /**
   * Hand over the connections whose state changed since this was last asked, once for each change, and the state each came
   * into. It may have gone on from there.
   */
  takeChanges(changed: ChangeSink): void;
  /** Hand over a destination's packets and bytes since this was last asked. @param number - the destination's */
  takeCounts(number: number, add: TrafficSink): void;
  /** Off: every packet comes to the director, and what is cached stays. */
  setEnabled(isEnabled: boolean): void;
  /** How long idle connections live and which state table TCP follows. In ticks, by state code. */
  setRules(rules: FlowRules): void;
}

export interface FlowRules {
  readonly isSecureTcp: boolean;
  readonly tcpTicks: ArrayLike<number>;
  readonly secureTcpTicks: ArrayLike<number>;
  readonly udpTicks: number;
  /**
   * A connection counts as changed when its packets from the client, modulo the period, are as many as the threshold. Period
   * 0: never by that.
   */
  readonly told: readonly [threshold: number, period: number];
}

/**
 * Takes a change of a connection.
 * @param inPackets - packets from the client before the one that made the change, modulo 2^32
 * @param isIn - was that one from the client? 1 or 0
 */
export type ChangeSink = (record: number, state: number, inPackets: number, isIn: number) => void;

/** Takes what a cache has forwarded. Bytes count IP packets. */
export type TrafficSink = (inPackets: number, inBytes: number, outPackets: number, outBytes: number) => void;
