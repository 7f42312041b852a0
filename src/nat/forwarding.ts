/** Passing a packet of a connection on: state, counters, hops, MTU, and the rewriting, towards either side. */
import { type Flow, Protocol } from "../wire/flow.ts";
import { Gso, type Packet } from "../wire/packet.ts";
import type { Answers } from "./answers.ts";
import type { CachedFlows } from "./cached-flows.ts";
import type { ConnectionStates } from "./connection-states.ts";
import { ConnectionFlag, type ConnectionTable } from "./connection-table.ts";
import type { Applications } from "./contracts/application.ts";
import type { Destination } from "./destination.ts";
import { TcpSide } from "./protocol/tcp.ts";
import { proxyHeaderBytes, proxyToClient, proxyToServer } from "./proxy-protocol.ts";
import { HOPS_EXCEEDED, type IcmpError, TOO_BIG } from "./reply.ts";
import { changeHops, rewrite } from "./rewrite.ts";
import type { Traffic } from "./traffic.ts";
import { ownCallId } from "./tunnel-calls.ts";
import { DROP, TO_CLIENT, TO_SERVER, type Verdict } from "./verdict.ts";

const FRAGMENT_MTU_MIN = 68;
/** Connections of which more than the headers changes. */
const CHANGES_STREAM = ConnectionFlag.proxy | ConnectionFlag.application;

/** Told of what becomes of connections, for synchronising with another director. */
export interface ConnectionObserver {
  /**
   * A packet of a connection went through its state machine.
   * @param packetCount - packets from the client so far; 0: this one came from the server
   */
  packetSeen(record: number, packetCount: number, nowTick: number): void;
  /** An entry's time was up, but others hang on it. */
  prolonged(record: number, nowTick: number): void;
}

export class Forwarding {
  /** Largest packet towards clients, 0 when the routers in between say so themselves. */
  clientMtuBytes = 0;
  observer: ConnectionObserver | undefined;
  applications: Applications | undefined;
  /** Told of every packet that a state machine has seen. */
  cached: CachedFlows | undefined;
  readonly #table: ConnectionTable;
  readonly #states: ConnectionStates;
  readonly #answers: Answers;
  readonly #traffic: Traffic;
  readonly #hopChange: -1 | 1;

  /** @param hopChange - what is done to TTL and hop limit; see DirectorOptions */
  constructor(
    table: ConnectionTable,
    states: ConnectionStates,
    answers: Answers,
    traffic: Traffic,
    hopChange: -1 | 1,
  ) {
    this.#table = table;
    this.#states = states;
    this.#answers = answers;
    this.#traffic = traffic;
    this.#hopChange = hopChange;
  }

  /**
   * @param node - which of a connection's tuples the packet has
   * @param destination - the connection's
   */
  forward(packet: Packet, flow: Flow, node: number, destination: Destination): Verdict {
    return (node & 1) === 1
      ? this.toClient(packet, flow, node >> 1, destination)
      : this.toServer(packet, flow, node >> 1, destination);
  }

