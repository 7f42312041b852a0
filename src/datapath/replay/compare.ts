/**
 * Holding what the director made of a capture against what another director did: packet by packet, byte by byte from the
 * IP header on, on each side in order.
 *
 * Two fields are not compared, in packets that a director makes itself: the IPv4 identification (and with it the header
 * checksum) of ICMP messages, and the IPv6 flow label. RFC 6864 and RFC 6437 let every sender choose them as it likes,
 * and Linux draws them at random.
 */
import { Protocol } from "../../wire/flow.ts";
import { IPV4_CHECKSUM_AT, IPV4_IDENTIFICATION_AT, IPV4_PROTOCOL_AT } from "../../wire/ipv4.ts";
import type { Side } from "./replay.ts";

export interface ComparedPacket {
  readonly side: Side;
  readonly bytes: Uint8Array;
  /** Made by the director itself (an answer), not translated. */
  readonly isOwn: boolean;
}

export interface Difference {
  readonly side: Side;
  /** What the director made; undefined: it made nothing where the recording has a packet. */
  readonly made: Uint8Array | undefined;
  readonly recorded: Uint8Array | undefined;
}

/** How far ahead to look for the next agreement after a difference. */
const LOOKAHEAD = 64;

/** @returns the differences, in order; packets that agree: `made.length` less those. */
export function compare(
  made: readonly ComparedPacket[],
  recorded: readonly { readonly side: Side; readonly bytes: Uint8Array }[],
): Difference[] {
  const sides: Side[] = ["client", "server"];
  return sides.flatMap((side) =>
    compareSide(
      side,
      made.filter((one) => one.side === side),
      recorded.filter((one) => one.side === side).map((one) => one.bytes),
    ),
  );
}

function compareSide(
  side: Side,
  made: readonly ComparedPacket[],
  recorded: readonly Uint8Array[],
): Difference[] {
  const differences: Difference[] = [];
  let i = 0;
  let j = 0;
  while (i < made.length || j < recorded.length) {
    if (i < made.length && j < recorded.length && isSame(made[i]!, recorded[j]!)) {
      i++;
      j++;
      continue;
    }
    const [skipMade, skipRecorded] = nextAgreement(made, i, recorded, j);
    // Where as many are skipped on both sides they are the same packets made differently.
    for (let step = 0; step < Math.max(skipMade, skipRecorded); step++) {
      const one = step < skipMade ? made[i + step]!.bytes : undefined;
      differences.push({ side, made: one, recorded: step < skipRecorded ? recorded[j + step] : undefined });
    }
    i += skipMade;
    j += skipRecorded;
  }
  return differences;
}

/** How many packets to skip on each side so that the next ones agree, fewest in all. */
function nextAgreement(
  made: readonly ComparedPacket[],
  i: number,
  recorded: readonly Uint8Array[],
  j: number,
): [number, number] {
  for (let total = 1; total <= LOOKAHEAD; total++) {
    // Even splits first: a packet made differently is likelier than one missing and another too many.
    const middle = Math.floor(total / 2);
    for (let off = 0; off <= total - middle; off++) {
      for (const skipMade of [middle - off, middle + off]) {
        const skipRecorded = total - skipMade;
        if (skipMade < 0 || skipRecorded < 0) continue;
        const one = made[i + skipMade];
        const other = recorded[j + skipRecorded];
        if (one !== undefined && other !== undefined && isSame(one, other)) return [skipMade, skipRecorded];
      }
    }
  }
  return [made.length - i, recorded.length - j];
}

function isSame(made: ComparedPacket, recorded: Uint8Array): boolean {
  const { bytes } = made;
  if (bytes.length !== recorded.length) return false;
  for (let i = 0; i < bytes.length; i++) {
    const difference = bytes[i]! ^ recorded[i]!;
    if (difference !== 0 && (!made.isOwn || (difference & ~freeBits(bytes, i)) !== 0)) return false;
  }
  return true;
}

/** The bits of the byte at `i` that belong to a field whose value means nothing. */
function freeBits(bytes: Uint8Array, i: number): number {
  if (bytes[0]! >> 4 === 6) return i === 1 ? 0x0f : i === 2 || i === 3 ? 0xff : 0;
  if (bytes[IPV4_PROTOCOL_AT] !== Protocol.icmp) return 0;
  const isFree = (i & ~1) === IPV4_IDENTIFICATION_AT || (i & ~1) === IPV4_CHECKSUM_AT;
  return isFree ? 0xff : 0;
}
