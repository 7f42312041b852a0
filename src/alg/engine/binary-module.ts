/**
 * Modules of protocols whose fields stand at fixed places, written as tables: what a message is known by, where addresses and
 * ports stand in it, and what follows from them. Here is what reads the tables.
 *
 * Big-endian unless it says otherwise; offsets count from the message's first byte. Address fields are IPv4's: over IPv6
 * they stay as they are. Left out: fields of bits, fields whose place another field says.
 */
import type { AnnouncedProtocol, Announcement, ApplicationModule, Dialogue, Side } from "./module.ts";
import { opposite, UNREADABLE } from "./module.ts";
import type { Unit } from "./unit.ts";

/**
 * Of a dialogue's words: messages read, bytes passed over, and bytes passed over since the last message; of the client's
 * stream, then of the server's.
 */
const MESSAGES_AT = 0;
const PASSED_AT = 2;
const BETWEEN_AT = 4;
/** Longest text of an address and a port that is replaced. */
const ENDPOINT_CHARACTERS_MAX = 255;

export interface BinaryModule
  extends Pick<ApplicationModule, "name" | "transports" | "ports" | "expectationsMax" | "begin"> {
  /** Required with "tcp". */
  readonly stream?: BinaryStream;
  /** The first one of a side that fits is it. */
  readonly messages: readonly Message[];
}

export interface BinaryStream {
  readonly unitBytesMax: number;
  /** Absent: what this side says does not matter. */
  readonly client?: Framing;
  readonly server?: Framing;
}

export type Framing =
  /** Nothing but units that begin like this and say how long they are. */
  | { readonly by: "length"; readonly lead: readonly Match[]; readonly length: LengthPlace }
  /** One message at the very beginning, and nothing of interest behind it. */
  | { readonly by: "beginning" }
  /**
   * A message at the very beginning, and behind it others at any byte, until there were so many, or so many bytes were none.
   * What does not begin with one is another protocol, whatever is in it: a web page can have a browser send that.
   */
  | {
      readonly by: "search";
      readonly messagesMax: number;
      readonly bytesMax: number;
      /**
       * Behind bytes that are none, fewer than this do not wait for more, although a message might begin like this: almost
       * anything would wait, and its sender might say no more before it is answered.
       */
      readonly beginningBytes: number;
    };

export interface NumberPlace {
  readonly at: number;
  readonly bytes: 1 | 2 | 4;
  readonly order?: "little";
}

export interface LengthPlace extends NumberPlace {
  /** What the number leaves out. Default: 0. */
  readonly plus?: number;
}

export type Match =
  /** A number, of which only the bits of the mask count. Default: all. */
  | (NumberPlace & { readonly is: number; readonly mask?: number })
  | (NumberPlace & { readonly atMost: number })
  /** It is the message's own length; of a mask's bits. */
  | (NumberPlace & { readonly isLength: true; readonly mask?: number })
  /** Capitals stand for both. */
  | { readonly at: number; readonly text: string };

export interface Message {
  readonly from: Side | "either";
  readonly match: readonly Match[];
  /** Bits of the dialogue's memory: that must be set, and that it sets. */
  readonly needs?: number;
  readonly notes?: number;
  /** In a stream framed by its messages: how long it is. With `items`: as far as they go. */
  readonly bytes?: number;
  readonly items?: Items;
  readonly list?: List;
  readonly fields?: readonly Field[];
  /** Where its length stands, which is repaired when it changes. */
  readonly lengthAt?: NumberPlace;
  /** What no table says; comes last. */
  follow?(unit: Unit, dialogue: Dialogue): void;
}

/** A run of items: id, length, data. */
export interface Items {
  readonly at: number;
  readonly idBytes: 1 | 2;
  readonly lengthBytes: 1 | 2;
  /** Id of the last one, which has neither length nor data. */
  readonly endId: number;
  /** By id; offsets count from the data. */
  readonly fields: Readonly<Record<number, readonly Field[]>>;
}

/** Records of the same shape, one behind the other. */
export interface List {
  readonly count: NumberPlace;
  readonly at: number;
  /** Of a record, up to its texts. */
  readonly bytes: number;
  /** Texts with a NUL each at the record's end. Default: none. */
  readonly texts?: number;
  /** Offsets count from the record. */
  readonly fields: readonly Field[];
}

