/**
 * What the director asks of a flow cache: something in front of it that repeats its decisions for connections it knows,
 * without asking it (the eBPF fast path). Everything works without one; with one, packets of a cached connection are only
 * seen here afterwards, as its state, the time of its last packet, and counters.
 */
import type { Flow } from "../../wire/flow.ts";

export interface FlowCache {
  /** It can choose servers for new connections by itself. */
  readonly chooser?: ServerChooser | undefined;
  /**
   * Repeat for this connection what was decided. It may decline: no way out that it can use, no room.
   * @param state - as `state` gives it back
   * @param seenTick - of its last packet
   * @returns false when there was no room: a packet of it might be taken for the beginning of another
   */
  install(record: number, state: number, seenTick: number, nowTick: number): boolean;
  /**
   * A connection that is not to be repeated, or could not be: its packets are known all the same, so that none of them is
   * taken for the beginning of another. Nothing for one that is cached, or known so already.
   * @returns false when there was no room
   */
  except(record: number): boolean;
  /** Forget this connection, before its entry is removed. Nothing for one that is not cached. */
  withdraw(record: number): void;
  /** It has forgotten this connection by itself. */
  lapse(record: number): void;
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

/**
 * A cache that makes connections: with picks that a scheduler made ahead, in records that the director lent. It is told
 * what begins, in time: `takeChanges` first hands over what began.
 */
export interface ServerChooser {
  /** Choose for this service from now on. @returns a number for it, or -1: it declines */
  begin(delegation: Delegation): number;
  /** No longer. @returns picks of a sequence that were taken, modulo 2^32 */
  end(choice: number): number;
  /** The next pick of a sequence, for a connection that the director makes itself. @returns how many were taken before */
  takePick(choice: number): number;
  /** Longest list of picks that it takes. */
  readonly picksMax: number;
  /** Records lent and not used. */
  readonly lentCount: number;
  readonly lentMax: number;
  lend(record: number, generation: number): void;
  /** @returns a record that is the director's again, or -1: none is lent */
  takeBack(): number;
  /** Whom to tell of connections that began. */
  onBegan: BeginningSink;
  /** Whom to tell of a record that was not used after all, nor the pick that was taken for it, a destination's number or -1. */
  onReturned: (record: number, pick: number) => void;
}

/**
 * A connection began.
 * @param record - of those lent; -1: what another cache made before this one
 * @param server - number of the destination that was picked
 * @param flow - of the client's packet
 * @param destination - four words: address of the destination
 * @param replaced - record whose place it took, which is over, or -1
 * @param replacedGeneration - of that record
 * @returns its record; -1: it is none, and nothing may be left of it in the cache
 */
export type BeginningSink = (
  record: number,
  server: number,
  flow: Flow,
  destination: Int32Array,
  destinationPort: number,
  replaced: number,
  replacedGeneration: number,
) => number;

/** A service as its chooser has to know it. */
export interface Delegation {
  readonly family: 4 | 6;
  readonly protocol: number;
  /** Virtual address, four words. */
  readonly words: Int32Array;
  readonly port: number;
  readonly kind: "sequence" | "source" | "source-and-port";
  /** Numbers of destinations: of a sequence one after the other; of a hash by its upper eight bits, -1 for nobody. */
  readonly picks: Int32Array;
  /** Behind its last pick a sequence goes on here. */
  readonly loopAt: number;
  readonly targets: readonly DelegationTarget[];
}

export interface DelegationTarget {
  readonly number: number;
  readonly words: Int32Array;
  readonly port: number;
}

export interface FlowRules {
  /** A SYN of a TCP connection that is over begins a new one (conn_reuse_mode). */
  readonly isReusing: boolean;
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
