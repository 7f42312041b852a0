/** SIP's header values: URIs (RFC 3261 section 19.1), lists of Via (section 20.42), parameters, and where each part stands. */
import { endpointAt, type FoundEndpoint } from "../endpoints.ts";

/** URIs, or Vias, of one header value that are looked at. */
const LIST_MAX = 32;

const PARAMETER = /;\s{0,8}([\w-]{1,32})(?:\s{0,8}=\s{0,8}("[^"]{0,512}"|[^\s;,>"]{1,256}))?/gy;
const SCHEME = /sips?:/gi;
const VIA = /SIP\s{0,8}\/\s{0,8}2\.0\s{0,8}\/\s{0,8}(UDP|TCP)\s{1,8}/iy;

export interface Uri {
  /** Its host, when that is an address. */
  readonly host: FoundEndpoint;
  /** As its parameter says. */
  readonly transport: "tcp" | "udp" | undefined;
  /** Its own, and those behind its bracket. */
  readonly parameters: readonly Parameter[];
}

export interface Parameter {
  /** Capitals. */
  readonly name: string;
  readonly value: string;
  /** Where the value stands; without one, behind the name. */
  readonly at: number;
}

/** Every sip: URI of a header value whose host is an address. */
export function urisOf(text: string, at: number, end: number): Uri[] {
  const uris: Uri[] = [];
  const value = text.slice(at, end);
  SCHEME.lastIndex = 0;
  for (let found = SCHEME.exec(value); found !== null && uris.length < LIST_MAX; found = SCHEME.exec(value)) {
    const from = at + SCHEME.lastIndex;
    if (!isBehindLimit(text, at + found.index, at)) continue;
    const uriEnd = endOfUri(text, from, end);
    const user = text.slice(from, uriEnd).indexOf("@");
    const host = endpointAt(text, from + user + 1);
    SCHEME.lastIndex = uriEnd - at;
    if (host === undefined || host.end > uriEnd) continue;
    const parameters = parametersOf(text, host.end, uriEnd);
    if (text[uriEnd] === ">") parameters.push(...parametersOf(text, uriEnd + 1, end));
    const { value: transport } = parameters.find(({ name }) => name === "TRANSPORT") ?? { value: "" };
    const lower = transport.toLowerCase();
    uris.push({ host, transport: lower === "tcp" || lower === "udp" ? lower : undefined, parameters });
  }
  return uris;
}

export interface Via {
  readonly protocol: "tcp" | "udp";
  /** When it is an address. */
  readonly sentBy: FoundEndpoint | undefined;
  readonly parameters: readonly Parameter[];
}

/** The values of a Via header in turn, as far as each is one. */
export function viasOf(text: string, at: number, end: number): Via[] {
  const vias: Via[] = [];
  for (let from = at; from < end && vias.length < LIST_MAX; ) {
    VIA.lastIndex = from;
    const found = VIA.exec(text);
    if (found === null) return vias;
    const hostAt = VIA.lastIndex;
    const semicolon = indexBefore(text, ";", hostAt, end);
    const comma = indexBefore(text, ",", hostAt, end);
    const parameters = semicolon < comma ? parametersOf(text, semicolon, end) : [];
    vias.push({
      protocol: found[1]!.toLowerCase() as "tcp" | "udp",
      sentBy: endpointAt(text, hostAt),
      parameters,
    });
    const last = parameters.at(-1);
    from = indexBefore(text, ",", last === undefined ? hostAt : last.at + last.value.length, end) + 1;
    while (from < end && " \t\r\n".includes(text[from]!)) from++;
  }
  return vias;
}

/** Each ";name=value" from here on, until something else stands there. */
export function parametersOf(text: string, at: number, end: number): Parameter[] {
  const parameters: Parameter[] = [];
  PARAMETER.lastIndex = at;
  while (parameters.length < LIST_MAX && PARAMETER.lastIndex < end) {
    const found = PARAMETER.exec(text);
    if (found === null || PARAMETER.lastIndex > end) break;
    const [, name = "", value = ""] = found;
    parameters.push({ name: name.toUpperCase(), value, at: PARAMETER.lastIndex - value.length });
  }
  return parameters;
}

/** A URI begins here, and not in the middle of a word or of another URI's user. */
const isBehindLimit = (text: string, at: number, start: number): boolean =>
  at === start || ' \t\r\n<,"='.includes(text[at - 1]!);

function endOfUri(text: string, at: number, end: number): number {
  let to = at;
  while (to < end && !' \t\r\n<>,"'.includes(text[to]!)) to++;
  return to;
}

function indexBefore(text: string, wanted: string, at: number, end: number): number {
  for (let i = at; i < end; i++) if (text[i] === wanted) return i;
  return end;
}