export type Field =
  | {
      readonly is: "address";
      readonly at: number;
      /** Who is meant: whoever says it, whoever it is said to, or either of them. Somebody else's address stays. */
      readonly of: "sender" | "receiver" | "either";
      /** The port that belongs to it, 16 bits: of this connection, or of what was announced over a protocol. */
      readonly portAt?: number;
      readonly portOf?: AnnouncedProtocol;
    }
  | (NumberPlace & {
      readonly is: "port";
      /** Whose it is, where something is going to come to. 0 is no port. */
      readonly listener: Side;
      readonly protocol: AnnouncedProtocol;
      readonly announcement?: Omit<Announcement, "protocol" | "port">;
      /** Bits to set in the dialogue's memory. */
      readonly notes?: number;
    })
  /** The sender's address and port as text with a NUL behind it, whatever stands there. */
  | { readonly is: "endpoint"; readonly at: number };

export function binaryModule(description: BinaryModule): ApplicationModule {
  const { stream, messages, ...rest } = description;
  const framingOf = (side: Side): Framing | undefined => stream?.[side];
  return {
    ...rest,
    ...(stream !== undefined && {
      stream: {
        unitBytesMax: stream.unitBytesMax,
        measure: (unit, from, dialogue) => measure(framingOf(from), messages, unit, from, dialogue),
        mayChange: (unit, from, dialogue) => {
          const framing = framingOf(from);
          if (framing?.by === "search" && unit.length < framing.beginningBytes)
            if (dialogue.words[BETWEEN_AT + sideOf(from)]! > 0) return false;
          return messages.some(
            (one) => fits(one, unit, 0, from, dialogue) !== "no" && mayChange(one, from, dialogue),
          );
        },
      },
    }),
    read: (unit, from, dialogue) => {
      // Only "yes", as the unit is whole.
      const message = messages.find((one) => fits(one, unit, 0, from, dialogue) === "yes");
      if (message !== undefined) readMessage(message, unit, from, dialogue);
    },
  };
}

// Framing

function measure(
  framing: Framing | undefined,
  messages: readonly Message[],
  unit: Unit,
  from: Side,
  dialogue: Dialogue,
): number {
  const { words } = dialogue;
  const side = sideOf(from);
  switch (framing?.by) {
    case undefined:
      return UNREADABLE;
    case "length": {
      const fit = allFit(framing.lead, unit, 0);
      if (fit === "no") return UNREADABLE;
      const { at, bytes, plus = 0 } = framing.length;
      const length = numberAt(unit, framing.length, 0) + plus;
      if (fit === "perhaps" || at + bytes > unit.length) return 0;
      return length < at + bytes ? UNREADABLE : length;
    }
    case "beginning":
      return words[MESSAGES_AT + side]! > 0 ? UNREADABLE : lengthOf(messages, unit, 0, from, dialogue);
    case "search": {
      if (words[MESSAGES_AT + side]! >= framing.messagesMax || words[PASSED_AT + side]! >= framing.bytesMax)
        return UNREADABLE;
      for (let at = 0; at < unit.length; at++) {
        const length = lengthOf(messages, unit, at, from, dialogue);
        if (length === UNREADABLE && words[MESSAGES_AT + side] === 0) return UNREADABLE;
        if (length === UNREADABLE) continue;
        return at === 0 ? length : pass(at, side, words);
      }
      return pass(unit.length, side, words);
    }
  }
}

function pass(bytes: number, side: number, words: Int32Array): number {
  words[PASSED_AT + side]! += bytes;
  words[BETWEEN_AT + side]! += bytes;
  return -bytes;
}

const sideOf = (from: Side): number => (from === "client" ? 0 : 1);

/** @returns bytes of the message that begins here; 0: cannot be told yet; UNREADABLE: none does */
function lengthOf(
  messages: readonly Message[],
  unit: Unit,
  at: number,
  from: Side,
  dialogue: Dialogue,
): number {
  let length = UNREADABLE;
  for (const message of messages) {
    const fit = fits(message, unit, at, from, dialogue);
    if (fit === "no") continue;
    if (fit === "perhaps") length = 0;
    else return message.items === undefined ? (message.bytes ?? UNREADABLE) : endOf(message.items, unit, at);
  }
  return length;
}

