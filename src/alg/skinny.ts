/**
 * Skinny (SCCP), by which telephones talk to a call manager, and are told where the media of a call goes. There is no public
 * specification: the layouts are those of Wireshark's dissector and of FreeBSD's libalias, with which they agree. Words are
 * little-endian: length, version, message id, then the message; the length counts from the id on. An IPv4 address stands in
 * network order; from version 17 on every address has a word in front that says its family, and room for sixteen bytes.
 *
 * Left out: the source a telephone is told to accept media from (in OpenReceiveChannel), multicast media, and encrypted
 * connections (port 2443), which are passed on unread.
 */
import { formatAddress, parseAddress } from "../wire/address.ts";
import { type ApplicationModule, type Dialogue, type Side, UNREADABLE } from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";

const LENGTH_AT = 0;
const VERSION_AT = 4;
const ID_AT = 8;
const BODY_AT = 12;
/** Length that the header itself has in front of what it counts. */
const UNCOUNTED_BYTES = 8;
const MESSAGE_BYTES_MAX = 1 << 16;
const VERSION_MAX = 255;
/** Versions from here on have addresses of either family. */
const EITHER_FAMILY_VERSION = 17;
const ADDRESS_ROOM_BYTES = 16;

const REGISTER = 0x01;
const IP_PORT = 0x02;
const SERVER_RES = 0x9e;

/** Where a message says an address and, behind it, a port; both are the sender's, or a call's other party's. */
const MEDIA: Readonly<Record<Side, Readonly<Record<number, number>>>> = {
  client: {
    34: BODY_AT + 4, // OpenReceiveChannelAck: status
    49: BODY_AT + 4, // OpenMultiMediaReceiveChannelAck: status
    340: BODY_AT + 12, // StartMediaTransmissionAck: conference, party, call
    341: BODY_AT + 12, // StartMultiMediaTransmissionAck: conference, party, call
  },
  server: {
    138: BODY_AT + 8, // StartMediaTransmission: conference, party
    306: BODY_AT + 12, // StartMultiMediaTransmission: conference, party, compression
  },
};

/** Register: name of 16 bytes, user, instance; much later in it the IPv6 address. */
const REGISTERED_AT = BODY_AT + 24;
const REGISTERED_IPV6_AT = BODY_AT + 72;

/** ServerRes: five names, then five ports, then five addresses. */
const SERVERS = 5;
const SERVER_NAME_BYTES = 48;
const SERVER_PORTS_AT = BODY_AT + SERVERS * SERVER_NAME_BYTES;
const SERVER_ADDRESSES_AT = SERVER_PORTS_AT + SERVERS * 4;

export const skinny: ApplicationModule = {
  name: "skinny",
  transports: ["tcp"],
  ports: [2000],
  // Sound and picture of a few calls at a time.
  expectationsMax: 8,
  stream: { unitBytesMax: 512, measure, mayChange },
  read(unit, from, dialogue) {
    const id = unit.u32le(ID_AT);
    const mediaAt = MEDIA[from][id];
    if (mediaAt !== undefined) readMedia(unit, mediaAt, from, dialogue);
    else if (id === REGISTER && from === "client") readRegister(unit, dialogue);
    else if (id === IP_PORT && from === "client")
      readPort(unit, BODY_AT, dialogue.ownAddress(from), from, dialogue);
    else if (id === SERVER_RES && from === "server") readServers(unit, dialogue);
  },
};

function measure(unit: Unit): number {
  const length = unit.u32le(LENGTH_AT);
  const version = unit.u32le(VERSION_AT);
  if (version < 0) return 0;
  if (length < 4 || length > MESSAGE_BYTES_MAX || version > VERSION_MAX) return UNREADABLE;
  return UNCOUNTED_BYTES + length;
}

function mayChange(unit: Unit, from: Side): boolean {
  const id = unit.u32le(ID_AT);
  if (id < 0 || MEDIA[from][id] !== undefined) return true;
  return from === "client" ? id === REGISTER || id === IP_PORT : id === SERVER_RES;
}

