/** Where messages that are written as tables begin and end in a stream, and which one it is. */
import type { Framing, Items, Match, Message, NumberPlace } from "./binary-tables.ts";
import { type Dialogue, type Side, UNREADABLE } from "./module.ts";
import type { Unit } from "./unit.ts";

/**
 * Of a dialogue's words: messages read, bytes passed over, and bytes passed over since the last message; of the client's
 * stream, then of the server's.
 */
export const MESSAGES_AT = 0;
const PASSED_AT = 2;
export const BETWEEN_AT = 4;
/** @returns as StreamShape.measure */
export function measure(
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

/** Index of this side in a dialogue's words. */
export const sideOf = (from: Side): number => (from === "client" ? 0 : 1);

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

export type Fit = "yes" | "no" | "perhaps";

export function fits(
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
export function numberAt(unit: Unit, { at, bytes, order }: NumberPlace, from: number): number {
  if (order === undefined || bytes === 1) return bigEndian(unit, from + at, bytes);
  return bytes === 2 ? unit.u16le(from + at) : unit.u32le(from + at);
}

export function bigEndian(unit: Unit, at: number, bytes: 1 | 2 | 4): number {
  if (bytes === 1) return unit.u8(at);
  return bytes === 2 ? unit.u16(at) : unit.u32(at);
}

export function putNumber(unit: Unit, { at, bytes, order }: NumberPlace, from: number, value: number): void {
  const to = from + at;
  if (bytes === 1) unit.put8(to, value);
  else if (bytes === 2) order === undefined ? unit.put16(to, value) : unit.put16le(to, value);
  else order === undefined ? unit.put32(to, value) : unit.put32le(to, value);
}
