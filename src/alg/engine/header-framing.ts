/**
 * Messages that are a start line, a block of headers and a body: how a stream of them is cut (RFC 3261 section 18.3, RFC 2326
 * section 4, both after RFC 822), and where in one of them everything stands. Lines end in CR LF or LF alone; a value may go
 * on in the next line behind white space.
 *
 * A stream is read only as long as each message begins as the protocol's do. What merely contains something that looks like
 * one (an HTTP request's body, TLS) never gets there.
 */
import type { Dialogue, Side, StreamShape } from "./module.ts";
import { UNREADABLE } from "./module.ts";
import type { Unit } from "./unit.ts";

/** A start line that is longer is none. */
const START_LINE_BYTES_MAX = 1024;
/** A body that says it is longer lies. */
const BODY_BYTES_MAX = 0x1000_0000;
/** Headers of a message that are read. */
const HEADERS_MAX = 128;

const CARRIAGE_RETURN = 0x0d;
const LINE_FEED = 0x0a;
const COLON = 0x3a;

/** The words of a dialogue that are the framing's: for each side, how far its message was searched for the headers' end. */
export const FRAMING_WORDS = 2;
const HAS_START = 0x4000_0000;

export interface HeaderProtocol {
  /** "SIP/2.0": what replies begin with, and requests end with. */
  readonly versions: readonly string[];
  /** Capitals; a letter that stands for a header's name, and the name. */
  readonly shortNames: Readonly<Record<string, string>>;
  /** RTSP: other data may stand between messages, each behind "$", a channel and a length of two bytes. */
  readonly hasInterleaved: boolean;
}

/** How a stream of such messages is cut. */
export function headerFraming(protocol: HeaderProtocol, unitBytesMax: number): StreamShape {
  return {
    unitBytesMax,
    measure: (unit, from, dialogue) => measure(protocol, unit, from, dialogue),
    // Everything but the beginning of interleaved data.
    mayChange: (unit) => mayBegin(unit.u8(0), 0),
  };
}

function measure(protocol: HeaderProtocol, unit: Unit, from: Side, dialogue: Dialogue): number {
  const { words } = dialogue;
  const word = from === "client" ? 0 : 1;
  const first = unit.u8(0);
  if (first === CARRIAGE_RETURN || first === LINE_FEED) return -1;
  if (protocol.hasInterleaved && first === 0x24) return unit.length < 4 ? 0 : -(4 + unit.u16(2));
  let searched = words[word]! & ~HAS_START;
  let hasStart = (words[word]! & HAS_START) !== 0;
  // Always asked with more than last time, unless about another message.
  if (searched >= unit.length) {
    searched = 0;
    hasStart = false;
  }
  words[word] = 0;
  for (let i = searched; i < unit.length; i++) {
    const byte = unit.u8(i);
    if (!hasStart && (i === START_LINE_BYTES_MAX || !mayBegin(byte, i))) return UNREADABLE;
    if (byte !== LINE_FEED) continue;
    if (!hasStart && startOf(protocol, unit.text(0, i)) === undefined) return UNREADABLE;
    hasStart = true;
    const before = unit.u8(i - 1);
    const isEmpty = before === LINE_FEED || (before === CARRIAGE_RETURN && unit.u8(i - 2) === LINE_FEED);
    if (!isEmpty) continue;
    const message = messageOf(protocol, unit, i + 1);
    const length = message === undefined ? undefined : bodyBytesOf(message);
    return length === undefined ? UNREADABLE : i + 1 + length;
  }
  words[word] = unit.length | (hasStart ? HAS_START : 0);
  return 0;
}

