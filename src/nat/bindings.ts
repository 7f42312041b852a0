/**
 * What ties connection entries to everything else, and unties it: the destination's counters, the template an entry
 * hangs on, the source address it uses, the Call-ID that finds a template.
 */

import type { CachedFlows } from "./cached-flows.ts";
import type { CallTable } from "./call-table.ts";
import type { ConnectionTable } from "./connection-table.ts";
import { BOUND_TICKS, ConnectionFlag, TICK_MS } from "./connection-table.ts";
import type { Destination } from "./destination.ts";
import type { ServiceBook } from "./service-book.ts";
import type { SourceAddresses } from "./source-addresses.ts";

/** What an entry lives on while others hang on it, 60 s at a time, as in IPVS. */
const PROLONGED_TICKS = 60_000 / TICK_MS;
const OF_APPLICATIONS = ConnectionFlag.application | ConnectionFlag.expected;
/** States of a template. */
export const TEMPLATE_STATE = { none: 0, assured: 1 } as const;

export class Bindings {
  /** Knows the entries that are cached; they are withdrawn before they go. */
  cached: CachedFlows | undefined;
  /** Told of entries whose time was up and that live on. */
  onProlonged: ((record: number, nowTick: number) => void) | undefined;
  /** Told of entries that go and that the application modules have to do with: read by one, or expected. */
  onApplicationEnd: ((record: number) => void) | undefined;
  /** Told of entries whose time is up, that have an application module, and on which others hang. */
  onApplicationExpiry: ((record: number) => void) | undefined;
  readonly #table: ConnectionTable;
  readonly #services: ServiceBook;
  readonly #sources: SourceAddresses;
  readonly #calls: CallTable;

  constructor(table: ConnectionTable, services: ServiceBook, sources: SourceAddresses, calls: CallTable) {
    this.#table = table;
    this.#services = services;
    this.#sources = sources;
    this.#calls = calls;
  }

  /** An entry was made: count it, inactive at first. @param template - it hangs on this one; -1: on none */
  bind(record: number, destination: Destination, source: number, template: number): void {
    this.#table.setFlag(record, ConnectionFlag.inactive, true);
    destination.bind();
    this.#sources.use(source);
    if (template >= 0) this.#table.setController(record, template);
  }

  /** An entry that was taken over: count it as it is, and everything it needs. Its flags are right. */
  restore(record: number): void {
    const table = this.#table;
    const destination = this.#services.destination(table.server(record));
    if (table.isTemplate(record)) {
      destination.persistentConnections++;
      return;
    }
    destination.bind();
    if (!table.hasFlag(record, ConnectionFlag.inactive)) destination.move(false);
    this.#sources.use(table.source(record));
    const controller = table.controller(record);
    if (controller >= 0) table.setController(record, controller);
  }

  /** Take an entry out of the table. Nothing may hang on it. */
  remove(record: number): void {
    const table = this.#table;
    this.cached?.settle(record);
    if (!table.isLive(record)) return; // another connection took its place, as it turned out
    const destination = this.#services.destination(table.server(record));
    if (table.isTemplate(record)) {
      destination.persistentConnections--;
      if (table.hasFlag(record, ConnectionFlag.engine)) this.#calls.remove(record);
    } else {
      if (table.hasFlag(record, OF_APPLICATIONS)) this.onApplicationEnd?.(record);
      this.cached?.withdraw(record);
      destination.unbind(table.hasFlag(record, ConnectionFlag.inactive));
      this.#sources.release(table.source(record));
    }
    table.remove(record);
    if (!destination.isAvailable && !destination.isInUse) this.#services.forget(destination);
  }

  /** Likewise, and the template with it, if it was the last on one that was never of use (IPVS's drop_entry). */
  removeWithTemplate(record: number): void {
    const template = this.#table.controller(record);
    this.remove(record);
    if (template < 0 || !this.#table.isTemplate(template) || this.#table.controlledCount(template) > 0)
      return;
    if (this.#table.state(template) !== TEMPLATE_STATE.assured) this.remove(template);
  }

  /**
   * An entry's time is up. One that others hang on is prolonged, and from then on lives no longer than that after its last
   * use, whatever its timeout was: IPVS's manner.
   * @returns true when it is gone
   */
  expire(record: number, nowTick: number): boolean {
    const table = this.#table;
    if (table.controlledCount(record) > 0 && table.hasFlag(record, ConnectionFlag.application))
      this.onApplicationExpiry?.(record);
    if (table.controlledCount(record) === 0 && table.timeout(record) === BOUND_TICKS) {
      table.touch(record, nowTick);
      return false;
    }
    if (table.controlledCount(record) > 0) {
      table.setTimeout(record, PROLONGED_TICKS);
      table.touch(record, nowTick);
      this.onProlonged?.(record, nowTick);
      return false;
    }
    this.remove(record);
    return true;
  }

  /** A connection of this template is established. */
  assure(record: number): void {
    const template = this.#table.controller(record);
    if (template >= 0 && this.#table.isTemplate(template))
      this.#table.setState(template, TEMPLATE_STATE.assured);
  }
}
