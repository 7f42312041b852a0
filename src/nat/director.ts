/**
 * The director: one packet in, one verdict out, the packet edited in place. It knows no clock, no random source and no
 * I/O of its own; everything it remembers is in the tables below. Read `receive` from top to bottom: look up, schedule,
 * bind, follow the state, rewrite.
 *
 * The order of steps, and what is answered when there is nothing to do, are those of Linux IPVS (ip_vs_in, ip_vs_out,
 * ip_vs_schedule, ip_vs_leave as described by the project's reference, sections 0 and 1), with the parts that IPVS
 * leaves to the host's stack (echo, resets, unknown ports) done here, because the virtual address is nobody else's.
 */

import { type Milliseconds, milliseconds, type RandomU32 } from "../base/environment.ts";
import { KeyedHash } from "../base/keyed-hash.ts";
import { Flow, Protocol } from "../wire/flow.ts";
import { IcmpType } from "../wire/icmp.ts";
import { Icmpv6Type } from "../wire/icmpv6.ts";
import { Gso, type Packet } from "../wire/packet.ts";
import { TcpFlag } from "../wire/tcp.ts";
import { Bindings } from "./bindings.ts";
import { CallTable } from "./call-table.ts";
import type {
  DirectorConfig,
  DirectorSettings,
  MarkRule,
  RemovalPolicy,
  ServiceConfig,
} from "./configuration.ts";
import { ConnectionFlag, ConnectionTable, TICK_MS } from "./connection-table.ts";
import type { SchedulerRegistry } from "./contracts/scheduler.ts";
import { DEFENCE_INTERVAL_MS, Defence } from "./defence.ts";
import type { Destination } from "./destination.ts";
import { Dispatcher, Refusal } from "./dispatcher.ts";
import { DROP_REASONS } from "./drop-reason.ts";
import { isEchoProtocol, readEcho } from "./echo.ts";
import { findQuoted, isIcmp, isTranslatedError, translateError } from "./icmp-error.ts";
import { Masquerade, type Masquerading } from "./masquerade.ts";
import {
  firstSctpChunk,
  nextSctpState,
  SCTP_CLOSED,
  SCTP_ESTABLISHED,
  SctpChunk,
  secondSctpChunk,
} from "./protocol/sctp.ts";
import { nextTcpState, TCP_IS_ACTIVE, TCP_STATE, TcpSide } from "./protocol/tcp.ts";
import { proxyToClient, proxyToServer } from "./proxy-protocol.ts";
import { Reassembly } from "./reassembly.ts";
import {
  HOPS_EXCEEDED,
  isIcmpValid,
  isUnicastSource,
  PORT_UNREACHABLE,
  PROTOCOL_UNREACHABLE,
  ReplyMaker,
  TOO_BIG,
} from "./reply.ts";
import { ReplyLimit } from "./reply-limit.ts";
import { changeHops, rewrite } from "./rewrite.ts";
import { ServiceBook } from "./service-book.ts";
import { SourceAddresses } from "./source-addresses.ts";
import { Templates } from "./templates.ts";
import { sctpTimeoutList, tcpTimeoutList } from "./timeouts.ts";
import { ESTIMATE_INTERVAL_MS, Traffic } from "./traffic.ts";
import { DROP, HELD, PASS, REPLY, TO_CLIENT, TO_SERVER, VERDICT_KINDS, type Verdict } from "./verdict.ts";
import type { VirtualService } from "./virtual-service.ts";

/** Host's default TTL, for packets the director makes itself. */
const DEFAULT_HOPS = 64;
/** Entries looked at by one call of `advance`, so that a mass expiry never holds up packets for more than a moment. */
const LOOKS_PER_ADVANCE = 4096;
/** Life of an entry that no packet of its own has touched yet (IPVS). */
const NEW_ENTRY_SECONDS = 3;
/** Life of an idle echo exchange; Linux's connection tracking gives it as much. */
const ECHO_SECONDS = 30;
/** Active FTP data comes from here; it is never scheduled, because it must have been announced (IPVS's rule). */
const FTP_DATA_PORT = 20;
const FRAGMENT_MTU_MIN = 68;

export interface ConnectionObserver {
  /**
   * A packet of a connection went through its state machine.
   * @param packetCount - packets from the client so far; 0: this one came from the server
   */
  packetSeen(record: number, packetCount: number): void;
  /** The time of an entry was up, but others hang on it, so that it lives on. */
  prolonged(record: number): void;
}

