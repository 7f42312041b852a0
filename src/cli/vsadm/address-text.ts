/**
 * Numbers, addresses and ports as ipvsadm reads them: with the C library's generosity (`strtol`, `inet_aton`: 127.1,
 * 0x7f.1) and the names of the system.
 */
import type { ServiceProtocol } from "../../nat/configuration.ts";
import { type Family, formatAddress, formatIpv4, parseAddress } from "../../wire/address.ts";
import type { Names } from "./names.ts";

/** `strtol` in base ten of all the text: blanks in front and a sign are allowed. @returns undefined outside min..max */
export function readNumber(text: string, min: number, max: number): number | undefined {
  if (!/^\s*[+-]?\d+$/.test(text)) return undefined;
  const number = Number(text);
  return number >= min && number <= max ? number : undefined;
}

/** `inet_aton`: one to four parts, decimal, octal or hexadecimal; the last fills what is left. @returns "127.0.0.1" */
export function readIpv4(text: string): string | undefined {
  const parts = text.split(/\s/, 1)[0]!.split(".");
  if (parts.length > 4 || !parts.every((part) => /^(0x[\da-f]+|0[0-7]*|[1-9]\d*)$/i.test(part)))
    return undefined;
  const values = parts.map((part) => (/^0\d/.test(part) ? Number.parseInt(part, 8) : Number(part)));
  const last = values.pop()!;
  if (last >= 2 ** (8 * (4 - values.length)) || values.some((value) => value > 255)) return undefined;
  return formatIpv4(values.reduce((word, value, index) => word | (value << (24 - 8 * index)), last | 0));
}

export async function readIpv4OrName(text: string, names: Names): Promise<string | undefined> {
  return readIpv4(text) ?? (text === "" ? undefined : await names.addressOf(text));
}

export interface AddressText {
  readonly family: Family;
  /** Canonical. */
  readonly address: string;
  /** Undefined: none was named. */
  readonly port: number | undefined;
  /** Of a range of ports: the last. */
  readonly lastPort?: number;
}

/**
 * `HOST[:PORT]`, `IPV6` or `[IPV6]:PORT`.
 * @param protocol - whose names of ports count; undefined: numbers only
 * @returns undefined when ipvsadm would call it illegal
 */
export async function readAddress(
  text: string,
  protocol: ServiceProtocol | undefined,
  names: Names,
): Promise<AddressText | undefined> {
  if (/^\d*$/.test(text)) return undefined;
  const bracketed = /^\[([^\]]*)\]:(.*)$/s.exec(text);
  if (text.startsWith("[") && bracketed === null) return undefined;
  const inner = bracketed?.[1] ?? text;
  const ipv6 = inner.includes(":") ? parseAddress(inner) : undefined;
  if (ipv6 !== undefined) {
    const address = formatAddress(6, ipv6.words);
    return withPort({ family: 6, address }, bracketed?.[2], protocol, names);
  }
  const colon = inner.lastIndexOf(":");
  const address = await readIpv4OrName(colon < 0 ? inner : inner.slice(0, colon), names);
  if (address === undefined) return undefined;
  return withPort({ family: 4, address }, colon < 0 ? undefined : inner.slice(colon + 1), protocol, names);
}

function withPort(
  host: { readonly family: Family; readonly address: string },
  text: string | undefined,
  protocol: ServiceProtocol | undefined,
  names: Names,
): AddressText | undefined {
  if (text === undefined) return { ...host, port: undefined };
  const port = readNumber(text, 0, 65_535) ?? (protocol && names.portOf(text, protocol));
  if (port !== undefined) return { ...host, port };
  const range = /^(\d{1,5})-(\d{1,5})$/.exec(text); // beyond ipvsadm
  if (range === null) return undefined;
  const [first, last] = [Number(range[1]), Number(range[2])];
  return first >= 1 && last > first && last <= 65_535 ? { ...host, port: first, lastPort: last } : undefined;
}
