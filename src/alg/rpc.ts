/**
 * Sun RPC's portmapper and rpcbind, program 100000: RFC 1833 sections 2 (versions 3 and 4) and 3 (version 2), RFC 5531
 * sections 9 (messages) and 11 (record marks), RFC 5665 section 5.2 (universal addresses). A client asks for a program's port
 * and connects there. Whatever answers with ports is read: GETPORT, GETADDR, GETVERSADDR, GETADDRLIST, DUMP, and the calls
 * that are passed on (CALLIT, BCAST, INDIRECT), over TCP and UDP.
 *
 * An answer counts only for a call that was seen. The option `programs` leaves the others out: a call for one of them asks
 * for program 0 instead, which nobody registers, and lists lose their entries.
 *
 * Left out: calls of servers to their clients (NLM and NSM of NFS 2 and 3), and what a client registers.
 */
import { formatAddress, parseAddress } from "../wire/address.ts";
import type { ApplicationModule, Dialogue, Side } from "./engine/module.ts";
import { UNREADABLE } from "./engine/module.ts";
import { Unit } from "./engine/unit.ts";

const PORTMAPPER = 100_000;
/** As IP has them. */
const TCP = 6;
const UDP = 17;
const LAST_FRAGMENT = 0x80000000;
const FRAGMENTS_MAX = 16;
const RECORD_BYTES_MAX = 8000;
/** Of a list that had to be written anew; of a longer one the entries behind it are left out. */
const LIST_BYTES_MAX = 8000;
/** RFC 5531 section 8.2: credentials and verifiers have at most 400 bytes. */
const OPAQUE_BYTES_MAX = 400;
/** Network identifiers, owners, and universal addresses of either family. */
const STRING_BYTES_MAX = 255;
/** A client that knows a port may connect as long as this after it was told: mount, lock and file service follow each other. */
const ANNOUNCED_SECONDS = 300;

/** Procedures with ports in their answers, of versions 2 to 4; the first is GETPORT of version 2, the third BCAST of the others. */
const Procedure = {
  getAddress: 3,
  dump: 4,
  callIt: 5,
  getVersionAddress: 9,
  indirect: 10,
  getAddressList: 11,
} as const;

/** What an answer has in it. */
const Answer = { port: 1, ports: 2, address: 3, addresses: 4, entries: 5 } as const;

/** What an unanswered call is remembered by: four of the dialogue's words. */
const Call = { xid: 0, answer: 1, program: 2, protocol: 3, words: 4 } as const;
const CALLS_MAX = 8;

const PROTOCOLS: Readonly<Record<string, "tcp" | "udp">> = {
  tcp: "tcp",
  tcp6: "tcp",
  udp: "udp",
  udp6: "udp",
};

export const rpc: ApplicationModule = {
  name: "rpc",
  transports: ["tcp", "udp"],
  ports: [111],
  expectationsMax: 64,
  stream: { unitBytesMax: RECORD_BYTES_MAX, measure: recordBytes, mayChange: () => true },
  begin(dialogue) {
    if (!dialogue.isHidden("server")) dialogue.passUnread();
  },
  read(unit, from, dialogue) {
    if (dialogue.transport === "udp") readMessage(unit, 0, from, dialogue);
    else readRecord(unit, from, dialogue);
  },
};

// Records

/** A record is one or more fragments, each behind a word with its length. */
function recordBytes(unit: Unit): number {
  let at = 0;
  for (let count = 0; count < FRAGMENTS_MAX; count++) {
    const mark = unit.u32(at);
    if (mark < 0) return at >= RECORD_BYTES_MAX ? UNREADABLE : 0;
    at += 4 + (mark % LAST_FRAGMENT);
    if (mark >= LAST_FRAGMENT) return at;
  }
  return UNREADABLE;
}

function readRecord(unit: Unit, from: Side, dialogue: Dialogue): void {
  if (unit.u32(0) >= LAST_FRAGMENT) {
    readMessage(unit, 4, from, dialogue);
    if (unit.growth !== 0) unit.put32(0, LAST_FRAGMENT + unit.length - 4 + unit.growth);
    return;
  }
  // A string can be cut by a mark: read the record as one fragment, and make it one if it has to change.
  if (!join(unit)) return;
  readMessage(whole, 4, from, dialogue);
  if (!whole.isChanged) return;
  const bytes = whole.length + whole.growth;
  whole.put32(0, LAST_FRAGMENT + bytes - 4);
  const out = new Uint8Array(bytes);
  if (whole.write(out, 0, bytes) === bytes) unit.replace(0, unit.length, textOf(out));
}

