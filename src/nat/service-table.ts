/**
 * Finding the virtual service a packet is for, and whether its destination is a virtual address at all. A small hash
 * table of linked objects, because services change rarely and only new connections look here.
 */
import { isSameAddress } from "../wire/address.ts";
import { type Flow, Protocol } from "../wire/flow.ts";
import { FTP_DATA_PORT, FTP_PORT } from "./ftp-ports.ts";
import { MarkRules } from "./mark-rules.ts";
import type { VirtualService } from "./virtual-service.ts";

const BUCKET_COUNT = 1024;

interface VirtualAddress {
  readonly family: 4 | 6;
  readonly words: Int32Array;
  /** Services at this address, and removed destinations of such whose connections live on. */
  holdCount: number;
  next: VirtualAddress | undefined;
}

const UNPRIVILEGED_PORT_MIN = 1024;

export class ServiceTable {
  /** Rules by which packets get marks. */
  marks = new MarkRules([]);
  readonly #services = new Array<VirtualService | undefined>(BUCKET_COUNT).fill(undefined);
  readonly #addresses = new Array<VirtualAddress | undefined>(BUCKET_COUNT).fill(undefined);
  /** Services that rarely exist, for which a second look would be a waste. */
  #markCount = 0;
  #ftpCount = 0;
  #allPortsCount = 0;
  readonly #ranges: VirtualService[] = [];

  /**
   * The service of a packet with ports: by its mark, by address and port, by address and a range of ports, FTP's for what
   * may be its data (the caller asks `hasPort`), and last the one that has all the other ports.
   */
  find(flow: Flow): VirtualService | undefined {
    if (this.#markCount > 0) {
      const mark = this.marks.markOf(flow);
      const service = mark === 0 ? undefined : this.#findMark(flow.family, mark);
      if (service !== undefined) return service;
    }
    const { family, protocol, words, destinationPort: port } = flow;
    const service =
      this.#findPort(family, protocol, words, 4, port) ?? this.#findRange(family, protocol, words, 4, port);
    if (service !== undefined) return service;
    const mayBeFtpData = port === FTP_DATA_PORT || port >= UNPRIVILEGED_PORT_MIN;
    if (this.#ftpCount > 0 && protocol === Protocol.tcp && mayBeFtpData) {
      const ftp = this.#findPort(family, protocol, words, 4, FTP_PORT);
      if (ftp !== undefined) return ftp;
    }
    return this.#allPortsCount > 0 ? this.#findPort(family, protocol, words, 4, 0) : undefined;
  }

  /** Does a service have this very port? @param at - of the address's four words */
  isServed(family: 4 | 6, protocol: number, words: Int32Array, at: number, port: number): boolean {
    return (
      this.#findPort(family, protocol, words, at, port) !== undefined ||
      this.#findRange(family, protocol, words, at, port) !== undefined
    );
  }

  /** Is the packet's destination a virtual address? */
  isToVirtual(flow: Flow): boolean {
    const { family, words } = flow;
    return this.#findAddress(family, words, 4) !== undefined || this.marks.covers(family, words, 4);
  }

  /** Does the packet claim to come from a virtual address? */
  isFromVirtual(flow: Flow): boolean {
    const { family, words } = flow;
    return this.#findAddress(family, words, 0) !== undefined || this.marks.covers(family, words, 0);
  }

  add(service: VirtualService): void {
    const bucket = bucketOfService(service);
    service.nextInBucket = this.#services[bucket];
    this.#services[bucket] = service;
    this.#count(service, 1);
    if (service.mark === 0) this.hold(service);
  }

  remove(service: VirtualService): void {
    const bucket = bucketOfService(service);
    if (this.#services[bucket] === service) this.#services[bucket] = service.nextInBucket;
    else {
      let before = this.#services[bucket];
      while (before !== undefined && before.nextInBucket !== service) before = before.nextInBucket;
      if (before !== undefined) before.nextInBucket = service.nextInBucket;
    }
    service.nextInBucket = undefined;
    this.#count(service, -1);
    if (service.mark === 0) this.release(service);
  }

  /** Its address is a virtual one until it is released as often as it was held. Zero, of what has none, never is. */
  hold({ family, words }: Pick<VirtualService, "family" | "words">): void {
    if (isUnspecified(words)) return;
    const known = this.#findAddress(family, words, 0);
    if (known !== undefined) {
      known.holdCount++;
      return;
    }
    const bucket = bucketOf(words, 0, 0);
    this.#addresses[bucket] = { family, words, holdCount: 1, next: this.#addresses[bucket] };
  }

  release({ family, words }: Pick<VirtualService, "family" | "words">): void {
    const known = this.#findAddress(family, words, 0);
    if (known === undefined || --known.holdCount > 0) return;
    const bucket = bucketOf(words, 0, 0);
    if (this.#addresses[bucket] === known) this.#addresses[bucket] = known.next;
    else {
      let before = this.#addresses[bucket];
      while (before !== undefined && before.next !== known) before = before.next;
      if (before !== undefined) before.next = known.next;
    }
  }

  #count(service: VirtualService, change: 1 | -1): void {
    if (service.mark !== 0) this.#markCount += change;
    else if (service.port === 0) this.#allPortsCount += change;
    else if (service.port === FTP_PORT && service.protocol === Protocol.tcp) this.#ftpCount += change;
    if (service.lastPort === service.port) return;
    if (change === 1) this.#ranges.push(service);
    else this.#ranges.splice(this.#ranges.indexOf(service), 1);
  }

  #findPort(
    family: 4 | 6,
    protocol: number,
    words: Int32Array,
    at: number,
    port: number,
  ): VirtualService | undefined {
    let service = this.#services[bucketOf(words, at, protocol ^ (port << 4))];
    while (service !== undefined) {
      if (service.port === port && service.isAt(family, protocol, words, at)) return service;
      service = service.nextInBucket;
    }
    return undefined;
  }

  #findRange(
    family: 4 | 6,
    protocol: number,
    words: Int32Array,
    at: number,
    port: number,
  ): VirtualService | undefined {
    const ranges = this.#ranges;
    for (let index = 0; index < ranges.length; index++) {
      const service = ranges[index]!;
      if (service.hasPort(port) && service.isAt(family, protocol, words, at)) return service;
    }
    return undefined;
  }

  #findMark(family: 4 | 6, mark: number): VirtualService | undefined {
    let service = this.#services[bucketOfMark(mark)];
    while (service !== undefined && (service.mark !== mark || service.family !== family))
      service = service.nextInBucket;
    return service;
  }

  #findAddress(family: 4 | 6, words: Int32Array, at: number): VirtualAddress | undefined {
    let address = this.#addresses[bucketOf(words, at, 0)];
    while (address !== undefined) {
      if (address.family === family && isSameAddress(address.words, 0, words, at)) return address;
      address = address.next;
    }
    return undefined;
  }
}

function bucketOf(words: Int32Array, at: number, rest: number): number {
  const mixed = words[at]! ^ words[at + 1]! ^ words[at + 2]! ^ words[at + 3]! ^ rest;
  return (Math.imul(mixed, 0x61c88647) >>> 22) & (BUCKET_COUNT - 1);
}

const bucketOfMark = (mark: number): number => (Math.imul(mark, 0x61c88647) >>> 22) & (BUCKET_COUNT - 1);

const bucketOfService = ({ mark, words, protocol, port }: VirtualService): number =>
  mark === 0 ? bucketOf(words, 0, protocol ^ (port << 4)) : bucketOfMark(mark);

const isUnspecified = (words: Int32Array): boolean => (words[0]! | words[1]! | words[2]! | words[3]!) === 0;
