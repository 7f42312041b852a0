/**
 * SANE's network protocol (SANE standard 1.06, section 5): scanners of another host. The answer to START says on which port
 * the image waits, and the client connects there.
 *
 * Messages have no length: what follows is known only from what came so far. So both directions are walked word by word along
 * the shape of their messages; strings and arrays in between pass unread. A client asks one thing at a time; one that does
 * not, and whatever is not of these shapes, is passed on unread from there on.
 */
import type { ApplicationModule, Dialogue } from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";

/**
 * Shapes of messages, a character a word:
 *
 *     w  any word                    s  a string: its length, then its bytes
 *     t  type of a value             v  the value: a count, then its elements
 *     a  action of CONTROL_OPTION: behind "set automatically" nothing follows
 *     V  version of the protocol
 *     0  status                      p  port of the image
 *     R  a string: where there is one the client has to authorise itself, and the answer comes again behind AUTHORIZE's
 *     [  count of what follows up to ], each behind a * that is not 0 where there is none
 *     c  kind of a constraint: none, a range (r), words (l), strings (a count i, then as many e)
 */
const REQUESTS = ["Vs", "", "s", "w", "w", "wwatwv", "w", "w", "w", "sss", ""] as const;
const ANSWERS = [
  "wV", "w[*ssss]", "wwR", "w", "[*ssswwwwcrlie]", "wwtwvR", "wwwwwww", "0pwR", "w", "w", "",
] as const; // biome-ignore format: by the requests' numbers
const AUTHORIZE = 9;

/** By the type of a value: bool, int, fixed, string, button, group. */
const ELEMENT_BYTES = [4, 4, 4, 1, 0, 0] as const;
const SET_AUTO = 2;
/** Version from which on nothing follows "set automatically". */
const VERSION_OF_BARE_AUTO = 3;
const RANGE_BYTES = 12;
/** By the kind of a constraint, where its shape goes on. */
const CONSTRAINTS = ["]", "r", "l", "i"] as const;
/** Nobody reads more (sanei_wire). */
const BYTES_MAX = 1 << 20;

/** What a dialogue remembers of either direction, in its words. Message: its number and 1; 0: none is under way. */
const Place = { message: 0, at: 1, skip: 2, count: 3, strings: 4, type: 5 } as const;
const CLIENT = 0;
const SERVER = 8;
/** And of both; the answer that comes again is a message like the others. */
const Word = { version: 16, status: 17, again: 18 } as const;

export const sane: ApplicationModule = {
  name: "sane",
  transports: ["tcp"],
  ports: [6566],
  // One for each device that scans at the time.
  expectationsMax: 4,
  stream: {
    unitBytesMax: 16,
    measure(_, from, { words }) {
      const skipAt = (from === "client" ? CLIENT : SERVER) + Place.skip;
      const skip = words[skipAt]!;
      words[skipAt] = 0;
      return skip > 0 ? -skip : 4;
    },
    mayChange: (_, from, { words }) => from === "server" && wordOfAnswer(words) === "p",
  },
  begin(dialogue) {
    if (!dialogue.isHidden("server")) dialogue.passUnread();
  },
  read(unit, from, dialogue) {
    const isRead = from === "client" ? readRequest(unit, dialogue.words) : readAnswer(unit, dialogue);
    if (!isRead) dialogue.passUnread();
  },
};

/** @returns false: nothing can be told any more */
function readRequest(unit: Unit, words: Int32Array): boolean {
  const value = unit.u32(0);
  if (words[SERVER + Place.message] !== 0) return false;
  if (words[CLIENT + Place.message] === 0) {
    if (REQUESTS[value] === undefined) return false;
    const isAgain = value === AUTHORIZE;
    if (isAgain && words[Word.again] === 0) return false;
    if (!isAgain) words[Word.again] = 0;
    begin(words, CLIENT, value + 1);
  } else if (!step(words, CLIENT, requestShape(words), value)) return false;
  if (words[CLIENT + Place.at] === requestShape(words).length) {
    begin(words, SERVER, words[CLIENT + Place.message]!);
    words[CLIENT + Place.message] = 0;
  }
  return true;
}

function readAnswer(unit: Unit, dialogue: Dialogue): boolean {
  const { words } = dialogue;
  const message = words[SERVER + Place.message]!;
  const value = unit.u32(0);
  const kind = wordOfAnswer(words);
  if (kind === undefined) return false;
  if (kind === "0") words[Word.status] = value;
  if (kind === "p" && words[Word.status] === 0) readPort(unit, value, dialogue);
  if (kind === "R") words[Word.again] = value === 0 ? 0 : message;
  const shape = answerShape(words);
  if (!step(words, SERVER, shape, value)) return false;
  if (words[SERVER + Place.at] !== shape.length) return true;
  words[SERVER + Place.message] = 0;
  if (message !== AUTHORIZE + 1) return true;
  begin(words, SERVER, words[Word.again]!);
  words[Word.again] = 0;
  return true;
}

function readPort(unit: Unit, port: number, dialogue: Dialogue): void {
  if (port < 1 || port > 0xffff) return;
  const shown = dialogue.listens("server", { protocol: "tcp", port });
  if (shown !== 0 && shown !== port) unit.put32(0, shown);
}

function begin(words: Int32Array, place: number, message: number): void {
  words[place + Place.message] = message;
  words[place + Place.at] = 0;
}

const requestShape = (words: Int32Array): string => REQUESTS[words[CLIENT + Place.message]! - 1] ?? "";
const answerShape = (words: Int32Array): string => ANSWERS[words[SERVER + Place.message]! - 1] ?? "";
const wordOfAnswer = (words: Int32Array): string | undefined => answerShape(words)[words[SERVER + Place.at]!];

/** One word further along a shape. @returns false: it is not of this shape */
function step(words: Int32Array, place: number, shape: string, value: number): boolean {
  let at = words[place + Place.at]!;
  let skip = 0;
  switch (shape[at++]) {
    case "s":
    case "R":
      skip = value;
      break;
    case "t":
      words[place + Place.type] = value;
      break;
    case "v": {
      const elementBytes = ELEMENT_BYTES[words[place + Place.type]!];
      if (elementBytes === undefined) return false;
      skip = value * elementBytes;
      break;
    }
    case "a":
      if (value === SET_AUTO && words[Word.version]! >= VERSION_OF_BARE_AUTO) at = shape.length;
      break;
    case "V":
      words[Word.version] = value & 0xffff;
      break;
    case "[":
      words[place + Place.count] = value;
      if (value > BYTES_MAX) return false;
      if (value === 0) at = shape.indexOf("]") + 1;
      break;
    case "*":
      if (value !== 0) at = shape.indexOf("]");
      break;
    case "c":
      at = shape.indexOf(CONSTRAINTS[value] ?? "none");
      break;
    case "r":
      skip = value === 0 ? RANGE_BYTES : 0;
      at = shape.indexOf("]");
      break;
    case "l":
      skip = value * 4;
      at = shape.indexOf("]");
      break;
    case "i":
      words[place + Place.strings] = value;
      if (value > BYTES_MAX) return false;
      if (value === 0) at = shape.indexOf("]");
      break;
    case "e":
      skip = value;
      at = --words[place + Place.strings]! > 0 ? at - 1 : shape.indexOf("]");
      break;
  }
  if (at < 0 || skip > BYTES_MAX) return false;
  if (shape[at] === "]") at = --words[place + Place.count]! > 0 ? shape.indexOf("[") + 1 : at + 1;
  words[place + Place.skip] = skip;
  words[place + Place.at] = at;
  return true;
}