export interface DirectorOptions {
  readonly settings: DirectorSettings;
  readonly schedulers: SchedulerRegistry;
  readonly randomU32: RandomU32;
  /**
   * What the director does to TTL and hop limit. -1: it is the router (captures, simulation). +1: a kernel decrements
   * twice around it (TUN), and it gives one back.
   */
  readonly hopChange: -1 | 1;
  readonly now: Milliseconds;
  /** Memory of the connection table; default: its own. At least ConnectionTable.bytesFor(connectionsMax). */
  readonly memory?: ArrayBufferLike;
}

export class Director {
  readonly connections: ConnectionTable;
  readonly services: ServiceBook;
  readonly sources: SourceAddresses;
  readonly calls: CallTable;
  readonly bindings: Bindings;
  readonly masquerade: Masquerade;
  readonly defence: Defence;
  readonly traffic = new Traffic();
  readonly reassembly: Reassembly;
  /**
   * By verdict code: kinds first, then drop reasons. One for every packet received, and one more for every unfinished
   * datagram that was given up (fragment-timeout, fragments-full), whose fragments were counted as held.
   */
  readonly verdictCounts = new Float64Array(VERDICT_KINDS.length + DROP_REASONS.length);
  /** Connections ever made. */
  createdCount = 0;
  /** Largest packet towards clients, 0 when the routers in between say so themselves. */
  clientMtuBytes = 0;
  /** The director's own address towards the servers, for its ICMP errors to them; by family. */
  readonly ownAddress: { 4: Int32Array | undefined; 6: Int32Array | undefined } = {
    4: undefined,
    6: undefined,
  };

  readonly #dispatcher: Dispatcher;
  readonly #randomU32: RandomU32;
  readonly #hopChange: -1 | 1;
  readonly #replies: ReplyMaker;
  readonly #replyLimit: ReplyLimit;
  readonly #flow = new Flow();
  readonly #quoted = new Flow();
  /** Where a masqueraded packet goes, as a destination's four words. */
  readonly #outside = new Int32Array(4);
  #settings: DirectorSettings;
  #observer: ConnectionObserver | undefined;
  #tcpTicks = new Int32Array(0);
  #secureTcpTicks = new Int32Array(0);
  #sctpTicks = new Int32Array(0);
  #udpTicks = 0;
  #nowMs: number;
  #nowTick: number;
  #nextEstimateMs: number;
  #nextDefenceMs: number;
  /** Entries below this number are still to be looked at for removed destinations. */
  #sweepCursor = 0;

