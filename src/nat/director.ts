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
import { isSameAddress } from "../wire/address.ts";
import { Flow, Protocol } from "../wire/flow.ts";
import type { Packet } from "../wire/packet.ts";
import { isFirstSegment, TcpFlag } from "../wire/tcp.ts";
import { Answers } from "./answers.ts";
import { AssociationPaths, isPath } from "./association-paths.ts";
import { Bindings } from "./bindings.ts";
import { CachedFlows } from "./cached-flows.ts";
import { CALLS_MAX, CallTable } from "./call-table.ts";
import type { DirectorConfig, DirectorSettings, RemovalPolicy, ServiceConfig } from "./configuration.ts";
import { ConnectionStates } from "./connection-states.ts";
import { ConnectionFlag, ConnectionTable, TICK_MS } from "./connection-table.ts";
import type { Applications, ApplicationsFactory } from "./contracts/application.ts";
import type { SchedulerRegistry } from "./contracts/scheduler.ts";
import { DEFENCE_INTERVAL_MS, Defence } from "./defence.ts";
import { Delegations } from "./delegations.ts";
import type { Destination } from "./destination.ts";
import { DialogueMarks, isShifted } from "./dialogue-marks.ts";
import { directorMemory } from "./director-memory.ts";
import { Dispatcher, isOnePacket, Refusal } from "./dispatcher.ts";
import { DROP_REASONS } from "./drop-reason.ts";
import { isEchoProtocol, isEchoRequest, readEcho } from "./echo.ts";
import { Expectations } from "./expectations.ts";
import { type ConnectionObserver, Forwarding, giveHopBack, hops } from "./forwarding.ts";
import { FTP_DATA_PORT } from "./ftp-ports.ts";
import { findQuoted, isIcmp, isTranslatedError, translateError } from "./icmp-error.ts";
import { Masquerade, type Masquerading } from "./masquerade.ts";
import type { MemoryPart } from "./memory-part.ts";
import { firstSctpChunk, SCTP_CLOSED, SctpChunk } from "./protocol/sctp.ts";
import { TCP_STATE } from "./protocol/tcp.ts";
import { Reassembly } from "./reassembly.ts";
import {
  HOPS_EXCEEDED,
  isIcmpValid,
  isUnicastSource,
  PORT_UNREACHABLE,
  PROTOCOL_UNREACHABLE,
} from "./reply.ts";
import { changeHops } from "./rewrite.ts";
import { ServiceBook } from "./service-book.ts";
import { SourceAddresses } from "./source-addresses.ts";
import { type TakeOver, takeOver } from "./take-over.ts";
import { Templates } from "./templates.ts";
import { ESTIMATE_INTERVAL_MS, Traffic } from "./traffic.ts";
import { readCallId, TunnelCalls } from "./tunnel-calls.ts";
import { DROP, HELD, PASS, TO_CLIENT, TO_SERVER, VERDICT_KINDS, type Verdict } from "./verdict.ts";
import type { VirtualService } from "./virtual-service.ts";

/** Entries looked at by one call of `advance`, so that a mass expiry never holds up packets for more than a moment. */
const LOOKS_PER_ADVANCE = 4096;

export interface DirectorOptions {
  readonly settings: DirectorSettings;
  readonly schedulers: SchedulerRegistry;
  /** Default: none; services that name a module do without. */
  readonly applications?: ApplicationsFactory;
  readonly randomU32: RandomU32;
  /**
   * What the director does to TTL and hop limit. -1: it is the router (captures, simulation). +1: a kernel decrements
   * twice around it (TUN), and it gives one back.
   */
  readonly hopChange: -1 | 1;
  readonly now: Milliseconds;
  /**
   * Memory that outlives the process, directorBytes(connectionsMax) of it: zeroes, or what a director of this version with as
   * many connections left, whose entries are taken over. Default: the director's own.
   */
  readonly memory?: MemoryPart;
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
  readonly applications: Applications | undefined;
  /** What of it a flow cache does, if there is one. */
  readonly cached: CachedFlows;
  readonly delegations: Delegations;
  /**
   * By verdict code: kinds first, then drop reasons. One for every packet received, and one more for every unfinished
   * datagram that was given up (fragment-timeout, fragments-full), whose fragments were counted as held.
   */
  readonly verdictCounts = new Float64Array(VERDICT_KINDS.length + DROP_REASONS.length);
  /** Connections ever made. */
  createdCount = 0;
  /** What was taken over from the director before; undefined: there was none, or its memory was gone. */
  readonly takeOver: TakeOver | undefined;