/** A record whose fragments were joined; used again. */
const whole = new Unit();
const wholeBytes = new Uint8Array(RECORD_BYTES_MAX);

/** @returns false: a length lies */
function join(unit: Unit): boolean {
  if (unit.length > RECORD_BYTES_MAX) return false;
  let end = 4;
  for (let at = 0; at < unit.length; ) {
    const from = at + 4;
    const mark = unit.u32(at);
    at = from + (mark % LAST_FRAGMENT);
    if (mark < 0 || at > unit.length) return false;
    wholeBytes.set(unit.bytes.subarray(unit.at + from, unit.at + at), end);
    end += at - from;
  }
  whole.aim(wholeBytes, 0, end);
  return true;
}

// Messages

function readMessage(unit: Unit, at: number, from: Side, dialogue: Dialogue): void {
  const kind = unit.u32(at + 4);
  if (kind === 0 && from === "client") readCall(unit, at, dialogue);
  else if (kind === 1 && from === "server") readReply(unit, at, dialogue);
}

function readCall(unit: Unit, at: number, dialogue: Dialogue): void {
  const version = unit.u32(at + 16);
  if (unit.u32(at + 8) !== 2 || unit.u32(at + 12) !== PORTMAPPER || version < 2 || version > 4) return;
  const procedure = unit.u32(at + 20);
  const answer = answerTo(version, procedure);
  const args = opaqueEnd(unit, opaqueEnd(unit, at + 24));
  const program = procedure === Procedure.dump ? 0 : unit.u32(args);
  if (answer === 0 || args < 0 || program < 0) return;
  // The portmapper itself calls the program, over UDP.
  const isPassedOn = procedure === Procedure.callIt || procedure === Procedure.indirect;
  const isRefused = procedure !== Procedure.dump && !isAllowed(dialogue, program, isPassedOn);
  if (isRefused) unit.put32(args, 0);
  const hasHint = answer === Answer.address || answer === Answer.entries;
  if (hasHint && !isPassedOn) readHint(unit, args + 8, dialogue);
  // Version 2 says for which protocol it asks, the others mean the one they are asked over.
  let protocol = dialogue.transport === "tcp" ? TCP : UDP;
  if (isPassedOn) protocol = UDP;
  else if (answer === Answer.port) protocol = unit.u32(args + 8);
  if (protocol === TCP || protocol === UDP)
    remember(dialogue, unit.u32(at), answer, isRefused ? 0 : program, protocol);
}

/** What kind of answer follows; 0: one without ports. */
function answerTo(version: number, procedure: number): number {
  const isOld = version === 2;
  switch (procedure) {
    case Procedure.getAddress:
    case Procedure.callIt:
      return isOld ? Answer.port : Answer.address;
    case Procedure.dump:
      return isOld ? Answer.ports : Answer.addresses;
    case Procedure.getVersionAddress:
    case Procedure.indirect:
      return version === 4 ? Answer.address : 0;
    case Procedure.getAddressList:
      return version === 4 ? Answer.entries : 0;
    default:
      return 0;
  }
}

/** The client says under which address it knows the server, to be told of one that it can reach in the same way. */
function readHint(unit: Unit, netidAt: number, dialogue: Dialogue): void {
  const at = stringEnd(unit, netidAt);
  const hint = universalAddress(stringAt(unit, at));
  if (hint?.host !== dialogue.shownAddress("server")) return;
  const port = hint.port === dialogue.shownPort("server") ? dialogue.ownPort("server") : hint.port;
  const end = stringEnd(unit, at);
  unit.replace(at, end - at, xdrString(universal(dialogue.ownAddress("server"), port)));
}

