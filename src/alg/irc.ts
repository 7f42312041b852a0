/**
 * IRC: RFC 1459 and RFC 2812 section 2.3 (messages), IRCv3 message tags and STARTTLS; in its messages CTCP between two 0x01,
 * and in that DCC, whose grammar is what clients do (irssi, WeeChat, ircII): an offer says where its sender listens, and
 * whoever was asked connects there, past the server, from an address that nobody knows yet. A transfer that goes on where
 * an earlier one ended (RESUME, ACCEPT) is named by the port that was offered.
 *
 * Who goes out through a masquerade rule offers to anyone. A real server that offers in its own name is a bouncer, and means
 * its client; what an IRC server passes on of its users' offers is not its own, and stays. With FullNAT a user's offer stays,
 * too: it is meant for other users, who do not know the pool.
 *
 * Left out: file names with spaces and without quotes, servers that talk to each other, lines beyond LINE_BYTES_MAX.
 */
import { formatAddress, parseAddress } from "../wire/address.ts";
import { type ApplicationModule, type Dialogue, opposite, type Side } from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";

/** Twice what RFC 1459 allows, for the tags that servers put in front: time, account, message number. */
const LINE_BYTES_MAX = 1024;
/** Offers that wait at a time, as in Linux; irssi lets one wait as long. */
const OFFERS_MAX = 8;
const OFFER_SECONDS = 300;

const LINE_FEED = 0x0a;
const SPACE = 0x20;
const QUOTE = 0x22;
const COLON = 0x3a;
const AT = 0x40;
/** Around each CTCP request. */
const DELIMITER = 0x01;

/** What a dialogue remembers. */
const WELCOMED = 1;
const ENCRYPTION_ASKED = 2;

