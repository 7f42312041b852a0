/** The state machines at work on entries: next state, active or inactive, time to live, assured templates. */
import { type Flow, Protocol } from "../wire/flow.ts";
import type { Packet } from "../wire/packet.ts";
import type { Bindings } from "./bindings.ts";
import type { Timeouts } from "./configuration.ts";
import { ConnectionFlag, type ConnectionTable, TICK_MS } from "./connection-table.ts";
import type { FlowRules } from "./contracts/flow-cache.ts";
import type { Defence } from "./defence.ts";
import type { Destination } from "./destination.ts";
import { isEchoProtocol } from "./echo.ts";
import {
  firstSctpChunk,
  nextSctpState,
  SCTP_CLOSED,
  SCTP_ESTABLISHED,
  secondSctpChunk,
} from "./protocol/sctp.ts";
import { nextTcpState, TCP_IS_ACTIVE, TCP_STATE, TcpSide } from "./protocol/tcp.ts";
import { CALL_SECONDS, nextCallState } from "./protocol/tunnel-call.ts";
import { sctpTimeoutList, tcpTimeoutList } from "./timeouts.ts";

/** Life of an entry that no packet of its own has touched yet (IPVS). */
const NEW_ENTRY_SECONDS = 3;
/** Life of an idle echo exchange; Linux's connection tracking gives it as much. */
const ECHO_SECONDS = 30;

export class ConnectionStates {
  /** The present, in ticks. */
  nowTick = 0;
  readonly #table: ConnectionTable;
  readonly #bindings: Bindings;
  readonly #defence: Defence;
  #tcpTicks = new Int32Array(0);
  #secureTcpTicks = new Int32Array(0);
  #sctpTicks = new Int32Array(0);
  #udpTicks = 0;

  constructor(table: ConnectionTable, bindings: Bindings, defence: Defence) {
    this.#table = table;
    this.#bindings = bindings;
    this.#defence = defence;
  }

  /** Entries live by these from their next packet on. */
  configure(timeouts: Timeouts): void {
    this.#tcpTicks = Int32Array.from(tcpTimeoutList(timeouts.tcp), toTicks);
    this.#secureTcpTicks = Int32Array.from(tcpTimeoutList(timeouts.secureTcp), toTicks);
    this.#sctpTicks = Int32Array.from(sctpTimeoutList(timeouts), toTicks);
    this.#udpTicks = toTicks(timeouts.udp);
  }

  /** A packet of an entry: run its state machine and restart its timer. */
  follow(packet: Packet, flow: Flow, record: number, side: TcpSide, destination: Destination): void {
    const table = this.#table;
    const { protocol } = flow;
    let ticks = this.#udpTicks;
    if (protocol === Protocol.tcp || protocol === Protocol.sctp) {
      const before = table.state(record);
      let after: number;
      let isActive: boolean;
      let isEstablished: boolean;
      if (protocol === Protocol.tcp) {
        const isSecure = this.#defence.isSecureTcp;
        after = nextTcpState(side, flow.tcpFlags, before, isSecure);
        isActive = TCP_IS_ACTIVE[after] === 1;
        isEstablished = after === TCP_STATE.established;
        ticks = isSecure ? this.#secureTcpTicks[after]! : this.#tcpTicks[after]!;
      } else {
        after = nextSctpState(side, firstSctpChunk(packet, flow), secondSctpChunk(packet, flow), before);
        isActive = isEstablished = after === SCTP_ESTABLISHED;
        ticks = this.#sctpTicks[after]!;
      }
      if (after !== before) {
        table.setState(record, after);
        if (isEstablished) this.#bindings.assure(record);
      }
      this.#count(record, isActive, destination);
    } else if (protocol === Protocol.gre) {
      this.enterCall(record, nextCallState(side, table.state(record)));
      return;
    } else if (isEchoProtocol(protocol)) ticks = toTicks(ECHO_SECONDS);
    else if (side === TcpSide.output) this.#bindings.assure(record);
    this.#restart(record, ticks);
  }

  /**
   * What became of an entry while its packets did not come here.
   * @param state - of TCP; of UDP: 1 once the server has answered
   * @param seenTick - of its last packet
   */
  catchUp(record: number, state: number, seenTick: number, destination: Destination): void {
    const table = this.#table;
    let ticks = this.#udpTicks;
    if (table.protocol(record) === Protocol.tcp) {
      if (state !== table.state(record)) {
        table.setState(record, state);
        if (state === TCP_STATE.established) this.#bindings.assure(record);
      }
      this.#count(record, TCP_IS_ACTIVE[state] === 1, destination);
      ticks = this.#defence.isSecureTcp ? this.#secureTcpTicks[state]! : this.#tcpTicks[state]!;
    } else if (state === 1) this.#bindings.assure(record);
    table.setTimeout(record, ticks);
    table.touch(record, seenTick);
  }

  /** A cached entry was in this state for a while. */
  passed(record: number, state: number): void {
    const isTcp = this.#table.protocol(record) === Protocol.tcp;
    if (isTcp && state === TCP_STATE.established) this.#bindings.assure(record);
  }

  /** By which a flow cache follows connections. */
  get rules(): Omit<FlowRules, "told" | "isReusing"> {
    return {
      isSecureTcp: this.#defence.isSecureTcp,
      tcpTicks: this.#tcpTicks,
      secureTcpTicks: this.#secureTcpTicks,
      udpTicks: this.#udpTicks,
    };
  }

  /** An entry that was made for something else than a packet of its own. */
  begin(record: number): void {
    this.#restart(record, toTicks(NEW_ENTRY_SECONDS));
  }

  /** A further path of an association, on which nothing was seen. It may be one in reserve: it lives like one in use. */
  enterPath(record: number): void {
    this.#restart(record, this.#sctpTicks[SCTP_ESTABLISHED]!);
  }

  /** A tunnel's call is in this state now. */
  enterCall(record: number, state: number): void {
    this.#table.setState(record, state);
    this.#restart(record, toTicks(CALL_SECONDS[state]!));
  }

  /** An entry that waits for its first packet. @param ticks - how long; 0: for the timeout `listen` */
  listen(record: number, ticks: number): void {
    if (this.#table.protocol(record) === Protocol.tcp) this.#table.setState(record, TCP_STATE.listen);
    this.#restart(record, ticks > 0 ? ticks : this.#tcpTicks[TCP_STATE.listen]!);
  }

  /** End a connection before its time, without forgetting it at once. To do so again prolongs nothing. */
  close(record: number, destination: Destination): void {
    const table = this.#table;
    const protocol = table.protocol(record);
    if (protocol === Protocol.tcp) table.setState(record, TCP_STATE.close);
    else if (protocol === Protocol.sctp) table.setState(record, SCTP_CLOSED);
    this.#count(record, false, destination);
    const ticks = this.#tcpTicks[TCP_STATE.close]!;
    if (table.timeout(record) > ticks) this.#restart(record, ticks);
  }

  #count(record: number, isActive: boolean, destination: Destination): void {
    const table = this.#table;
    if (table.hasFlag(record, ConnectionFlag.inactive) !== isActive) return;
    table.setFlag(record, ConnectionFlag.inactive, !isActive);
    destination.move(!isActive);
  }

  #restart(record: number, ticks: number): void {
    this.#table.setTimeout(record, ticks);
    this.#table.touch(record, this.nowTick);
  }
}

const toTicks = (seconds: number): number => Math.ceil((seconds * 1000) / TICK_MS);