/** @returns bytes up to the end of the last item; 0: it is not there yet */
function endOf({ at: first, idBytes, lengthBytes, endId }: Items, unit: Unit, from: number): number {
  for (let at = first; ; ) {
    const id = bigEndian(unit, from + at, idBytes);
    if (id === endId) return at + idBytes;
    const length = bigEndian(unit, from + at + idBytes, lengthBytes);
    if (length < 0) return 0;
    at += idBytes + lengthBytes + length;
  }
}

// Matching

type Fit = "yes" | "no" | "perhaps";

function fits(
  { from: whose, match, needs = 0 }: Message,
  unit: Unit,
  at: number,
  from: Side,
  { memory }: Dialogue,
): Fit {
  if ((whose !== "either" && whose !== from) || (memory & needs) !== needs) return "no";
  return allFit(match, unit, at);
}

function allFit(matches: readonly Match[], unit: Unit, from: number): Fit {
  let fit: Fit = "yes";
  for (const match of matches) {
    const one = matchFits(match, unit, from);
    if (one === "no") return "no";
    if (one === "perhaps") fit = "perhaps";
  }
  return fit;
}

function matchFits(match: Match, unit: Unit, from: number): Fit {
  const at = from + match.at;
  if ("text" in match) {
    const there = Math.max(0, Math.min(match.text.length, unit.length - at));
    if (!unit.beginsLike(match.text, at, there)) return "no";
    return there === match.text.length ? "yes" : "perhaps";
  }
  const { bytes, order } = match;
  if (at + bytes > unit.length && !("is" in match)) return "perhaps";
  if ("atMost" in match) return numberAt(unit, match, from) <= match.atMost ? "yes" : "no";
  const { mask = -1 } = match;
  if ("isLength" in match)
    return ((numberAt(unit, match, from) & mask) | 0) === unit.length - from ? "yes" : "no";
  for (let i = 0; i < bytes && at + i < unit.length; i++) {
    const shift = 8 * (order === "little" ? i : bytes - 1 - i);
    if (((unit.u8(at + i) ^ (match.is >>> shift)) & (mask >>> shift) & 0xff) !== 0) return "no";
  }
  return at + bytes <= unit.length ? "yes" : "perhaps";
}

/** -1: beyond the end */
function numberAt(unit: Unit, { at, bytes, order }: NumberPlace, from: number): number {
  if (order === undefined || bytes === 1) return bigEndian(unit, from + at, bytes);
  return bytes === 2 ? unit.u16le(from + at) : unit.u32le(from + at);
}

function bigEndian(unit: Unit, at: number, bytes: 1 | 2 | 4): number {
  if (bytes === 1) return unit.u8(at);
  return bytes === 2 ? unit.u16(at) : unit.u32(at);
}

function putNumber(unit: Unit, { at, bytes, order }: NumberPlace, from: number, value: number): void {
  const to = from + at;
  if (bytes === 1) unit.put8(to, value);
  else if (bytes === 2) order === undefined ? unit.put16(to, value) : unit.put16le(to, value);
  else order === undefined ? unit.put32(to, value) : unit.put32le(to, value);
}

// What a message says

/** Could what it says have to become something else? */
function mayChange({ fields = [], items, list }: Message, from: Side, dialogue: Dialogue): boolean {
  const all = [...fields, ...Object.values(items?.fields ?? {}).flat(), ...(list?.fields ?? [])];
  return all.some((field) => {
    if (field.is === "port") return dialogue.isHidden(field.listener);
    if (field.is === "endpoint" || field.of === "sender") return dialogue.isHidden(from);
    return dialogue.isHidden(opposite(from)) || (field.of === "either" && dialogue.isHidden(from));
  });
}

function readMessage(message: Message, unit: Unit, from: Side, dialogue: Dialogue): void {
  const { notes = 0, fields = [], items, list, lengthAt } = message;
  dialogue.memory |= notes;
  dialogue.words[MESSAGES_AT + sideOf(from)]!++;
  dialogue.words[BETWEEN_AT + sideOf(from)] = 0;
  for (const field of fields) readField(field, unit, 0, unit.length, from, dialogue);
  if (items !== undefined) readItems(items, unit, from, dialogue);
  if (list !== undefined) readList(list, unit, from, dialogue);
  if (lengthAt !== undefined && unit.growth !== 0)
    putNumber(unit, lengthAt, 0, numberAt(unit, lengthAt, 0) + unit.growth);
  message.follow?.(unit, dialogue);
}

