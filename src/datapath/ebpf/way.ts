/** Where packets leave, and who knows: the kernel's routing, asked once for an address and remembered here. */
import type { BpfMap } from "./kernel/bpf.ts";
import { Way } from "./maps/layout.ts";
import { WAYS_MAX } from "./maps/maps.ts";

/** How the host would route a packet that the director wrote. */
export interface WayOut {
  /** Index of the interface. */
  readonly device: number;
  /** Bytes of the largest IP packet. */
  readonly mtuBytes: number;
  /** Bytes of the gateway's address, four or sixteen; absent: the packet's destination is a neighbour. */
  readonly gateway?: Uint8Array;
}

/**
 * Asks the host for the way to an address.
 * @param words - four address words from `at` on
 * @returns undefined when there is none that the fast path could take: none at all, this host itself, a tunnel, ...
 */
export type FindWay = (
  family: 4 | 6,
  words: Int32Array,
  at: number,
  source: Int32Array,
  sourceAt: number,
) => WayOut | undefined;

const NO_WAY = -1;
/** Addresses whose way is remembered. */
const REMEMBERED_MAX = 65_536;
const AF_INET = 2;
const AF_INET6 = 10;

export class Ways {
  readonly #find: FindWay;
  readonly #map: DataView;
  /** Ways by what they are; a way's place in the map is its number. */
  readonly #numbers = new Map<string, number>();
  readonly #remembered4 = new Map<number, number>();
  readonly #remembered6 = new Map<string, number>();

  constructor(map: BpfMap, find: FindWay) {
    this.#find = find;
    this.#map = new DataView(map.memory);
  }

  /** Number of the way to this address, or -1: none that the fast path could take. */
  to(family: 4 | 6, words: Int32Array, at: number, source: Int32Array, sourceAt: number): number {
    if (family === 4) {
      const known = this.#remembered4.get(words[at]!);
      if (known !== undefined) return known;
      const number = this.#ask(family, words, at, source, sourceAt);
      if (this.#remembered4.size >= REMEMBERED_MAX) this.#remembered4.clear();
      this.#remembered4.set(words[at]!, number);
      return number;
    }
    const key = `${words[at]},${words[at + 1]},${words[at + 2]},${words[at + 3]}`;
    const known = this.#remembered6.get(key);
    if (known !== undefined) return known;
    const number = this.#ask(family, words, at, source, sourceAt);
    if (this.#remembered6.size >= REMEMBERED_MAX) this.#remembered6.clear();
    this.#remembered6.set(key, number);
    return number;
  }

  /** Routes changed. No flow may use a way any more that was found before. */
  forget(): void {
    this.#numbers.clear();
    this.#remembered4.clear();
    this.#remembered6.clear();
  }

  #ask(family: 4 | 6, words: Int32Array, at: number, source: Int32Array, sourceAt: number): number {
    const way = this.#find(family, words, at, source, sourceAt);
    if (way === undefined) return NO_WAY;
    const { device, mtuBytes, gateway } = way;
    const key = `${device} ${mtuBytes} ${gateway ?? ""}`;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.#numbers.size;
    if (number >= WAYS_MAX) return NO_WAY;
    this.#numbers.set(key, number);
    this.#write(number, way);
    return number;
  }

  #write(number: number, { device, mtuBytes, gateway }: WayOut): void {
    const at = number * Way.bytes;
    this.#map.setUint32(at + Way.at.device, device, true);
    this.#map.setUint32(at + Way.at.mtuBytes, mtuBytes, true);
    const family = gateway === undefined ? 0 : gateway.length === 4 ? AF_INET : AF_INET6;
    this.#map.setUint32(at + Way.at.gatewayFamily, family, true);
    gateway?.forEach((byte, index) => {
      this.#map.setUint8(at + Way.at.gateway + index, byte);
    });
  }
}