function readReply(unit: Unit, at: number, dialogue: Dialogue): void {
  const verifierEnd = opaqueEnd(unit, at + 12);
  // Accepted, and successful.
  if (verifierEnd < 0 || unit.u32(at + 8) !== 0 || unit.u32(verifierEnd) !== 0) return;
  const call = recalled(dialogue, unit.u32(at));
  if (call < 0) return;
  const body = verifierEnd + 4;
  const program = dialogue.words[call + Call.program]! >>> 0;
  const protocol = dialogue.words[call + Call.protocol] === TCP ? "tcp" : "udp";
  switch (dialogue.words[call + Call.answer]) {
    case Answer.port: {
      const port = unit.u32(body);
      const shown = shownPort(dialogue, program, protocol, port);
      if (shown !== 0 && shown !== port) unit.put32(body, shown);
      break;
    }
    case Answer.address: {
      const said = stringAt(unit, body);
      if (said === undefined) return;
      const shown = shownUniversal(dialogue, program, protocol, said);
      const end = stringEnd(unit, body);
      if (shown !== said) unit.replace(body, end - body, xdrString(shown));
      break;
    }
    case Answer.ports:
      rewriteList(unit, body, dialogue, portEntry);
      break;
    case Answer.addresses:
      rewriteList(unit, body, dialogue, addressEntry);
      break;
    case Answer.entries:
      rewriteList(unit, body, dialogue, (reply, entryAt) =>
        transportEntry(reply, entryAt, dialogue, program),
      );
      break;
  }
  // A datagram may be lost behind us, and the same answer come again.
  if (dialogue.transport === "tcp") dialogue.words[call + Call.answer] = 0;
}

// Lists: each entry behind a word that is 1, the last one's followed by 0

interface Entry {
  /** As it goes on; empty: not at all. */
  readonly text: string;
  readonly end: number;
}

type ReadEntry = (unit: Unit, at: number, dialogue: Dialogue) => Entry | undefined;

function rewriteList(unit: Unit, from: number, dialogue: Dialogue, read: ReadEntry): void {
  let list = "";
  let at = from;
  for (; unit.u32(at) === 1; ) {
    const entry = read(unit, at + 4, dialogue);
    if (entry === undefined) return;
    if (entry.text !== "" && list.length + entry.text.length < LIST_BYTES_MAX) list += word(1) + entry.text;
    at = entry.end;
  }
  if (unit.u32(at) === 0 && list !== unit.text(from, at)) unit.replace(from, at - from, list);
}

/** Program, version, protocol, port. */
function portEntry(unit: Unit, at: number, dialogue: Dialogue): Entry | undefined {
  const port = unit.u32(at + 12);
  if (port < 0) return undefined;
  const program = unit.u32(at);
  const number = unit.u32(at + 8);
  const end = at + 16;
  if (!isAllowed(dialogue, program)) return { text: "", end };
  const protocol = number === TCP ? "tcp" : number === UDP ? "udp" : undefined;
  const shown = shownPort(dialogue, program, protocol, port) || port;
  return { text: unit.text(at, at + 12) + word(shown), end };
}

/** Program, version, network identifier, address, owner. */
function addressEntry(unit: Unit, at: number, dialogue: Dialogue): Entry | undefined {
  const addressAt = stringEnd(unit, at + 8);
  const netid = stringAt(unit, at + 8);
  const address = stringAt(unit, addressAt);
  const addressEnd = stringEnd(unit, addressAt);
  const end = stringEnd(unit, addressEnd);
  if (netid === undefined || address === undefined || end < 0) return undefined;
  const program = unit.u32(at);
  if (!isAllowed(dialogue, program)) return { text: "", end };
  const shown = shownUniversal(dialogue, program, PROTOCOLS[netid], address);
  return { text: unit.text(at, addressAt) + xdrString(shown) + unit.text(addressEnd, end), end };
}

/** Address, network identifier, semantics, protocol family, protocol; all of one program. */
function transportEntry(unit: Unit, at: number, dialogue: Dialogue, program: number): Entry | undefined {
  const netidAt = stringEnd(unit, at);
  const address = stringAt(unit, at);
  const netid = stringAt(unit, netidAt);
  const semanticsAt = stringEnd(unit, netidAt);
  const end = semanticsAt < 0 ? -1 : stringEnd(unit, stringEnd(unit, semanticsAt + 4));
  if (address === undefined || netid === undefined || end < 0) return undefined;
  const shown = shownUniversal(dialogue, program, PROTOCOLS[netid], address);
  return { text: xdrString(shown) + unit.text(netidAt, end), end };
}

// Ports and addresses as the client is to see them

/**
 * The server listens there, for the program that was asked for.
 * @param host - as it was said; undefined: it was not
 * @returns 0: what was said stays
 */
