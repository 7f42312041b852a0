/**
 * Oracle's TNS (Net8): the listener answers a CONNECT with a REDIRECT to where the database itself waits, another port or
 * another server, and the client connects there. There is no public specification: the layouts are those of Wireshark's
 * dissector and of the client python-oracledb. A packet has eight bytes in front: length and checksum (16 bits), type and
 * flags, checksum of these.
 *
 * A REDIRECT has the length of its data, then the data:
 *
 *     (ADDRESS=(PROTOCOL=tcp)(HOST=10.0.0.5)(PORT=1027))
 *
 * and newer listeners add a NUL and what the client is to say there; where that is too long, it comes as a DATA packet of its
 * own. A HOST that is no address is a name of the server's own, which nobody outside need know: it becomes the address.
 *
 * Nothing is read once the listener has accepted or refused, so that lengths of 32 bits, which begin then, do not matter.
 */
import { formatAddress, parseAddress } from "../wire/address.ts";
import { type ApplicationModule, type Dialogue, type Side, UNREADABLE } from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";

const HEADER_BYTES = 8;
const LENGTH_AT = 0;
const TYPE_AT = 4;
const Type = { connect: 1, acknowledge: 3, redirect: 5, data: 6, resend: 11 } as const;
/** Of a REDIRECT, and of one whose data is in the packet behind it. */
const DATA_LENGTH_AT = HEADER_BYTES;
const REDIRECT_BYTES = DATA_LENGTH_AT + 2;
/** A DATA packet has two bytes of flags in front. */
const LATER_TEXT_AT = REDIRECT_BYTES + HEADER_BYTES + 2;

/** The client is on its way as soon as it knows. */
const ANNOUNCED_SECONDS = 60;

/** Of an address, what is looked for; of a value, what it is. */
const KEYWORD = /\(\s*(ADDRESS|HOST|PORT)\s*=\s*([^()\s]*)/gi;
const PORT = /^\d{1,5}$/;

export const tns: ApplicationModule = {
  name: "tns",
  transports: ["tcp"],
  ports: [1521, 1526, 1575],
  // Of a list of addresses.
  expectationsMax: 4,
  stream: { unitBytesMax: 2048, measure, mayChange },
  begin(dialogue) {
    if (!dialogue.isHidden("server")) dialogue.passUnread();
  },
  read(unit, from, dialogue) {
    const type = unit.u8(TYPE_AT);
    if (from === "client") dialogue.memory = type === Type.connect ? 1 : dialogue.memory;
    else if (type === Type.redirect && dialogue.memory === 1) {
      dialogue.memory = 0;
      readRedirect(unit, dialogue);
    }
  },
};

function measure(unit: Unit, from: Side, dialogue: Dialogue): number {
  const type = unit.u8(TYPE_AT);
  if (type < 0) return 0;
  const length = unit.u16(LENGTH_AT);
  if (length >= HEADER_BYTES) {
    if (from === "client" && (type === Type.connect || type === Type.data)) return length;
    if (from === "server" && (type === Type.resend || type === Type.acknowledge)) return length;
    if (from === "server" && type === Type.redirect) return redirectBytes(unit, length);
  }
  dialogue.passUnread();
  return UNREADABLE;
}

function redirectBytes(unit: Unit, length: number): number {
  if (length !== REDIRECT_BYTES || unit.u16(DATA_LENGTH_AT) === 0) return length;
  const type = unit.u8(REDIRECT_BYTES + TYPE_AT);
  if (type < 0) return 0;
  return type === Type.data ? REDIRECT_BYTES + unit.u16(REDIRECT_BYTES + LENGTH_AT) : length;
}

function mayChange(unit: Unit, from: Side): boolean {
  const type = unit.u8(TYPE_AT);
  return from === "server" && (type < 0 || type === Type.redirect);
}

function readRedirect(unit: Unit, dialogue: Dialogue): void {
  const isLater = unit.u16(LENGTH_AT) === REDIRECT_BYTES;
  const textAt = isLater ? LATER_TEXT_AT : REDIRECT_BYTES;
  const bytes = unit.u16(DATA_LENGTH_AT);
  if (textAt + bytes > unit.length) return;
  const nul = unit.find(0, textAt);
  const end = nul >= 0 && nul < textAt + bytes ? nul : textAt + bytes;
  rewriteAddresses(unit, textAt, unit.text(textAt, end), dialogue);
  if (unit.growth === 0) return;
  unit.put16(DATA_LENGTH_AT, bytes + unit.growth);
  const lengthAt = isLater ? REDIRECT_BYTES + LENGTH_AT : LENGTH_AT;
  unit.put16(lengthAt, unit.u16(lengthAt) + unit.growth);
}

interface Value {
  readonly at: number;
  readonly text: string;
}

function rewriteAddresses(unit: Unit, textAt: number, text: string, dialogue: Dialogue): void {
  let host: Value | undefined;
  let port: Value | undefined;
  for (const { 0: all, 1: keyword, 2: value = "", index } of text.matchAll(KEYWORD)) {
    const found = { at: textAt + index + all.length - value.length, text: value };
    switch (keyword?.toUpperCase()) {
      case "HOST":
        host = found;
        break;
      case "PORT":
        port = found;
        break;
      default:
        host = port = undefined;
    }
    if (host === undefined || port === undefined) continue;
    rewriteAddress(unit, host, port, dialogue);
    host = port = undefined;
  }
}

function rewriteAddress(unit: Unit, host: Value, port: Value, dialogue: Dialogue): void {
  if (host.text === "" || !PORT.test(port.text) || Number(port.text) > 0xffff) return;
  const isBracketed = host.text.startsWith("[") && host.text.endsWith("]");
  const said = parseAddress(isBracketed ? host.text.slice(1, -1) : host.text);
  const shownPort = dialogue.listens("server", {
    protocol: "tcp",
    port: Number(port.text),
    isLasting: true,
    seconds: ANNOUNCED_SECONDS,
    isFellowAllowed: true,
    module: "tns",
    ...(said === undefined ? {} : { address: formatAddress(said.family, said.words) }),
  });
  if (shownPort === 0) return;
  const shown = dialogue.shownAddress("server");
  unit.replace(host.at, host.text.length, isBracketed ? `[${shown}]` : shown);
  unit.replace(port.at, port.text.length, String(shownPort));
}
