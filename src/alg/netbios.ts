/**
 * NetBIOS over TCP/IP on UDP: the name service on port 137 (RFC 1002 section 4.2), whose records say addresses, and datagrams on port
 * 138 (section 4.4), whose header says where they come from. A host's own address becomes what is shown of it, and what is shown of
 * the other one, that one's own; as a WINS server repeats what was registered.
 *
 * Left out: broadcasts and what answers them, which a router does not forward.
 */
import { type ApplicationModule, type Dialogue, opposite, type Side } from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";

const DATAGRAM_PORT = 138;

export const netbios: ApplicationModule = {
  name: "netbios",
  transports: ["udp"],
  ports: [137, DATAGRAM_PORT],
  expectationsMax: 0,
  read(unit, from, dialogue) {
    if (dialogue.family !== 4) return;
    if (dialogue.ownPort("server") === DATAGRAM_PORT) readDatagram(unit, from, dialogue);
    else readNameMessage(unit, from, dialogue);
  },
};

// Datagrams: type, flags, id of 2 bytes, source address, source port, ...

const Datagram = { first: 0x10, last: 0x16, addressAt: 4, portAt: 8 } as const;

function readDatagram(unit: Unit, from: Side, dialogue: Dialogue): void {
  const type = unit.u8(0);
  const [own, shown] = [dialogue.ownWord(from), dialogue.shownWord(from)];
  if (type < Datagram.first || type > Datagram.last || (unit.u32(Datagram.addressAt) | 0) !== own) return;
  if (own !== shown) unit.put32(Datagram.addressAt, shown);
  const [ownPort, shownPort] = [dialogue.ownPort(from), dialogue.shownPort(from)];
  const isOwnPort = unit.u16(Datagram.portAt) === ownPort;
  if (isOwnPort && ownPort !== shownPort) unit.put16(Datagram.portAt, shownPort);
}

// Name service: id, flags, numbers of questions, and of answers, authorities and additional records; all of 2 bytes

const HEADER_BYTES = 12;
const RecordType = { a: 0x0001, nb: 0x0020 } as const;
/** Type, class, time to live and length of data. */
const RECORD_BYTES = 10;
/** NB_FLAGS and an address. */
const ENTRY_BYTES = 6;
const QUESTION_BYTES = 4;
/** A record may have more of them than changes can be remembered. */
const CHANGES_MAX = 100;

function readNameMessage(unit: Unit, from: Side, dialogue: Dialogue): void {
  let at = HEADER_BYTES;
  for (let left = unit.u16(4); left > 0 && at > 0; left--) at = nameEnd(unit, at, QUESTION_BYTES);
  let changes = 0;
  const records = unit.u16(6) + unit.u16(8) + unit.u16(10);
  for (let left = records; left > 0 && at > 0; left--) {
    const dataAt = nameEnd(unit, at, RECORD_BYTES);
    if (dataAt < 0) return;
    const type = unit.u16(dataAt - RECORD_BYTES);
    const end = dataAt + unit.u16(dataAt - 2);
    if (end > unit.length) return;
    const [first, step] = type === RecordType.nb ? [dataAt + 2, ENTRY_BYTES] : [dataAt, 4];
    if (type === RecordType.nb || type === RecordType.a) {
      for (let addressAt = first; addressAt + 4 <= end && changes < CHANGES_MAX; addressAt += step)
        if (translate(unit, addressAt, from, dialogue)) changes++;
    }
    at = end;
  }
}

/**
 * @param at - of a name: labels with their lengths, or two bytes that point to one
 * @param more - bytes that have to follow it
 * @returns offset behind both, or -1: there is not so much
 */
function nameEnd(unit: Unit, at: number, more: number): number {
  for (let next = at; next < unit.length; ) {
    const length = unit.u8(next);
    const isPointer = length >= 0xc0;
    if (length >= 0x40 && !isPointer) return -1;
    next += isPointer ? 2 : 1 + length;
    if (isPointer || length === 0) return next + more <= unit.length ? next + more : -1;
  }
  return -1;
}

function translate(unit: Unit, at: number, from: Side, dialogue: Dialogue): boolean {
  const word = unit.u32(at) | 0;
  const other = opposite(from);
  const [own, shown] = [dialogue.ownWord(from), dialogue.shownWord(from)];
  const [othersOwn, othersShown] = [dialogue.ownWord(other), dialogue.shownWord(other)];
  if (word === own && own !== shown) unit.put32(at, shown);
  else if (word === othersShown && othersOwn !== othersShown) unit.put32(at, othersOwn);
  else return false;
  return true;
}
