/**
 * SIP: RFC 3261 sections 18 (transport), 19.1 (URIs), 20 (headers), RFC 3581 (rport), RFC 3264 (offer and answer). Requests
 * go either way on a connection. Where a host names itself (Via, Contact, Record-Route, From, SDP) the other side reads what
 * is shown of it; where the other side names it (request URI, Route, To, the Via that comes back), it reads itself.
 *
 * Who says where it wants to be called (Contact), or answered (Via without rport), on another port than it speaks from is
 * called there, and so is who registers, as long as the registration lasts. Media: sdp.ts; they end with BYE's answer, or
 * with the final refusal of what asked for them.
 *
 * Left alone: names instead of addresses, Call-ID and what is signed (Authorization, Identity). Left out: TLS (nothing can be
 * read), SCTP, compression (RFC 3486), WebSockets.
 */

import { addressAt, renamed, replaceAddress, replaceEndpoint } from "../endpoints.ts";
import {
  bodyBytesOf,
  type Header,
  type HeaderProtocol,
  headerFraming,
  headerOf,
  headerText,
  type Message,
  parseMessage,
  repairLength,
} from "../engine/header-framing.ts";
import type { Dialogue, Side, StreamShape } from "../engine/module.ts";
import { type ApplicationModule, opposite } from "../engine/module.ts";
import type { Unit } from "../engine/unit.ts";
import { announceDescription } from "../sdp.ts";
import { confirm, forget, remember, sessionKey } from "../sessions.ts";
import { type Uri, urisOf, type Via, viasOf } from "./uris.ts";

const PORT = 5060;
/** Of a message over TCP. */
const MESSAGE_BYTES_MAX = 6144;
/** Media, two a stream and side, of some calls at a time; and contacts. */
const EXPECTATIONS_MAX = 64;
/** Of a registration that does not say (RFC 3261 section 10.2.1.1 leaves it to the registrar). */
const EXPIRES_SECONDS = 3600;
const EXPIRES_SECONDS_MAX = 86_400;
/** Twice timer F. */
const TRANSACTION_SECONDS = 64;

const PROTOCOL: HeaderProtocol = {
  versions: ["SIP/2.0"],
  // RFC 3261 section 7.3.3, RFC 3515, RFC 3892
  shortNames: {
    B: "REFERRED-BY",
    C: "CONTENT-TYPE",
    F: "FROM",
    I: "CALL-ID",
    L: "CONTENT-LENGTH",
    M: "CONTACT",
    R: "REFER-TO",
    T: "TO",
    V: "VIA",
  },
  hasInterleaved: false,
};

/** Headers whose URIs may name either side, besides Contact. */
const URI_HEADERS = new Set([
  "FROM",
  "TO",
  "ROUTE",
  "RECORD-ROUTE",
  "PATH",
  "SERVICE-ROUTE",
  "REFER-TO",
  "REFERRED-BY",
  "REPLY-TO",
  "P-ASSERTED-IDENTITY",
  "P-PREFERRED-IDENTITY",
  "REMOTE-PARTY-ID",
]);

const stream: StreamShape = headerFraming(PROTOCOL, MESSAGE_BYTES_MAX);

export const sip: ApplicationModule = {
  name: "sip",
  transports: ["udp", "tcp"],
  ports: [PORT],
  expectationsMax: EXPECTATIONS_MAX,
  stream,
  read(unit, from, dialogue) {
    const message = parseMessage(PROTOCOL, unit);
    if (message !== undefined) new Reading(unit, message, from, dialogue).read();
  },
};

/** One message, being read. */
class Reading {
  readonly #unit: Unit;
  readonly #message: Message;
  readonly #from: Side;
  readonly #dialogue: Dialogue;
  /** Of the request, or of what is answered; capitals. */
  readonly #method: string;
  readonly #call: number;

  constructor(unit: Unit, message: Message, from: Side, dialogue: Dialogue) {
    this.#unit = unit;
    this.#message = message;
    this.#from = from;
    this.#dialogue = dialogue;
    this.#method = message.method ?? /\S*$/.exec(headerText(message, "CSEQ").slice(-33))![0].toUpperCase();
    this.#call = sessionKey(headerText(message, "CALL-ID"));
  }

