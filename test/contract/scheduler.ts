/**
 * What the director relies on in every scheduler, whatever its algorithm. A scheduler's own test calls this with its
 * factory and adds what is its own.
 */
import { describe, expect, test } from "vitest";
import { milliseconds } from "../../src/base/environment.ts";
import { seededRandom } from "../../src/base/seeded-random.ts";
import type { Scheduler, SchedulerFactory } from "../../src/nat/contracts/scheduler.ts";
import type { Destination } from "../../src/nat/destination.ts";
import { IPVS_DEFAULTS } from "../../src/nat/ipvs-settings.ts";
import type { ServiceBook } from "../../src/nat/service-book.ts";
import type { VirtualService } from "../../src/nat/virtual-service.ts";
import { parseAddress, parseEndpoint } from "../../src/wire/address.ts";
import { Flow } from "../../src/wire/flow.ts";
import { destination, testBook } from "../support/replayed.ts";

const WEIGHT_MAX = 2 ** 31 - 1;
/** More than any scheduler needs for one pick on a slow machine, less than a walk over all weights would take. */
const PICK_MS_MAX = 200;

/** A service with one scheduler, made and changed through the same book as the director's. */
export class SchedulerRig {
  readonly book: ServiceBook;
  readonly service: VirtualService;
  ipvs = IPVS_DEFAULTS;
  readonly #flow = new Flow();
  readonly #random = seededRandom(99);
  #nowMs = 0;

