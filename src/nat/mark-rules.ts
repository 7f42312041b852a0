/**
 * The director's own way to put a firewall mark on a packet: rules over protocol, source, destination and port. Linux
 * leaves that to netfilter, in front of IPVS.
 */
import { type Flow, Protocol } from "../wire/flow.ts";
import { isInPrefix, type Prefix, prefixOf } from "../wire/prefix.ts";
import type { MarkRule } from "./configuration.ts";

interface Rule {
  readonly mark: number;
  /** 0: TCP, UDP and SCTP. */
  readonly protocol: number;
  readonly source: Prefix | undefined;
  readonly destination: Prefix;
  readonly firstPort: number;
  readonly lastPort: number;
}

export class MarkRules {
  readonly #rules: readonly Rule[];

  /** @throws RangeError for a prefix that is none */
  constructor(rules: readonly MarkRule[]) {
    this.#rules = rules.map(({ mark, protocol, source, destination, ports }) => ({
      mark,
      protocol: protocol === undefined ? 0 : Protocol[protocol],
      source: source === undefined ? undefined : prefixOf(source, "mark packets"),
      destination: prefixOf(destination, "mark packets"),
      firstPort: ports?.first ?? 0,
      lastPort: ports?.last ?? 65_535,
    }));
  }

  /** Mark of a packet with ports: that of the first rule that fits, or 0. */
  markOf(flow: Flow): number {
    const rules = this.#rules;
    for (let index = 0; index < rules.length; index++) {
      const rule = rules[index]!;
      if (
        rule.destination.family === flow.family &&
        isInPrefix(rule.destination, flow.words, 4) &&
        (rule.protocol === 0 || rule.protocol === flow.protocol) &&
        flow.destinationPort >= rule.firstPort &&
        flow.destinationPort <= rule.lastPort &&
        (rule.source === undefined || isInPrefix(rule.source, flow.words, 0))
      )
        return rule.mark;
    }
    return 0;
  }

  /** Does any rule speak about this destination address? @param at - of four words */
  covers(family: 4 | 6, words: Int32Array, at: number): boolean {
    const rules = this.#rules;
    for (let index = 0; index < rules.length; index++) {
      const { destination } = rules[index]!;
      if (destination.family === family && isInPrefix(destination, words, at)) return true;
    }
    return false;
  }
}
