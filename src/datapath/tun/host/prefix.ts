/** Subnets as text: is an address inside one? For the host's set-up, not for packets. */
import { type Address, type Family, formatAddress } from "../../../wire/address.ts";
import { prefixMask } from "../../../wire/prefix.ts";
import { knownAddress } from "../netlink/message.ts";

export interface Prefix {
  readonly family: Family;
  /** Any address inside. */
  readonly address: string;
  readonly prefixLength: number;
}

export const addressBits = (family: Family): number => (family === 4 ? 32 : 128);
export const familyOf = (address: string): Family => knownAddress(address).family;

/** @param text - "172.16.0.0/24", or an address: a prefix of all its bits. Known to be right. */
export function prefixOf(text: string): Prefix {
  const [address = "", length] = text.split("/");
  const family = familyOf(address);
  return { family, address, prefixLength: length === undefined ? addressBits(family) : Number(length) };
}

/** Is it one address? */
export const isHost = ({ family, prefixLength }: Prefix): boolean => prefixLength === addressBits(family);

export const addressCount = ({ family, prefixLength }: Prefix): number =>
  2 ** (addressBits(family) - prefixLength);

/** The first `max` addresses inside. */
export function addressesIn(prefix: Prefix, max: number): string[] {
  const words = masked(knownAddress(prefix.address), prefix.prefixLength);
  const last = words.length - 1;
  const first = prefix.family === 4 ? 0 : last;
  return Array.from({ length: Math.min(max, addressCount(prefix)) }, (_, offset) =>
    formatAddress(
      prefix.family,
      words.map((word, at) => (at === first ? (word + offset) | 0 : word)),
    ),
  );
}

export function contains(prefix: Prefix, address: string): boolean {
  const inside = knownAddress(address);
  const network = knownAddress(prefix.address);
  if (inside.family !== network.family) return false;
  return masked(inside, prefix.prefixLength).every(
    (word, i) => word === masked(network, prefix.prefixLength)[i],
  );
}

/** Has one of the two everything of the other? Prefixes never overlap otherwise. */
export const overlaps = (a: Prefix, b: Prefix): boolean =>
  a.prefixLength <= b.prefixLength ? contains(a, b.address) : contains(b, a.address);

/** "172.16.0.0/24" */
export const formatPrefix = ({ family, address, prefixLength }: Prefix): string =>
  `${formatAddress(family, masked(knownAddress(address), prefixLength))}/${prefixLength}`;

function masked({ family, words }: Address, prefixLength: number): number[] {
  const mask = prefixMask(family, prefixLength);
  return [...words].map((word, i) => word & mask[i]!);
}
