/**
 * Taking over the entries that a director before left in memory: record by record, each under its own number, whatever else
 * the memory says. An entry that could not be one is counted and dropped; with what is taken over every counter is as a
 * census would have it.
 *
 * Destinations are not configured yet: an entry's destination comes back as a removed one, which the configuration revives.
 */

import { Protocol } from "../wire/flow.ts";
import type { Bindings } from "./bindings.ts";
import type { CallTable } from "./call-table.ts";
import { BOUND_TICKS, ConnectionFlag, type ConnectionTable, TICK_MS } from "./connection-table.ts";
import { SCTP_ESTABLISHED } from "./protocol/sctp.ts";
import { TCP_IS_ACTIVE } from "./protocol/tcp.ts";
import { isOf, isPossible } from "./record-check.ts";
import type { ServiceBook } from "./service-book.ts";
import type { SourceAddresses } from "./source-addresses.ts";

/**
 * Life of a connection at least: its packets may have been lost while no process was there, or have gone through a flow
 * cache that this one cannot ask.
 */
const GRACE_TICKS = 10_000 / TICK_MS;

export interface TakeOver {
  readonly connections: number;
  readonly templates: number;
  /** Of the connections, those that were announced and have not begun. */
  readonly expected: number;
  /** Records that no director could have left so, among them those that were being written when it was killed. */
  readonly damaged: number;
  /** Of destinations that the directory does not know. */
  readonly homeless: number;
  /** Records of connections that application modules read; none of them does yet. */
  readonly read: readonly number[];
}

export interface TakeOverParts {
  readonly connections: ConnectionTable;
  readonly services: ServiceBook;
  readonly sources: SourceAddresses;
  readonly bindings: Bindings;
  readonly calls: CallTable;
}

/** @returns undefined, everything empty, when there is no memory for the records any more */
export function takeOver(parts: TakeOverParts, nowTick: number): TakeOver | undefined {
  const { connections: table, services, sources, bindings, calls } = parts;
  const { highWater } = table;
  if (!table.beginTakeOver()) return undefined;
  sources.beginTakeOver();
  let damaged = 0;
  let homeless = 0;
  for (let record = 0; record < highWater; record++) {
    if (!table.isLive(record)) continue;
    const isGood = isPossible(table, record, nowTick);
    const destination = isGood ? services.restore(table.server(record)) : undefined;
    if (destination !== undefined && isOf(table, record, destination) && table.restore(record)) continue;
    if (isGood && destination === undefined) homeless++;
    else damaged++;
    table.discard(record);
  }
  damaged += checkControllers(table, highWater);
  table.endTakeOver();
  let templates = 0;
  let expected = 0;
  const read: number[] = [];
  for (let record = 0; record < table.highWater; record++) {
    if (!table.isLive(record)) continue;
    const controller = table.controller(record);
    if (controller >= 0 && !table.isLive(controller)) table.clearController(record);
    if (table.isTemplate(record)) templates++;
    else table.setFlag(record, ConnectionFlag.inactive, !isActive(table, record));
    if (table.hasFlag(record, ConnectionFlag.expected)) expected++;
    if (table.hasFlag(record, ConnectionFlag.application)) read.push(record);
    // An ordinary connection, until its module goes on with it.
    table.setFlag(record, ConnectionFlag.application, false);
    // Nobody would withdraw it in time.
    if (table.timeout(record) === BOUND_TICKS) table.setTimeout(record, unboundTicks(table, controller));
    bindings.restore(record);
    table.restoreTimer(record, nowTick, table.isTemplate(record) ? Number.NEGATIVE_INFINITY : GRACE_TICKS);
  }
  calls.takeOver((record) => isCallTemplate(table, record));
  services.endTakeOver();
  sources.endTakeOver();
  return { connections: table.count - templates, templates, expected, damaged, homeless, read };
}

/**
 * Nothing may hang on what is not there, on itself, or in a longer chain than there is: an FTP data connection on its control
 * connection on a template. First what hangs on templates or on nothing, then what hangs on such.
 * @returns entries dropped
 */
function checkControllers(table: ConnectionTable, highWater: number): number {
  let dropped = 0;
  const drop = (record: number): void => {
    table.clearController(record);
    table.remove(record);
    dropped++;
  };
  for (const isSecond of [false, true]) {
    for (let record = 0; record < highWater; record++) {
      if (!table.isLive(record)) continue;
      const controller = table.controller(record);
      const isExpected = table.hasFlag(record, ConnectionFlag.expected);
      if (controller === -1) {
        if (isExpected) drop(record);
        continue;
      }
      if (controller < 0 || controller >= highWater || table.isTemplate(record)) drop(record);
      else if (!table.isLive(controller)) {
        // It was dropped itself. A connection goes on without it; what is only announced would be for anybody.
        if (isExpected) drop(record);
        else table.clearController(record);
      } else if (table.isTemplate(controller)) {
        if (isExpected || table.server(controller) !== table.server(record)) drop(record);
      } else if (isSecond) {
        const next = table.controller(controller);
        if (next >= 0 && !table.isTemplate(next)) drop(record);
      }
    }
  }
  return dropped;
}

/** Life of what was announced for as long as the connection lives on which it hangs. */
const unboundTicks = (table: ConnectionTable, controller: number): number =>
  Math.min(BOUND_TICKS - 1, controller >= 0 ? table.timeout(controller) : BOUND_TICKS);

function isActive(table: ConnectionTable, record: number): boolean {
  const state = table.state(record);
  if (table.protocol(record) === Protocol.tcp) return TCP_IS_ACTIVE[state] === 1;
  return table.protocol(record) === Protocol.sctp && state === SCTP_ESTABLISHED;
}

function isCallTemplate(table: ConnectionTable, record: number): boolean {
  const isThere = record >= 0 && record < table.highWater && table.isLive(record);
  return isThere && table.isTemplate(record) && table.hasFlag(record, ConnectionFlag.engine);
}
