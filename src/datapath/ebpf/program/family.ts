/** What differs between IPv4 and IPv6 for the fast path: places in a frame, counted from the Ethernet header. */
import { ETHERNET_BYTES, type Family } from "./context.ts";

export interface FamilyPlaces {
  readonly family: Family;
  readonly headerBytes: number;
  readonly addressBytes: 4 | 16;
  /** Of the source address; the destination's follows. */
  readonly addressesAt: number;
  readonly transportAt: number;
  /** As the kernel numbers it (AF_INET, AF_INET6). */
  readonly kernelNumber: number;
}

const places = (family: Family, headerBytes: number): FamilyPlaces => {
  const addressBytes = family === 4 ? 4 : 16;
  return {
    family,
    headerBytes,
    addressBytes,
    addressesAt: ETHERNET_BYTES + headerBytes - 2 * addressBytes,
    transportAt: ETHERNET_BYTES + headerBytes,
    kernelNumber: family === 4 ? 2 : 10,
  };
};

export const PLACES: Readonly<Record<Family, FamilyPlaces>> = { 4: places(4, 20), 6: places(6, 40) };
