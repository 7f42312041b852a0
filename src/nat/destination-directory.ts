/**
 * Which destination a number means, for the process that takes the connection table over: entries know theirs by number
 * only. One place a number, written when a destination gets it; what is read is judged like anything from outside.
 *
 *   word 0      mark of a place in use | removal policy << 8 | family << 4 | protocol of the service
 *   word 1      the service's mark
 *   word 2      the service's port << 16 | the destination's
 *   words 3-6   virtual address        words 7-10   the destination's address
 *   words 11-12 hash of a masquerade rule, 0 where there is none
 *   word 13     sum of all these
 */
import { formatAddress } from "../wire/address.ts";
import { REMOVAL_POLICIES, type RemovalPolicy, type ServiceKey } from "./configuration.ts";
import type { Destination } from "./destination.ts";
import type { MemoryPart } from "./memory-part.ts";

/** Numbers with a place. Connections of destinations beyond are lost to the next process. */
export const DIRECTORY_PLACES = 65_536;
const PLACE_WORDS = 14;
const CHECK = 13;
const USED = 0x76730000;
const PROTOCOLS = ["fwmark", "tcp", "udp", "sctp", "detached"] as const;
/** An odd number, so that a place of zeroes does not add up. */
const CHECK_START = 0x5eed5eed;

/** What a place says. */
export interface DirectoryEntry {
  readonly family: 4 | 6;
  /** Undefined: of no service (a masquerade rule's, or another director's). */
  readonly service: (ServiceKey & { readonly removal?: RemovalPolicy }) | undefined;
  readonly address: string;
  readonly port: number;
  /** Of the masquerade rule; 0: of none. */
  readonly ruleHash: number;
}

export class DestinationDirectory {
  readonly #words: Int32Array;
  readonly #memory: MemoryPart;

  constructor(memory: MemoryPart) {
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer, memory.at, DIRECTORY_PLACES * PLACE_WORDS);
  }

  static readonly bytes = DIRECTORY_PLACES * PLACE_WORDS * 4;

  /** Write a destination down under its number; nothing where there is no place for it. */
  write({ number, service, isDetached, words, port }: Destination, ruleHash: number): void {
    const placeBytes = PLACE_WORDS * 4;
    if (number >= DIRECTORY_PLACES || !this.#memory.reserve(number * placeBytes, placeBytes)) return;
    const place = this.#place(number);
    const { attributes, family, removal } = service;
    const protocol = PROTOCOLS.indexOf(isDetached ? "detached" : attributes.protocol);
    place[0] = 0; // whoever is killed now leaves no place that is half one and half another
    place[1] = service.mark;
    place[2] = (service.port << 16) | port;
    place.set(service.words, 3);
    place.set(words, 7);
    place[11] = ruleHash;
    place[12] = 0;
    const policy = removal === undefined ? 0 : REMOVAL_POLICIES.indexOf(removal) + 1;
    const kind = USED | (policy << 8) | (family << 4) | protocol;
    place[CHECK] = checkOf(place, kind);
    place[0] = kind;
  }

  /** @returns undefined: nothing is written there that this version could have written */
  read(number: number): DirectoryEntry | undefined {
    if (number < 0 || number >= DIRECTORY_PLACES) return undefined;
    const place = this.#place(number);
    const kind = place[0]!;
    if ((kind & ~0xfff) !== USED || place[CHECK] !== checkOf(place, kind)) return undefined;
    const family = (kind >> 4) & 0xf;
    const protocol = PROTOCOLS[kind & 0xf];
    const policy = (kind >> 8) & 0xf;
    if ((family !== 4 && family !== 6) || protocol === undefined || policy > REMOVAL_POLICIES.length)
      return undefined;
    const mark = place[1]! >>> 0;
    const address = formatAddress(family, place, 3);
    const common = {
      family,
      address: formatAddress(family, place, 7),
      port: place[2]! & 0xffff,
      ruleHash: place[11]!,
    } as const;
    if (protocol === "detached") return { ...common, service: undefined };
    if ((protocol === "fwmark") !== mark > 0) return undefined;
    const removal = REMOVAL_POLICIES[policy - 1];
    const service = {
      protocol,
      address,
      port: place[2]! >>> 16,
      ...(mark > 0 && { mark }),
      ...(removal !== undefined && { removal }),
    };
    return { ...common, service };
  }

  #place(number: number): Int32Array {
    return this.#words.subarray(number * PLACE_WORDS, (number + 1) * PLACE_WORDS);
  }
}

function checkOf(place: Int32Array, kind: number): number {
  let sum = (CHECK_START + kind) | 0;
  for (let at = 1; at < CHECK; at++) sum = (Math.imul(sum, 31) + place[at]!) | 0;
  return sum;
}
