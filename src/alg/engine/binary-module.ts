/**
 * Modules of protocols that are written as tables (binary-tables.ts). Here is what reads a message by them, and changes it.
 *
 * Address fields are IPv4's: over IPv6 they stay as they are.
 */
import {
  BETWEEN_AT,
  bigEndian,
  fits,
  MESSAGES_AT,
  measure,
  numberAt,
  putNumber,
  sideOf,
} from "./binary-framing.ts";
import type { BinaryModule, Field, Framing, Items, List, Message } from "./binary-tables.ts";
import {
  type AnnouncedProtocol,
  type ApplicationModule,
  type Dialogue,
  opposite,
  type Side,
} from "./module.ts";
import type { Unit } from "./unit.ts";

/** Longest text of an address and a port that is replaced. */
const ENDPOINT_CHARACTERS_MAX = 255;

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
