/**
 * RTSP: RFC 2326 sections 10.4 (SETUP), 10.7 (TEARDOWN), 10.12 (interleaved data), 12.39 (Transport), RFC 7826 section 18.54
 * (src_addr, dest_addr); RealVideo's from G2 on, whose transports are known by their parameters only (x-real-rdt/udp with one
 * port). The client announces its ports in SETUP, the server its own in the answer, which counts only where it was asked for.
 *
 * Left alone: interleaved data and its channels, multicast, the target of an authorized request (its digest has it). A client's
 * `destination` has to be its own, or its ports are not announced: it is how others are flooded. Left out: RTSP in HTTP or TLS.
 */
import { addressAt, canonical, endpointAt, renamed, replaceAddress, replaceEndpoint } from "./endpoints.ts";
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
} from "./engine/header-framing.ts";
import type { ApplicationModule, Dialogue, Side } from "./engine/module.ts";
import { DIALOGUE_WORDS } from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";
import { renameDescription } from "./sdp.ts";
import { forget, remember, SESSION_WORDS_END, sessionKey } from "./sessions.ts";

const PORT = 554;
const TLS_PORT = 322;
const MESSAGE_BYTES_MAX = 4096;
/** Two ports a track and side, of eight tracks. */
const EXPECTATIONS_MAX = 32;
/** Alternatives of a Transport header, and parameters of each. */
const TRANSPORTS_MAX = 16;
const PARAMETERS_MAX = 24;
const URLS_MAX = 32;

const PROTOCOL: HeaderProtocol = {
  versions: ["RTSP/1.0", "RTSP/2.0"],
  shortNames: {},
  hasInterleaved: true,
};

