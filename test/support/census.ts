/** Counting everything in a director by hand, and comparing with what it says of itself. */

import { ConnectionFlag } from "../../src/nat/connection-table.ts";
import type { Director } from "../../src/nat/director.ts";
import { SCTP_ESTABLISHED } from "../../src/nat/protocol/sctp.ts";
import { TCP_IS_ACTIVE } from "../../src/nat/protocol/tcp.ts";
import { formatAddress } from "../../src/wire/address.ts";
import { Flow, Protocol } from "../../src/wire/flow.ts";

/**
 * Everything that must hold of a director between two packets.
 * @returns what does not, in words; an empty list is good.
 */
export function census(director: Director): string[] {
  const problems: string[] = [];
  const table = director.connections;
  const active = new Map<number, number>();
  const inactive = new Map<number, number>();
  /** Both tuples of every connection, by text. */
  const tuples = new Map<string, number>();
  /** Templates by destination, and entries by what they hang on. */
  const templates = new Map<number, number>();
  const controlled = new Map<number, number>();
  const sources = new Set(director.sources.texts);
  let count = 0;
  let callCount = 0;
  for (let record = 0; record < table.highWater; record++) {
    if (!table.isLive(record)) continue;
    count++;
    const controller = table.controller(record);
    if (controller >= 0) controlled.set(controller, (controlled.get(controller) ?? 0) + 1);
    if (table.isTemplate(record)) {
      templates.set(table.server(record), (templates.get(table.server(record)) ?? 0) + 1);
      problems.push(...templateProblems(director, record));
      if (director.calls.callId(record) !== undefined) callCount++;
      continue;
    }
    if (table.source(record) > 0 && !sources.has(sourceOf(director, record)))
      problems.push(`record ${record} has source ${sourceOf(director, record)}, which was let go`);
    const isInactive = table.hasFlag(record, ConnectionFlag.inactive);
    const counter = isInactive ? inactive : active;
    counter.set(table.server(record), (counter.get(table.server(record)) ?? 0) + 1);
    if (isInactive === isActiveState(table.protocol(record), table.state(record)))
      problems.push(
        `record ${record} in state ${table.state(record)} counts as ${isInactive ? "in" : ""}active`,
      );
    for (const node of [record * 2, record * 2 + 1]) {
      const flow = tupleOf(director, node);
      const key = `${flow.protocol} ${flow.family} ${flow.words} ${flow.sourcePort} ${flow.destinationPort}`;
      const other = tuples.get(key);
      const isExpected = table.hasFlag(record, ConnectionFlag.expected);
      // What is announced and not known yet may look alike.
      if (isExpected && other !== undefined && table.hasFlag(other >> 1, ConnectionFlag.expected)) continue;
      if (other !== undefined) problems.push(`nodes ${other} and ${node} share ${textOf(flow)}`);
      tuples.set(key, node);
      const found = table.find(flow);
      const isOther = isExpected && found >= 0 && table.hasFlag(found >> 1, ConnectionFlag.expected);
      if (found !== node && !isOther) problems.push(`node ${node}, ${textOf(flow)}, is found as ${found}`);
    }
  }
  for (let record = 0; record < table.highWater; record++) {
    const claimed = table.isLive(record) ? table.controlledCount(record) : 0;
    const counted = controlled.get(record) ?? 0;
    if (claimed !== counted)
      problems.push(`record ${record} says it controls ${claimed} and controls ${counted}`);
  }
  if (table.count !== count) problems.push(`the table says ${table.count} connections and has ${count}`);
  if (director.calls.count !== callCount)
    problems.push(`${director.calls.count} calls are remembered and ${callCount} templates have one`);
  if (count > table.capacity) problems.push(`${count} connections in a table for ${table.capacity}`);
  for (const destination of director.services.destinations()) {
    const { number, address, port, activeConnections, inactiveConnections, isAvailable } = destination;
    const counted = `${active.get(number) ?? 0}+${inactive.get(number) ?? 0}`;
    const claimed = `${activeConnections}+${inactiveConnections}`;
    if (counted !== claimed)
      problems.push(`${address}:${port} says ${claimed} connections and has ${counted}`);
    const pinned = templates.get(number) ?? 0;
    if (pinned !== destination.persistentConnections)
      problems.push(
        `${address}:${port} says ${destination.persistentConnections} templates and has ${pinned}`,
      );
    if (!isAvailable && !destination.isInUse) problems.push(`${address}:${port} is kept for nothing`);
    templates.delete(number);
    active.delete(number);
    inactive.delete(number);
  }
  for (const number of [...active.keys(), ...inactive.keys(), ...templates.keys()])
    problems.push(`destination ${number} has connections and does not exist`);
  return problems;
}

/** A template is found under its own key, unless its engine finds it or nothing shall. */
function templateProblems(director: Director, record: number): string[] {
  const table = director.connections;
  const problems: string[] = [];
  if (table.controller(record) >= 0) problems.push(`template ${record} hangs on ${table.controller(record)}`);
  if (table.hasFlag(record, ConnectionFlag.engine)) return problems;
  const clientAt = table.clientAt(record);
  const found = table.findTemplate(
    table.family(record),
    table.protocol(record),
    table.words.slice(clientAt, clientAt + 4),
    table.words,
    table.virtualAt(record),
    table.virtualPort(record),
  );
  if (found !== record) problems.push(`template ${record} is found as ${found}`);
  return problems;
}

/** The address of the director's own that the server sees the client at. */
const sourceOf = ({ connections, sources }: Director, record: number): string =>
  formatAddress(connections.family(record) as 4 | 6, sources.words, connections.source(record) * 4);

function isActiveState(protocol: number, state: number): boolean {
  if (protocol === Protocol.tcp) return TCP_IS_ACTIVE[state] === 1;
  return protocol === Protocol.sctp && state === SCTP_ESTABLISHED;
}

function tupleOf(director: Director, node: number): Flow {
  const table = director.connections;
  const record = node >> 1;
  const isReply = (node & 1) === 1;
  const flow = new Flow();
  flow.family = table.family(record) as 4 | 6;
  flow.protocol = table.protocol(record);
  const sourceAt = isReply ? table.destinationAt(record) : table.clientAt(record);
  const destinationAt = isReply ? table.clientAt(record) : table.virtualAt(record);
  flow.words.set(table.words.subarray(sourceAt, sourceAt + 4), 0);
  const source = table.source(record);
  const isPooled = isReply && source > 0;
  const words = isPooled ? table.sourceWords : table.words;
  const wordsAt = isPooled ? source * 4 : destinationAt;
  flow.words.set(words.subarray(wordsAt, wordsAt + 4), 4);
  flow.sourcePort = isReply ? table.destinationPort(record) : table.clientPort(record);
  flow.destinationPort = isReply ? table.sourcePort(record) : table.virtualPort(record);
  return flow;
}

function textOf({ family, protocol, words, sourcePort, destinationPort }: Flow): string {
  const from = `${formatAddress(family, words, 0)} ${sourcePort}`;
  return `${protocol} ${from} > ${formatAddress(family, words, 4)} ${destinationPort}`;
}