function readMedia(unit: Unit, at: number, from: Side, dialogue: Dialogue): void {
  const said = addressAt(unit, at);
  // Of nobody, or of another party, whom both know by the same address.
  if (said === undefined || (from === "server" && said.text !== dialogue.ownAddress(from))) return;
  if (said.text === "0.0.0.0" || said.text === "::") return;
  if (readPort(unit, said.end, said.text, from, dialogue))
    putAddress(unit, said, dialogue.shownAddress(from));
}

/** @returns whether it is announced */
function readPort(unit: Unit, at: number, address: string, from: Side, dialogue: Dialogue): boolean {
  const port = unit.u32le(at);
  if (port < 1 || port > 0xffff) return false;
  const shown = dialogue.listens(from, {
    protocol: "udp",
    port,
    address,
    // RTP, and RTCP on the next port; a telephone's media comes from whomever it talks to.
    isPair: true,
    isLasting: true,
    from: from === "client" ? "anyone" : "peer",
  });
  if (shown !== 0 && shown !== port) unit.put32le(at, shown);
  return shown !== 0;
}

function readRegister(unit: Unit, dialogue: Dialogue): void {
  const isIpv4 = dialogue.family === 4;
  const at = isIpv4 ? REGISTERED_AT : REGISTERED_IPV6_AT;
  const said = textOfAddress(unit, at, dialogue.family);
  if (said === undefined || said !== dialogue.ownAddress("client")) return;
  putAddress(unit, { at, text: said, family: dialogue.family, end: 0 }, dialogue.shownAddress("client"));
}

/** Call managers to register with; those that are this one are the virtual service. */
function readServers(unit: Unit, dialogue: Dialogue): void {
  const own = dialogue.ownAddress("server");
  const shown = dialogue.shownAddress("server");
  if (own === shown && dialogue.ownPort("server") === dialogue.shownPort("server")) return;
  let addressesAt = SERVER_ADDRESSES_AT;
  for (let i = 0; i < SERVERS; i++) {
    const said = addressAt(unit, addressesAt);
    if (said === undefined) return;
    addressesAt = said.end;
    if (said.text !== own) continue;
    putAddress(unit, said, shown);
    const portAt = SERVER_PORTS_AT + i * 4;
    if (unit.u32le(portAt) === dialogue.ownPort("server")) unit.put32le(portAt, dialogue.shownPort("server"));
    const nameAt = BODY_AT + i * SERVER_NAME_BYTES;
    const name = unit.text(nameAt, nameAt + SERVER_NAME_BYTES);
    if (name.startsWith(`${own}\0`))
      unit.replace(nameAt, SERVER_NAME_BYTES, shown.padEnd(SERVER_NAME_BYTES, "\0"));
  }
}

// Addresses

interface SaidAddress {
  readonly at: number;
  readonly family: 4 | 6;
  readonly text: string;
  /** What comes behind it. */
  readonly end: number;
}

function addressAt(unit: Unit, at: number): SaidAddress | undefined {
  const isEither = unit.u32le(VERSION_AT) >= EITHER_FAMILY_VERSION;
  const kind = isEither ? unit.u32le(at) : 0;
  if (kind !== 0 && kind !== 1) return undefined;
  const family = kind === 0 ? 4 : 6;
  const textAt = isEither ? at + 4 : at;
  const text = textOfAddress(unit, textAt, family);
  if (text === undefined) return undefined;
  return { at: textAt, family, text, end: textAt + (isEither ? ADDRESS_ROOM_BYTES : 4) };
}

function textOfAddress(unit: Unit, at: number, family: 4 | 6): string | undefined {
  const words = family === 4 ? [unit.u32(at)] : [0, 4, 8, 12].map((offset) => unit.u32(at + offset));
  return words.some((word) => word < 0) ? undefined : formatAddress(family, Int32Array.from(words));
}

function putAddress(unit: Unit, { at, family, text }: SaidAddress, shown: string): void {
  const address = text === shown ? undefined : parseAddress(shown);
  if (address?.family !== family) return;
  for (let i = 0; i < (family === 4 ? 1 : 4); i++) unit.put32(at + 4 * i, address.words[i]!);
}
