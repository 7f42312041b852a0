/** Address prefixes ("10.0.0.0/8", "2001:db8::/32") as words to compare with. */
import { type Family, parseAddress } from "./address.ts";

export interface Prefix {
  readonly family: Family;
  /** Four host-order words, bits behind the prefix zero; IPv4 uses the first. */
  readonly words: Int32Array;
  readonly mask: Int32Array;
}

/** @returns undefined for what is no prefix. An address alone is a prefix of all its bits; bits behind it are cut off. */
export function parsePrefix(text: string): Prefix | undefined {
  const [addressText, lengthText, ...rest] = text.split("/", 3);
  const address = parseAddress(addressText!);
  if (address === undefined || rest.length > 0) return undefined;
  const bits = address.family === 4 ? 32 : 128;
  const length = lengthText === undefined ? bits : /^\d{1,3}$/.test(lengthText) ? Number(lengthText) : -1;
  if (length < 0 || length > bits) return undefined;
  const mask = prefixMask(address.family, length);
  return { family: address.family, words: address.words.map((word, at) => word & mask[at]!), mask };
}

/**
 * A prefix that was checked before.
 * @param attempt - what it is for: "mark packets"
 * @throws RangeError for what is no prefix
 */
export function prefixOf(text: string, attempt: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new RangeError(`Cannot ${attempt}: "${text}" is no prefix`);
  return prefix;
}

/** Four words with the first `length` bits set. IPv4's words behind the first are zero. */
export function prefixMask(family: Family, length: number): Int32Array {
  const mask = new Int32Array(4);
  for (let at = 0; at < (family === 4 ? 1 : 4); at++) {
    const bits = Math.max(0, Math.min(32, length - at * 32));
    mask[at] = bits === 0 ? 0 : -1 << (32 - bits);
  }
  return mask;
}

/** Is the address at `at` in the prefix? Of the same family. */
export const isInPrefix = ({ words, mask }: Prefix, address: Int32Array, at: number): boolean =>
  (address[at]! & mask[0]!) === words[0] &&
  (address[at + 1]! & mask[1]!) === words[1] &&
  (address[at + 2]! & mask[2]!) === words[2] &&
  (address[at + 3]! & mask[3]!) === words[3];
