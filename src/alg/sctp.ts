/**
 * SCTP with several addresses: RFC 9260 sections 3.2 and 3.3 (chunks, parameters), 5.1.2 and 6.4 (multi-homing), RFC 5061
 * (addresses that come and go), RFC 4820 (padding).
 *
 * A host says in INIT or INIT ACK at which addresses it is. What a hidden one says becomes padding: it is reached at the address
 * it is shown at, and no other. What the other one says is true; once the association is agreed upon, packets between each of
 * its addresses and the hidden host belong to it. Nobody's packets get into it without its verification tags.
 *
 * That addresses may be added later is taken out of what both ends support; if one is added all the same, the chunk becomes
 * padding, because the tag that authenticates it (RFC 4895) could not be right after a change. The state cookie is never
 * touched.
 *
 * A server may answer from an address that nobody knows yet; it is known by the tag that the client chose, and its packets seem
 * to come from where the client reached it.
 *
 * Left out: packets that a client behind the director sends from a second address of its own; addresses of the other IP version
 * (they become padding too); associations that both ends begin at once.
 */
import { parseAddress } from "../wire/address.ts";
import { SCTP_CHUNK_AT, SCTP_VERIFICATION_TAG_AT, SctpChunk, SctpParameter } from "../wire/sctp.ts";
import { type ApplicationModule, type Dialogue, opposite, type Side } from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";

const HEADER_BYTES = 4;
/** Parameters of INIT and INIT ACK begin behind tag, window, streams and sequence number. */
const INIT_PARAMETERS_AT = 20;
const IPV4_PARAMETER_BYTES = 8;
const IPV6_PARAMETER_BYTES = 20;
/** A parameter that has an address parameter in it has it behind its own header, and a serial number. */
const NESTED_ADDRESS_AT = 8;
const CAUSE_UNRESOLVABLE_ADDRESS = 5;
const CAUSE_RESTART_WITH_NEW_ADDRESSES = 11;
/** Of ABORT and SHUTDOWN COMPLETE: the tag is the one of who sends it. */
const REFLECTED = 1;
/** What says nothing, in a list of chunk types: every host knows DATA. */
const KNOWN_ANYWAY = SctpChunk.data;

/** What a dialogue remembers, in its words: tags of packets to each side, further addresses of the side that is known by its own. */
const TAG_TO_CLIENT = 0;
const TAG_TO_SERVER = 1;
const COUNT = 2;
const ADDRESSES = 4;
/** More become padding. */
export const FURTHER_ADDRESSES_MAX = 7;

const address = new Int32Array(4);

export const sctp: ApplicationModule = {
  name: "sctp",
  transports: ["sctp"],
  ports: "all",
  expectationsMax: FURTHER_ADDRESSES_MAX,
  read(unit, from, dialogue) {
    let at = SCTP_CHUNK_AT;
    if (dialogue.isPath && !hasTag(unit, from, dialogue)) {
      dialogue.drop();
      return;
    }
    while (at + HEADER_BYTES <= unit.length) {
      const bytes = unit.u16(at + 2);
      // What is behind a length that lies nobody reads.
      if (bytes < HEADER_BYTES || at + bytes > unit.length) return;
      readChunk(unit, at, at + bytes, from, dialogue);
      at += (bytes + 3) & ~3;
    }
  },
};

function readChunk(unit: Unit, at: number, end: number, from: Side, dialogue: Dialogue): void {
  const { words } = dialogue;
  switch (unit.u8(at)) {
    case SctpChunk.init:
    case SctpChunk.initAck:
      if (!dialogue.isHidden(from)) words[COUNT] = 0;
      if (from === "client") dialogue.claimTag(unit.u32(at + HEADER_BYTES));
      walk(unit, at + INIT_PARAMETERS_AT, end, (parameter, type, next) =>
        readParameter(unit, parameter, type, next, from, dialogue),
      );
      break;
    case SctpChunk.cookieEcho:
      words[TAG_TO_SERVER] = unit.u32(SCTP_VERIFICATION_TAG_AT);
      break;
    case SctpChunk.cookieAck:
      words[TAG_TO_CLIENT] = unit.u32(SCTP_VERIFICATION_TAG_AT);
      if (!dialogue.isPath) announce(dialogue);
      break;
    case SctpChunk.asconf:
      unit.put8(at, SctpChunk.pad);
      break;
    case SctpChunk.shutdownComplete:
      if (hasTag(unit, from, dialogue)) dialogue.withdrawPaths();
      break;
    case SctpChunk.abort:
      if (hasTag(unit, from, dialogue)) dialogue.withdrawPaths();
      readCauses(unit, at, end, from, dialogue);
      break;
    case SctpChunk.error:
      readCauses(unit, at, end, from, dialogue);
  }
}

function readCauses(unit: Unit, at: number, end: number, from: Side, dialogue: Dialogue): void {
  walk(unit, at + HEADER_BYTES, end, (cause, code, next) => {
    if (code !== CAUSE_UNRESOLVABLE_ADDRESS && code !== CAUSE_RESTART_WITH_NEW_ADDRESSES) return;
    walk(unit, cause + HEADER_BYTES, next, (parameter, type, parameterEnd) =>
      translate(unit, parameter, type, parameterEnd, from, dialogue),
    );
  });
}

