/**
 * Where the Call-ID of a SIP message stands (RFC 3261 sections 7.3 and 20.8): IPVS's persistence engine "sip"
 * (ip_vs_pe_sip.c and, for headers, nf_conntrack_sip.c). As there: names in any case, the compact form "i", continuation
 * lines in front of the value, lines ended by CR, LF or both (RFC 2543), and a value of at most 255 bytes with its line's
 * end behind it in the packet.
 *
 * Unlike IPVS, which
 * - skips the first bytes of the message, as many as the IP and UDP headers have, and so misses a Call-ID that begins there;
 * - gives up at a header whose name only begins like it, such as "I-Forwarded: x" or "Call-Idx: y";
 * - looks into the body when the headers have no Call-ID;
 * - takes no tab around the colon, and no apostrophe in the value, which RFC 3261 both allows.
 */
import type { Flow } from "../wire/flow.ts";
import { Gso, type Packet } from "../wire/packet.ts";
import { UDP_HEADER_BYTES } from "../wire/udp.ts";

/** Bytes of a Call-ID; one octet counts them in IPVS's messages between directors. */
export const CALL_ID_BYTES_MAX = 255;

/** The bytes of a Call-ID inside a buffer, without whitespace around them. */
export interface CallId {
  at: number;
  length: number;
}

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const COLON = 0x3a;
const AT_SIGN = 0x40;
const CAPITAL_A = 0x41;
const CAPITAL_Z = 0x5a;
/** Makes a small letter of a capital one. */
const SMALL = 0x20;

const NAME = Uint8Array.from("call-id", (character) => character.charCodeAt(0));
const COMPACT_NAME = Uint8Array.of(0x69);

/** 1 for the characters of a word (RFC 3261 section 25.1), and the comma, which IPVS also takes. */
const IS_WORD = new Uint8Array(256);
for (const character of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~()<>:\\\"/[]?{},")
  IS_WORD[character.charCodeAt(0)] = 1;

/**
 * Find the Call-ID of a UDP datagram; of a super-packet, its first datagram's.
 * @param found - filled with its place in the packet's buffer
 * @returns false when there is none that counts; `found` then means nothing
 */
export function findCallId(packet: Packet, flow: Flow, found: CallId): boolean {
  const { bytes } = packet;
  const payloadBytes = flow.transportBytes - UDP_HEADER_BYTES;
  const start = flow.transportAt + UDP_HEADER_BYTES;
  const end = start + (packet.gso === Gso.none ? payloadBytes : Math.min(payloadBytes, packet.gsoBytes));
  let at = nextLine(bytes, skipLineEnds(bytes, start, end), end);
  while (at < end && bytes[at] !== CR && bytes[at] !== LF) {
    const valueAt = callIdValueAt(bytes, at, end);
    // A Call-ID without a value does not end the search, as in IPVS.
    const length = valueAt < 0 ? 0 : wordsLength(bytes, valueAt, end);
    if (length > 0) {
      found.at = valueAt;
      found.length = length;
      return length <= CALL_ID_BYTES_MAX && isLineEnd(bytes, valueAt + length, end);
    }
    at = nextLine(bytes, at, end);
  }
  return false;
}

/** Where the value begins if the line at `at` is a Call-ID header; -1 if not. */
function callIdValueAt(bytes: Uint8Array, at: number, end: number): number {
  const colonAt = Math.max(colonAfter(bytes, at, end, NAME), colonAfter(bytes, at, end, COMPACT_NAME));
  return colonAt < 0 ? -1 : skipSpace(bytes, colonAt + 1, end);
}

/** Offset of the colon behind a header's name, whitespace between them or not; -1 if the line has another name. */
function colonAfter(bytes: Uint8Array, at: number, end: number, name: Uint8Array): number {
  if (at + name.length > end) return -1;
  for (let i = 0; i < name.length; i++) if (smallLetter(bytes[at + i]!) !== name[i]) return -1;
  const colonAt = skipSpace(bytes, at + name.length, end);
  return colonAt < end && bytes[colonAt] === COLON ? colonAt : -1;
}

/** word [ "@" word ]; 0 for anything else. */
function wordsLength(bytes: Uint8Array, from: number, end: number): number {
  let at = skipWord(bytes, from, end);
  if (at > from && at < end && bytes[at] === AT_SIGN) {
    const domainAt = at + 1;
    at = skipWord(bytes, domainAt, end);
    if (at === domainAt) return 0;
  }
  return at - from;
}

function skipWord(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && IS_WORD[bytes[at]!] === 1) at++;
  return at;
}

/** Skip spaces, tabs, and line ends that a space or tab follows: they continue the line. */
function skipSpace(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  for (;;) {
    while (at < end && isSpace(bytes[at]!)) at++;
    if (!isLineEnd(bytes, at, end)) return at;
    const nextAt = skipLineEnd(bytes, at, end);
    if (nextAt >= end || !isSpace(bytes[nextAt]!)) return at;
    at = nextAt;
  }
}

/** Offset of the next line's first byte; `end` when there is none. Continuation lines are skipped like any other. */
function nextLine(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && bytes[at] !== CR && bytes[at] !== LF) at++;
  return skipLineEnd(bytes, at, end);
}

/** Empty lines may stand in front of a message (RFC 3261 section 7.5). */
function skipLineEnds(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (isLineEnd(bytes, at, end)) at++;
  return at;
}

/** Skip one CR, LF or CRLF. */
function skipLineEnd(bytes: Uint8Array, at: number, end: number): number {
  if (at + 1 < end && bytes[at] === CR && bytes[at + 1] === LF) return at + 2;
  return Math.min(at + 1, end);
}

function isLineEnd(bytes: Uint8Array, at: number, end: number): boolean {
  return at < end && (bytes[at] === CR || bytes[at] === LF);
}

function isSpace(byte: number): boolean {
  return byte === SPACE || byte === TAB;
}

function smallLetter(byte: number): number {
  return byte >= CAPITAL_A && byte <= CAPITAL_Z ? byte | SMALL : byte;
}
