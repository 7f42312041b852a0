/**
 * IP addresses as text and as words. IPv4: four decimal octets without leading zeros (the strict reading of RFC 6943
 * section 3.1.1). IPv6: parsing by RFC 4291 section 2.2, embedded IPv4 included; the canonical form of RFC 5952.
 * Endpoints: "1.2.3.4:80", "[::1]:80".
 *
 * An address is four signed 32-bit words in host order, most significant first; IPv4 uses word 0, the rest are zero.
 * Nothing here is for the packet path. Left out: zones ("%eth0"), prefixes, names.
 */

export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  /** Four signed words in host order. */
  readonly words: Int32Array;
}

export interface Endpoint extends Address {
  /** 0..65535, host order. */
  readonly port: number;
}

/** Longer than any address in text form, so that hostile input is refused before it is looked at. */
const ADDRESS_CHARACTERS_MAX = 45;

/** @returns undefined when the text is not exactly one IPv4 or IPv6 address, without brackets, port or zone. */
export function parseAddress(text: string): Address | undefined {
  if (text.length > ADDRESS_CHARACTERS_MAX) return undefined;
  if (text.includes(":")) {
    const words = parseIpv6(text);
    return words === undefined ? undefined : { family: 6, words };
  }
  const word = parseIpv4(text);
  return word === undefined ? undefined : { family: 4, words: Int32Array.of(word, 0, 0, 0) };
}

/**
 * Text form of an address.
 * @param at - index in `words` of its first word
 */
export function formatAddress(family: Family, words: ArrayLike<number>, at = 0): string {
  if (family === 4) return formatIpv4(words[at]!);
  return formatIpv6(words, at);
}

/** @returns undefined unless the text is an address and a port 0..65535 in decimal; IPv6 in brackets. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const address = parseAddress(match[1] ?? match[2]!);
  const port = Number(match[3]);
  const isBracketed = match[1] !== undefined;
  if (address === undefined || port > 0xffff || isBracketed !== (address.family === 6)) return undefined;
  return { ...address, port };
}

/** "1.2.3.4:80" or "[::1]:80". */
export function formatEndpoint(family: Family, words: ArrayLike<number>, at: number, port: number): string {
  const address = formatAddress(family, words, at);
  return family === 4 ? `${address}:${port}` : `[${address}]:${port}`;
}

/** The same address at two places? Four words each; IPv4's behind the first are zero. */
export const isSameAddress = (a: Int32Array, aAt: number, b: Int32Array, bAt: number): boolean =>
  a[aAt] === b[bAt] && a[aAt + 1] === b[bAt + 1] && a[aAt + 2] === b[bAt + 2] && a[aAt + 3] === b[bAt + 3];

/** An address as it stands in front of a port: IPv6 in brackets. */
export const bracketed = (address: string): string => (address.includes(":") ? `[${address}]` : address);

/** A signed word as dotted decimal. */
export function formatIpv4(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 0xff}.${(word >>> 8) & 0xff}.${word & 0xff}`;
}

function parseIpv4(text: string): number | undefined {
  const octets = text.split(".");
  if (octets.length !== 4) return undefined;
  let word = 0;
  for (const octet of octets) {
    // Leading zeros are refused: some read 010 as eight, some as ten.
    if (!/^(0|[1-9]\d{0,2})$/.test(octet) || Number(octet) > 255) return undefined;
    word = (word << 8) | Number(octet);
  }
  return word;
}

function parseIpv6(text: string): Int32Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const isCompressed = halves.length === 2;
  const head = parseGroups(halves[0]!, !isCompressed);
  const tail = parseGroups(halves[1] ?? "", true);
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  // "::" stands for one group or more (RFC 4291 section 2.2 form 2).
  if (isCompressed ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return Int32Array.from({ length: 4 }, (_, i) => (groups[2 * i]! << 16) | groups[2 * i + 1]!);
}

/** Colon-separated groups; the last may be dotted decimal if nothing follows it. The empty text has no groups. */
function parseGroups(text: string, isLast: boolean): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [index, part] of parts.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(part)) {
      groups.push(Number.parseInt(part, 16));
      continue;
    }
    const word = isLast && index === parts.length - 1 ? parseIpv4(part) : undefined;
    if (word === undefined) return undefined;
    groups.push(word >>> 16, word & 0xffff);
  }
  return groups;
}

function formatIpv6(words: ArrayLike<number>, at: number): string {
  // RFC 5952 section 5: the IPv4 notation where the prefix says that an IPv4 address is inside.
  if (words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0xffff) {
    return `::ffff:${formatIpv4(words[at + 3]!)}`;
  }
  const groups: number[] = [];
  for (let i = 0; i < 4; i++) groups.push(words[at + i]! >>> 16, words[at + i]! & 0xffff);
  const { start, length } = longestZeroRun(groups);
  const hex = (from: number, to: number): string =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(":");
  if (length < 2) return hex(0, 8);
  return `${hex(0, start)}::${hex(start + length, 8)}`;
}

/** The longest run of zero groups, the first of equals (RFC 5952 section 4.2.3). */
function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}
