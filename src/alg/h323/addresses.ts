/**
 * Transport addresses in H.323 messages: a fixed number of address bytes and two of the port, so that a change never changes
 * a length. What a side says of itself becomes what is shown of it; what it says of the other one, that one's own. Everything
 * else stays.
 */
import { formatAddress, parseAddress } from "../../wire/address.ts";
import { type Announcement, type Dialogue, opposite, type Side } from "../engine/module.ts";
import type { Unit } from "../engine/unit.ts";
import { PerReader, type PerType } from "./per.ts";

/** A message: of whom, and in which connection. */
export interface Said {
  readonly unit: Unit;
  readonly from: Side;
  readonly dialogue: Dialogue;
}

/** What follows from an address in it. */
export type Reading = (found: Found, said: Said) => void;

export interface Found {
  readonly name: string;
  /** Offset of the address in the unit. */
  readonly at: number;
  readonly address: string;
  readonly port: number;
}

const reader = new PerReader();
const valueReader = new PerReader();

/**
 * Do what follows from each address of the dialogue's family in an encoding of the type, in order.
 * @param at - offset of the encoding; @param end - offset behind it
 * @param readings - by the name in the grammar; those without one stay
 */
export function readAddresses(
  type: PerType,
  said: Said,
  at: number,
  end: number,
  readings: Readonly<Record<string, Reading>>,
): void {
  const { unit, dialogue } = said;
  const isIpv6 = dialogue.family === 6;
  reader.read(type, unit, at, end);
  for (let i = 0; i < reader.noteCount; i++) {
    const noted = reader.notes[i]!;
    if (noted.endsWith("6") !== isIpv6) continue;
    const name = isIpv6 ? noted.slice(0, -1) : noted;
    readings[name]?.(foundAt(name, reader.values[i]!, unit, isIpv6), said);
  }
}

function foundAt(name: string, at: number, unit: Unit, isIpv6: boolean): Found {
  const words = (isIpv6 ? [0, 4, 8, 12] : [0]).map((word) => unit.u32(at + word) | 0);
  const port = unit.u16(at + 4 * words.length);
  return { name, at, address: formatAddress(isIpv6 ? 6 : 4, words), port };
}

/** The value that is noted with this name in an encoding of the type, which is the whole unit. */
export function valueIn(type: PerType, { unit }: Said, name: string): number | undefined {
  valueReader.read(type, unit, 0, unit.length);
  for (let i = 0; i < valueReader.noteCount; i++)
    if (valueReader.notes[i] === name) return valueReader.values[i];
  return undefined;
}

/** The side that says so listens there, for what is announced. */
export function follow(
  found: Found,
  { unit, from, dialogue }: Said,
  announcement: Omit<Announcement, "port" | "address">,
): void {
  const { address, port } = found;
  // Port 0: none.
  const shownPort = port === 0 ? 0 : dialogue.listens(from, { ...announcement, address, port });
  if (shownPort > 0) put(found, unit, dialogue.shownAddress(from), shownPort);
}

/** Media may come late, after the call has rung; and from several sources. */
const MEDIA = { protocol: "udp", isLasting: true } as const;

/** RTP has an even port and RTCP the next one, even where only one of them is said. */
function followMedia(found: Found, said: Said, first: number): void {
  const { unit, from, dialogue } = said;
  const { address, port } = found;
  const known = address === dialogue.ownAddress(from) ? dialogue.shownPortOf(from, "udp", port) : 0;
  if (known > 0) put(found, unit, dialogue.shownAddress(from), known);
  // Who uses other ports gets what he asks for, one by one.
  else if ((first & 1) !== 0) follow(found, said, MEDIA);
  else if (first > 0) {
    const shownPort = dialogue.listens(from, { ...MEDIA, isPair: true, address, port: first });
    if (shownPort > 0) put(found, unit, dialogue.shownAddress(from), shownPort + port - first);
  }
}

/** Of H.245: in its own connection, tunnelled, and in fastStart. */
export const CHANNELS: Readonly<Record<string, Reading>> = {
  mediaChannel: (found, said) => followMedia(found, said, found.port),
  mediaControlChannel: (found, said) => followMedia(found, said, found.port - 1),
  // T.120 opens several connections to its one port.
  separateStack: (found, said) => follow(found, said, { protocol: "tcp", isLasting: true }),
};

/** Whose own is this address, as the side that says it knows it? undefined: nobody's here. */
export function ownerOf({ address }: Found, { from, dialogue }: Said): Side | undefined {
  if (address === dialogue.ownAddress(from)) return from;
  return address === dialogue.shownAddress(opposite(from)) ? opposite(from) : undefined;
}

/** An address that nobody is to be let in at: of whoever says it, or of the other one. */
export function translate(found: Found, said: Said, protocol: "tcp" | "udp"): void {
  const { port } = found;
  const { unit, from, dialogue } = said;
  const owner = ownerOf(found, said);
  if (owner === undefined) return;
  // The port may be this connection's.
  const isOurs = dialogue.transport === protocol;
  if (owner === from) {
    const isOwn = isOurs && port === dialogue.ownPort(owner);
    const shownPort = isOwn ? dialogue.shownPort(owner) : dialogue.shownPortOf(owner, protocol, port);
    put(found, unit, dialogue.shownAddress(owner), shownPort || port);
  } else {
    const isShown = isOurs && port === dialogue.shownPort(owner);
    const ownPort = isShown ? dialogue.ownPort(owner) : dialogue.ownPortOf(owner, protocol, port);
    put(found, unit, dialogue.ownAddress(owner), ownPort || port);
  }
}

/** Write where it differs: as one change, of which a unit may have a number only. */
function put({ at, address, port }: Found, unit: Unit, toAddress: string, toPort: number): void {
  if (address === toAddress && port === toPort) return;
  const { family, words } = parseAddress(toAddress)!;
  const halves = Array.from({ length: family === 4 ? 2 : 8 }, (_, i) => words[i >> 1]! >>> (i & 1 ? 0 : 16));
  const bytes = [...halves, toPort].flatMap((half) => [(half >> 8) & 0xff, half & 0xff]);
  unit.replace(at, bytes.length, String.fromCharCode(...bytes));
}
