/**
 * Endpoints in texts: "10.0.0.2:5060", "[fd00::2]", and what the other side has to read in their place (SIP, RTSP, MGCP).
 *
 * A host has one name for itself and another for the other side, and both are an address *and* a port: several may share a
 * shown address, and what is said of another port of it is not about this one. So an endpoint is replaced only where both
 * fit: the connection's own, or one that was announced.
 */
import { bracketed, formatAddress, parseAddress } from "../wire/address.ts";
import { type Dialogue, opposite, type Side } from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";

/** Where in a text an endpoint stands. */
export interface FoundEndpoint {
  readonly at: number;
  readonly end: number;
  /** Canonical, without brackets. */
  readonly address: string;
  /** 1..65535; 0: none is said. */
  readonly port: number;
  readonly isBracketed: boolean;
}

const ENDPOINT = /(?:\[([\da-f:.]{2,45})\]|(\d{1,3}(?:\.\d{1,3}){3}))(?::(\d{1,5}))?(?![\w.:[-])/iy;
/** Without brackets, where no port can follow: "received=2001:db8::1". */
const BARE = /\[?([\da-f:.]{2,45})\]?(?![\w.:[-])/iy;

/** The endpoint that stands exactly here, or undefined: a name, or nothing that could be one. */
export function endpointAt(text: string, at: number): FoundEndpoint | undefined {
  ENDPOINT.lastIndex = at;
  const found = ENDPOINT.exec(text);
  if (found === null) return undefined;
  const [all, six, four = "", portText] = found;
  const address = canonical(six ?? four);
  const port = portText === undefined ? 0 : Number(portText);
  if (address === undefined || port > 65_535 || (portText !== undefined && port === 0)) return undefined;
  return { at, end: at + all.length, address, port, isBracketed: six !== undefined };
}

/** The address that stands exactly here, with or without brackets. */
export function addressAt(text: string, at: number): FoundEndpoint | undefined {
  BARE.lastIndex = at;
  const found = BARE.exec(text);
  const address = found === null ? undefined : canonical(found[1]!);
  if (address === undefined) return undefined;
  return { at, end: at + found![0].length, address, port: 0, isBracketed: text[at] === "[" };
}

/** As it is written in only one way; undefined: it is no address. */
export function canonical(text: string): string | undefined {
  const parsed = parseAddress(text);
  return parsed === undefined ? undefined : formatAddress(parsed.family, parsed.words);
}

/** What stands in an endpoint's place for the other side. */
export interface Renamed {
  readonly address: string;
  readonly port: number;
}

/** @returns undefined when it stays: it is neither, or not known by another name */
export function renamed(
  dialogue: Dialogue,
  from: Side,
  protocol: "tcp" | "udp",
  address: string,
  port: number,
): Renamed | undefined {
  const to = opposite(from);
  // A server's port is its service's, of whatever protocol.
  const isFlows = (side: Side): boolean => protocol === dialogue.transport || side === "server";
  if (dialogue.isHidden(from) && address === dialogue.ownAddress(from)) {
    const isOwn = isFlows(from) && port === dialogue.ownPort(from);
    const shown = isOwn ? dialogue.shownPort(from) : dialogue.shownPortOf(from, protocol, port);
    return shown === 0 ? undefined : { address: dialogue.shownAddress(from), port: shown };
  }
  if (dialogue.isHidden(to) && address === dialogue.shownAddress(to)) {
    const isShown = isFlows(to) && port === dialogue.shownPort(to);
    const own = isShown ? dialogue.ownPort(to) : dialogue.ownPortOf(to, protocol, port);
    return own === 0 ? undefined : { address: dialogue.ownAddress(to), port: own };
  }
  return undefined;
}

/** Write it in the place of what was found; without a port where none stood and it is the protocol's. */
export function replaceEndpoint(
  unit: Unit,
  { at, end, port, isBracketed, address: before }: FoundEndpoint,
  { address, port: toPort }: Renamed,
  defaultPort: number,
): void {
  if (address === before && toPort === (port || defaultPort)) return;
  const host = isBracketed ? `[${address}]` : bracketed(address);
  const isPlain = port === 0 && toPort === defaultPort;
  unit.replace(at, end - at, isPlain ? host : `${host}:${toPort}`);
}

/** Likewise an address alone, whatever the port: what one side says of itself, or of the other one. */
export function replaceAddress(
  unit: Unit,
  found: FoundEndpoint | undefined,
  from: Side,
  dialogue: Dialogue,
): void {
  if (found === undefined) return;
  const to = opposite(from);
  let address: string | undefined;
  if (found.address === dialogue.ownAddress(from)) address = dialogue.shownAddress(from);
  else if (found.address === dialogue.shownAddress(to)) address = dialogue.ownAddress(to);
  if (address === undefined || address === found.address) return;
  unit.replace(found.at, found.end - found.at, found.isBracketed ? `[${address}]` : address);
}