/** A method or a version begins with a letter; whatever follows is printable. */
function mayBegin(byte: number, at: number): boolean {
  if (at === 0) return (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
  return byte >= 0x20 || byte === CARRIAGE_RETURN || byte === LINE_FEED;
}

export interface Header {
  /** In capitals and not shortened. */
  readonly name: string;
  /** Where its value begins, and the first byte behind it. */
  readonly at: number;
  readonly end: number;
}

export interface Start {
  /** Of a request, capitals; undefined: it is a reply. */
  readonly method: string | undefined;
  /** Of a request: where its target stands. */
  readonly targetAt: number;
  readonly targetEnd: number;
  /** Of a reply. */
  readonly status: number;
}

export interface Message extends Start {
  /** The unit's, a character a byte: offsets in both are the same. */
  readonly text: string;
  readonly headers: readonly Header[];
  readonly bodyAt: number;
}

/** @returns undefined when it is no message of this protocol, or its headers have no end */
export function parseMessage(protocol: HeaderProtocol, unit: Unit): Message | undefined {
  for (let i = unit.find(LINE_FEED); i >= 0; i = unit.find(LINE_FEED, i + 1)) {
    const next = unit.u8(i + 1);
    if (next === LINE_FEED) return messageOf(protocol, unit, i + 2);
    if (next === CARRIAGE_RETURN && unit.u8(i + 2) === LINE_FEED) return messageOf(protocol, unit, i + 3);
  }
  return undefined;
}

/**
 * Bytes of the body as Content-Length has them; without one, 0.
 * @returns undefined when it is no number, too large, or there are two that differ
 */
export function bodyBytesOf({ text, headers }: Message): number | undefined {
  let length: number | undefined;
  for (const { name, at, end } of headers) {
    if (name !== "CONTENT-LENGTH") continue;
    const value = text.slice(at, end);
    if (!/^\d{1,9}$/.test(value) || Number(value) > BODY_BYTES_MAX) return undefined;
    if (length !== undefined && length !== Number(value)) return undefined;
    length = Number(value);
  }
  return length ?? 0;
}

/** The first header of this name (capitals), or undefined. */
export const headerOf = ({ headers }: Message, wanted: string): Header | undefined =>
  headers.find(({ name }) => name === wanted);

/** Its value; "" when there is none. */
export function headerText(message: Message, wanted: string): string {
  const header = headerOf(message, wanted);
  return header === undefined ? "" : message.text.slice(header.at, header.end);
}

/** The body has grown by this much: Content-Length says so. */
export function repairLength(message: Message, unit: Unit, growth: number): void {
  if (growth === 0) return;
  for (const { name, at, end } of message.headers) {
    if (name !== "CONTENT-LENGTH") continue;
    unit.replace(at, end - at, String(Number(message.text.slice(at, end)) + growth));
  }
}

/** @param bodyAt - behind the empty line */
function messageOf(protocol: HeaderProtocol, unit: Unit, bodyAt: number): Message | undefined {
  const text = unit.text();
  const startEnd = text.indexOf("\n");
  const start = startOf(protocol, text.slice(0, startEnd));
  if (start === undefined) return undefined;
  const headers: Header[] = [];
  let at = startEnd + 1;
  while (at < bodyAt && headers.length < HEADERS_MAX) {
    let end = text.indexOf("\n", at) + 1;
    while (end < bodyAt && isBlank(text.charCodeAt(end)) && !isEmptyLine(text, end))
      end = text.indexOf("\n", end) + 1;
    const header = headerAt(protocol, text, at, end);
    if (header !== undefined) headers.push(header);
    at = end;
  }
  return { ...start, text, headers, bodyAt };
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;
const isEmptyLine = (text: string, at: number): boolean => text[at] === "\n" || text.startsWith("\r\n", at);
/** And the end of a line. */
const isWhite = (code: number): boolean => isBlank(code) || code === CARRIAGE_RETURN || code === LINE_FEED;

function headerAt(protocol: HeaderProtocol, text: string, at: number, end: number): Header | undefined {
  let colon = at;
  while (colon < end && text.charCodeAt(colon) !== COLON) colon++;
  if (colon === end) return undefined;
  let [valueAt, valueEnd] = [colon + 1, end];
  while (valueAt < valueEnd && isWhite(text.charCodeAt(valueAt))) valueAt++;
  while (valueEnd > valueAt && isWhite(text.charCodeAt(valueEnd - 1))) valueEnd--;
  const name = text.slice(at, colon).trim().toUpperCase();
  return { name: protocol.shortNames[name] ?? name, at: valueAt, end: valueEnd };
}

/** @param line - with or without CR */
function startOf({ versions }: HeaderProtocol, line: string): Start | undefined {
  const end = line.endsWith("\r") ? line.length - 1 : line.length;
  const first = line.indexOf(" ");
  const last = line.lastIndexOf(" ", end - 1);
  if (first <= 0) return undefined;
  if (versions.includes(line.slice(0, first).toUpperCase())) {
    const status = /^\d{3}(?: |\r?$)/.test(line.slice(first + 1))
      ? Number(line.slice(first + 1, first + 4))
      : 0;
    return status < 100 ? undefined : { method: undefined, targetAt: 0, targetEnd: 0, status };
  }
  const method = line.slice(0, first);
  const isRequest = last > first && versions.includes(line.slice(last + 1, end).toUpperCase());
  if (!isRequest || !/^[A-Za-z_-]{1,32}$/.test(method)) return undefined;
  return { method: method.toUpperCase(), targetAt: first + 1, targetEnd: last, status: 0 };
}