  read(): void {
    const { method, targetAt, targetEnd, headers } = this.#message;
    if (method !== undefined) this.#readUris(targetAt, targetEnd);
    // What is announced there is known everywhere else.
    for (const header of headers) if (header.name === "CONTACT") this.#readContacts(header);
    let isTopmost = true;
    for (const header of headers) {
      if (header.name === "VIA") {
        for (const via of viasOf(this.#message.text, header.at, header.end)) {
          this.#readVia(via, isTopmost && method !== undefined);
          isTopmost = false;
        }
      } else if (URI_HEADERS.has(header.name)) this.#readUris(header.at, header.end);
    }
    this.#readBody();
    if (method === undefined) this.#settle();
  }

  #readUris(at: number, end: number): void {
    for (const uri of urisOf(this.#message.text, at, end)) this.#rename(uri);
  }

  #rename({ host, transport, parameters }: Uri): void {
    const dialogue = this.#dialogue;
    const to = renamed(
      dialogue,
      this.#from,
      transport ?? (dialogue.transport as "udp"),
      host.address,
      host.port || PORT,
    );
    if (to !== undefined) replaceEndpoint(this.#unit, host, to, PORT);
    for (const { name, at } of parameters)
      if (name === "MADDR")
        replaceAddress(this.#unit, addressAt(this.#message.text, at), this.#from, dialogue);
  }

  #readContacts({ at, end }: Header): void {
    for (const uri of urisOf(this.#message.text, at, end)) {
      if (this.#mayBeCalled()) this.#announceContact(uri);
      this.#rename(uri);
    }
  }

  /** Does a Contact say where its sender is? In a redirection, and in a registrar's answer, it says where others are. */
  #mayBeCalled(): boolean {
    const { method, status } = this.#message;
    return method !== undefined || (status < 300 && this.#method !== "REGISTER");
  }

  #announceContact({ host, transport, parameters }: Uri): void {
    const dialogue = this.#dialogue;
    const from = this.#from;
    const protocol = transport ?? (dialogue.transport as "udp");
    const port = host.port || PORT;
    if (host.address !== dialogue.ownAddress(from)) return;
    const isOwn = port === dialogue.ownPort(from) && (protocol === dialogue.transport || from === "server");
    const isRegistration = this.#method === "REGISTER" && this.#message.method !== undefined;
    if (!isRegistration) {
      if (!isOwn) this.#announce(protocol, port);
      return;
    }
    // On a stream it is called on this very one, where it listens on no other port.
    if (isOwn && protocol === "tcp") return;
    const said =
      parameters.find(({ name }) => name === "EXPIRES")?.value ?? headerText(this.#message, "EXPIRES");
    const seconds = /^\d{1,10}$/.test(said) ? Number(said) : EXPIRES_SECONDS;
    // When it ends, it has to be known until the registrar has agreed.
    const bounded = Math.max(TRANSACTION_SECONDS, Math.min(seconds, EXPIRES_SECONDS_MAX));
    this.#announce(protocol, port, isOwn, bounded);
  }

  /** Whoever is called there is called by SIP. */
  #announce(protocol: "tcp" | "udp", port: number, isOwn = false, seconds?: number): void {
    const dialogue = this.#dialogue;
    const from = this.#from;
    dialogue.listens(from, {
      protocol,
      port,
      address: dialogue.ownAddress(from),
      isLasting: true,
      module: "sip",
      ...(seconds !== undefined && { seconds }),
      ...(isOwn && { preferredPort: dialogue.shownPort(from) }),
      // It knows the server by this port.
      ...(from === "client" && { appearsFrom: dialogue.shownPort("server") }),
    });
  }

  /** @param isSenders - the topmost one of a request is its sender's; otherwise they come back, or were there before */
  #readVia({ protocol, sentBy, parameters }: Via, isSenders: boolean): void {
    const dialogue = this.#dialogue;
    const from = this.#from;
    const { text } = this.#message;
    if (sentBy !== undefined) {
      const port = sentBy.port || PORT;
      const isSymmetric = protocol === "tcp" || parameters.some(({ name }) => name === "RPORT");
      const isElsewhere = sentBy.address === dialogue.ownAddress(from) && port !== dialogue.ownPort(from);
      if (isSenders && isElsewhere && !isSymmetric) this.#announce("udp", port);
      const to = renamed(dialogue, from, protocol, sentBy.address, port);
      if (to !== undefined) replaceEndpoint(this.#unit, sentBy, to, PORT);
    }
    const to = opposite(from);
    for (const { name, value, at } of parameters) {
      if (name === "MADDR" || name === "RECEIVED")
        replaceAddress(this.#unit, addressAt(text, at), from, dialogue);
      else if (
        name === "RPORT" &&
        value !== "" &&
        value === String(dialogue.shownPort(to)) &&
        dialogue.isHidden(to)
      )
        this.#unit.replace(at, value.length, String(dialogue.ownPort(to)));
    }
  }

  #readBody(): void {
    const message = this.#message;
    const { text, bodyAt } = message;
    const said =
      headerOf(message, "CONTENT-LENGTH") === undefined ? text.length - bodyAt : bodyBytesOf(message);
    // A length that lies: nobody knows what is read at the other end.
    if (said === undefined || bodyAt + said > text.length) return;
    const range = descriptionRange(message, bodyAt + said);
    if (range === undefined) return;
    const before = this.#unit.growth;
    const dialogue = this.#dialogue;
    const from = this.#from;
    announceDescription(
      { unit: this.#unit, text, ...range, from, dialogue },
      dialogue.options.mediaFrom ?? "peer",
      (port) => remember(dialogue, this.#call, from, port),
    );
    repairLength(message, this.#unit, this.#unit.growth - before);
  }

  /** A final answer: the call began, is over, or what was asked for is refused. */
  #settle(): void {
    const { status } = this.#message;
    const dialogue = this.#dialogue;
    const isAskedAgain = status === 401 || status === 407 || status === 491;
    if (status < 200) return;
    if (this.#method === "BYE") {
      if (!isAskedAgain) forget(dialogue, this.#call, true);
    } else if (this.#method === "INVITE" || this.#method === "UPDATE") {
      if (status < 300) confirm(dialogue, this.#call);
      else forget(dialogue, this.#call, false);
    }
  }
}

/** Where the session description stands: the whole body, or one part of it (RFC 5621). */
function descriptionRange(message: Message, end: number): { at: number; end: number } | undefined {
  const type = headerText(message, "CONTENT-TYPE").toLowerCase();
  const { text, bodyAt } = message;
  if (/^application\/sdp\s{0,8}(?:;|$)/.test(type)) return { at: bodyAt, end };
  if (!type.startsWith("multipart/")) return undefined;
  const body = text.slice(bodyAt, end);
  const part = /\ncontent-type:[ \t]{0,8}application\/sdp[ \t;\r\n]/i.exec(body);
  if (part === null) return undefined;
  const at = body.indexOf("\r\n\r\n", part.index);
  const partEnd = body.indexOf("\r\n--", at + 4);
  return at < 0 || partEnd < 0 ? undefined : { at: bodyAt + at + 4, end: bodyAt + partEnd + 2 };
}
