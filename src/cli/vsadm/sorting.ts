/** The order of ipvsadm's sorted lists. */
import type { Endpoint, ServiceStatus } from "../../control/director-status.ts";
import { parseAddress } from "../../wire/address.ts";

/** IP protocol numbers; what a mark service has does not count, because marks differ. */
const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, sctp: 132, fwmark: 0 } as const;

/** Mark (services without one first), family, protocol, address, port. */
export const byService = (a: ServiceStatus, b: ServiceStatus): number =>
  ((a.mark ?? 0) - (b.mark ?? 0)) | 0 ||
  Number(a.address.includes(":")) - Number(b.address.includes(":")) ||
  PROTOCOL_NUMBERS[a.protocol] - PROTOCOL_NUMBERS[b.protocol] ||
  byDestination(a, b);

/** Address, then port. As ipvsadm compares: the difference of 32-bit words, as a signed number, wrong beyond 2^31. */
export function byDestination(a: Endpoint, b: Endpoint): number {
  const [left, right] = [parseAddress(a.address)!, parseAddress(b.address)!];
  for (let index = 0; index < 4; index++) {
    const difference = (left.words[index]! - right.words[index]!) | 0;
    if (difference !== 0) return difference;
  }
  return a.port - b.port;
}