  constructor(factory: SchedulerFactory, weights: readonly number[] = []) {
    const now = () => milliseconds(this.#nowMs);
    const context = { now, randomU32: seededRandom(5), ipvs: () => this.ipvs };
    this.book = testBook({ it: factory }, context);
    const config = {
      protocol: "tcp",
      address: "192.0.2.1",
      port: 80,
      scheduler: "it",
      destinations: [],
    } as const;
    this.service = this.book.addService(config);
    for (const weight of weights) this.add(weight);
  }

  get scheduler(): Scheduler {
    return this.service.scheduler;
  }

  /** Add a destination, which becomes the head of the list; its letter is the first that is free: A, B, C, ... */
  add(weight: number): Destination {
    const taken = new Set(this.service.destinations.map(numberOf));
    let number = 1;
    while (taken.has(number)) number++;
    const address = `10.0.${number >> 8}.${number & 255}`;
    return this.book.addDestination(this.service, destination(address, 80, weight));
  }

  /** @returns false if it had that weight already. */
  edit(one: Destination, weight: number): boolean {
    return this.book.editDestination(this.service, one, { ...one, weight });
  }

  remove(one: Destination): void {
    this.book.removeDestination(this.service, one);
  }

  /** The next new connection, from a client of its own. It is not counted anywhere unless `bind` is called. */
  pick(): Destination | undefined {
    this.#nowMs += 10;
    this.#flow.protocol = 6;
    this.#flow.words[0] = this.#random() | 0;
    this.#flow.words[4] = 0xc0000201 | 0;
    this.#flow.sourcePort = 1024 + (this.#random() % 60_000);
    this.#flow.destinationPort = 80;
    return this.scheduler.pick(this.service.destinations, this.#flow);
  }

  /** The next new connection from this endpoint to this address. */
  pickFor(client: string, virtual = "192.0.2.1"): Destination | undefined {
    const { words, port } = parseEndpoint(client)!;
    this.#flow.words.set(words, 0);
    this.#flow.words.set(parseAddress(virtual)!.words, 4);
    this.#flow.sourcePort = port;
    return this.scheduler.pick(this.service.destinations, this.#flow);
  }

  /** Let time pass. */
  wait(ms: number): void {
    this.#nowMs += ms;
  }

  /** Several picks as letters; "-" for nobody. */
  picks(count: number): string {
    return Array.from({ length: count }, () => letterOf(this.pick())).join("");
  }

  /** Several connections that are made and stay open, as letters. */
  opens(count: number): string {
    return Array.from({ length: count }, () => {
      const picked = this.pick();
      picked?.bind();
      picked?.move(false);
      return letterOf(picked);
    }).join("");
  }

  /** Give the destinations these connections, oldest first: active, or [active, inactive]. */
  load(...loads: readonly (number | readonly [number, number])[]): this {
    this.service.destinations.toReversed().forEach((one, index) => {
      const load = loads[index]!;
      [one.activeConnections, one.inactiveConnections] = typeof load === "number" ? [load, 0] : load;
    });
    return this;
  }
}

export const letterOf = (one: Destination | undefined): string =>
  one === undefined ? "-" : String.fromCharCode(64 + numberOf(one));

function numberOf({ address }: Destination): number {
  const [, , high, low] = address.split(".");
  return Number(high) * 256 + Number(low);
}

export interface Deviations {
  /** It may pick nobody although somebody is eligible (sh, dh, mh). */
  readonly refuses?: boolean;
  /** It stays with one that became overloaded (lblc). */
  readonly keepsOverloaded?: boolean;
  /** Random histories to try; fewer for one whose every change costs milliseconds. */
  readonly histories?: number;
}

export function schedulerContract(
  name: string,
  factory: SchedulerFactory,
  { refuses = false, keepsOverloaded = false, histories = 30 }: Deviations = {},
): void {
  const rig = (...weights: number[]) => new SchedulerRig(factory, weights);

  describe(`${name} keeps the contract of schedulers`, () => {
    test("has its name", () => {
      expect(rig().scheduler.name).toBe(name);
    });

    test("picks nobody from an empty list, of weights 0 alone, of overloaded ones alone", () => {
      expect(rig().picks(3)).toBe("---");
      expect(rig(0, 0, 0).picks(5)).toBe("-----");
      const busy = rig(1, 2, 3);
      for (const one of busy.service.destinations) one.isOverloaded = true;
      expect(busy.picks(5)).toBe("-----");
    });

    test("picks the only one there is, again and again, also after nobody was there", () => {
      expect(rig(7).picks(4)).toBe("AAAA");
      const one = rig(7);
      one.service.destinations[0]!.isOverloaded = true;
      expect(one.picks(3)).toBe("---");
      one.service.destinations[0]!.isOverloaded = false;
      expect(one.picks(3)).toBe("AAA");
    });

    test("never picks weight 0, an overloaded one or one that is not in the list, whatever happens to the list", () => {
      for (let seed = 1; seed <= histories; seed++) {
        const random = seededRandom(seed);
        const it = rig();
        for (let step = 0; step < 400; step++) {
          const list = it.service.destinations;
          const one = list[random() % Math.max(1, list.length)];
          const weight = [0, 1, 2, 3, 10, 100, 1000, 65_535, WEIGHT_MAX][random() % 9]!;
          switch (random() % 10) {
            case 0:
              if (list.length < 20) it.add(weight);
              break;
            case 1:
              if (one !== undefined && random() % 2 === 0) it.remove(one);
              break;
            case 2:
              if (one !== undefined) it.edit(one, weight);
              break;
            case 3:
              if (one !== undefined) one.isOverloaded = !one.isOverloaded;
              break;
            case 4:
              if (one !== undefined && one.inactiveConnections > 0) one.unbind(true);
              break;
            default: {
              const picked = it.pick();
              const isEligible = ({ weight, isOverloaded }: Destination) =>
                weight > 0 && (keepsOverloaded || !isOverloaded);
              if (picked === undefined) {
                if (!refuses && list.some((other) => isEligible(other) && !other.isOverloaded))
                  expect.fail(`seed ${seed}, step ${step}: nobody, but some may`);
              } else if (!list.includes(picked) || !isEligible(picked)) {
                expect.fail(`seed ${seed}, step ${step}: ${letterOf(picked)} of weight ${picked.weight}`);
              }
              picked?.bind();
            }
          }
        }
      }
    });

    test("is deterministic: the same history gives the same picks", () => {
      const history = () => {
        const it = rig(3, 1, 0, 5);
        const first = it.picks(17);
        const added = it.add(4);
        const second = it.picks(11);
        it.edit(it.service.destinations[3]!, 2);
        const third = it.picks(9);
        it.remove(added);
        return first + second + third + it.picks(23);
      };
      expect(history()).toBe(history());
    });

    test("services do not share state", () => {
      const alone = rig(1, 2, 3);
      const wanted = alone.picks(12);
      const [one, other] = [rig(1, 2, 3), rig(1, 2, 3)];
      const mixed = Array.from({ length: 12 }, () => [letterOf(one.pick()), letterOf(other.pick())]);
      expect(mixed.map(([first]) => first).join("")).toBe(wanted);
      expect(mixed.map(([, second]) => second).join("")).toBe(wanted);
    });

    test("a removed destination is not picked again, one removed and added again is", () => {
      const it = rig(1, 1, 1);
      it.picks(2);
      for (const one of [...it.service.destinations].slice(0, 2)) it.remove(one);
      expect(it.picks(3)).toBe("AAA");
      it.add(1);
      it.edit(it.service.destinations[1]!, 0);
      expect(it.picks(9)).toMatch(refuses ? /^[B-]*B[B-]*$/ : /^B+$/);
    });

    test("needs bounded time for any weights, with everything overloaded and when one is left", () => {
      for (const weights of [
        [WEIGHT_MAX, WEIGHT_MAX - 1, 1],
        [WEIGHT_MAX, 0, 0],
        [1, WEIGHT_MAX],
        [2 ** 30, 3, 2 ** 29 + 1, WEIGHT_MAX],
        Array.from({ length: 500 }, (_, i) => 1 + ((i * 7919) % 65_536)),
      ]) {
        const it = rig(...weights);
        const list = it.service.destinations;
        it.picks(3);
        for (const one of list) one.isOverloaded = true;
        const nobody = inTime(() => it.pick());
        if (!keepsOverloaded) expect(nobody).toBeUndefined();
        const small = list.filter(({ weight }) => weight > 0).reduce((a, b) => (b.weight < a.weight ? b : a));
        small.isOverloaded = false;
        const picked = inTime(() => it.pick());
        if (!refuses && !keepsOverloaded) expect(picked).toBe(small);
        for (const one of list) one.isOverloaded = false;
        for (let i = 0; i < 20; i++) inTime(() => it.pick());
      }
    });
  });
}

function inTime<T>(work: () => T): T {
  const start = performance.now();
  const result = work();
  const took = performance.now() - start;
  if (took > PICK_MS_MAX) expect.fail(`one pick took ${Math.round(took)} ms`);
  return result;
}
