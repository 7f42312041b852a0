/**
 * Finding the virtual service a packet is for, and whether its destination is a virtual address at all. A small hash
 * table of linked objects, because services change rarely and only new connections look here.
 */
import type { Flow } from "../wire/flow.ts";
import type { VirtualService } from "./virtual-service.ts";

const BUCKET_COUNT = 1024;

interface VirtualAddress {
  readonly family: 4 | 6;
  readonly words: Int32Array;
  /** Services at this address, and removed destinations of such whose connections live on. */
  holdCount: number;
  next: VirtualAddress | undefined;
}

export class ServiceTable {
  readonly #services = new Array<VirtualService | undefined>(BUCKET_COUNT).fill(undefined);
  readonly #addresses = new Array<VirtualAddress | undefined>(BUCKET_COUNT).fill(undefined);

  /** The service at the packet's protocol, destination address and port. */
  find(flow: Flow): VirtualService | undefined {
    const bucket = bucketOf(flow.words, 4, flow.protocol ^ (flow.destinationPort << 4));
    let service = this.#services[bucket];
    while (service !== undefined) {
      if (
        service.port === flow.destinationPort &&
        service.protocol === flow.protocol &&
        service.family === flow.family &&
        isSame(service.words, flow.words, 4)
      )
        return service;
      service = service.nextInBucket;
    }
    return undefined;
  }

  /** Is the packet's destination a virtual address? */
  isToVirtual(flow: Flow): boolean {
    return this.#findAddress(flow.family, flow.words, 4) !== undefined;
  }

  /** Does the packet claim to come from a virtual address? */
  isFromVirtual(flow: Flow): boolean {
    return this.#findAddress(flow.family, flow.words, 0) !== undefined;
  }

  add(service: VirtualService): void {
    const bucket = bucketOf(service.words, 0, service.protocol ^ (service.port << 4));
    service.nextInBucket = this.#services[bucket];
    this.#services[bucket] = service;
    this.hold(service);
  }

  remove(service: VirtualService): void {
    const bucket = bucketOf(service.words, 0, service.protocol ^ (service.port << 4));
    if (this.#services[bucket] === service) this.#services[bucket] = service.nextInBucket;
    else {
      let before = this.#services[bucket];
      while (before !== undefined && before.nextInBucket !== service) before = before.nextInBucket;
      if (before !== undefined) before.nextInBucket = service.nextInBucket;
    }
    service.nextInBucket = undefined;
    this.release(service);
  }

  /** Its address is a virtual one until it is released as often as it was held. */
  hold({ family, words }: VirtualService): void {
    const known = this.#findAddress(family, words, 0);
    if (known !== undefined) {
      known.holdCount++;
      return;
    }
    const bucket = bucketOf(words, 0, 0);
    this.#addresses[bucket] = { family, words, holdCount: 1, next: this.#addresses[bucket] };
  }

  release({ family, words }: VirtualService): void {
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

  #findAddress(family: 4 | 6, words: Int32Array, at: number): VirtualAddress | undefined {
    let address = this.#addresses[bucketOf(words, at, 0)];
    while (address !== undefined) {
      if (address.family === family && isSame(address.words, words, at)) return address;
      address = address.next;
    }
    return undefined;
  }
}

function bucketOf(words: Int32Array, at: number, rest: number): number {
  const mixed = words[at]! ^ words[at + 1]! ^ words[at + 2]! ^ words[at + 3]! ^ rest;
  return (Math.imul(mixed, 0x61c88647) >>> 22) & (BUCKET_COUNT - 1);
}

function isSame(address: Int32Array, words: Int32Array, at: number): boolean {
  return (
    address[0] === words[at] &&
    address[1] === words[at + 1] &&
    address[2] === words[at + 2] &&
    address[3] === words[at + 3]
  );
}
