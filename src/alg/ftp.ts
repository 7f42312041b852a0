/**
 * FTP: RFC 959 sections 4.1.2 (PORT, PASV) and 4.2 (227), RFC 2428 (EPRT, EPSV, 229), RFC 1639 (LPRT, LPSV, 228), RFC 4217
 * (AUTH, 234). Every transfer has a connection of its own, which one side opens to where the other one says it listens.
 *
 * As in Linux IPVS, a reply counts only where it was asked for; and the digits of 227 may stand without parentheses
 * (RFC 1123 section 4.1.2.6).
 *
 * What is encrypted is passed on unread; passive transfers then need the option `passivePorts`, active ones a masquerade rule.
 */
import { formatAddress, parseAddress } from "../wire/address.ts";
import { lineModule } from "./engine/line-module.ts";
import type { Dialogue } from "./engine/module.ts";

/** What a dialogue remembers: what was asked for, and two promises. */
const Asked = { passive: 1, extended: 2, long: 4, encryption: 16 } as const;
/** EPSV ALL: nothing else will be asked for, so anything else is not the client's (RFC 2428 section 4). */
const ONLY_EXTENDED = 8;

/** Encrypted from the first byte on (ftps). */
const ENCRYPTED_PORT = 990;

const NUMBERS = /(?<![\d,])\d{1,3}(?:,\d{1,3}){5}(?![\d,])/;
const LONG_NUMBERS = /(?<![\d,])\d{1,3}(?:,\d{1,3}){8,20}(?![\d,])/;
const PORT_COMMAND = /^PORT +[\d,]+\s*$/i;
const LONG_PORT_COMMAND = /^LPRT +[\d,]+\s*$/i;
const EXTENDED_PORT = /^(EPRT +)([!-~])([12])\2([\d.:A-F]{2,45})\2(\d{1,5})\2(?=\s*$)/i;
const EXTENDED_REPLY = /\(([!-~])([12]?)\1([\d.:A-F]{0,45})\1(\d{1,5})\1\)/i;

export const ftp = lineModule({
  name: "ftp",
  ports: [21],
  // A second one makes the server forget the first.
  expectationsMax: 1,
  begin: (dialogue) => {
    if (dialogue.shownPort("server") === ENCRYPTED_PORT) encrypted(dialogue);
  },
  rules: [
    { from: "client", lead: "PASV", read: (_, dialogue) => ask(dialogue, Asked.passive) },
    { from: "client", lead: "LPSV", read: (_, dialogue) => ask(dialogue, Asked.long) },
    { from: "client", lead: "EPSV", read: extendedPassive },
    { from: "client", lead: "PORT", names: "own", read: port },
    { from: "client", lead: "EPRT", names: "own", read: extendedPort },
    { from: "client", lead: "LPRT", names: "own", read: longPort },
    { from: "client", lead: "AUTH", read: (_, dialogue) => remember(dialogue, Asked.encryption) },
    { from: "server", lead: "227", names: "own", read: passiveReply },
    { from: "server", lead: "228", names: "own", read: longReply },
    { from: "server", lead: "229", names: "own", read: extendedReply },
    { from: "server", lead: "234", read: encryptionReply },
    { from: "server", lead: "334", read: encryptionReply },
  ],
});

function remember(dialogue: Dialogue, asked: number): undefined {
  dialogue.memory |= asked;
}

function ask(dialogue: Dialogue, asked: number): undefined {
  if ((dialogue.memory & ONLY_EXTENDED) === 0) dialogue.memory |= asked;
}

function extendedPassive(line: string, dialogue: Dialogue): undefined {
  const [, argument] = /^EPSV *(\w*)/i.exec(line) ?? [];
  if (argument?.toUpperCase() === "ALL") dialogue.memory |= ONLY_EXTENDED;
  else dialogue.memory |= Asked.extended;
}

function port(line: string, dialogue: Dialogue): string | undefined {
  const found = PORT_COMMAND.test(line) ? NUMBERS.exec(line) : null;
  if (found === null) return undefined;
  return clientReplaced(line, found, endOfNumbers(found[0]), dialogue, numbersOf);
}

function longPort(line: string, dialogue: Dialogue): string | undefined {
  const found = LONG_PORT_COMMAND.test(line) ? LONG_NUMBERS.exec(line) : null;
  if (found === null) return undefined;
  return clientReplaced(line, found, endOfLongNumbers(found[0]), dialogue, longNumbersOf);
}

function extendedPort(line: string, dialogue: Dialogue): string | undefined {
  const found = EXTENDED_PORT.exec(line);
  if (found === null) return undefined;
  const [, lead = "", bar = "", family = "", address = "", portText] = found;
  if ((family === "1" ? 4 : 6) !== dialogue.family) return undefined;
  const format = (to: string, toPort: number) => `${lead}${bar}${family}${bar}${to}${bar}${toPort}${bar}`;
  return clientReplaced(line, found, endOf(address, Number(portText)), dialogue, format);
}

function passiveReply(line: string, dialogue: Dialogue): string | undefined {
  const found = NUMBERS.exec(line.slice(3));
  if (found === null || !isAsked(dialogue, Asked.passive)) return undefined;
  return serverReplaced(line, found[0], endOfNumbers(found[0]), dialogue, numbersOf);
}

