/**
 * Could a director have made this entry? Asked of every record that a process takes over from one before: the memory may have
 * been left by one that was killed in the middle of a word, by another version, or by somebody who means ill. What passes
 * does no harm to the tables, whoever wrote it.
 */
import { isSameAddress } from "../wire/address.ts";
import { Protocol } from "../wire/flow.ts";
import { SCTP_STATES, TCP_STATES } from "./configuration.ts";
import { BOUND_TICKS, ConnectionFlag, type ConnectionTable } from "./connection-table.ts";
import type { Destination } from "./destination.ts";
import { isEchoProtocol } from "./echo.ts";
import { CALL_STATE_NAMES } from "./protocol/tunnel-call.ts";

const TEMPLATE_STATE_COUNT = 2;
const OF_TEMPLATES = ConnectionFlag.engine | ConnectionFlag.synchronised;
/** Of connections that are announced and have not begun; two of the bits mean something else elsewhere. */
const OF_EXPECTED =
  ConnectionFlag.expected |
  ConnectionFlag.lasting |
  ConnectionFlag.ofClient |
  ConnectionFlag.masquerade |
  ConnectionFlag.inactive |
  ConnectionFlag.application;
const OF_PROXY = ConnectionFlag.proxy | ConnectionFlag.proxyPending;
const PREFIX_FREE = [1, 2, 3];

/** What the record says of itself, without its destination and what it hangs on. */
export function isPossible(table: ConnectionTable, record: number, nowTick: number): boolean {
  return (
    hasPossibleKind(table, record) &&
    hasPossibleLife(table, record, nowTick) &&
    hasPossibleSource(table, record)
  );
}

function hasPossibleKind(table: ConnectionTable, record: number): boolean {
  const family = table.family(record);
  if (!table.hasPlainFamily(record) || (family !== 4 && family !== 6)) return false;
  if (family === 4) {
    const { words } = table;
    const starts = [table.clientAt(record), table.virtualAt(record), table.destinationAt(record)];
    if (starts.some((at) => PREFIX_FREE.some((word) => words[at + word] !== 0))) return false;
  }
  const protocol = table.protocol(record);
  const flags = table.flags(record);
  if (table.isTemplate(record)) {
    const isKnown = protocol === 0 || stateCount(protocol) > 0;
    const hasState = table.state(record) < TEMPLATE_STATE_COUNT;
    return (
      isKnown &&
      !isEchoProtocol(protocol) &&
      hasState &&
      (flags & ~OF_TEMPLATES) === 0 &&
      table.hasTemplatePorts(record)
    );
  }
  if (table.state(record) >= stateCount(protocol)) return false;
  if (isEchoProtocol(protocol)) return (flags & ConnectionFlag.masquerade) !== 0;
  if ((flags & ConnectionFlag.expected) !== 0) return (flags & ~OF_EXPECTED) === 0;
  if ((flags & ConnectionFlag.engine) !== 0) return false;
  if ((flags & OF_PROXY) === 0) return true;
  const isProxy = (flags & ConnectionFlag.proxy) !== 0 && (flags & ConnectionFlag.application) === 0;
  return isProxy && protocol === Protocol.tcp;
}

/** States of a protocol's entries; 0: no protocol of ours. */
function stateCount(protocol: number): number {
  if (protocol === Protocol.tcp) return TCP_STATES.length;
  if (protocol === Protocol.sctp) return SCTP_STATES.length;
  if (protocol === Protocol.gre) return CALL_STATE_NAMES.length;
  return protocol === Protocol.udp || isEchoProtocol(protocol) ? 1 : 0;
}

/** Was it finished (its timeout is set last)? Its deadline may still be that of a longer timeout before. */
function hasPossibleLife(table: ConnectionTable, record: number, nowTick: number): boolean {
  const timeout = table.timeout(record);
  const isTimeout = timeout > 0 && timeout <= BOUND_TICKS;
  return isTimeout && table.ticksLeft(record, nowTick) <= BOUND_TICKS;
}

function hasPossibleSource(table: ConnectionTable, record: number): boolean {
  const number = table.source(record);
  if (number === 0) return true;
  if (table.isTemplate(record)) return false;
  return number < table.sourceFamilies.length && table.sourceFamilies[number] === table.family(record);
}

/** Is it one of this destination's? */
export function isOf(
  table: ConnectionTable,
  record: number,
  { service, words, isDetached }: Destination,
): boolean {
  if (service.family !== table.family(record)) return false;
  const isMasquerade = table.hasFlag(record, ConnectionFlag.masquerade);
  if (isDetached) return !(isMasquerade && table.isTemplate(record));
  // What was announced on another connection may be between other hosts than that one.
  const controller = table.controller(record);
  if (controller >= 0 && controller < table.highWater && !table.isTemplate(controller)) return true;
  if (isMasquerade || !isSameAddress(table.words, table.destinationAt(record), words, 0)) return false;
  return service.mark !== 0 || isSameAddress(table.words, table.virtualAt(record), service.words, 0);
}