const URL = /rtsp([su]?):\/\/(?:[^\s/@"<>,;]{0,128}@)?/gi;
const URL_HEADERS = new Set(["CONTENT-BASE", "CONTENT-LOCATION", "LOCATION", "RTP-INFO"]);
const PORTS = /^(\d{1,5})(?:-(\d{1,5}))?$/;

export const rtsp: ApplicationModule = {
  name: "rtsp",
  transports: ["tcp"],
  ports: [PORT, 8554],
  expectationsMax: EXPECTATIONS_MAX,
  stream: headerFraming(PROTOCOL, MESSAGE_BYTES_MAX),
  read(unit, from, dialogue) {
    const message = parseMessage(PROTOCOL, unit);
    if (message !== undefined) new Reading(unit, message, from, dialogue).read();
  },
};

/** What a client asked for, whose answer counts. */
const Asked = { setup: 1, teardown: 2 } as const;

/** One message, being read. */
class Reading {
  readonly #unit: Unit;
  readonly #message: Message;
  readonly #from: Side;
  readonly #dialogue: Dialogue;

  constructor(unit: Unit, message: Message, from: Side, dialogue: Dialogue) {
    this.#unit = unit;
    this.#message = message;
    this.#from = from;
    this.#dialogue = dialogue;
  }

  read(): void {
    const { method, targetAt, targetEnd, headers, status } = this.#message;
    const isAuthorized = headerOf(this.#message, "AUTHORIZATION") !== undefined;
    if (method !== undefined && !isAuthorized) this.#renameUrls(targetAt, targetEnd);
    for (const { name, at, end } of headers) if (URL_HEADERS.has(name)) this.#renameUrls(at, end);
    this.#readBody();
    const transport = headerOf(this.#message, "TRANSPORT");
    if (this.#from === "client") {
      if (method === "SETUP" && transport !== undefined) this.#readRequested(transport);
      if (method === "SETUP") this.#ask(Asked.setup);
      if (method === "TEARDOWN") this.#ask(Asked.teardown);
    } else if (method === undefined) {
      const asked = this.#answered();
      const session = /^[^\s;]{1,256}/.exec(headerText(this.#message, "SESSION"));
      const key = session === null ? 0 : sessionKey(session[0]);
      if (asked === Asked.setup && status < 300 && transport !== undefined) this.#readAgreed(transport, key);
      if (asked === Asked.teardown && status < 300 && key !== 0) forget(this.#dialogue, key, true);
    }
  }

  #renameUrls(at: number, end: number): void {
    const { text } = this.#message;
    for (const { hostAt, defaultPort } of urlsOf(text, at, end)) {
      const host = endpointAt(text, hostAt);
      if (host === undefined || host.end > end) continue;
      const to = renamed(this.#dialogue, this.#from, "tcp", host.address, host.port || defaultPort);
      if (to !== undefined) replaceEndpoint(this.#unit, host, to, defaultPort);
    }
  }

  #readBody(): void {
    const message = this.#message;
    const { text, bodyAt } = message;
    const end = bodyAt + (bodyBytesOf(message) ?? 0);
    if (end > text.length || !/^application\/sdp/i.test(headerText(message, "CONTENT-TYPE"))) return;
    const before = this.#unit.growth;
    renameDescription({
      unit: this.#unit,
      text,
      at: bodyAt,
      end,
      from: this.#from,
      dialogue: this.#dialogue,
    });
    this.#renameUrls(bodyAt, end);
    repairLength(message, this.#unit, this.#unit.growth - before);
  }

  /** What the client offers: its ports, in every alternative the same. */
  #readRequested(header: Header): void {
    const transports = transportsOf(this.#message.text, header);
    const pairs = new Set<number>();
    for (const { clientPorts } of transports) if (clientPorts?.isPair) pairs.add(clientPorts.port);
    for (const { isMulticast, destination, clientPorts, destinations } of transports) {
      if (isMulticast) continue;
      if (clientPorts !== undefined) {
        const isPair = pairs.has(clientPorts.port);
        const address = destination?.value;
        const shown = this.#listens("client", clientPorts.port, isPair, address);
        if (shown > 0) {
          this.#replacePorts(clientPorts, shown);
          this.#replaceAddress(destination);
        }
      }
      if (destinations !== undefined) this.#listensAt("client", destinations, undefined);
    }
  }

  /** What they agreed on, as the server says it. */
  #readAgreed(header: Header, session: number): void {
    const dialogue = this.#dialogue;
    for (const transport of transportsOf(this.#message.text, header)) {
      const { isMulticast, clientPorts, serverPorts, destination, destinations, source, sources } = transport;
      if (isMulticast) continue;
      if (clientPorts !== undefined) {
        const own = dialogue.ownPortOf("client", "udp", clientPorts.port);
        if (own > 0) {
          this.#replacePorts(clientPorts, own);
          this.#belongs(session, "client", own);
        }
      }
      this.#replaceAddress(destination);
      for (const { at, endpoint } of destinations?.list ?? []) {
        const own = dialogue.ownPortOf("client", "udp", endpoint.port);
        if (own === 0) continue;
        this.#replaceQuoted(at, endpoint, { address: dialogue.ownAddress("client"), port: own });
        this.#belongs(session, "client", own);
      }
      if (serverPorts !== undefined) {
        const shown = this.#listens("server", serverPorts.port, serverPorts.isPair, source?.value);
        if (shown > 0) this.#replacePorts(serverPorts, shown);
        this.#belongs(session, "server", serverPorts.port);
      }
      this.#replaceAddress(source);
      if (sources !== undefined) this.#listensAt("server", sources, session);
    }
  }

  #belongs(session: number, side: Side, port: number): void {
    if (session !== 0) remember(this.#dialogue, session, side, port);
  }

  #listens(side: Side, port: number, isPair: boolean, address: string | undefined): number {
    const dialogue = this.#dialogue;
    const known = address === undefined ? undefined : addressAt(address, 0);
    return dialogue.listens(side, {
      protocol: "udp",
      port,
      isPair,
      isLasting: true,
      from: dialogue.options.mediaFrom ?? "peer",
      // What is no address is nobody's.
      ...(address !== undefined && { address: known?.address ?? address }),
    });
  }

  /** RTSP 2.0: RTP's endpoint and RTCP's. */
  #listensAt(side: Side, { list, isPair }: QuotedList, session: number | undefined): void {
    for (const [k, { at, endpoint }] of list.entries()) {
      const dialogue = this.#dialogue;
      const isSecond = isPair && k === 1;
      const shown = isSecond
        ? dialogue.shownPortOf(side, "udp", endpoint.port)
        : this.#listens(side, endpoint.port, isPair, endpoint.address === "" ? undefined : endpoint.address);
      if (session !== undefined) this.#belongs(session, side, endpoint.port);
      if (shown > 0) this.#replaceQuoted(at, endpoint, { address: dialogue.shownAddress(side), port: shown });
    }
  }

  #replacePorts({ at, length, isPair, hasLast, port }: FoundPorts, to: number): void {
    if (to !== port) this.#unit.replace(at, length, hasLast ? `${to}-${isPair ? to + 1 : to}` : String(to));
  }

  #replaceAddress(found: Parameter | undefined): void {
    if (found === undefined) return;
    const at = addressAt(this.#message.text, found.at);
    replaceAddress(this.#unit, at, this.#from, this.#dialogue);
  }

  #replaceQuoted(at: number, endpoint: QuotedEndpoint, to: { address: string; port: number }): void {
    const host = endpoint.address === "" ? "" : to.address.includes(":") ? `[${to.address}]` : to.address;
    if (to.port !== endpoint.port || (host !== "" && to.address !== endpoint.address))
      this.#unit.replace(at, endpoint.length, `${host}:${to.port}`);
  }

  // Requests whose answers count: the words behind the sessions', the oldest giving way.

  #ask(what: number): void {
    const { words } = this.#dialogue;
    words.copyWithin(SESSION_WORDS_END + 1, SESSION_WORDS_END, DIALOGUE_WORDS - 1);
    words[SESSION_WORDS_END] = this.#sequence() | (what << 29);
  }

  /** @returns what this answers; 0: nothing that counts */
  #answered(): number {
    const { words } = this.#dialogue;
    const sequence = this.#sequence();
    for (let at = SESSION_WORDS_END; at < DIALOGUE_WORDS; at++) {
      const word = words[at]!;
      if (word === 0 || (word & 0x1fff_ffff) !== sequence) continue;
      // Before it there may be an answer that only says that it goes on.
      if (this.#message.status >= 200) words[at] = 0;
      return word >>> 29;
    }
    return 0;
  }

  #sequence(): number {
    const text = headerText(this.#message, "CSEQ");
    return /^\d{1,10}$/.test(text) ? Number(text) & 0x1fff_ffff : 0;
  }
}

interface Parameter {
  /** Capitals. */
  readonly name: string;
  readonly value: string;
  readonly at: number;
}

/** "4588" or "4588-4589" */
interface FoundPorts {
  readonly at: number;
  readonly length: number;
  readonly port: number;
  readonly isPair: boolean;
  readonly hasLast: boolean;
}

interface QuotedEndpoint {
  /** "": the connection's. */
  readonly address: string;
  readonly port: number;
  readonly length: number;
}

/** `"192.0.2.5:6256"/"192.0.2.5:6257"`, `":4588"` */
interface QuotedList {
  readonly list: readonly { readonly at: number; readonly endpoint: QuotedEndpoint }[];
  readonly isPair: boolean;
}

export interface Transport {
  readonly isMulticast: boolean;
  readonly clientPorts: FoundPorts | undefined;
  readonly serverPorts: FoundPorts | undefined;
  readonly destination: Parameter | undefined;
  readonly source: Parameter | undefined;
  readonly destinations: QuotedList | undefined;
  readonly sources: QuotedList | undefined;
}

/** The alternatives of a Transport header. */
export function transportsOf(text: string, { at, end }: Pick<Header, "at" | "end">): Transport[] {
  const transports: Transport[] = [];
  let from = at;
  while (from < end && transports.length < TRANSPORTS_MAX) {
    const next = endOfPart(text, from, end, ",");
    transports.push(transportOf(text, from, next));
    from = next + 1;
  }
  return transports;
}

function transportOf(text: string, at: number, end: number): Transport {
  const parameters: Parameter[] = [];
  let from = at;
  while (from < end && parameters.length < PARAMETERS_MAX) {
    const next = endOfPart(text, from, end, ";");
    parameters.push(parameterOf(text, from, next));
    from = next + 1;
  }
  const find = (wanted: string): Parameter | undefined => parameters.find(({ name }) => name === wanted);
  return {
    isMulticast: find("MULTICAST") !== undefined,
    clientPorts: portsOf(find("CLIENT_PORT")),
    serverPorts: portsOf(find("SERVER_PORT")),
    destination: find("DESTINATION"),
    source: find("SOURCE"),
    destinations: quotedOf(find("DEST_ADDR")),
    sources: quotedOf(find("SRC_ADDR")),
  };
}

/** Where this part of a list ends; what is in quotes ends none. */
function endOfPart(text: string, at: number, end: number, limit: string): number {
  let isQuoted = false;
  for (let i = at; i < end; i++) {
    if (text[i] === '"') isQuoted = !isQuoted;
    else if (text[i] === limit && !isQuoted) return i;
  }
  return end;
}

function parameterOf(text: string, at: number, end: number): Parameter {
  const part = text.slice(at, end);
  const equals = part.indexOf("=");
  const name = (equals < 0 ? part : part.slice(0, equals)).trim().toUpperCase();
  if (equals < 0) return { name, value: "", at: end };
  const after = part.slice(equals + 1);
  const lead = after.length - after.trimStart().length;
  return { name, value: after.trim(), at: at + equals + 1 + lead };
}

function portsOf(parameter: Parameter | undefined): FoundPorts | undefined {
  const found = PORTS.exec(parameter?.value ?? "");
  if (found === null) return undefined;
  const port = Number(found[1]);
  const last = found[2] === undefined ? port : Number(found[2]);
  if (port === 0 || last > 65_535 || (last !== port && last !== port + 1)) return undefined;
  return {
    at: parameter!.at,
    length: found[0].length,
    port,
    isPair: last === port + 1,
    hasLast: found[2] !== undefined,
  };
}

function quotedOf(parameter: Parameter | undefined): QuotedList | undefined {
  if (parameter === undefined) return undefined;
  const list: { at: number; endpoint: QuotedEndpoint }[] = [];
  let at = parameter.at + 1;
  for (const quoted of parameter.value.split("/", 2)) {
    const found = /^"(.{0,60}):(\d{1,5})"$/.exec(quoted);
    const port = Number(found?.[2] ?? 0);
    if (port === 0 || port > 65_535) return undefined;
    const host = found![1]!.replace(/^\[|\]$/g, "");
    const address = host === "" ? "" : (canonical(host) ?? host);
    list.push({ at, endpoint: { address, port, length: quoted.length - 2 } });
    at += quoted.length + 1;
  }
  const [first, second] = list;
  return { list, isPair: second !== undefined && second.endpoint.port === first!.endpoint.port + 1 };
}

/** Where the hosts of absolute URLs stand. */
function urlsOf(text: string, at: number, end: number): { hostAt: number; defaultPort: number }[] {
  const urls: { hostAt: number; defaultPort: number }[] = [];
  const part = text.slice(at, end);
  URL.lastIndex = 0;
  for (let found = URL.exec(part); found !== null && urls.length < URLS_MAX; found = URL.exec(part))
    urls.push({
      hostAt: at + URL.lastIndex,
      defaultPort: found[1]!.toLowerCase() === "s" ? TLS_PORT : PORT,
    });
  return urls;
}
