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
import type { DirectorSettings, ServiceConfig } from "./configuration.ts";
import { ConnectionFlag, ConnectionTable, TICK_MS } from "./connection-table.ts";
import type { SchedulerRegistry } from "./contracts/scheduler.ts";
import type { Destination } from "./destination.ts";
import { DROP_REASONS } from "./drop-reason.ts";
import { findQuoted, isIcmp, isTranslatedError, translateError } from "./icmp-error.ts";
import {
  firstSctpChunk,
  nextSctpState,
  SCTP_CLOSED,
  SCTP_ESTABLISHED,
  SctpChunk,
  secondSctpChunk,
} from "./protocol/sctp.ts";
import { nextTcpState, TCP_IS_ACTIVE, TCP_STATE, TcpSide } from "./protocol/tcp.ts";
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
import { sctpTimeoutList, tcpTimeoutList } from "./timeouts.ts";
import { ESTIMATE_INTERVAL_MS, Traffic } from "./traffic.ts";
import { DROP, HELD, PASS, REPLY, TO_CLIENT, TO_SERVER, VERDICT_KINDS, type Verdict } from "./verdict.ts";
import type { VirtualService } from "./virtual-service.ts";

/** Host's default TTL, for packets the director makes itself. */
const DEFAULT_HOPS = 64;
/** Entries looked at by one call of `advance`, so that a mass expiry never holds up packets for more than a moment. */
const LOOKS_PER_ADVANCE = 4096;
/** Ports tried to tell apart two connections that look alike to the server. */
const SOURCE_PORT_TRIES = 64;
/** Active FTP data comes from here; it is never scheduled, because it must have been announced (IPVS's rule). */
const FTP_DATA_PORT = 20;
const FRAGMENT_MTU_MIN = 68;

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
  readonly traffic = new Traffic();
  readonly reassembly: Reassembly;
  /**
   * By verdict code: kinds first, then drop reasons. One for every packet received, and one more for every unfinished
   * datagram that was given up (fragment-timeout, fragments-full), whose fragments were counted as held.
   */
  readonly verdictCounts = new Float64Array(VERDICT_KINDS.length + DROP_REASONS.length);
  /** Connections ever made. */
  createdCount = 0;
  /** Connections that got another source port towards the server, because two looked alike there. */
  portChangedCount = 0;
  /** Largest packet towards clients, 0 when the routers in between say so themselves. */
  clientMtuBytes = 0;
  /** The director's own address towards the servers, for its ICMP errors to them; by family. */
  readonly ownAddress: { 4: Int32Array | undefined; 6: Int32Array | undefined } = {
    4: undefined,
    6: undefined,
  };

  readonly #settings: DirectorSettings;
  readonly #randomU32: RandomU32;
  readonly #hopChange: -1 | 1;
  readonly #replies: ReplyMaker;
  readonly #replyLimit: ReplyLimit;
  readonly #flow = new Flow();
  readonly #quoted = new Flow();
  readonly #tcpTicks: Int32Array;
  readonly #sctpTicks: Int32Array;
  readonly #udpTicks: number;
  #nowMs: number;
  #nowTick: number;
  #nextEstimateMs: number;

  constructor(options: DirectorOptions) {
    const { settings, randomU32, hopChange, now } = options;
    this.#settings = settings;
    this.#randomU32 = randomU32;
    this.#hopChange = hopChange;
    this.#nowMs = now;
    this.#nowTick = Math.floor(now / TICK_MS);
    this.#nextEstimateMs = now + ESTIMATE_INTERVAL_MS;
    this.connections = new ConnectionTable(
      settings.connectionsMax,
      [randomU32(), randomU32()],
      this.#nowTick,
      options.memory,
    );
    this.services = new ServiceBook(options.schedulers, { randomU32, now: () => milliseconds(this.#nowMs) });
    const fragmentHash = new KeyedHash(randomU32(), randomU32());
    this.reassembly = new Reassembly(
      settings.fragmentBytesMax,
      settings.fragmentTimeout * 1000,
      fragmentHash,
    );
    this.#replies = new ReplyMaker(hopChange === 1 ? DEFAULT_HOPS + 1 : DEFAULT_HOPS, randomU32());
    this.#replyLimit = new ReplyLimit(settings.repliesPerSecondMax, now);
    this.#tcpTicks = Int32Array.from(tcpTimeoutList(settings.timeouts), toTicks);
    this.#sctpTicks = Int32Array.from(sctpTimeoutList(settings.timeouts), toTicks);
    this.#udpTicks = toTicks(settings.timeouts.udp);
  }

  /** Decide about one packet and edit it accordingly. Never throws, whatever the bytes. */
  receive(packet: Packet, now: Milliseconds): Verdict {
    this.#nowMs = now;
    this.#nowTick = Math.floor(now / TICK_MS);
    const verdict = this.#decide(packet);
    this.verdictCounts[verdict.code]!++;
    return verdict;
  }

  /** Let time pass: expire entries and fragments (a bounded number), run the rate estimator. */
  advance(now: Milliseconds): void {
    this.#nowMs = now;
    this.#nowTick = Math.floor(now / TICK_MS);
    const { connections } = this;
    const lookMax = connections.lookCount + LOOKS_PER_ADVANCE;
    for (;;) {
      const record = connections.nextExpired(this.#nowTick, lookMax - connections.lookCount);
      if (record < 0) break;
      this.#remove(record);
    }
    this.verdictCounts[DROP["fragment-timeout"].code]! += this.reassembly.advance(now);
    if (now < this.#nextEstimateMs) return;
    this.traffic.estimate();
    this.services.estimate();
    this.#nextEstimateMs += ESTIMATE_INTERVAL_MS;
    // After a pause the missed runs are not made up for.
    if (this.#nextEstimateMs <= now) this.#nextEstimateMs = now + ESTIMATE_INTERVAL_MS;
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
    if ((node & 1) === 1) return this.#toClient(packet, flow, record);
    if (this.#isStarting(packet, flow) && this.#isReusable(flow, record)) {
      const service = this.services.find(flow);
      if (service !== undefined) {
        if (this.#isSchedulable(packet, flow)) return this.#schedule(packet, flow, service, record);
        // SYN with RST: the old connection is over, and this begins no new one.
        this.#remove(record);
        return this.#reject(packet, flow);
      }
    }
    return this.#toServer(packet, flow, record);
  }

  #findLive(flow: Flow): number {
    const node = this.connections.find(flow);
    if (node < 0 || !this.connections.isExpired(node >> 1, this.#nowTick)) return node;
    this.#remove(node >> 1);
    return -1;
  }

  /** A packet that opens a connection: TCP with SYN, SCTP with INIT; never UDP, which has no beginning. */
  #isStarting(packet: Packet, flow: Flow): boolean {
    if (flow.protocol === Protocol.tcp) return (flow.tcpFlags & TcpFlag.syn) !== 0;
    return flow.protocol === Protocol.sctp && firstSctpChunk(packet, flow) === SctpChunk.init;
  }

  /** IPVS's conn_reuse_mode 1: the old connection is over, so the same client port begins a new one at once. */
  #isReusable(flow: Flow, record: number): boolean {
    const state = this.connections.state(record);
    if (flow.protocol === Protocol.tcp) return state === TCP_STATE.timeWait || state === TCP_STATE.close;
    return state === SCTP_CLOSED;
  }

  #unknown(packet: Packet, flow: Flow): Verdict {
    if (!this.services.isToVirtual(flow)) return this.#pass(packet, flow);
    // From a virtual address to a virtual address: an answer would come back here, and so on for ever.
    if (!isUnicastSource(flow) || this.services.isFromVirtual(flow)) return DROP.martian;
    const service = this.services.find(flow);
    if (service === undefined) return this.#reject(packet, flow);
    if (!this.#isSchedulable(packet, flow)) return this.#reject(packet, flow);
    return this.#schedule(packet, flow, service, -1);
  }

  /** TCP: SYN without RST (ACK is not looked at); UDP: always; SCTP: INIT first. */
  #isSchedulable(packet: Packet, flow: Flow): boolean {
    if (flow.sourcePort === FTP_DATA_PORT) return false;
    if (flow.protocol === Protocol.tcp) return (flow.tcpFlags & (TcpFlag.syn | TcpFlag.rst)) === TcpFlag.syn;
    return flow.protocol === Protocol.udp || firstSctpChunk(packet, flow) === SctpChunk.init;
  }

  /** @param replaced - entry that this connection takes the place of, or -1 */
  #schedule(packet: Packet, flow: Flow, service: VirtualService, replaced: number): Verdict {
    // The scheduler still sees the old connection counted, as in IPVS, where its timer fires a moment later.
    const destination = service.scheduler.pick(service.destinations, flow);
    if (destination === undefined) {
      return this.#error(packet, flow, PORT_UNREACHABLE, 0) ? REPLY : DROP["no-destination"];
    }
    if (replaced >= 0) this.#remove(replaced);
    const port = destination.port === 0 ? flow.destinationPort : destination.port;
    const sourcePort = this.#sourcePort(flow, destination, port);
    if (sourcePort < 0) return DROP["tuple-exhausted"];
    const record = this.connections.insert(flow, destination.words, port, sourcePort, destination.number);
    if (record < 0) return DROP["table-full"];
    this.connections.setFlag(record, ConnectionFlag.inactive, true);
    destination.bind();
    destination.traffic.countConnection();
    service.traffic.countConnection();
    this.traffic.countConnection();
    this.createdCount++;
    return this.#toServer(packet, flow, record);
  }

  /**
   * The port the server will see the client on: the client's own, unless another connection looks the same to the
   * server already (the same client port at two virtual services with one real server).
   */
  #sourcePort(flow: Flow, destination: Destination, destinationPort: number): number {
    let port = flow.sourcePort;
    for (let tries = 0; tries < SOURCE_PORT_TRIES; tries++) {
      const ports = (destinationPort << 16) | port;
      const { family, protocol, words } = flow;
      if (!this.connections.hasReply(family, protocol, destination.words, 0, words, 0, ports)) {
        if (tries > 0) this.portChangedCount++;
        return port;
      }
      port = 1024 + (this.#randomU32() % 64_512);
    }
    return -1;
  }

  #toServer(packet: Packet, flow: Flow, record: number): Verdict {
    const table = this.connections;
    const destination = this.services.destination(table.server(record));
    if (!destination.isAvailable && this.#settings.removedDestination === "drop")
      return DROP["destination-removed"];
    this.#follow(packet, flow, record, TcpSide.input, destination);
    table.countInPacket(record);
    this.#countIn(destination, packet.length);
    if (this.#hopChange === -1) {
      if (hops(packet, flow) <= 1) {
        return this.#error(packet, flow, HOPS_EXCEEDED, 0) ? REPLY : DROP["ttl-expired"];
      }
      changeHops(packet, flow.family, -1);
    }
    if (!this.#fits(packet, flow, destination.mtuBytes)) {
      return this.#error(packet, flow, TOO_BIG, destination.mtuBytes) ? REPLY : DROP["too-big"];
    }
    const { words } = table;
    const at = table.destinationAt(record);
    rewrite(packet, flow, flow.words, 0, table.sourcePort(record), words, at, table.destinationPort(record));
    if (this.#hopChange === 1) this.#giveHopBack(packet, flow);
    return TO_SERVER;
  }

  #toClient(packet: Packet, flow: Flow, record: number): Verdict {
    // A router looks at TTL and MTU before anything else, and answers in its own name.
    if (this.#hopChange === -1 && hops(packet, flow) <= 1) {
      return this.#ownError(packet, flow, HOPS_EXCEEDED, 0) ? REPLY : DROP["ttl-expired"];
    }
    if (!this.#fits(packet, flow, this.clientMtuBytes)) {
      return this.#ownError(packet, flow, TOO_BIG, this.clientMtuBytes) ? REPLY : DROP["too-big"];
    }
    if (this.#hopChange === -1) changeHops(packet, flow.family, -1);
    const table = this.connections;
    const destination = this.services.destination(table.server(record));
    this.#follow(packet, flow, record, TcpSide.output, destination);
    this.#countOut(destination, packet.length);
    const { words } = table;
    const port = table.virtualPort(record);
    rewrite(packet, flow, words, table.virtualAt(record), port, flow.words, 4, table.clientPort(record));
    if (this.#hopChange === 1) this.#giveHopBack(packet, flow);
    return TO_CLIENT;
  }

  /** Run the state machine and restart the timer. */
  #follow(packet: Packet, flow: Flow, record: number, side: TcpSide, destination: Destination): void {
    const table = this.connections;
    let ticks = this.#udpTicks;
    if (flow.protocol !== Protocol.udp) {
      const before = table.state(record);
      let after: number;
      let isActive: boolean;
      if (flow.protocol === Protocol.tcp) {
        after = nextTcpState(side, flow.tcpFlags, before, false);
        isActive = TCP_IS_ACTIVE[after] === 1;
        ticks = this.#tcpTicks[after]!;
      } else {
        after = nextSctpState(side, firstSctpChunk(packet, flow), secondSctpChunk(packet, flow), before);
        isActive = after === SCTP_ESTABLISHED;
        ticks = this.#sctpTicks[after]!;
      }
      if (after !== before) table.setState(record, after);
      if (table.hasFlag(record, ConnectionFlag.inactive) === isActive) {
        table.setFlag(record, ConnectionFlag.inactive, !isActive);
        destination.move(!isActive);
      }
    }
    table.setTimeout(record, ticks);
    table.touch(record, this.#nowTick);
  }

  #remove(record: number): void {
    const table = this.connections;
    const destination = this.services.destination(table.server(record));
    destination.unbind(table.hasFlag(record, ConnectionFlag.inactive));
    table.remove(record);
    if (!destination.isAvailable && destination.connectionCount === 0) this.services.forget(destination);
  }

  // ICMP

  #icmp(packet: Packet, flow: Flow): Verdict {
    if (flow.transportBytes < 8) return DROP.truncated;
    if (isTranslatedError(packet, flow)) return this.#icmpError(packet, flow);
    if (!this.services.isToVirtual(flow)) return this.#pass(packet, flow);
    const type = packet.view.getUint8(flow.transportAt);
    const isEchoRequest = type === (flow.family === 4 ? IcmpType.echoRequest : Icmpv6Type.echoRequest);
    if (!isEchoRequest || !this.#settings.answerEcho) return DROP["unknown-protocol"];
    if (!isUnicastSource(flow) || this.services.isFromVirtual(flow)) return DROP.martian;
    return this.#replies.echo(packet, flow) ? REPLY : DROP["bad-checksum"];
  }

  #icmpError(packet: Packet, flow: Flow): Verdict {
    const node = findQuoted(packet, flow, this.#quoted, this.connections);
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
    if (flow.protocol !== Protocol.tcp) {
      return this.#error(packet, flow, PORT_UNREACHABLE, 0) ? REPLY : DROP["no-service"];
    }
    if (!this.#replyLimit.take(this.#nowMs)) return DROP["no-service"];
    return this.#replies.reset(packet, flow) ? REPLY : DROP["no-service"];
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
