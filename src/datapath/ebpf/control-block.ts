/** The program's switches and tables, written from here: state machines and timeouts as the director has them. */

import { TCP_STATES } from "../../nat/configuration.ts";
import { TICK_MS } from "../../nat/connection-table.ts";
import type { FlowRules } from "../../nat/contracts/flow-cache.ts";
import { nextTcpState, TcpSide } from "../../nat/protocol/tcp.ts";
import { Control, EVENTS_MAX, Event, MODE_COUNT, Mode, STATES_MAX, UdpState } from "./maps/layout.ts";

const TICK_NS = BigInt(TICK_MS * 1_000_000);
/** TCP's flags that make an event. */
const FLAGS: Readonly<Record<keyof typeof Event, number>> = {
  fin: 0x01,
  syn: 0x02,
  rst: 0x04,
  ack: 0x10,
  none: 0,
};

export class ControlBlock {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #timeouts: BigUint64Array;

  constructor(memory: ArrayBuffer) {
    this.#words = new Int32Array(memory, 0, Control.bytes >> 2);
    this.#bytes = new Uint8Array(memory);
    this.#timeouts = new BigUint64Array(memory, Control.at.timeouts, MODE_COUNT * STATES_MAX);
    this.#writeTransitions();
  }

  set isEnabled(isEnabled: boolean) {
    Atomics.store(this.#words, Control.at.isEnabled / 4, isEnabled ? 1 : 0);
  }

  /** Interface whose packets are routed as the director's are; 0: no servers are chosen. */
  set routedAs(device: number) {
    Atomics.store(this.#words, Control.at.routedAs / 4, device);
  }

  /** A packet in so many is audited, a power of two; 0: none. */
  set auditedShare(oneIn: number) {
    this.#words[Control.at.auditMask / 4] = oneIn === 0 ? -1 : oneIn - 1;
  }

  /** Flow classes that are switched off, as bits. */
  get classesOff(): number {
    return this.#words[Control.at.classesOff / 4]!;
  }

  switchOff(classes: number): void {
    Atomics.or(this.#words, Control.at.classesOff / 4, classes);
  }

  /** News that found no room, since the beginning. */
  get lostNewsCount(): number {
    return Atomics.load(this.#words, Control.at.lostNews / 4);
  }

  setRules(rules: FlowRules): void {
    const { isSecureTcp, isReusing, tcpTicks, secureTcpTicks, udpTicks, told } = rules;
    const [threshold, period] = told;
    this.#words[Control.at.reuses / 4] = isReusing ? 1 : 0;
    for (let state = 0; state < STATES_MAX; state++) {
      this.#setTimeout(Mode.tcp, state, tcpTicks[state] ?? 0);
      this.#setTimeout(Mode.secureTcp, state, secureTcpTicks[state] ?? 0);
      this.#setTimeout(Mode.udp, state, udpTicks);
    }
    this.#words[Control.at.toldThreshold / 4] = threshold;
    this.#words[Control.at.toldPeriod / 4] = period;
    Atomics.store(this.#words, Control.at.isSecureTcp / 4, isSecureTcp ? 1 : 0);
  }

  #setTimeout(mode: number, state: number, ticks: number): void {
    this.#timeouts[mode * STATES_MAX + state] = BigInt(ticks) * TICK_NS;
  }

  #writeTransitions(): void {
    for (const side of [TcpSide.input, TcpSide.output]) {
      for (const [name, event] of Object.entries(Event) as [keyof typeof Event, number][]) {
        for (let state = 0; state < STATES_MAX; state++) {
          // States that there are not lead nowhere.
          const isState = state < TCP_STATES.length;
          const next = (isSecure: boolean): number =>
            isState ? nextTcpState(side, FLAGS[name], state, isSecure) : state;
          this.#setTransition(Mode.tcp, side, event, state, next(false));
          this.#setTransition(Mode.secureTcp, side, event, state, next(true));
          const isAnswer = side === TcpSide.output;
          this.#setTransition(Mode.udp, side, event, state, isAnswer ? UdpState.answered : state);
        }
      }
    }
  }

  #setTransition(mode: number, side: number, event: number, state: number, next: number): void {
    const row = (mode * 2 + side) * EVENTS_MAX + event;
    this.#bytes[Control.at.transitions + row * STATES_MAX + state] = next;
  }
}
