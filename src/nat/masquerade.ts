/**
 * Connections that hosts behind the director open through it: they leave in the name of a source address of the
 * director's own. An entry of the usual kind whose destination is where the packet was going anyway.
 */
import type { Flow } from "../wire/flow.ts";
import { isInPrefix, type Prefix, prefixOf } from "../wire/prefix.ts";
import type { ApplicationName, MasqueradeRule } from "./configuration.ts";
import type { Destination } from "./destination.ts";
import { FIRST_SOURCE_PORT, LAST_SOURCE_PORT } from "./dispatcher.ts";
import type { ServiceBook } from "./service-book.ts";

/** A rule at work. */
export interface Masquerading {
  /** Tells one rule from another. */
  readonly key: string;
  readonly from: readonly Prefix[];
  readonly to: Prefix | undefined;
  /** Numbers of its source addresses. */
  readonly pool: Int32Array;
  readonly firstPort: number;
  readonly lastPort: number;
  readonly applications: readonly ApplicationName[];
  /** Counts its connections and traffic. */
  readonly destination: Destination;
}

export class Masquerade {
  /** In the order of the configuration. */
  rules: readonly Masquerading[] = [];
  readonly #services: ServiceBook;

  constructor(services: ServiceBook) {
    this.#services = services;
  }

  /** Other rules; connections of those that end go on. @throws RangeError for a prefix or address that is none */
  configure(wanted: readonly MasqueradeRule[]): void {
    const ending = [...this.rules];
    this.rules = wanted.map((rule) => {
      const key = JSON.stringify(rule);
      const at = ending.findIndex((one) => one.key === key);
      return at < 0 ? this.#begin(rule, key) : ending.splice(at, 1)[0]!;
    });
    for (const { pool, destination } of ending) {
      this.#services.releaseSources(pool);
      this.#services.removeDetached(destination);
    }
  }

  /** The rule for a packet that goes out, or undefined. */
  find(flow: Flow): Masquerading | undefined {
    const { rules } = this;
    for (let index = 0; index < rules.length; index++) {
      const one = rules[index]!;
      if (one.from[0]!.family !== flow.family) continue;
      if (one.to !== undefined && !isInPrefix(one.to, flow.words, 4)) continue;
      for (let at = 0; at < one.from.length; at++) if (isInPrefix(one.from[at]!, flow.words, 0)) return one;
    }
    return undefined;
  }

  #begin(rule: MasqueradeRule, key: string): Masquerading {
    const from = rule.from.map((text) => prefixOf(text, "masquerade"));
    const pool = this.#services.holdSources(rule.sources);
    return {
      key,
      from,
      to: rule.to === undefined ? undefined : prefixOf(rule.to, "masquerade"),
      pool,
      firstPort: rule.ports?.first ?? FIRST_SOURCE_PORT,
      lastPort: rule.ports?.last ?? LAST_SOURCE_PORT,
      applications: rule.apps ?? [],
      destination: this.#services.addDetached(from[0]?.family ?? 4, key),
    };
  }
}