  readonly #marks: DialogueMarks | undefined;
  readonly #dispatcher: Dispatcher;
  readonly #expectations: Expectations;
  readonly #tunnelCalls: TunnelCalls;
  readonly #paths: AssociationPaths;
  readonly #randomU32: RandomU32;
  readonly #hopChange: -1 | 1;
  readonly #answers: Answers;
  readonly #states: ConnectionStates;
  readonly #forwarding: Forwarding;
  readonly #flow = new Flow();
  readonly #quoted = new Flow();
  /** Where a masqueraded packet goes, as a destination's four words. */
  readonly #outside = new Int32Array(4);
  #isBackup = false;
  #observer: ConnectionObserver | undefined;
  #settings: DirectorSettings;
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
    const memory = options.memory && directorMemory(options.memory);
    const isLeft = memory !== undefined && ConnectionTable.left(memory.table) !== undefined;
    this.connections = new ConnectionTable(
      settings.connectionsMax,
      [randomU32(), randomU32()],
      this.#nowTick,
      memory?.table,
    );
    const { connections } = this;
    this.sources = new SourceAddresses(connections, randomU32);
    const loan = { randomU32, now: () => milliseconds(this.#nowMs), ipvs: () => this.#settings.ipvs };
    this.services = new ServiceBook(options.schedulers, loan, this.sources, memory?.directory);
    this.calls = new CallTable([randomU32(), randomU32()], CALLS_MAX, memory?.calls);
    this.bindings = new Bindings(connections, this.services, this.sources, this.calls);
    const templates = new Templates(connections, this.services, this.bindings, this.calls);
    const { services, sources, traffic } = this;
    this.#dispatcher = new Dispatcher(connections, services, sources, this.bindings, templates, traffic);
    this.masquerade = new Masquerade(this.services);
    this.defence = new Defence(settings.ipvs);
    const fragmentHash = new KeyedHash(randomU32(), randomU32());
    this.reassembly = new Reassembly(
      settings.fragmentBytesMax,
      settings.fragmentTimeout * 1000,
      fragmentHash,
    );
    this.#answers = new Answers(hopChange, settings.repliesPerSecondMax, randomU32, now);
    this.#states = new ConnectionStates(connections, this.bindings, this.defence);
    this.#forwarding = new Forwarding(connections, this.#states, this.#answers, traffic, hopChange);
    this.cached = new CachedFlows(connections, services, this.#states, traffic, this.verdictCounts);
    this.bindings.cached = this.#forwarding.cached = this.cached;
    this.delegations = new Delegations(
      connections,
      services,
      this.#dispatcher,
      this.bindings,
      this.cached,
      () => {
        this.createdCount++;
      },
    );
    this.delegations.mayDelegate = () => this.#mayDelegate;
    this.cached.delegations = this.#dispatcher.delegations = this.delegations;
    services.onChange = (service) => this.delegations.recall(service);
    services.onRetire = (destination) => this.cached.flush(destination);
    this.#expectations = new Expectations(connections, services, this.sources, this.bindings, this.#states);
    this.#tunnelCalls = new TunnelCalls(connections, services, this.bindings, this.#states);
    this.#paths = new AssociationPaths(connections, services, this.bindings, this.#states);
    this.#marks = memory && new DialogueMarks(memory.marks);
    this.applications = options.applications?.({
      connections,
      expectations: this.#expectations,
      tunnelCalls: this.#tunnelCalls,
      paths: this.#paths,
      marks: this.#marks,
    });
    this.#dispatcher.applications = this.applications;
    this.#forwarding.applications = this.applications;
    this.bindings.onApplicationEnd = (record) => this.#endOfApplication(record);
    this.bindings.onApplicationExpiry = (record) => this.applications?.expiring(record);
    this.#applySettings(settings);
    this.takeOver = isLeft ? takeOver(this, this.#nowTick) : undefined;
    this.#expectations.count = this.takeOver?.expected ?? 0;
  }

  /** What was taken over has met the first configuration: the rest is treated as what is removed. */
  endTakeOver(): void {
    if (this.services.adoptRemoved() > 0) this.sweepRemoved();
    this.#resumeReading(this.takeOver?.read ?? []);
  }

  /** Modules go on with what they had read; a stream that one of them shifted is lost without it. */
  #resumeReading(records: readonly number[]): void {
    const { connections: table, applications } = this;
    const marks = records.map((record) =>
      this.#marks?.read(table.sequence(record), record, table.generation(record)),
    );
    for (const record of records) this.#marks?.end(table.sequence(record));
    records.forEach((record, index) => {
      const mark = marks[index];
      table.setSequence(record, 0);
      if (mark === undefined) return;
      const { appOptions } = this.#destinationOf(record).service.attributes;
      if (applications?.resume(record, mark, appOptions)) return;
      if (isShifted(mark) && table.controlledCount(record) === 0) this.bindings.remove(record);
    });
  }

  /** As they are now. */
  get settings(): DirectorSettings {
    return this.#settings;
  }

  /** The director's own address towards the servers, for its ICMP errors to them; by family. */
  get ownAddress(): Answers["ownAddress"] {
    return this.#answers.ownAddress;
  }

  /** Largest packet towards clients, 0 when the routers in between say so themselves. */
  set clientMtuBytes(bytes: number) {
    this.#forwarding.clientMtuBytes = bytes;
  }

  /** Told of what becomes of connections, for synchronising with another director. */
  set observer(observer: ConnectionObserver | undefined) {
    this.#forwarding.observer = observer;
    this.#observer = observer;
    this.#configureCached();
    this.bindings.onProlonged = observer && ((record, nowTick) => observer.prolonged(record, nowTick));
  }

  /** Is the director told of another's connections? See backup_only. */
  get isBackup(): boolean {
    return this.#isBackup;
  }

  set isBackup(isBackup: boolean) {
    this.#isBackup = isBackup;
    this.#configureCached();
  }

  /** Connections that got another source port towards the server, because two looked alike there. */
  get portChangedCount(): number {
    return this.#dispatcher.portChangedCount;
  }

  /** Change what may change while packets flow: everything but the sizes of tables (DirectorLimits). */
  configure({ settings, marks, masquerade }: Omit<DirectorConfig, "services">): void {
    this.#applySettings(settings);
    this.services.setMarks(marks);
    this.masquerade.configure(masquerade);
  }

  /** What becomes of the connections of this destination now that it is removed. */
  removalPolicy({ service, isDetached }: Destination): RemovalPolicy {
    if (isDetached) return "drain";
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
    this.#answers.perSecond = settings.repliesPerSecondMax;
    this.#states.configure(settings.timeouts);
    this.#configureCached();
  }

  /** May a flow cache choose servers? What it does not know must be new, and nobody else have a say. */
  get #mayDelegate(): boolean {
    return (
      this.cached.isComplete &&
      this.#observer === undefined &&
      !this.#isBackup &&
      !this.services.hasMarks &&
      this.#settings.ipvs.drop_packet === 0
    );
  }

  #configureCached(): void {
    this.delegations.recall();
    this.cached.isReusing = this.#settings.ipvs.conn_reuse_mode !== 0;
    this.cached.suspend("backup_only", this.#leavesClients);
    this.cached.observe(this.#observer, this.#settings.ipvs.sync_threshold);
  }

  /** backup_only: clients' packets are another director's; this one neither translates nor answers them. */
  get #leavesClients(): boolean {
    return this.isBackup && this.#settings.ipvs.backup_only === 1;
  }

  /** Is this the side of a client, rather than that of a host behind the director? */
  #isOfClient(node: number): boolean {
    return (node & 1) === 0 && !this.connections.hasFlag(node >> 1, ConnectionFlag.masquerade);
  }