function shownPort(
  dialogue: Dialogue,
  program: number,
  protocol: "tcp" | "udp" | undefined,
  port: number,
  host?: string,
): number {
  if (protocol === undefined || port < 1 || port > 0xffff || !isAllowed(dialogue, program)) return 0;
  // The client is there already, or at the service of the other transport.
  if (program === PORTMAPPER && port === dialogue.ownPort("server")) return dialogue.shownPort("server");
  return dialogue.listens("server", {
    protocol,
    port,
    isLasting: true,
    seconds: ANNOUNCED_SECONDS,
    // Servers that run as root like to have reserved ports; somebody has to say that they are meant.
    isLowAllowed: dialogue.options.programs !== undefined,
    ...(host === undefined ? {} : { address: host }),
  });
}

/** Likewise where it says an address too. */
function shownUniversal(
  dialogue: Dialogue,
  program: number,
  protocol: "tcp" | "udp" | undefined,
  said: string,
): string {
  const address = universalAddress(said);
  if (address?.family !== dialogue.family) return said;
  const { host, port } = address;
  const isAny = host === "0.0.0.0" || host === "::";
  const shown = shownPort(dialogue, program, protocol, port, isAny ? undefined : host);
  return shown === 0 ? said : universal(isAny ? host : dialogue.shownAddress("server"), shown);
}

/** @param isPassedOn - the portmapper itself calls the program */
function isAllowed({ options: { programs } }: Dialogue, program: number, isPassedOn = false): boolean {
  return programs === undefined || programs.includes(program) || (program === PORTMAPPER && !isPassedOn);
}

export interface UniversalAddress {
  readonly family: 4 | 6;
  readonly host: string;
  readonly port: number;
}

/** "h1.h2.h3.h4.p1.p2", or an IPv6 address and ".p1.p2" (RFC 5665 sections 5.2.3.3 and 5.2.3.4). */
export function universalAddress(text: string | undefined): UniversalAddress | undefined {
  const [, host = "", high, low] = /^([\dA-Fa-f:.]{2,45})\.(\d{1,3})\.(\d{1,3})$/.exec(text ?? "") ?? [];
  const address = parseAddress(host);
  if (address === undefined || Number(high) > 255 || Number(low) > 255) return undefined;
  const { family, words } = address;
  return { family, host: formatAddress(family, words), port: Number(high) * 256 + Number(low) };
}

export const universal = (host: string, port: number): string => `${host}.${port >> 8}.${port & 255}`;

// Calls that wait for their answer

function remember(dialogue: Dialogue, xid: number, answer: number, program: number, protocol: number): void {
  const { words } = dialogue;
  let at = recalled(dialogue, xid);
  if (at < 0) {
    at = (dialogue.memory % CALLS_MAX) * Call.words;
    dialogue.memory = (dialogue.memory + 1) % CALLS_MAX;
  }
  words[at + Call.xid] = xid;
  words[at + Call.answer] = answer;
  words[at + Call.program] = program;
  words[at + Call.protocol] = protocol;
}

/** @returns where it is in the dialogue's words; -1: nowhere */
function recalled({ words }: Dialogue, xid: number): number {
  for (let at = 0; at < CALLS_MAX * Call.words; at += Call.words)
    if (words[at + Call.xid] === (xid | 0) && words[at + Call.answer] !== 0) return at;
  return -1;
}

// XDR: RFC 4506. A position of -1 is behind the end, and stays so.

const padded = (bytes: number): number => (bytes + 3) & ~3;

/** Behind a flavor and an opaque, such as credentials are. */
function opaqueEnd(unit: Unit, at: number): number {
  const bytes = at < 0 ? -1 : unit.u32(at + 4);
  if (bytes < 0 || bytes > OPAQUE_BYTES_MAX) return -1;
  const end = at + 8 + padded(bytes);
  return end <= unit.length ? end : -1;
}

function stringEnd(unit: Unit, at: number): number {
  const bytes = unit.u32(at);
  if (bytes < 0 || bytes > STRING_BYTES_MAX) return -1;
  const end = at + 4 + padded(bytes);
  return end <= unit.length ? end : -1;
}

function stringAt(unit: Unit, at: number): string | undefined {
  return stringEnd(unit, at) < 0 ? undefined : unit.text(at + 4, at + 4 + unit.u32(at));
}

const word = (value: number): string =>
  String.fromCharCode(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);

const xdrString = (text: string): string => (word(text.length) + text).padEnd(4 + padded(text.length), "\0");

function textOf(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
