/** Where packets leave, and who knows: the kernel's routing, asked once for an address and remembered here. */
import { addressOf } from "../system-call.ts";
import type { BpfMap } from "./kernel/bpf.ts";
import { HopKey, Way } from "./maps/layout.ts";
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
const HOP_VALUE_AT = 64;
const AF_INET = 2;
const AF_INET6 = 10;

export class Ways {
  readonly #find: FindWay;
  readonly #map: DataView;
  readonly #hops: BpfMap;
  /** Key and value of a hop. */
  readonly #hop = new Uint8Array(HOP_VALUE_AT + 4);
  /** Hops that are in the map, by what they are, with the MTU of their way. */
  readonly #hopMtus = new Map<string, number>();
  /** Ways by what they are; a way's place in the map is its number. */
  readonly #numbers = new Map<string, number>();
  readonly #remembered4 = new Map<number, number>();
  readonly #remembered6 = new Map<string, number>();

  constructor(map: BpfMap, hops: BpfMap, find: FindWay) {
    this.#find = find;
    this.#map = new DataView(map.memory);
    this.#hops = hops;
    const at = addressOf(this.#hop);
    hops.aim(at, at + HOP_VALUE_AT);
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
    for (const key of this.#hopMtus.keys()) {
      this.#hop.set(Buffer.from(key, "latin1"));
      this.#hops.delete();
    }
    this.#hopMtus.clear();
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
    this.#writeHop(number, way);
    return number;
  }

  /** By its neighbour a way is found that the program asks for itself; of two of different MTUs the smaller. */
  #writeHop(number: number, { device, mtuBytes, gateway }: WayOut): void {
    const view = new DataView(this.#hop.buffer);
    this.#hop.fill(0);
    view.setUint32(HopKey.at.device, device, true);
    view.setUint32(HopKey.at.family, familyOf(gateway), true);
    if (gateway !== undefined) this.#hop.set(gateway, HopKey.at.gateway);
    view.setUint32(HOP_VALUE_AT, number, true);
    const key = Buffer.from(this.#hop.subarray(0, HopKey.bytes)).toString("latin1");
    if ((this.#hopMtus.get(key) ?? Number.POSITIVE_INFINITY) <= mtuBytes) return;
    if (this.#hops.update() >= 0) this.#hopMtus.set(key, mtuBytes);
  }

  #write(number: number, { device, mtuBytes, gateway }: WayOut): void {
    const at = number * Way.bytes;
    this.#map.setUint32(at + Way.at.device, device, true);
    this.#map.setUint32(at + Way.at.mtuBytes, mtuBytes, true);
    this.#map.setUint32(at + Way.at.gatewayFamily, familyOf(gateway), true);
    gateway?.forEach((byte, index) => {
      this.#map.setUint8(at + Way.at.gateway + index, byte);
    });
  }
}

const familyOf = (gateway: Uint8Array | undefined): number =>
  gateway === undefined ? 0 : gateway.length === 4 ? AF_INET : AF_INET6;
