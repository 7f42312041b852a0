/**
 * Session descriptions: RFC 8866 (o=, c=, m=), RFC 3605 (a=rtcp), RFC 8839 section 5.1 (a=candidate). What a host says of
 * itself becomes what is shown of it, and each of its media ports is announced: RTP and RTCP are two neighbours.
 *
 * Left alone: port 0 (no such stream), 0.0.0.0 and :: (on hold; somewhere unsaid), multicast, names, the other family.
 * Left out: SDP inside S/MIME; TCP candidates; ports of key exchange and such in attributes of single applications.
 */

import { canonical } from "./endpoints.ts";
import type { Dialogue, Side } from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";

/** Media of a description that are announced. */
const MEDIA_MAX = 8;
/** ICE candidates of a description that are. */
const CANDIDATES_MAX = 16;
/** Port pairs of one medium ("m=video 49170/2"). */
const PAIRS_MAX = 8;

const CONNECTION = /^c=IN IP[46] ([\da-f:.]{2,45})(?=[\s/]|$)/i;
const ORIGIN = /^o=\S{1,255} \S{1,32} \S{1,32} IN IP[46] ([\da-f:.]{2,45})\s*$/i;
const MEDIA = /^m=[\w-]{1,32} (\d{1,5})(?:\/(\d{1,3}))? ([\w/.-]{1,64})(?=\s|$)/;
const RTCP = /^a=rtcp:(\d{1,5})(?: IN IP[46] ([\da-f:.]{2,45}))?\s*$/i;
const CANDIDATE = /^a=candidate:\S{1,32} \d{1,3} udp \d{1,10} ([\da-f:.]{2,45}) (\d{1,5}) typ /i;

/** Who may send to what is announced: the other side, or anyone. */
export type Senders = "peer" | "anyone";

export interface Description {
  readonly unit: Unit;
  /** The unit's, a character a byte. */
  readonly text: string;
  readonly at: number;
  readonly end: number;
  readonly from: Side;
  readonly dialogue: Dialogue;
}

/** An address in a description. */
interface AddressLine {
  readonly at: number;
  readonly address: string;
  /** As it is written. */
  readonly length: number;
}

interface Medium {
  readonly portAt: number;
  readonly port: number;
  readonly pairs: number;
  readonly protocol: string;
  connection: AddressLine | undefined;
  rtcp: { readonly at: number; readonly port: number; readonly address: AddressLine | undefined } | undefined;
}

/** Change the addresses of a description that are this side's own; nothing is announced. */
export function renameDescription({ unit, text, at, end, from, dialogue }: Description): void {
  if (!dialogue.isHidden(from)) return;
  const [own, shown] = [dialogue.ownAddress(from), dialogue.shownAddress(from)];
  for (const line of linesOf(text, at, end)) {
    const found = addressOf(CONNECTION, line) ?? addressOf(ORIGIN, line);
    if (found?.address === own) unit.replace(found.at, found.length, shown);
  }
}

/** Does a side describe itself, rather than somebody else? */
export function describesOwn({ text, at, end, from, dialogue }: Description): boolean {
  const own = dialogue.ownAddress(from);
  for (const line of linesOf(text, at, end)) if (addressOf(CONNECTION, line)?.address === own) return true;
  return false;
}

/**
 * Change them, and announce its media.
 * @param onMedia - told of every UDP port that was asked for
 */
export function announceDescription(
  description: Description,
  senders: Senders,
  onMedia: (port: number) => void,
): void {
  const { unit, text, at, end, from, dialogue } = description;
  const ports = new Ports(description, senders, onMedia);
  const media: Medium[] = [];
  const candidates: RegExpExecArray[] = [];
  const candidateLines: number[] = [];
  let session: AddressLine | undefined;
  renameDescription(description);
  for (const line of linesOf(text, at, end)) {
    const medium = media.at(-1);
    const address = addressOf(CONNECTION, line);
    if (line.text.startsWith("v=")) {
      // Another description begins (MGCP has two in a message).
      ports.announceAll(media, session);
      media.length = 0;
      session = undefined;
    } else if (address !== undefined) {
      if (medium === undefined) session = address;
      else medium.connection = address;
    } else if (line.text.startsWith("m=")) media.push(mediumOf(line));
    else if (line.text.startsWith("a=rtcp:") && medium !== undefined) medium.rtcp = rtcpOf(line);
    else if (line.text.startsWith("a=candidate:") && candidates.length < CANDIDATES_MAX) {
      const found = CANDIDATE.exec(line.text);
      if (found === null) continue;
      candidates.push(found);
      candidateLines.push(line.at);
    }
  }
  ports.announceAll(media, session);
  for (const [k, found] of candidates.entries()) {
    const [all, address = "", portText = ""] = found;
    if (canonical(address) !== dialogue.ownAddress(from)) continue;
    const port = Number(portText);
    const toPort = ports.shown(port) || ports.announce({ port, address, pairs: 0 });
    if (toPort === 0) continue;
    const addressAt = candidateLines[k]! + all.length - " typ ".length - portText.length - 1 - address.length;
    if (dialogue.isHidden(from)) unit.replace(addressAt, address.length, dialogue.shownAddress(from));
    ports.replace(addressAt + address.length + 1, port, toPort);
  }
}