  #endOfApplication(record: number): void {
    if (this.connections.hasFlag(record, ConnectionFlag.expected)) this.#expectations.count--;
    else this.applications?.end(record);
  }

  #setNow(now: number): void {
    this.#nowMs = now;
    this.#nowTick = Math.floor(now / TICK_MS);
    this.#states.nowTick = this.#nowTick;
    this.#answers.nowMs = now;
  }

  /** Decide about one packet and edit it accordingly. Never throws, whatever the bytes. */
  receive(packet: Packet, now: Milliseconds): Verdict {
    this.#setNow(now);
    const verdict = this.#decide(packet);
    this.verdictCounts[verdict.code]!++;
    return verdict;
  }

  /** Is there more to do for a flow cache than one call of `advance` does? */
  get isBusy(): boolean {
    return this.cached.isBusy;
  }

  /** Let time pass: expire entries and fragments (a bounded number), run defences and the rate estimator. */
  advance(now: Milliseconds): void {
    this.#setNow(now);
    const { connections, cached } = this;
    cached.catchUpChanges();
    cached.advance();
    const lookMax = connections.lookCount + LOOKS_PER_ADVANCE;
    for (;;) {
      const record = connections.nextExpired(this.#nowTick, lookMax - connections.lookCount);
      if (record < 0) break;
      cached.catchUp(record);
      if (connections.isExpired(record, this.#nowTick)) this.bindings.expire(record, this.#nowTick);
    }
    this.verdictCounts[DROP["fragment-timeout"].code]! += this.reassembly.advance(now);
    if (this.#sweepCursor > 0) this.#sweep();
    this.#defend(now);
    if (now < this.#nextEstimateMs) return;
    if (this.#settings.ipvs.run_estimation === 1) {
      cached.count();
      this.traffic.estimate();
      this.services.estimate();
    }
    this.#nextEstimateMs += ESTIMATE_INTERVAL_MS;
    // After a pause the missed runs are not made up for.
    if (this.#nextEstimateMs <= now) this.#nextEstimateMs = now + ESTIMATE_INTERVAL_MS;
  }

  #defend(now: number): void {
    if (now >= this.#nextDefenceMs) {
      const { isSecureTcp } = this.defence;
      this.defence.update(this.connections);
      if (this.defence.isSecureTcp !== isSecureTcp) this.cached.rulesChanged();
      this.#nextDefenceMs = now + DEFENCE_INTERVAL_MS;
    }
    const { connections, services, bindings } = this;
    this.defence.sweep(connections, services, bindings, this.#randomU32, this.#nowTick, LOOKS_PER_ADVANCE);
  }

  /** Look at some more entries of removed destinations; a template goes with the last entry that hangs on it. */
  #sweep(): void {
    const { connections, bindings } = this;
    const end = Math.max(0, this.#sweepCursor - LOOKS_PER_ADVANCE);
    while (this.#sweepCursor > end) {
      const record = --this.#sweepCursor;
      if (!connections.isLive(record) || connections.controlledCount(record) > 0) continue;
      const destination = this.#destinationOf(record);
      if (destination.isAvailable || this.removalPolicy(destination) !== "expire") continue;
      // Both ends of a removed service's connection are told so at their next packet.
      if (destination.service.isRemoved && !connections.isTemplate(record)) continue;
      const controller = connections.controller(record);
      bindings.remove(record);
      if (controller >= 0 && connections.controlledCount(controller) === 0) bindings.remove(controller);
    }
  }

  addService(config: ServiceConfig): VirtualService {
    const service = this.services.addService(config);
    for (const destination of config.destinations) this.services.addDestination(service, destination);
    return service;
  }

  /** All counters and rates to zero; gauges stay. */
  zero(): void {
    this.cached.catchUpChanges();
    this.cached.count();
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
    if (flow.protocol === Protocol.gre) {
      const verdict = this.#call(packet, flow);
      if (verdict !== undefined) return verdict;
    }
    if (!this.services.isToVirtual(flow) || this.#leavesClients) return this.#pass(packet, flow);
    if (this.#settings.unserved === "drop") return DROP["unknown-protocol"];
    return this.#answers.error(packet, flow, PROTOCOL_UNREACHABLE, 0, "unknown-protocol");
  }

  // TCP, UDP, SCTP

  #transport(packet: Packet, flow: Flow): Verdict {
    let node = this.#findLive(flow);
    if (node < 0) {
      const { begunCount } = this.delegations;
      this.cached.catchUpChanges();
      if (this.delegations.begunCount !== begunCount) node = this.#findLive(flow);
      if (node < 0) return this.#unknown(packet, flow);
    }
    if (this.#leavesClients && this.#isOfClient(node)) return this.#pass(packet, flow);
    const record = node >> 1;
    // Ports of 0 are what entries have in place of what is not known yet.
    if ((flow.sourcePort === 0 || flow.destinationPort === 0) && this.#isExpected(record))
      return DROP.martian;
    const isToClient = (node & 1) === 1;
    if (!isToClient && flow.protocol === Protocol.sctp && this.#isNewOnPath(packet, flow, record)) {
      this.bindings.remove(record);
      return this.#unknown(packet, flow);
    }
    if (!isToClient && this.#isStarting(packet, flow) && this.#isReusable(flow, record)) {
      const service = this.services.find(flow);
      if (service !== undefined) {
        if (this.#isSchedulable(packet, flow)) return this.#schedule(packet, flow, service, record);
        // SYN with RST: the old connection is over, and this begins no new one.
        this.bindings.remove(record);
        return this.#reject(packet, flow);
      }
    }
    const destination = this.#destinationOf(record);
    if (!destination.isAvailable) {
      const verdict = this.#ofRemoved(packet, flow, record, isToClient, destination);
      if (verdict !== undefined) return verdict;
    }
    return this.#forwarding.forward(packet, flow, node, destination);
  }

  /** An association begins where another one claimed a path. */
  #isNewOnPath(packet: Packet, flow: Flow, record: number): boolean {
    return isPath(this.connections, record) && this.#isStarting(packet, flow);
  }

  #isExpected(record: number): boolean {
    return this.connections.hasFlag(record, ConnectionFlag.expected);
  }

  #destinationOf(record: number): Destination {
    return this.services.destination(this.connections.server(record));
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
    const policy = this.removalPolicy(destination);
    switch (policy) {
      case "drain":
        return undefined;
      case "drop":
        return isToClient ? undefined : DROP["destination-removed"];
      case "reschedule":
        if (isToClient || flow.protocol !== Protocol.udp) return undefined;
    }
    // When the whole service went, nobody takes over.
    const isNobodys = isToClient ? destination.service.isRemoved : this.services.find(flow) === undefined;
    if (isNobodys || (policy === "reset" && (isToClient || !this.#isStarting(packet, flow)))) {
      // It stays for a moment, so that the other end is told as well; the address may be ours by it alone.
      this.#states.close(record, destination);
      return this.#answers.refuse(packet, flow, "destination-removed");
    }
    if (this.connections.controlledCount(record) > 0) return undefined;
    this.bindings.remove(record);
    return this.#unknown(packet, flow);
  }

  #findLive(flow: Flow): number {
    const node = this.connections.find(flow);
    if (node < 0) return node;
    this.cached.catchUp(node >> 1);
    if (!this.connections.isExpired(node >> 1, this.#nowTick)) return node;
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
    if (expire_nodest_conn === 1 && this.#destinationOf(record).weight === 0) return true;
    if (conn_reuse_mode === 0 || table.controller(record) >= 0) return false;
    const state = table.state(record);
    if (flow.protocol === Protocol.tcp) return state === TCP_STATE.timeWait || state === TCP_STATE.close;
    return state === SCTP_CLOSED;
  }

  #unknown(packet: Packet, flow: Flow): Verdict {
    const expected = this.#expectations.claim(flow, this.#nowTick);
    if (expected >= 0) return this.#announced(packet, flow, expected);
    if (flow.protocol === Protocol.sctp) {
      const record = this.#paths.findByTag(packet.view, flow);
      if (record >= 0 && !this.connections.isExpired(record, this.#nowTick))
        return this.#forwarding.toClient(packet, flow, record, this.#destinationOf(record));
    }
    if (!this.services.isToVirtual(flow)) return this.#outward(packet, flow);
    if (this.#leavesClients) return this.#pass(packet, flow);
    // From a virtual address to a virtual address: an answer would come back here, and so on for ever.
    if (!isUnicastSource(flow) || this.services.isFromVirtual(flow)) return DROP.martian;
    const service = this.services.find(flow);
    if (service === undefined) return this.#reject(packet, flow);
    if (!this.#isSchedulable(packet, flow)) return this.#reject(packet, flow);
    return this.#schedule(packet, flow, service, -1);
  }

  /** The first packet of a connection that was announced on another. */
  #announced(packet: Packet, flow: Flow, node: number): Verdict {
    this.createdCount++;
    const { claimed, claimedApplication } = this.#expectations;
    this.applications?.announcedBegan(claimed, this.connections.controller(claimed), claimedApplication);
    return this.#forwarding.forward(packet, flow, node, this.#destinationOf(node >> 1));
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
    this.cached.catchUpChanges(); // the scheduler counts connections
    const record = this.#dispatcher.dispatch(packet, flow, service, replaced, this.#nowTick);
    if (record < 0) return this.#refusal(packet, flow, record);
    this.createdCount++;
    const verdict = this.#forwarding.toServer(packet, flow, record, this.#destinationOf(record));
    if (isOnePacket(service, flow)) this.bindings.remove(record);
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
        return this.#answers.error(packet, flow, PORT_UNREACHABLE, 0, "no-destination");
    }
  }

  // Out through the director

  /** A packet of no connection that is not for a virtual address: a masqueraded connection, or none of our business. */
  #outward(packet: Packet, flow: Flow): Verdict {
    const server = this.services.findEngineServer(flow);
    if (server !== undefined && !this.#leavesClients) {
      const record = this.#dispatcher.dispatchOut(packet, flow, server, this.#nowTick);
      if (record >= 0) return this.#forwardOut(packet, flow, record, server);
    }
    const masquerading = this.masquerade.find(flow);
    if (masquerading !== undefined) return this.#masquerade(packet, flow, masquerading);
    const verdict = this.#pass(packet, flow);
    if (verdict !== PASS || !this.#isStray(packet, flow)) return verdict;
    // As in the kernel, the packet that is quoted has lost its hop already.
    return this.#answers.ownError(packet, flow, PORT_UNREACHABLE, 0, "no-destination");
  }

  /** nat_icmp_send: a server's packet of a connection that is none any more, and that does not end it itself. */
  #isStray(packet: Packet, flow: Flow): boolean {
    if (this.#settings.ipvs.nat_icmp_send === 0 || !this.services.isFromServer(flow)) return false;
    if ((flow.tcpFlags & TcpFlag.rst) !== 0) return false;
    return flow.protocol !== Protocol.sctp || firstSctpChunk(packet, flow) !== SctpChunk.abort;
  }

  /** The first packet of a server's own connection. */
  #forwardOut(packet: Packet, flow: Flow, record: number, server: Destination): Verdict {
    this.createdCount++;
    const verdict = this.#forwarding.toClient(packet, flow, record, server);
    if (isOnePacket(server.service, flow)) this.bindings.remove(record);
    return verdict;
  }

  #masquerade(packet: Packet, flow: Flow, masquerading: Masquerading): Verdict {
    const { family, protocol, words, sourcePort, destinationPort } = flow;
    if (protocol === Protocol.tcp && !isFirstSegment(flow))
      return this.#answers.refuse(packet, flow, "no-service");
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
    const { applications } = this;
    if (applications !== undefined && masquerading.applications.length > 0) {
      const name = applications.ofPort(masquerading.applications, protocol, destinationPort);
      if (name !== undefined) applications.begin(record, name, undefined);
    }
    destination.traffic.countConnection();
    this.createdCount++;
    return this.#forwarding.toServer(packet, flow, record, destination);
  }

  // GRE

  /** A packet of a call that PPTP announced. @returns undefined: it is none */
  #call(packet: Packet, flow: Flow): Verdict | undefined {
    if (!readCallId(packet.view, flow)) return undefined;
    const node = this.#findLive(flow);
    const record = node >> 1;
    if (node < 0 || this.#tunnelCalls.isOver(record)) {
      if (node >= 0) this.bindings.remove(record);
      flow.hasPorts = false;
      return undefined;
    }
    if (this.#leavesClients && this.#isOfClient(node)) return this.#pass(packet, flow);
    const destination = this.#destinationOf(record);
    // What else becomes of a removed server's connections ends the control connection, and the call with it.
    if (!destination.isAvailable && (node & 1) === 0 && this.removalPolicy(destination) === "drop")
      return DROP["destination-removed"];
    return this.#forwarding.forward(packet, flow, node, destination);
  }

  // ICMP

  #icmp(packet: Packet, flow: Flow): Verdict {
    if (flow.transportBytes < 8) return DROP.truncated;
    if (isTranslatedError(packet, flow)) return this.#icmpError(packet, flow);
    const verdict = this.#masqueradedEcho(packet, flow);
    if (verdict !== undefined) return verdict;
    if (!this.services.isToVirtual(flow) || this.#leavesClients) return this.#pass(packet, flow);
    if (!isEchoRequest(packet.view, flow) || !this.#settings.answerEcho) return DROP["unknown-protocol"];
    if (!isUnicastSource(flow) || this.services.isFromVirtual(flow)) return DROP.martian;
    return this.#answers.echo(packet, flow);
  }

  /** An echo exchange that a host behind the director began, or begins. @returns undefined: it is none */
  #masqueradedEcho(packet: Packet, flow: Flow): Verdict | undefined {
    if (!readEcho(packet.view, flow)) return undefined;
    const node = this.#findLive(flow);
    if (node >= 0) return this.#forwarding.forward(packet, flow, node, this.#destinationOf(node >> 1));
    if (!isEchoRequest(packet.view, flow) || this.services.isToVirtual(flow)) return undefined;
    const masquerading = this.masquerade.find(flow);
    return masquerading === undefined ? undefined : this.#masquerade(packet, flow, masquerading);
  }

  #icmpError(packet: Packet, flow: Flow): Verdict {
    let node = findQuoted(packet, flow, this.#quoted, this.connections, this.#tunnelCalls);
    if (this.#leavesClients && (node < 0 || this.#isOfClient(node))) return this.#pass(packet, flow);
    if (node < 0 && this.#settings.ipvs.schedule_icmp === 1) node = this.#scheduleQuoted(packet, flow);
    if (node >= 0) this.cached.catchUp(node >> 1);
    const isOurs = node >= 0 && !this.connections.isExpired(node >> 1, this.#nowTick);
    const isToServer = (node & 1) === 0;
    // An error to a server is addressed to the virtual address the quoted packet came from, or it is not about it.
    if (
      !isOurs ||
      (isToServer &&
        !isSameAddress(flow.words, 4, this.connections.words, this.connections.virtualAt(node >> 1)))
    ) {
      return this.services.isToVirtual(flow) ? DROP["icmp-no-connection"] : this.#pass(packet, flow);
    }
    if (!isIcmpValid(packet, flow)) return DROP["bad-checksum"];
    const destination = this.#destinationOf(node >> 1);
    if (this.#hopChange === -1) {
      if (hops(packet, flow) <= 1) return DROP["ttl-expired"];
      changeHops(packet, flow.family, -1);
    }
    if (isToServer) this.#forwarding.countIn(destination, packet.length);
    else this.#forwarding.countOut(destination, packet.length);
    translateError(packet, flow, this.#quoted, this.connections, node);
    if (this.#hopChange === 1) giveHopBack(packet, flow);
    return isToServer ? TO_SERVER : TO_CLIENT;
  }

  /** schedule_icmp: an error about a packet we never saw begins the connection that packet would be of. */
  #scheduleQuoted(packet: Packet, flow: Flow): number {
    const quoted = this.#quoted;
    if (!quoted.hasPorts || isEchoProtocol(quoted.protocol) || quoted.family !== flow.family) return -1;
    if (!isUnicastSource(quoted) || this.services.isFromVirtual(quoted)) return -1;
    if (quoted.sourcePort === FTP_DATA_PORT) return -1;
    if (!isSameAddress(flow.words, 4, quoted.words, 4) || !isIcmpValid(packet, flow)) return -1;
    const service = this.services.find(quoted);
    // What is scheduled packet by packet has no connection that an error could be about.
    if (service === undefined || isOnePacket(service, quoted) || this.defence.dropsPacket()) return -1;
    const record = this.#dispatcher.dispatch(packet, quoted, service, -1, this.#nowTick);
    if (record < 0) return -1;
    this.createdCount++;
    this.#states.begin(record);
    return record * 2;
  }

  // What is not translated

  /** The hop the kernel takes twice is not given back here: a routing loop through the device must end. */
  #pass(packet: Packet, flow: Flow): Verdict {
    if (this.#hopChange === 1) return PASS;
    if (hops(packet, flow) <= 1) {
      return this.#answers.ownError(packet, flow, HOPS_EXCEEDED, 0, "ttl-expired");
    }
    changeHops(packet, flow.family, -1);
    return PASS;
  }

  /** A packet to a virtual address that nobody serves: what a host without a listener would say. */
  #reject(packet: Packet, flow: Flow): Verdict {
    if (this.#settings.unserved === "drop") return DROP["no-service"];
    return this.#answers.refuse(packet, flow, "no-service");
  }
}
