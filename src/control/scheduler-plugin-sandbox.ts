/** A user's scheduler at work in a sandbox. */

import type { QuickJSHandle } from "quickjs-emscripten-core";
import type { Milliseconds } from "../base/environment.ts";
import type { SchedulerFlag } from "../nat/configuration.ts";
import type { Destination } from "../nat/destination.ts";
import { formatAddress } from "../wire/address.ts";
import type { Flow } from "../wire/flow.ts";
import { ANSWER_STEPS_MAX, Sandbox, type SandboxEngine, SandboxError, START_STEPS_MAX } from "./sandbox.ts";
import type { PluginCode } from "./scheduler-plugin.ts";
import {
  CONNECTION_NUMBERS,
  GUEST_CODE,
  type Guest,
  NO_SERVER,
  SERVER_NUMBERS,
} from "./scheduler-plugin-guest.ts";

/** What a module is told of a server. */
export type SandboxServer = Pick<
  Destination,
  "address" | "port" | "weight" | "activeConnections" | "inactiveConnections" | "isOverloaded"
>;

export class SchedulerSandbox extends Sandbox {
  #arrange: QuickJSHandle | undefined;
  #pick: QuickJSHandle | undefined;
  /** What the guest is told at every pick. */
  #block = new Float64Array(0);
  #flow: Flow | undefined;

  /**
   * Run a module's statements.
   * @param seed - of its Math.random
   * @param flags - the service's
   * @throws SandboxError
   */
  static open(
    engine: SandboxEngine,
    plugin: PluginCode,
    seed: number,
    flags: readonly SchedulerFlag[],
  ): SchedulerSandbox {
    return engine.open(
      (place) => new SchedulerSandbox(place),
      (sandbox) => sandbox.guard(() => sandbox.#begin(plugin, seed, flags)),
    );
  }

  /** The list of servers changed. @throws SandboxError */
  arrange(destinations: readonly SandboxServer[]): void {
    this.guard(() => this.#arrangeServers(destinations));
  }

  /** @returns index in the list last arranged, NOBODY or NO_SERVER @throws SandboxError */
  pick(destinations: readonly SandboxServer[], flow: Flow, now: Milliseconds): number {
    return this.guard(() => this.#pickOne(destinations, flow, now));
  }

  #begin(plugin: PluginCode, seed: number, flags: readonly SchedulerFlag[]): void {
    const { context } = this;
    const addressOf = context.newFunction("addressOf", (whose) => {
      const { family, words } = this.#flow!;
      return context.newString(formatAddress(family, words, context.getString(whose) === "client" ? 0 : 4));
    });
    const chance = context.newNumber(seed | 0 || 1);
    const { ours, module } = this.load(GUEST_CODE, plugin, this.own(addressOf), this.own(chance));
    const method = (name: keyof Guest) => this.own(context.getProp(ours, name));
    const refusal = this.own(this.call(method("begin"), module, this.own(context.newString(flags.join()))));
    if (context.typeof(refusal) === "string") throw new SandboxError(context.getString(refusal), false);
    this.#arrange = method("arrange");
    this.#pick = method("pick");
  }

  #arrangeServers(destinations: readonly SandboxServer[]): void {
    this.allow(START_STEPS_MAX);
    const list = JSON.stringify(destinations.map(({ address, port }) => [address, port]));
    const text = this.context.newString(list);
    try {
      this.call(this.#arrange!, text).dispose();
    } finally {
      text.dispose();
    }
    this.#block = new Float64Array(CONNECTION_NUMBERS + SERVER_NUMBERS * destinations.length);
  }

  #pickOne(destinations: readonly SandboxServer[], flow: Flow, now: Milliseconds): number {
    const block = this.#block;
    block[0] = flow.protocol;
    block[1] = flow.sourcePort;
    block[2] = flow.destinationPort;
    block[3] = now;
    for (let i = 0, at = CONNECTION_NUMBERS; i < destinations.length; i++, at += SERVER_NUMBERS) {
      const { weight, activeConnections, inactiveConnections, isOverloaded } = destinations[i]!;
      block[at] = weight;
      block[at + 1] = activeConnections;
      block[at + 2] = inactiveConnections;
      block[at + 3] = isOverloaded ? 1 : 0;
    }
    this.#flow = flow;
    this.allow(ANSWER_STEPS_MAX);
    const numbers = this.context.newArrayBuffer(block.buffer);
    let index: number;
    try {
      const answer = this.call(this.#pick!, numbers);
      index = this.context.getNumber(answer);
      answer.dispose();
    } finally {
      numbers.dispose();
    }
    return Number.isInteger(index) ? index : NO_SERVER;
  }
}
