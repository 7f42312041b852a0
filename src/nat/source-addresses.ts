/**
 * Addresses of the director's own under which servers see clients (FullNAT) and the outside sees the hosts behind the
 * director (masquerade), by number, because a connection entry has room for a number only; and the choice of a port.
 *
 * A number stays with its address as long as a configuration names it or a connection uses it.
 */
import type { RandomU32 } from "../base/environment.ts";
import { KeyedHash } from "../base/keyed-hash.ts";
import { formatAddress, parseAddress } from "../wire/address.ts";
import { type ConnectionTable, SOURCES_MAX } from "./connection-table.ts";

/** Ports tried at each address; at 95 % occupation two searches in a million fail. */
const TRIES = 256;
/** Addresses of a pool tried. */
const ADDRESSES_TRIED_MAX = 4;

/** For who is seen at his own address. */
export const NO_POOL = new Int32Array(0);

/** Where a search found a place: reused, so that nothing is allocated. */
export interface SourcePlace {
  /** Number of the address; 0: the client's own. */
  number: number;
  port: number;
}

export class SourceAddresses {
  /** What `choose` found last. */
  readonly found: SourcePlace = { number: 0, port: 0 };
  readonly #table: ConnectionTable;
  readonly #hash: KeyedHash;
  #drawCount = 0;
  readonly #texts: (string | undefined)[] = [undefined];
  readonly #holdCounts = new Int32Array(SOURCES_MAX + 1);

  constructor(table: ConnectionTable, randomU32: RandomU32) {
    this.#table = table;
    this.#hash = new KeyedHash(randomU32(), randomU32());
  }

  /**
   * Number of an address, held until it is released as often.
   * @throws RangeError when there are SOURCES_MAX others, or it is no address
   */
  hold(address: string): number {
    let number = this.#texts.indexOf(address, 1);
    if (number < 0) {
      number = this.#texts.indexOf(undefined, 1);
      if (number < 0) number = this.#texts.length;
      const parsed = parseAddress(address);
      if (number > SOURCES_MAX || parsed === undefined)
        throw new RangeError(
          `Cannot use the source address ${address}: expected an address, ${SOURCES_MAX} at most`,
        );
      this.#texts[number] = address;
      this.words.set(parsed.words, number * 4);
      this.#table.sourceFamilies[number] = parsed.family;
    }
    this.#holdCounts[number]!++;
    return number;
  }

  /** @throws RangeError when these and the addresses that connections still use are too many, before anything is held */
  refuseTooMany(wanted: readonly string[]): void {
    const count = new Set([...wanted, ...this.texts]).size;
    if (count > SOURCES_MAX)
      throw new RangeError(
        `Cannot use ${count} source addresses, those that connections still use among them: expected ${SOURCES_MAX} at most`,
      );
  }

  release(number: number): void {
    if (number > 0 && --this.#holdCounts[number]! === 0) this.#forget(number);
  }

  /** Take over the addresses that the table's memory holds; each is let go by `endTakeOver` unless somebody uses it. */
  beginTakeOver(): void {
    const { sourceFamilies } = this.#table;
    for (let number = 1; number <= SOURCES_MAX; number++) {
      if (sourceFamilies[number] === 0) continue;
      const text = this.#left(number);
      if (text === undefined || this.#texts.includes(text)) this.#forget(number);
      else this.#texts[number] = text;
    }
    // Without holes, in which a search for a free number finds nothing.
    for (let number = 1; number < this.#texts.length; number++) this.#texts[number] ??= undefined;
  }

  /** What the table's memory says of a number; undefined: nothing possible. */
  #left(number: number): string | undefined {
    const { sourceFamilies, sourceWords } = this.#table;
    const family = sourceFamilies[number]!;
    const [, ...rest] = sourceWords.subarray(number * 4, number * 4 + 4);
    if (family !== 6 && (family !== 4 || rest.some((word) => word !== 0))) return undefined;
    return formatAddress(family, sourceWords, number * 4);
  }

  endTakeOver(): void {
    this.#texts.forEach((text, number) => {
      if (text !== undefined && this.#holdCounts[number] === 0) this.#forget(number);
    });
  }

  #forget(number: number): void {
    this.#texts[number] = undefined;
    this.#table.sourceFamilies[number] = 0;
  }

  /** A connection begins to use it; `release` when it ends. Nothing for the client's own. */
  use(number: number): void {
    if (number > 0) this.#holdCounts[number]!++;
  }

  /** Four words for each number. */
  get words(): Int32Array {
    return this.#table.sourceWords;
  }

  /** Of a number that is held. */
  family(number: number): 4 | 6 {
    return this.#table.sourceFamilies[number] as 4 | 6;
  }

  /** Addresses that a configuration names or a connection uses. */
  get texts(): readonly string[] {
    return this.#texts.filter((text) => text !== undefined);
  }

  /**
   * A source under which the far end cannot take this connection for another: the client's own port where that is free,
   * else a random one.
   * @param pool - numbers to choose from; empty: the client's own address
   * @param client - four words; `server` likewise
   * @param firstPort - range of the ports to take; of echo exchanges, of the identifications
   * @param reserved - ports that are not free although no connection uses them
   * @returns false when none was found; `found` is then meaningless
   */
  choose(
    pool: Int32Array,
    family: 4 | 6,
    protocol: number,
    client: Int32Array,
    clientPort: number,
    server: Int32Array,
    serverAt: number,
    serverPort: number,
    firstPort: number,
    lastPort: number,
    reserved: PortReservation | undefined,
  ): boolean {
    const table = this.#table;
    const { found } = this;
    const start = pool.length > 1 ? this.#draw(pool.length) : 0;
    const addressCount = pool.length === 0 ? 1 : Math.min(pool.length, ADDRESSES_TRIED_MAX);
    for (let index = 0; index < addressCount; index++) {
      const number = pool.length === 0 ? 0 : pool[(start + index) % pool.length]!;
      const words = number === 0 ? client : table.sourceWords;
      const at = number * 4;
      // A client's own port outside the range is nobody else's as long as its address is its own.
      let port =
        number === 0 || (clientPort >= firstPort && clientPort <= lastPort)
          ? clientPort
          : firstPort + this.#draw(lastPort - firstPort + 1);
      for (let tries = 0; tries < TRIES; tries++) {
        const ports = (serverPort << 16) | port;
        if (
          !table.hasTuple(family, protocol, server, serverAt, words, at, ports) &&
          (reserved === undefined || number === 0 || !reserved.isReserved(protocol, number, port))
        ) {
          found.number = number;
          found.port = port;
          return true;
        }
        port = firstPort + this.#draw(lastPort - firstPort + 1);
      }
    }
    return false;
  }

  /** A number below the bound that cannot be guessed. A hash, because what `RandomU32` returns V8 has to allocate. */
  #draw(bound: number): number {
    this.#drawCount = (this.#drawCount + 1) | 0;
    this.#hash.start();
    this.#hash.add(this.#drawCount);
    return (this.#hash.finish() >>> 1) % bound;
  }
}

/** Ports of source addresses that are not free for connections, because a service has them. */
export interface PortReservation {
  isReserved(protocol: number, number: number, port: number): boolean;
}