  toServer(packet: Packet, flow: Flow, record: number, destination: Destination): Verdict {
    const table = this.#table;
    const flags = table.flags(record);
    const isMasquerade = (flags & ConnectionFlag.masquerade) !== 0;
    this.#states.follow(packet, flow, record, TcpSide.input, destination);
    const packetCount = table.countInPacket(record);
    this.cached?.followed(record, destination);
    this.countIn(destination, packet.length);
    this.observer?.packetSeen(record, packetCount, this.#states.nowTick);
    if (this.#hopChange === -1) {
      if (hops(packet, flow) <= 1)
        return this.#answer(packet, flow, isMasquerade, HOPS_EXCEEDED, 0, "ttl-expired");
      changeHops(packet, flow.family, -1);
    }
    const hasHeader = (flags & ConnectionFlag.proxy) !== 0;
    let mtuBytes = isMasquerade ? this.clientMtuBytes : destination.mtuBytes;
    // The client must leave room for the header, or what it sends again would never fit.
    if (hasHeader && mtuBytes > 0) mtuBytes -= proxyHeaderBytes(flow.family);
    if (!fits(packet, flow, mtuBytes))
      return this.#answer(packet, flow, isMasquerade, TOO_BIG, mtuBytes, "too-big");
    if ((flags & CHANGES_STREAM) !== 0) {
      if (hasHeader) {
        if (!proxyToServer(packet, flow, table, record)) return DROP["no-room-for-header"];
      } else if (this.applications?.toServer(packet, flow, record) === false) return DROP.application;
    }
    const { words } = table;
    const at = table.destinationAt(record);
    const source = table.source(record);
    const sourceWords = source === 0 ? flow.words : table.sourceWords;
    const sourcePort = table.sourcePort(record);
    const port =
      flow.protocol === Protocol.gre ? ownCallId(table, record, "server") : table.destinationPort(record);
    rewrite(packet, flow, sourceWords, source * 4, sourcePort, words, at, port);
    if (this.#hopChange === 1) giveHopBack(packet, flow);
    return TO_SERVER;
  }

  toClient(packet: Packet, flow: Flow, record: number, destination: Destination): Verdict {
    const table = this.#table;
    const flags = table.flags(record);
    const isMasquerade = (flags & ConnectionFlag.masquerade) !== 0;
    // A router looks at TTL and MTU before anything else, and answers in its own name; what comes from outside, in that of
    // the address it came to.
    if (this.#hopChange === -1 && hops(packet, flow) <= 1)
      return this.#answer(packet, flow, !isMasquerade, HOPS_EXCEEDED, 0, "ttl-expired");
    const mtuBytes = isMasquerade ? 0 : this.clientMtuBytes;
    if (!fits(packet, flow, mtuBytes)) return this.#answer(packet, flow, true, TOO_BIG, mtuBytes, "too-big");
    if (this.#hopChange === -1) changeHops(packet, flow.family, -1);
    this.#states.follow(packet, flow, record, TcpSide.output, destination);
    this.cached?.followed(record, destination);
    this.observer?.packetSeen(record, 0, this.#states.nowTick);
    if ((flags & CHANGES_STREAM) !== 0) {
      if ((flags & ConnectionFlag.proxy) !== 0) proxyToClient(packet, flow, table, record);
      else if (this.applications?.toClient(packet, flow, record) === false) return DROP.application;
    }
    this.countOut(destination, packet.length); // as it leaves, like IPVS
    const { words } = table;
    const at = table.virtualAt(record);
    const virtualPort = table.virtualPort(record);
    const port =
      flow.protocol === Protocol.gre ? ownCallId(table, record, "client") : table.clientPort(record);
    rewrite(packet, flow, words, at, virtualPort, words, table.clientAt(record), port);
    if (this.#hopChange === 1) giveHopBack(packet, flow);
    return TO_CLIENT;
  }

  countIn(destination: Destination, bytes: number): void {
    if (!destination.isAvailable) return;
    destination.traffic.countIn(bytes);
    destination.service.traffic.countIn(bytes);
    if (!destination.isDetached) this.#traffic.countIn(bytes);
  }

  countOut(destination: Destination, bytes: number): void {
    if (!destination.isAvailable) return;
    destination.traffic.countOut(bytes);
    destination.service.traffic.countOut(bytes);
    if (!destination.isDetached) this.#traffic.countOut(bytes);
  }

  /** @param isOwn - in the director's own name rather than in that of the address the packet went to */
  #answer(
    packet: Packet,
    flow: Flow,
    isOwn: boolean,
    kind: IcmpError,
    rest: number,
    otherwise: "ttl-expired" | "too-big",
  ): Verdict {
    return isOwn
      ? this.#answers.ownError(packet, flow, kind, rest, otherwise)
      : this.#answers.error(packet, flow, kind, rest, otherwise);
  }
}

export const hops = (packet: Packet, flow: Flow): number =>
  packet.view.getUint8(packet.at + (flow.family === 4 ? 8 : 7));

/** The kernel takes a hop twice on the way through TUN. */
export function giveHopBack(packet: Packet, flow: Flow): void {
  if (hops(packet, flow) < 255) changeHops(packet, flow.family, 1);
}

/**
 * May the packet go out on a link of this MTU? IPv4 without "don't fragment" always may, and is marked to be cut.
 * @param mtuBytes - 0: not known
 */
function fits(packet: Packet, flow: Flow, mtuBytes: number): boolean {
  if (mtuBytes < FRAGMENT_MTU_MIN) return true;
  let bytes = packet.fragmentBytesMax === 0 ? packet.length : packet.fragmentBytesMax;
  if (packet.gso !== Gso.none) bytes = segmentBytes(packet, flow);
  if (bytes <= mtuBytes) return true;
  const mayFragment = flow.family === 4 && (packet.view.getUint16(packet.at + 6) & 0x4000) === 0;
  if (mayFragment && packet.gso === Gso.none) packet.fragmentBytesMax = mtuBytes;
  return mayFragment;
}

/** IP packet size of one segment of a super-packet. */
function segmentBytes(packet: Packet, flow: Flow): number {
  const headerBytes = flow.transportAt - packet.at;
  if (flow.protocol === Protocol.udp) return headerBytes + 8 + packet.gsoBytes;
  return headerBytes + (packet.view.getUint8(flow.transportAt + 12) >> 4) * 4 + packet.gsoBytes;
}