function readItems(
  { at: first, idBytes, lengthBytes, endId, fields }: Items,
  unit: Unit,
  from: Side,
  dialogue: Dialogue,
): void {
  for (let at = first; ; ) {
    const id = bigEndian(unit, at, idBytes);
    const length = bigEndian(unit, at + idBytes, lengthBytes);
    if (id === endId || length < 0) return;
    at += idBytes + lengthBytes;
    for (const field of fields[id] ?? []) readField(field, unit, at, at + length, from, dialogue);
    at += length;
  }
}

function readList(
  { count, at: first, bytes, texts = 0, fields }: List,
  unit: Unit,
  from: Side,
  dialogue: Dialogue,
): void {
  // A number of records that lies ends with the bytes.
  let at = first;
  for (let left = numberAt(unit, count, 0); left > 0 && at + bytes <= unit.length; left--) {
    for (const field of fields) readField(field, unit, at, at + bytes, from, dialogue);
    at += bytes;
    for (let text = 0; text < texts; text++) {
      const end = unit.find(0, at);
      if (end < 0) return;
      at = end + 1;
    }
  }
}

/** @param from - what the field's offset counts from @param end - where what it belongs to ends */
function readField(
  field: Field,
  unit: Unit,
  from: number,
  end: number,
  sender: Side,
  dialogue: Dialogue,
): void {
  const at = from + field.at;
  switch (field.is) {
    case "address": {
      if (dialogue.family !== 4 || at + 4 > end) return;
      const portAt = field.portAt === undefined ? -1 : from + field.portAt;
      if (field.of !== "receiver" && show(unit, at, portAt, field.portOf, sender, dialogue)) return;
      if (field.of !== "sender") reveal(unit, at, portAt, field.portOf, opposite(sender), dialogue);
      return;
    }
    case "port": {
      const port = at + field.bytes > end ? -1 : numberAt(unit, field, from);
      if (port < 1 || port > 65_535) return;
      dialogue.memory |= field.notes ?? 0;
      const { listener, protocol, announcement } = field;
      const shown = dialogue.listens(listener, { protocol, port, ...announcement });
      if (shown !== 0 && shown !== port) putNumber(unit, field, from, shown);
      return;
    }
    case "endpoint": {
      const stop = unit.find(0, at);
      if (stop < 0 || stop - at > ENDPOINT_CHARACTERS_MAX || !dialogue.isHidden(sender)) return;
      const address = dialogue.shownAddress(sender);
      const host = dialogue.family === 4 ? address : `[${address}]`;
      const after = `${host}:${dialogue.shownPort(sender)}`;
      if (unit.text(at, stop) !== after) unit.replace(at, stop - at, after);
    }
  }
}

/** What a side says of itself becomes what is shown of it. @returns whether it is its own address */
function show(
  unit: Unit,
  at: number,
  portAt: number,
  portOf: AnnouncedProtocol | undefined,
  side: Side,
  dialogue: Dialogue,
): boolean {
  if ((unit.u32(at) | 0) !== dialogue.ownWord(side)) return false;
  if (!dialogue.isHidden(side)) return true;
  unit.put32(at, dialogue.shownWord(side));
  const port = portAt < 0 ? 0 : unit.u16(portAt);
  if (port <= 0) return true;
  if (portOf !== undefined) putPort(unit, portAt, port, dialogue.shownPortOf(side, portOf, port));
  else if (port === dialogue.ownPort(side)) putPort(unit, portAt, port, dialogue.shownPort(side));
  return true;
}

/** What is said of a side, as it is shown, becomes its own. */
function reveal(
  unit: Unit,
  at: number,
  portAt: number,
  portOf: AnnouncedProtocol | undefined,
  side: Side,
  dialogue: Dialogue,
): void {
  if (!dialogue.isHidden(side) || (unit.u32(at) | 0) !== dialogue.shownWord(side)) return;
  unit.put32(at, dialogue.ownWord(side));
  const port = portAt < 0 ? 0 : unit.u16(portAt);
  if (port <= 0) return;
  if (portOf !== undefined) putPort(unit, portAt, port, dialogue.ownPortOf(side, portOf, port));
  else if (port === dialogue.shownPort(side)) putPort(unit, portAt, port, dialogue.ownPort(side));
}

/** @param after - 0: not known */
function putPort(unit: Unit, at: number, before: number, after: number): void {
  if (after !== 0 && after !== before) unit.put16(at, after);
}