function longReply(line: string, dialogue: Dialogue): string | undefined {
  const found = LONG_NUMBERS.exec(line.slice(3));
  if (found === null || !isAsked(dialogue, Asked.long)) return undefined;
  return serverReplaced(line, found[0], endOfLongNumbers(found[0]), dialogue, longNumbersOf);
}

function extendedReply(line: string, dialogue: Dialogue): string | undefined {
  const found = EXTENDED_REPLY.exec(line);
  if (found === null || !isAsked(dialogue, Asked.extended)) return undefined;
  const [all, bar = "", family, address = "", portText] = found;
  // Without an address it is the one of the control connection.
  const end =
    address === "" ? { address: undefined, port: Number(portText) } : endOf(address, Number(portText));
  const isEmpty = address === "" && family === "";
  return serverReplaced(line, all, end, dialogue, (_, toPort) =>
    isEmpty ? `(${bar}${bar}${bar}${toPort}${bar})` : `(|||${toPort}|)`,
  );
}

function encryptionReply(_: string, dialogue: Dialogue): undefined {
  if (isAsked(dialogue, Asked.encryption)) encrypted(dialogue);
}

/** What the server announces cannot be read any more; its passive ports go to it where the configuration names them. */
function encrypted(dialogue: Dialogue): void {
  dialogue.stepAside();
  const own = dialogue.ownAddress("server");
  const range = dialogue.options.passivePorts?.find(
    ({ server }) => server === undefined || endOf(server, 0)?.address === own,
  );
  if (range === undefined) return;
  const { first, last } = range;
  dialogue.listens("server", { protocol: "tcp", port: first, lastPort: last, isLasting: true });
}

/** Was it asked for? Then it is answered now. */
function isAsked(dialogue: Dialogue, asked: number): boolean {
  const isIt = (dialogue.memory & asked) !== 0;
  if (isIt) dialogue.memory &= ~asked;
  return isIt;
}

// Where somebody says he listens

/** `address` undefined: his own. */
interface End {
  readonly address: string | undefined;
  readonly port: number;
}

type Format = (address: string, port: number) => string;

function clientReplaced(
  line: string,
  found: RegExpExecArray,
  end: End | undefined,
  dialogue: Dialogue,
  format: Format,
): string | undefined {
  // A client that asks to be called does not wait for where to call, and who promised not to ask does not ask.
  if (end?.address === undefined || (dialogue.memory & ONLY_EXTENDED) !== 0) return undefined;
  dialogue.memory &= ~(Asked.passive | Asked.extended | Asked.long);
  const { address, port } = end;
  // As in IPVS, the server's connection appears to come from the port in front of the control connection's.
  const appearsFrom = Math.max(1, dialogue.shownPort("server") - 1);
  const toPort = dialogue.listens("client", { protocol: "tcp", address, port, appearsFrom });
  if (toPort === 0) return undefined;
  return line.replace(found[0], () => format(dialogue.shownAddress("client"), toPort));
}

function serverReplaced(
  line: string,
  found: string,
  end: End | undefined,
  dialogue: Dialogue,
  format: Format,
): string | undefined {
  if (end === undefined) return undefined;
  const { address = dialogue.shownAddress("server"), port } = end;
  const toPort = dialogue.listens("server", { protocol: "tcp", address, port });
  if (toPort === 0) return undefined;
  return line.replace(found, () => format(dialogue.shownAddress("server"), toPort));
}

function endOf(address: string, port: number): End | undefined {
  const parsed = parseAddress(address);
  if (parsed === undefined || port > 65_535) return undefined;
  return { address: formatAddress(parsed.family, parsed.words, 0), port };
}

/** "h1,h2,h3,h4,p1,p2" */
function endOfNumbers(text: string): End | undefined {
  const numbers = text.split(",").map(Number);
  if (numbers.some((one) => one > 255)) return undefined;
  const [high = 0, low = 0] = numbers.slice(4);
  return { address: numbers.slice(0, 4).join("."), port: high * 256 + low };
}

const numbersOf: Format = (address, toPort) =>
  `${address.replaceAll(".", ",")},${toPort >> 8},${toPort & 255}`;

/** "4,4,h1,...,2,p1,p2", or "6,16,h1,...,h16,2,p1,p2" */
function endOfLongNumbers(text: string): End | undefined {
  const numbers = text.split(",").map(Number);
  if (numbers.some((one) => one > 255)) return undefined;
  const [family, bytes = 0, ...rest] = numbers;
  const isKnown = (family === 4 && bytes === 4) || (family === 6 && bytes === 16);
  if (!isKnown || rest.length !== bytes + 3 || rest[bytes] !== 2) return undefined;
  const words = new Int32Array(4);
  for (let i = 0; i < bytes; i++) words[i >> 2] = (words[i >> 2]! << 8) | rest[i]!;
  return { address: formatAddress(family, words, 0), port: rest[bytes + 1]! * 256 + rest[bytes + 2]! };
}

const longNumbersOf: Format = (address, toPort) => {
  const { family, words } = parseAddress(address)!;
  const bytes = family === 4 ? 4 : 16;
  const octets = Array.from({ length: bytes }, (_, i) => (words[i >> 2]! >>> (24 - 8 * (i & 3))) & 255);
  return [family, bytes, ...octets, 2, toPort >> 8, toPort & 255].join(",");
};