  constructor(options: DirectorOptions) {
    const { settings, randomU32, hopChange, now } = options;
    this.#settings = settings;
    this.#randomU32 = randomU32;
    this.#hopChange = hopChange;
    this.#nowMs = now;
    this.#nowTick = Math.floor(now / TICK_MS);
    this.#nextEstimateMs = now + ESTIMATE_INTERVAL_MS;
    this.#nextDefenceMs = now + DEFENCE_INTERVAL_MS;
    this.connections = new ConnectionTable(
      settings.connectionsMax,
      [randomU32(), randomU32()],
      this.#nowTick,
      options.memory,
    );
    const { connections } = this;
    this.sources = new SourceAddresses(connections, randomU32);
    const loan = { randomU32, now: () => milliseconds(this.#nowMs), ipvs: () => this.#settings.ipvs };
    this.services = new ServiceBook(options.schedulers, loan, this.sources);
    this.calls = new CallTable([randomU32(), randomU32()]);
    this.bindings = new Bindings(connections, this.services, this.sources, this.calls);
    const templates = new Templates(connections, this.services, this.bindings, this.calls);
    this.#dispatcher = new Dispatcher(connections, this.services, this.sources, this.bindings, templates);
    this.masquerade = new Masquerade(this.services, this.sources);
    this.defence = new Defence(settings.ipvs);
    const fragmentHash = new KeyedHash(randomU32(), randomU32());
    this.reassembly = new Reassembly(
      settings.fragmentBytesMax,
      settings.fragmentTimeout * 1000,
      fragmentHash,
    );
    this.#replies = new ReplyMaker(hopChange === 1 ? DEFAULT_HOPS + 1 : DEFAULT_HOPS, randomU32());
    this.#replyLimit = new ReplyLimit(settings.repliesPerSecondMax, now);
    this.#applySettings(settings);
  }

  /** As they are now. */
  get settings(): DirectorSettings {
    return this.#settings;
  }

  /** Told of what becomes of connections, for synchronising with another director. */
  set observer(observer: ConnectionObserver | undefined) {
    this.#observer = observer;
    this.bindings.onProlonged = observer && ((record) => observer.prolonged(record));
  }

  /** Connections that got another source port towards the server, because two looked alike there. */
  get portChangedCount(): number {
    return this.#dispatcher.portChangedCount;
  }

  /** Change what may change while packets flow: everything but the sizes of tables (DirectorLimits). */
  configure({ settings, marks, masquerade }: Omit<DirectorConfig, "services">): void {
    this.#applySettings(settings);
    this.setMarks(marks);
    this.masquerade.configure(masquerade);
  }

  setMarks(rules: readonly MarkRule[]): void {
    this.services.setMarks(rules);
  }

  /** What becomes of the connections of this destination now that it is removed. */
  removalPolicy({ service }: Destination): RemovalPolicy {
    const { ipvs, removal } = this.#settings;
    return service.removal ?? (ipvs.expire_nodest_conn === 1 ? "expire" : removal);
  }

  /** Destinations were removed: end, by and by, the connections of those whose policy is to expire. */
  sweepRemoved(): void {
    this.#sweepCursor = this.connections.highWater;
  }

  #applySettings(settings: DirectorSettings): void {
    this.#settings = settings;
    this.#dispatcher.pinsQuiescent = settings.ipvs.expire_quiescent_template === 0;
    this.defence.configure(settings.ipvs);
    this.reassembly.timeoutMs = settings.fragmentTimeout * 1000;
    this.#replyLimit.perSecond = settings.repliesPerSecondMax;
    const { timeouts } = settings;
    this.#tcpTicks = Int32Array.from(tcpTimeoutList(timeouts.tcp), toTicks);
    this.#secureTcpTicks = Int32Array.from(tcpTimeoutList(timeouts.secureTcp), toTicks);
    this.#sctpTicks = Int32Array.from(sctpTimeoutList(timeouts), toTicks);
    this.#udpTicks = toTicks(timeouts.udp);
  }

  /** Decide about one packet and edit it accordingly. Never throws, whatever the bytes. */
  receive(packet: Packet, now: Milliseconds): Verdict {
    this.#nowMs = now;
    this.#nowTick = Math.floor(now / TICK_MS);
    const verdict = this.#decide(packet);
    this.verdictCounts[verdict.code]!++;
    return verdict;
  }

  /** Let time pass: expire entries and fragments (a bounded number), run defences and the rate estimator. */
  advance(now: Milliseconds): void {
    this.#nowMs = now;
    this.#nowTick = Math.floor(now / TICK_MS);
    const { connections } = this;
    const lookMax = connections.lookCount + LOOKS_PER_ADVANCE;
    for (;;) {
      const record = connections.nextExpired(this.#nowTick, lookMax - connections.lookCount);
      if (record < 0) break;
      this.bindings.expire(record, this.#nowTick);
    }
    this.verdictCounts[DROP["fragment-timeout"].code]! += this.reassembly.advance(now);
    if (this.#sweepCursor > 0) this.#sweep();
    this.#defend(now);
    if (now < this.#nextEstimateMs) return;
    if (this.#settings.ipvs.run_estimation === 1) {
      this.traffic.estimate();
      this.services.estimate();
    }
    this.#nextEstimateMs += ESTIMATE_INTERVAL_MS;
    // After a pause the missed runs are not made up for.
    if (this.#nextEstimateMs <= now) this.#nextEstimateMs = now + ESTIMATE_INTERVAL_MS;
  }

  #defend(now: number): void {
    if (now >= this.#nextDefenceMs) {
      this.defence.update(this.connections);
      this.#nextDefenceMs = now + DEFENCE_INTERVAL_MS;
    }
    const { connections, services, bindings } = this;
    this.defence.sweep(connections, services, bindings, this.#randomU32, this.#nowTick, LOOKS_PER_ADVANCE);
  }

  /** Look at some more entries of removed destinations. */
  #sweep(): void {
    const { connections } = this;
    const end = Math.max(0, this.#sweepCursor - LOOKS_PER_ADVANCE);
    while (this.#sweepCursor > end) {
      const record = --this.#sweepCursor;
      if (!connections.isLive(record) || connections.isTemplate(record)) continue;
      const destination = this.services.destination(connections.server(record));
      if (destination.isAvailable || connections.controlledCount(record) > 0) continue;
      if (this.removalPolicy(destination) === "expire") this.bindings.remove(record);
    }
  }

  addService(config: ServiceConfig): VirtualService {
    const service = this.services.addService(config);
    for (const destination of config.destinations) this.services.addDestination(service, destination);
    return service;
  }

  /** All counters and rates to zero; gauges stay. */
  zero(): void {
    this.traffic.zero();
    this.services.zero();
    this.verdictCounts.fill(0);
  }

  #decide(packet: Packet): Verdict {
    const flow = this.#flow;
    let dissection = flow.dissect(packet);
    if (dissection !== "ok") return DROP[dissection];
    if (flow.isFragment) {
      const { evictedCount } = this.reassembly;
      const outcome = this.reassembly.accept(packet, flow, this.#nowMs);
      // Who had to make room was only held before, and nothing else will be sent of it.
      this.verdictCounts[DROP["fragments-full"].code]! += this.reassembly.evictedCount - evictedCount;
      if (outcome === "held") return HELD;
      if (outcome !== "complete") return DROP[outcome];
      dissection = flow.dissect(packet);
      if (dissection !== "ok") return DROP[dissection];
    }
    if (flow.hasPorts) return this.#transport(packet, flow);
    if (isIcmp(flow)) return this.#icmp(packet, flow);
    if (!this.services.isToVirtual(flow)) return this.#pass(packet, flow);
    if (this.#settings.unserved === "drop") return DROP["unknown-protocol"];
    return this.#error(packet, flow, PROTOCOL_UNREACHABLE, 0) ? REPLY : DROP["unknown-protocol"];
  }

  // TCP, UDP, SCTP

  #transport(packet: Packet, flow: Flow): Verdict {
    const node = this.#findLive(flow);
    if (node < 0) return this.#unknown(packet, flow);
    const record = node >> 1;
    const destination = this.services.destination(this.connections.server(record));
    if (!destination.isAvailable) {
      const verdict = this.#ofRemoved(packet, flow, record, (node & 1) === 1, destination);
      if (verdict !== undefined) return verdict;
    }
    if ((node & 1) === 1) return this.#toClient(packet, flow, record);
    if (this.#isStarting(packet, flow) && this.#isReusable(flow, record)) {
      const service = this.services.find(flow);
      if (service !== undefined) {
        if (this.#isSchedulable(packet, flow)) return this.#schedule(packet, flow, service, record);
        // SYN with RST: the old connection is over, and this begins no new one.
        this.bindings.remove(record);
        return this.#reject(packet, flow);
      }
    }
    return this.#toServer(packet, flow, record);
  }

  /**
   * A packet of a connection whose destination was removed, by the service's policy.
   * @returns undefined: as if it were not
   */
  #ofRemoved(
    packet: Packet,
    flow: Flow,
    record: number,
    isToClient: boolean,
    destination: Destination,
  ): Verdict | undefined {
    if (this.connections.hasFlag(record, ConnectionFlag.masquerade)) return undefined;
    switch (this.removalPolicy(destination)) {
      case "drain":
        return undefined;
      case "drop":
        return isToClient ? undefined : DROP["destination-removed"];
      case "reset":
        if (!isToClient && this.#isStarting(packet, flow)) break;
        // It stays for a moment, so that the other end is told as well.
        this.connections.setState(record, flow.protocol === Protocol.tcp ? TCP_STATE.close : 0);
        this.#restart(record, this.#tcpTicks[TCP_STATE.close]!);
        return this.#refuse(packet, flow, DROP["destination-removed"]);
      case "reschedule":
        if (isToClient || flow.protocol !== Protocol.udp) return undefined;
    }
    if (this.connections.controlledCount(record) > 0) return undefined;
    this.bindings.remove(record);
    return this.#unknown(packet, flow);
  }

  #findLive(flow: Flow): number {
    const node = this.connections.find(flow);
    if (node < 0 || !this.connections.isExpired(node >> 1, this.#nowTick)) return node;
    return this.bindings.expire(node >> 1, this.#nowTick) ? -1 : node;
  }

  /** A packet that opens a connection: TCP with SYN, SCTP with INIT; never UDP, which has no beginning. */
  #isStarting(packet: Packet, flow: Flow): boolean {
    if (flow.protocol === Protocol.tcp) return (flow.tcpFlags & TcpFlag.syn) !== 0;
    return flow.protocol === Protocol.sctp && firstSctpChunk(packet, flow) === SctpChunk.init;
  }

  /** May the same client port begin a new connection at once? IPVS's conn_reuse_mode and expire_nodest_conn. */
  #isReusable(flow: Flow, record: number): boolean {
    const table = this.connections;
    if (table.controlledCount(record) > 0) return false;
    const { conn_reuse_mode, expire_nodest_conn } = this.#settings.ipvs;
    if (expire_nodest_conn === 1 && this.services.destination(table.server(record)).weight === 0) return true;
    if (conn_reuse_mode === 0 || table.controller(record) >= 0) return false;
    const state = table.state(record);
    if (flow.protocol === Protocol.tcp) return state === TCP_STATE.timeWait || state === TCP_STATE.close;
    return state === SCTP_CLOSED;
  }

  #unknown(packet: Packet, flow: Flow): Verdict {
    if (!this.services.isToVirtual(flow)) return this.#outward(packet, flow);
    // From a virtual address to a virtual address: an answer would come back here, and so on for ever.
    if (!isUnicastSource(flow) || this.services.isFromVirtual(flow)) return DROP.martian;
    const service = this.services.find(flow);
    if (service === undefined) return this.#reject(packet, flow);
    if (!this.#isSchedulable(packet, flow)) return this.#reject(packet, flow);
    return this.#schedule(packet, flow, service, -1);
  }

  /** TCP: SYN without RST (ACK is not looked at); UDP: always; SCTP: INIT first. Sloppy: anything but RST or ABORT. */
  #isSchedulable(packet: Packet, flow: Flow): boolean {
    if (flow.sourcePort === FTP_DATA_PORT) return false;
    const { sloppy_tcp, sloppy_sctp } = this.#settings.ipvs;
    if (flow.protocol === Protocol.tcp) {
      const { tcpFlags } = flow;
      return (tcpFlags & TcpFlag.rst) === 0 && ((tcpFlags & TcpFlag.syn) !== 0 || sloppy_tcp === 1);
    }
    if (flow.protocol === Protocol.udp) return true;
    const chunk = firstSctpChunk(packet, flow);
    return chunk === SctpChunk.init || (sloppy_sctp === 1 && chunk !== SctpChunk.abort);
  }

  /** @param replaced - entry that this connection takes the place of, or -1 */
  #schedule(packet: Packet, flow: Flow, service: VirtualService, replaced: number): Verdict {
    if (this.defence.dropsPacket()) return DROP.defence;
    const record = this.#dispatcher.dispatch(packet, flow, service, replaced, this.#nowTick);
    if (record < 0) return this.#refusal(packet, flow, record);
    this.traffic.countConnection();
    this.createdCount++;
    const isOnePacket = service.isOnePacket && flow.protocol === Protocol.udp;
    const verdict = this.#toServer(packet, flow, record);
    if (isOnePacket) this.bindings.remove(record);
    return verdict;
  }

  #refusal(packet: Packet, flow: Flow, refusal: number): Verdict {
    switch (refusal) {
      case Refusal.notServed:
        return this.#reject(packet, flow);
      case Refusal.tableFull:
        return DROP["table-full"];
      case Refusal.noSource:
        return DROP["tuple-exhausted"];
      case Refusal.noKey:
        return DROP["no-call-id"];
      default:
        return this.#error(packet, flow, PORT_UNREACHABLE, 0) ? REPLY : DROP["no-destination"];
    }
  }

  // Out through the director

  /** A packet of no connection that is not for a virtual address: a masqueraded connection, or none of our business. */
  #outward(packet: Packet, flow: Flow): Verdict {
    const masquerading = this.masquerade.find(flow);
    if (masquerading !== undefined) return this.#masquerade(packet, flow, masquerading);
    if (this.#settings.ipvs.nat_icmp_send === 1 && this.services.isFromServer(flow)) {
      const isEnd =
        (flow.tcpFlags & TcpFlag.rst) !== 0 ||
        (flow.protocol === Protocol.sctp && firstSctpChunk(packet, flow) === SctpChunk.abort);
      if (!isEnd) return this.#ownError(packet, flow, PORT_UNREACHABLE, 0) ? REPLY : DROP["no-destination"];
    }
    return this.#pass(packet, flow);
  }

  #masquerade(packet: Packet, flow: Flow, masquerading: Masquerading): Verdict {
    const { family, protocol, words, sourcePort, destinationPort } = flow;
    if (protocol === Protocol.tcp && (flow.tcpFlags & (TcpFlag.syn | TcpFlag.rst)) !== TcpFlag.syn)
      return this.#refuse(packet, flow, DROP["no-service"]);
    const { destination, pool, firstPort, lastPort } = masquerading;
    const { sources } = this;
    // biome-ignore format: host behind the director, far end, range
    const hasSource = sources.choose(
      pool, family, protocol, words, sourcePort, words, 4, destinationPort, firstPort, lastPort, this.services,
    );
    if (!hasSource) return DROP["tuple-exhausted"];
    const { number, port } = sources.found;
    for (let i = 0; i < 4; i++) this.#outside[i] = words[4 + i]!;
    const record = this.connections.insert(
      flow,
      this.#outside,
      destinationPort,
      number,
      port,
      destination.number,
    );
    if (record < 0) return DROP["table-full"];
    this.connections.setFlag(record, ConnectionFlag.masquerade, true);
    this.bindings.bind(record, destination, number, -1);
    destination.traffic.countConnection();
    this.createdCount++;
    return this.#toServer(packet, flow, record);
  }

  #toServer(packet: Packet, flow: Flow, record: number): Verdict {
    const table = this.connections;
    const destination = this.services.destination(table.server(record));
    const isMasquerade = table.hasFlag(record, ConnectionFlag.masquerade);
    this.#follow(packet, flow, record, TcpSide.input, destination);
    const packetCount = table.countInPacket(record);
    this.#countIn(destination, packet.length);
    this.#observer?.packetSeen(record, packetCount);
    if (this.#hopChange === -1) {
      if (hops(packet, flow) <= 1)
        return this.#answer(packet, flow, isMasquerade, HOPS_EXCEEDED, 0, "ttl-expired");
      changeHops(packet, flow.family, -1);
    }
    if (table.hasFlag(record, ConnectionFlag.proxy) && !proxyToServer(packet, flow, table, record))
      return DROP["no-room-for-header"];
    const mtuBytes = isMasquerade ? this.clientMtuBytes : destination.mtuBytes;
    if (!this.#fits(packet, flow, mtuBytes))
      return this.#answer(packet, flow, isMasquerade, TOO_BIG, mtuBytes, "too-big");
    const { words } = table;
    const at = table.destinationAt(record);
    const source = table.source(record);
    const sourceWords = source === 0 ? flow.words : table.sourceWords;
    const sourcePort = table.sourcePort(record);
    rewrite(packet, flow, sourceWords, source * 4, sourcePort, words, at, table.destinationPort(record));
    if (this.#hopChange === 1) this.#giveHopBack(packet, flow);
    return TO_SERVER;
  }

  #toClient(packet: Packet, flow: Flow, record: number): Verdict {
    const table = this.connections;
    const isMasquerade = table.hasFlag(record, ConnectionFlag.masquerade);
    // A router looks at TTL and MTU before anything else, and answers in its own name; what comes from outside, in that of
    // the address it came to.
    if (this.#hopChange === -1 && hops(packet, flow) <= 1)
      return this.#answer(packet, flow, !isMasquerade, HOPS_EXCEEDED, 0, "ttl-expired");
    const mtuBytes = isMasquerade ? 0 : this.clientMtuBytes;
    if (!this.#fits(packet, flow, mtuBytes))
      return this.#answer(packet, flow, true, TOO_BIG, mtuBytes, "too-big");
    if (this.#hopChange === -1) changeHops(packet, flow.family, -1);
    const destination = this.services.destination(table.server(record));
    this.#follow(packet, flow, record, TcpSide.output, destination);
    this.#countOut(destination, packet.length);
    this.#observer?.packetSeen(record, 0);
    if (table.hasFlag(record, ConnectionFlag.proxy)) proxyToClient(packet, flow, table, record);
    const { words } = table;
    const port = table.virtualPort(record);
    rewrite(
      packet,
      flow,
      words,
      table.virtualAt(record),
      port,
      words,
      table.clientAt(record),
      table.clientPort(record),
    );
    if (this.#hopChange === 1) this.#giveHopBack(packet, flow);
    return TO_CLIENT;
  }

  /** Run the state machine and restart the timer. */
  #follow(packet: Packet, flow: Flow, record: number, side: TcpSide, destination: Destination): void {
    const table = this.connections;
    const { protocol } = flow;
    let ticks = this.#udpTicks;
    if (protocol === Protocol.tcp || protocol === Protocol.sctp) {
      const before = table.state(record);
      let after: number;
      let isActive: boolean;
      if (protocol === Protocol.tcp) {
        const isSecure = this.defence.isSecureTcp;
        after = nextTcpState(side, flow.tcpFlags, before, isSecure);
        isActive = TCP_IS_ACTIVE[after] === 1;
        ticks = isSecure ? this.#secureTcpTicks[after]! : this.#tcpTicks[after]!;
        if (after === TCP_STATE.established) this.bindings.assure(record);
      } else {
        after = nextSctpState(side, firstSctpChunk(packet, flow), secondSctpChunk(packet, flow), before);
        isActive = after === SCTP_ESTABLISHED;
        ticks = this.#sctpTicks[after]!;
        if (isActive) this.bindings.assure(record);
      }
      if (after !== before) table.setState(record, after);
      if (table.hasFlag(record, ConnectionFlag.inactive) === isActive) {
        table.setFlag(record, ConnectionFlag.inactive, !isActive);
        destination.move(!isActive);
      }
    } else if (isEchoProtocol(protocol)) ticks = toTicks(ECHO_SECONDS);
    else if (side === TcpSide.output) this.bindings.assure(record);
    this.#restart(record, ticks);
  }

  #restart(record: number, ticks: number): void {
    this.connections.setTimeout(record, ticks);
    this.connections.touch(record, this.#nowTick);
  }

  // ICMP

  #icmp(packet: Packet, flow: Flow): Verdict {
    if (flow.transportBytes < 8) return DROP.truncated;
    if (isTranslatedError(packet, flow)) return this.#icmpError(packet, flow);
    if (this.masquerade.rules.length > 0) {
      const verdict = this.#masqueradedEcho(packet, flow);
      if (verdict !== undefined) return verdict;
    }
    if (!this.services.isToVirtual(flow)) return this.#pass(packet, flow);
    const type = packet.view.getUint8(flow.transportAt);
    const isEchoRequest = type === (flow.family === 4 ? IcmpType.echoRequest : Icmpv6Type.echoRequest);
    if (!isEchoRequest || !this.#settings.answerEcho) return DROP["unknown-protocol"];
    if (!isUnicastSource(flow) || this.services.isFromVirtual(flow)) return DROP.martian;
    return this.#replies.echo(packet, flow) ? REPLY : DROP["bad-checksum"];
  }

  /** An echo exchange that a host behind the director began, or begins. @returns undefined: it is none */
  #masqueradedEcho(packet: Packet, flow: Flow): Verdict | undefined {
    if (!readEcho(packet.view, flow)) return undefined;
    const node = this.#findLive(flow);
    if (node >= 0)
      return (node & 1) === 1
        ? this.#toClient(packet, flow, node >> 1)
        : this.#toServer(packet, flow, node >> 1);
    const isRequest = flow.destinationPort === 0;
    if (!isRequest || this.services.isToVirtual(flow)) return undefined;
    const masquerading = this.masquerade.find(flow);
    return masquerading === undefined ? undefined : this.#masquerade(packet, flow, masquerading);
  }

  #icmpError(packet: Packet, flow: Flow): Verdict {
    let node = findQuoted(packet, flow, this.#quoted, this.connections);
    if (node < 0 && this.#settings.ipvs.schedule_icmp === 1) node = this.#scheduleQuoted(packet, flow);
    const isOurs = node >= 0 && !this.connections.isExpired(node >> 1, this.#nowTick);
    const isToServer = (node & 1) === 0;
    // An error to a server is addressed to the virtual address the quoted packet came from, or it is not about it.
    if (
      !isOurs ||
      (isToServer && !sameWords(flow.words, this.connections.words, this.connections.virtualAt(node >> 1)))
    ) {
      return this.services.isToVirtual(flow) ? DROP["icmp-no-connection"] : this.#pass(packet, flow);
    }
    if (!isIcmpValid(packet, flow)) return DROP["bad-checksum"];
    const destination = this.services.destination(this.connections.server(node >> 1));
    if (this.#hopChange === -1) {
      if (hops(packet, flow) <= 1) return DROP["ttl-expired"];
      changeHops(packet, flow.family, -1);
    }
    if (isToServer) this.#countIn(destination, packet.length);
    else this.#countOut(destination, packet.length);
    translateError(packet, flow, this.#quoted, this.connections, node);
    if (this.#hopChange === 1) this.#giveHopBack(packet, flow);
    return isToServer ? TO_SERVER : TO_CLIENT;
  }

  /** schedule_icmp: an error about a packet we never saw begins the connection that packet would be of. */
  #scheduleQuoted(packet: Packet, flow: Flow): number {
    const quoted = this.#quoted;
    if (!quoted.hasPorts || isEchoProtocol(quoted.protocol) || !this.services.isToVirtual(flow)) return -1;
    const service = this.services.find(quoted);
    if (service === undefined || this.services.isFromVirtual(quoted) || this.defence.dropsPacket()) return -1;
    const record = this.#dispatcher.dispatch(packet, quoted, service, -1, this.#nowTick);
    if (record < 0) return -1;
    this.traffic.countConnection();
    this.createdCount++;
    this.#restart(record, toTicks(NEW_ENTRY_SECONDS));
    return record * 2;
  }

  // What is not translated

  /** The hop the kernel takes twice is not given back here: a routing loop through the device must end. */
  #pass(packet: Packet, flow: Flow): Verdict {
    if (this.#hopChange === 1) return PASS;
    if (hops(packet, flow) <= 1) {
      return this.#ownError(packet, flow, HOPS_EXCEEDED, 0) ? REPLY : DROP["ttl-expired"];
    }
    changeHops(packet, flow.family, -1);
    return PASS;
  }

  /** A packet to a virtual address that nobody serves: what a host without a listener would say. */
  #reject(packet: Packet, flow: Flow): Verdict {
    if (this.#settings.unserved === "drop") return DROP["no-service"];
    return this.#refuse(packet, flow, DROP["no-service"]);
  }

  /** Tell the sender that there is no such connection: TCP by a reset, everything else by port unreachable. */
  #refuse(packet: Packet, flow: Flow, otherwise: Verdict): Verdict {
    if (flow.protocol !== Protocol.tcp) {
      return this.#error(packet, flow, PORT_UNREACHABLE, 0) ? REPLY : otherwise;
    }
    if (!this.#replyLimit.take(this.#nowMs)) return otherwise;
    return this.#replies.reset(packet, flow) ? REPLY : otherwise;
  }

  /** @param isOwn - in the director's own name rather than in that of the address the packet went to */
  #answer(
    packet: Packet,
    flow: Flow,
    isOwn: boolean,
    kind: typeof TOO_BIG,
    rest: number,
    otherwise: "ttl-expired" | "too-big",
  ): Verdict {
    const isSent = isOwn ? this.#ownError(packet, flow, kind, rest) : this.#error(packet, flow, kind, rest);
    return isSent ? REPLY : DROP[otherwise];
  }

  /** Answer with an ICMP error in the name of the virtual address. */
  #error(packet: Packet, flow: Flow, kind: typeof TOO_BIG, rest: number): boolean {
    if (!this.#replyLimit.take(this.#nowMs)) return false;
    return this.#replies.error(packet, flow, kind, rest);
  }

  /** Answer with an ICMP error in the director's own name. */
  #ownError(packet: Packet, flow: Flow, kind: typeof TOO_BIG, rest: number): boolean {
    const source = this.ownAddress[flow.family];
    if (source === undefined || !this.#replyLimit.take(this.#nowMs)) return false;
    return this.#replies.error(packet, flow, kind, rest, source, 0);
  }

  /**
   * May the packet go out on a link of this MTU? IPv4 without "don't fragment" always may, and is marked to be cut.
   * @param mtuBytes - 0: not known
   */
  #fits(packet: Packet, flow: Flow, mtuBytes: number): boolean {
    if (mtuBytes < FRAGMENT_MTU_MIN) return true;
    let bytes = packet.fragmentBytesMax === 0 ? packet.length : packet.fragmentBytesMax;
    if (packet.gso !== Gso.none) bytes = segmentBytes(packet, flow);
    if (bytes <= mtuBytes) return true;
    const mayFragment = flow.family === 4 && (packet.view.getUint16(packet.at + 6) & 0x4000) === 0;
    if (mayFragment && packet.gso === Gso.none) packet.fragmentBytesMax = mtuBytes;
    return mayFragment;
  }

  #giveHopBack(packet: Packet, flow: Flow): void {
    if (hops(packet, flow) < 255) changeHops(packet, flow.family, 1);
  }

  #countIn(destination: Destination, bytes: number): void {
    if (!destination.isAvailable) return;
    destination.traffic.countIn(bytes);
    destination.service.traffic.countIn(bytes);
    this.traffic.countIn(bytes);
  }

  #countOut(destination: Destination, bytes: number): void {
    if (!destination.isAvailable) return;
    destination.traffic.countOut(bytes);
    destination.service.traffic.countOut(bytes);
    this.traffic.countOut(bytes);
  }
}

const toTicks = (seconds: number): number => Math.ceil((seconds * 1000) / TICK_MS);

const hops = (packet: Packet, flow: Flow): number =>
  packet.view.getUint8(packet.at + (flow.family === 4 ? 8 : 7));

/** IP packet size of one segment of a super-packet. */
function segmentBytes(packet: Packet, flow: Flow): number {
  const headerBytes = flow.transportAt - packet.at;
  if (flow.protocol === Protocol.udp) return headerBytes + 8 + packet.gsoBytes;
  return headerBytes + (packet.view.getUint8(flow.transportAt + 12) >> 4) * 4 + packet.gsoBytes;
}

/** Is the flow's destination address the one at `at`? */
function sameWords(words: Int32Array, others: Int32Array, at: number): boolean {
  return (
    words[4] === others[at] &&
    words[5] === others[at + 1] &&
    words[6] === others[at + 2] &&
    words[7] === others[at + 3]
  );
}