/** Each parameter, or cause, of a list. @param read - with its offset, its type and the offset of its end, without padding */
function walk(
  unit: Unit,
  from: number,
  end: number,
  read: (at: number, type: number, end: number) => void,
): void {
  let at = from;
  while (at + HEADER_BYTES <= end) {
    const bytes = unit.u16(at + 2);
    if (bytes < HEADER_BYTES || at + bytes > end) return;
    read(at, unit.u16(at), at + bytes);
    at += (bytes + 3) & ~3;
  }
}

function readParameter(
  unit: Unit,
  at: number,
  type: number,
  end: number,
  from: Side,
  dialogue: Dialogue,
): void {
  switch (type) {
    case SctpParameter.ipv4Address:
    case SctpParameter.ipv6Address:
      if (dialogue.isHidden(from) || !readAddress(unit, at, type, end, dialogue) || !note(from, dialogue))
        unit.put16(at, SctpParameter.pad);
      break;
    case SctpParameter.hostName:
      if (dialogue.isHidden(from)) unit.put16(at, SctpParameter.pad);
      break;
    case SctpParameter.setPrimaryAddress: {
      const nested = at + NESTED_ADDRESS_AT;
      if (dialogue.isHidden(from) || !readAddress(unit, nested, unit.u16(nested), end, dialogue))
        unit.put16(at, SctpParameter.pad);
      break;
    }
    case SctpParameter.supportedExtensions:
      for (let each = at + HEADER_BYTES; each < end; each++) {
        const chunk = unit.u8(each);
        if (chunk === SctpChunk.asconf || chunk === SctpChunk.asconfAck) unit.put8(each, KNOWN_ANYWAY);
      }
  }
}

/** Put an address parameter of the association's IP version into `address`. @returns false: it is none */
function readAddress(unit: Unit, at: number, type: number, end: number, { family }: Dialogue): boolean {
  const isIpv4 = family === 4;
  const bytes = isIpv4 ? IPV4_PARAMETER_BYTES : IPV6_PARAMETER_BYTES;
  if (type !== (isIpv4 ? SctpParameter.ipv4Address : SctpParameter.ipv6Address)) return false;
  if (unit.u16(at + 2) !== bytes || at + bytes > end) return false;
  address.fill(0);
  for (let i = 0; i < (isIpv4 ? 1 : 4); i++) address[i] = unit.u32(at + HEADER_BYTES + 4 * i);
  return true;
}

/** `address` is one of this side's. @returns false: there are too many */
function note(side: Side, dialogue: Dialogue): boolean {
  const { words } = dialogue;
  if (isAddress(dialogue.ownAddress(side))) return true;
  const count = words[COUNT]!;
  if (count === FURTHER_ADDRESSES_MAX) return false;
  words.set(address, ADDRESSES + 4 * count);
  words[COUNT] = count + 1;
  return true;
}

/** Both ends have agreed: the further addresses are theirs. */
function announce(dialogue: Dialogue): void {
  const { words } = dialogue;
  for (let k = 0; k < words[COUNT]!; k++)
    dialogue.alsoAt(words.subarray(ADDRESSES + 4 * k, ADDRESSES + 4 * k + 4));
}

/** An address in a cause is one that the other side was told, or told. */
function translate(unit: Unit, at: number, type: number, end: number, from: Side, dialogue: Dialogue): void {
  if (!readAddress(unit, at, type, end, dialogue)) return;
  const other = opposite(from);
  if (isAddress(dialogue.ownAddress(from))) put(unit, at, dialogue.shownAddress(from));
  else if (isAddress(dialogue.shownAddress(other))) put(unit, at, dialogue.ownAddress(other));
}

function isAddress(text: string): boolean {
  const parsed = parseAddress(text);
  return parsed !== undefined && address.every((word, i) => word === (parsed.words[i] ?? 0));
}

function put(unit: Unit, at: number, text: string): void {
  const { family, words } = parseAddress(text)!;
  for (let i = 0; i < (family === 4 ? 1 : 4); i++) {
    const place = at + HEADER_BYTES + 4 * i;
    if ((unit.u32(place) | 0) !== words[i]) unit.put32(place, words[i]!);
  }
}

/** Has a packet of a further path the tag of the association? */
function hasTag(unit: Unit, from: Side, { words }: Dialogue): boolean {
  const tag = unit.u32(SCTP_VERIFICATION_TAG_AT) | 0;
  const expected = words[from === "client" ? TAG_TO_SERVER : TAG_TO_CLIENT];
  if (tag === expected) return true;
  const first = unit.u8(SCTP_CHUNK_AT);
  const isEnd = first === SctpChunk.abort || first === SctpChunk.shutdownComplete;
  const isReflected = isEnd && (unit.u8(SCTP_CHUNK_AT + 1) & REFLECTED) !== 0;
  return isReflected && tag === words[from === "client" ? TAG_TO_CLIENT : TAG_TO_SERVER];
}
