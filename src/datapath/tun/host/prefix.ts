/** Subnets: is an address inside one? For the host's set-up, not for packets. */
import { type Address, type Family, formatAddress } from "../../../wire/address.ts";
import { knownAddress } from "../netlink/message.ts";

export interface Prefix {
  readonly family: Family;
  /** Any address inside. */
  readonly address: string;
  readonly prefixLength: number;
}

export const addressBits = (family: Family): number => (family === 4 ? 32 : 128);
export const familyOf = (address: string): Family => knownAddress(address).family;

export function contains(prefix: Prefix, address: string): boolean {
  const inside = knownAddress(address);
  const network = knownAddress(prefix.address);
  if (inside.family !== network.family) return false;
  return masked(inside, prefix.prefixLength).every(
    (word, i) => word === masked(network, prefix.prefixLength)[i],
  );
}

/** "172.16.0.0/24" */
export const formatPrefix = ({ family, address, prefixLength }: Prefix): string =>
  `${formatAddress(family, masked(knownAddress(address), prefixLength))}/${prefixLength}`;

function masked({ words }: Address, prefixLength: number): number[] {
  return [...words].map((word, i) => {
    const bits = Math.min(32, Math.max(0, prefixLength - 32 * i));
    return bits === 0 ? 0 : word & (-1 << (32 - bits));
  });
}
