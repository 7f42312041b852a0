/**
 * Networks as text: prefixes (`10.0.0.0/8`), pools of addresses (`172.16.0.240-172.16.0.249`) and ranges of ports
 * (`8000-8010`). No port can follow an address here, so IPv6 goes without brackets.
 */
import type { PortRange } from "../../nat/configuration.ts";
import { formatAddress, parseAddress as parseIp } from "../../wire/address.ts";
import { prefixMask } from "../../wire/prefix.ts";
import { type AddressFamily, parseAddress } from "./endpoint.ts";
import type { Parsed } from "./parsed.ts";

export interface PrefixValue {
  readonly family: AddressFamily;
  /** Canonical, with the length: "10.0.0.0/8", "2001:db8::1/128". */
  readonly text: string;
  readonly length: number;
}

export interface PoolValue {
  readonly family: AddressFamily;
  /** The first address as a number. */
  readonly first: bigint;
  /** How many there are from the first on, 1..SOURCE_ADDRESSES_MAX. */
  readonly count: number;
}

/** Bound on the director's own source addresses, in one range and in a whole file: they are numbered in the table. */
export const SOURCE_ADDRESSES_MAX = 1024;

/** For editors; the parsers below are the judges. */
export const PREFIX_PATTERN = "^[0-9A-Fa-f:.]+(/\\d{1,3})?$";
export const POOL_PATTERN = "^[0-9A-Fa-f:.]+(-[0-9A-Fa-f:.]+)?$";
export const PORTS_PATTERN = "^\\d{1,5}-\\d{1,5}$";

/** @param text - `ADDRESS/LENGTH`, or an address alone: a prefix of all its bits */
export function parsePrefix(text: string): Parsed<PrefixValue> {
  const match = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text);
  const address = match === null ? undefined : parseIp(match[1]!);
  if (address === undefined)
    return { wanted: "ADDRESS/LENGTH, as in 10.0.0.0/8 or 2001:db8::/32, or an address alone" };
  const bits = address.family === 4 ? 32 : 128;
  const length = match?.[2] === undefined ? bits : Number(match[2]);
  if (length > bits) return { wanted: `a prefix length from 0 to ${bits}` };
  const mask = prefixMask(address.family, length);
  const first = `${formatAddress(
    address.family,
    address.words.map((word, at) => word & mask[at]!),
  )}/${length}`;
  if (`${formatAddress(address.family, address.words)}/${length}` !== first)
    return { wanted: `the network's first address, ${first}, or a longer prefix` };
  return { value: { family: address.family === 4 ? "ipv4" : "ipv6", text: first, length } };
}

/** A prefix of addresses that routers forward to one host each. @param text - as for `parsePrefix` */
export function parseUnicastPrefix(text: string): Parsed<PrefixValue> {
  const prefix = parsePrefix(text);
  if ("wanted" in prefix) return prefix;
  const first = parseAddress(prefix.value.text.split("/")[0]!);
  return "wanted" in first ? first : prefix;
}

/** @param text - `ADDRESS` or `FIRST-LAST` */
export function parsePool(text: string): Parsed<PoolValue> {
  const [firstText = "", lastText = firstText, ...rest] = text.split("-");
  const first = parseAddress(firstText);
  if ("wanted" in first)
    return { wanted: `an address or FIRST-LAST, IPv6 without brackets: ${first.wanted}` };
  const last = parseAddress(lastText);
  if ("wanted" in last || rest.length > 0 || last.value.family !== first.value.family)
    return { wanted: "an address of the same family behind the hyphen" };
  const { family, address } = first.value;
  const count = numberOf(last.value.address) - numberOf(address) + 1n;
  return count >= 1n && count <= SOURCE_ADDRESSES_MAX
    ? { value: { family, first: numberOf(address), count: Number(count) } }
    : { wanted: `the first and the last of 1 to ${SOURCE_ADDRESSES_MAX} addresses` };
}

/** One by one. Not done while a file is only being judged: it may name the same thousand addresses often. */
export const addressesOf = ({ family, first, count }: PoolValue): string[] =>
  Array.from({ length: count }, (_, at) => addressOf(family, first + BigInt(at)));

/** @param input - a port, or `FIRST-LAST` */
export function parsePorts(input: unknown): Parsed<PortRange> {
  const [, firstText, lastText] = /^(\d{1,5})-(\d{1,5})$/.exec(typeof input === "string" ? input : "") ?? [];
  const first = firstText === undefined ? input : Number(firstText);
  const last = lastText === undefined ? first : Number(lastText);
  return isPort(first) && isPort(last) && first <= last
    ? { value: { first, last } }
    : { wanted: "a port from 1 to 65535, or a range of them such as 8000-8010" };
}

const isPort = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535;

const numberOf = (address: string): bigint => {
  const { family, words } = parseIp(address)!;
  return words.subarray(0, family === 4 ? 1 : 4).reduce((sum, word) => (sum << 32n) | BigInt(word >>> 0), 0n);
};

function addressOf(family: AddressFamily, number: bigint): string {
  const words = [96n, 64n, 32n, 0n].map((shift) => Number(BigInt.asIntN(32, number >> shift)));
  return family === "ipv4" ? formatAddress(4, [words[3]!]) : formatAddress(6, words);
}