/** The ports of a description, announced once each. */
class Ports {
  readonly #of: Description;
  readonly #senders: Senders;
  readonly #onMedia: (port: number) => void;
  readonly #shown = new Map<number, number>();
  #count = 0;

  constructor(description: Description, senders: Senders, onMedia: (port: number) => void) {
    this.#of = description;
    this.#senders = senders;
    this.#onMedia = onMedia;
  }

  announceAll(media: readonly Medium[], session: AddressLine | undefined): void {
    for (const medium of media) {
      const connection = medium.connection ?? session;
      if (connection === undefined || !isSomewhere(connection.address)) continue;
      const { port, pairs, protocol, portAt, rtcp } = medium;
      if (port === 0 || port > 65_535 || protocol.toUpperCase().startsWith("TCP")) continue;
      const isRtp = /^RTP\/|\/RTP\//i.test(protocol);
      const toPort = this.announce({ port, address: connection.address, pairs: isRtp ? pairs : 0 });
      if (toPort > 0) {
        this.replace(portAt, port, toPort);
        this.#rename(connection);
      }
      if (rtcp !== undefined) this.#announceRtcp(rtcp, connection);
    }
  }

  /** Where an own port of this description is shown; 0: it is not. */
  shown(port: number): number {
    return this.#shown.get(port) ?? 0;
  }

  /** @param what - `pairs` 0: this port alone @returns where it is shown; 0: it stays as it is */
  announce({ port, address, pairs }: { port: number; address: string; pairs: number }): number {
    if (port === 0 || port > 65_535 || this.#count >= MEDIA_MAX + CANDIDATES_MAX) return 0;
    this.#count++;
    const { dialogue, from } = this.#of;
    const lastPort = Math.min(65_535, port + 2 * Math.min(pairs, PAIRS_MAX) - 1);
    const shown = dialogue.listens(from, {
      protocol: "udp",
      port,
      address: canonical(address) ?? address,
      from: this.#senders,
      isLasting: true,
      ...(pairs === 1 && { isPair: true }),
      ...(pairs > 1 && { lastPort }),
    });
    this.#onMedia(port);
    if (shown > 0) for (let k = 0; k < Math.max(1, 2 * pairs); k++) this.#shown.set(port + k, shown + k);
    return shown;
  }

  replace(at: number, port: number, toPort: number): void {
    const { unit, text } = this.#of;
    if (port !== toPort) unit.replace(at, /^\d+/.exec(text.slice(at, at + 5))![0].length, String(toPort));
  }

  #announceRtcp({ at, port, address }: NonNullable<Medium["rtcp"]>, connection: AddressLine): void {
    const known = this.shown(port);
    const toPort = known || this.announce({ port, address: (address ?? connection).address, pairs: 0 });
    if (toPort === 0) return;
    this.replace(at, port, toPort);
    if (address !== undefined) this.#rename(address);
  }

  /** It is one of this side's, whichever it is. */
  #rename({ at, length, address }: AddressLine): void {
    const { unit, dialogue, from } = this.#of;
    const shown = dialogue.shownAddress(from);
    if (dialogue.isHidden(from) && address !== shown) unit.replace(at, length, shown);
  }
}

interface Line {
  readonly at: number;
  readonly text: string;
}

function* linesOf(text: string, at: number, end: number): Generator<Line, void, undefined> {
  let from = at;
  while (from < end) {
    const feed = text.indexOf("\n", from);
    const next = feed < 0 || feed >= end ? end : feed + 1;
    yield { at: from, text: text.slice(from, next) };
    from = next;
  }
}

function addressOf(pattern: RegExp, line: Line): AddressLine | undefined {
  const found = pattern.exec(line.text);
  const address = found === null ? undefined : canonical(found[1]!);
  if (address === undefined) return undefined;
  const written = found![1]!;
  // Nothing but white space or "/ttl" is behind it.
  const at = line.at + found![0].trimEnd().length - written.length;
  return { at, address, length: written.length };
}

function mediumOf(line: Line): Medium {
  const found = MEDIA.exec(line.text);
  const [, portText = "0", countText, protocol = ""] = found ?? [];
  const portAt = line.at + line.text.indexOf(" ") + 1;
  const pairs = countText === undefined ? 1 : Number(countText);
  return { portAt, port: Number(portText), pairs, protocol, connection: undefined, rtcp: undefined };
}

function rtcpOf(line: Line): Medium["rtcp"] {
  const found = RTCP.exec(line.text);
  const port = Number(found?.[1] ?? 0);
  if (port === 0 || port > 65_535) return undefined;
  const address = found![2] === undefined ? undefined : addressOf(RTCP_ADDRESS, line);
  return { at: line.at + "a=rtcp:".length, port, address };
}

const RTCP_ADDRESS = /^a=rtcp:\d{1,5} IN IP[46] ([\da-f:.]{2,45})\s*$/i;

/** Not on hold, and one host. */
function isSomewhere(address: string): boolean {
  const first = Number.parseInt(address, 10);
  if (address.includes(":")) return address !== "::" && !/^ff/i.test(address);
  return address !== "0.0.0.0" && (first < 224 || first > 239);
}