const CARRIERS = ["PRIVMSG ", "NOTICE "];
const OFFERS = ["SEND ", "TSEND ", "CHAT ", "SCHAT ", "MOVE "];
/** How browsers begin, which a web page can have sent anything by. No IRC client does. */
const FOREIGN_LEADS = ["GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "CONNECT ", "DELETE ", "PATCH "];

export const irc: ApplicationModule = {
  name: "irc",
  transports: ["tcp"],
  ports: [194, 6660, 6661, 6662, 6663, 6664, 6665, 6666, 6667, 6668, 6669],
  expectationsMax: OFFERS_MAX,
  stream: {
    unitBytesMax: LINE_BYTES_MAX,
    endByte: LINE_FEED,
    measure: (unit) => (unit.u8(unit.length - 1) === LINE_FEED ? unit.length : 0),
    mayChange: (unit) => requestsAt(unit) >= 0,
  },
  read: (unit, from, dialogue) => {
    if ((dialogue.memory & WELCOMED) === 0) readGreeting(unit, from, dialogue);
    else readRequests(unit, from, dialogue);
  },
};

/** Nothing counts before the server has welcomed its client: then both speak IRC. */
function readGreeting(unit: Unit, from: Side, dialogue: Dialogue): void {
  const at = commandAt(unit);
  if (from === "client") {
    if (unit.has(at, "STARTTLS")) dialogue.memory |= ENCRYPTION_ASKED;
    if (FOREIGN_LEADS.some((lead) => unit.has(0, lead))) dialogue.passUnread();
  } else if (unit.has(at, "001 ")) dialogue.memory |= WELCOMED;
  else if (unit.has(at, "670 ") && (dialogue.memory & ENCRYPTION_ASKED) !== 0) dialogue.stepAside();
}

/** Behind tags and prefix; the end, if they do. */
function commandAt(unit: Unit): number {
  let at = 0;
  if (unit.u8(at) === AT) at = skipWord(unit, at);
  if (unit.u8(at) === COLON) at = skipWord(unit, at);
  return at;
}

/**
 * Where the requests of a message begin: its text does with the first of them.
 * @returns the end, if the beginning of a line does not tell yet; -1: there are none
 */
function requestsAt(unit: Unit): number {
  const command = commandAt(unit);
  if (!CARRIERS.some((carrier) => unit.beginsLike(carrier, command))) return -1;
  const text = skipWord(unit, skipWord(unit, command));
  return unit.beginsLike(":\x01", text) ? Math.min(text + 1, unit.length) : -1;
}

function readRequests(unit: Unit, from: Side, dialogue: Dialogue): void {
  for (let at = requestsAt(unit); at >= 0; ) {
    const begin = unit.find(DELIMITER, at);
    const end = begin < 0 ? -1 : unit.find(DELIMITER, begin + 1);
    if (end < 0) return;
    if (unit.has(begin + 1, "DCC ")) readDirect(unit, skipWord(unit, begin + 1), end, from, dialogue);
    at = end + 1;
  }
}

/** @param at - of what is asked for @param end - where the request ends */
function readDirect(unit: Unit, at: number, end: number, from: Side, dialogue: Dialogue): void {
  const argument = skipWord(unit, at);
  const first = skipArgument(unit, argument, end);
  if (OFFERS.some((offer) => unit.has(at, offer))) readOffer(unit, first, end, from, dialogue);
  else if (unit.has(at, "ACCEPT ")) {
    replacePort(unit, first, end, (port) => dialogue.shownPortOf(from, "tcp", port));
  } else if (unit.has(at, "RESUME ")) {
    replacePort(unit, first, end, (port) => dialogue.ownPortOf(opposite(from), "tcp", port));
  }
}

function readOffer(unit: Unit, addressAt: number, end: number, from: Side, dialogue: Dialogue): void {
  const portAt = skipWord(unit, addressAt);
  const address = addressOf(wordAt(unit, addressAt, end));
  const port = numberOf(wordAt(unit, portAt, end), 0xffff);
  if (address === undefined || port === undefined || !mayOffer(from, dialogue)) return;
  const isOwn = address === dialogue.ownAddress(from) || address === dialogue.shownAddress(from);
  // Everybody's offers come from the server, and few are its own.
  if (from === "server" && !isOwn) return;
  if (port === 0) {
    // The other one is asked to listen, and will offer in turn.
    if (isOwn) replaceWord(unit, addressAt, shownAddress(from, dialogue));
    return;
  }
  const whom = from === "client" ? "anyone" : "peer";
  const shownPort = dialogue.listens(from, {
    protocol: "tcp",
    port,
    address,
    from: whom,
    seconds: OFFER_SECONDS,
  });
  if (shownPort === 0) return;
  replaceWord(unit, addressAt, shownAddress(from, dialogue));
  replaceWord(unit, portAt, String(shownPort));
}

const mayOffer = (from: Side, dialogue: Dialogue): boolean =>
  from === "server"
    ? dialogue.isHidden("server")
    : dialogue.isHidden("client") && !dialogue.isHidden("server");

function replacePort(unit: Unit, at: number, end: number, change: (port: number) => number): void {
  const port = numberOf(wordAt(unit, at, end), 0xffff) ?? 0;
  const changed = port === 0 ? 0 : change(port);
  if (changed !== 0) replaceWord(unit, at, String(changed));
}

/** The word there, if it ends in front of `end`; a longer one than any address is none. */
function wordAt(unit: Unit, at: number, end: number): string {
  const wordEnd = Math.min(end, endOfWord(unit, at));
  return at < end && wordEnd - at <= 45 ? unit.text(at, wordEnd) : "";
}

function replaceWord(unit: Unit, at: number, text: string): void {
  const end = endOfWord(unit, at);
  if (unit.text(at, end) !== text) unit.replace(at, end - at, text);
}

/** Offset of the space, delimiter or end of line behind the word. */
function endOfWord(unit: Unit, at: number): number {
  let end = at;
  while (unit.u8(end) > SPACE) end++;
  return end;
}

/** Offset of the next word, or of what ends the line. */
function skipWord(unit: Unit, at: number): number {
  let next = endOfWord(unit, at);
  while (unit.u8(next) === SPACE) next++;
  return next;
}

/** A file's name, which may be quoted and then have spaces. */
function skipArgument(unit: Unit, at: number, end: number): number {
  if (unit.u8(at) !== QUOTE) return skipWord(unit, at);
  const close = unit.find(QUOTE, at + 1);
  return close < 0 || close > end ? end : skipWord(unit, close);
}

/** A number in decimal, without sign or spaces. */
function numberOf(text: string, max: number): number | undefined {
  const number = /^\d{1,10}$/.test(text) ? Number(text) : undefined;
  return number === undefined || number > max ? undefined : number;
}

/** An IPv4 address is said as a number, an IPv6 one as text. */
function addressOf(text: string): string | undefined {
  const number = numberOf(text, 0xffff_ffff);
  if (number !== undefined) return formatAddress(4, [number | 0], 0);
  const parsed = text.includes(":") ? parseAddress(text) : undefined;
  return parsed === undefined ? undefined : formatAddress(parsed.family, parsed.words, 0);
}

const shownAddress = (side: Side, dialogue: Dialogue): string =>
  dialogue.family === 4 ? String(dialogue.shownWord(side) >>> 0) : dialogue.shownAddress(side);
