/**
 * mh: IPVS's Maglev hashing (ip_vs_mh.c; reference 3.11; Eisenbud et al., "Maglev: a fast and reliable
 * software network load balancer", NSDI 2016, section 3.4). A table of 4093 slots, looked up by the client's
 * address, with the flag mh-port also by its port. Every destination claims slots in an order of its own, so
 * that few clients move when one comes or goes.
 *
 * Faithful in two things: shares are rounded to 6 bits of weight, and a destination set to weight 0 keeps its
 * slots (its last weight counts), so that its clients are refused, unless mh-fallback. maglev has neither.
 */
import type { Scheduler, SchedulerContext } from "../nat/contracts/scheduler.ts";
import type { Destination } from "../nat/destination.ts";
import type { Flow } from "../wire/flow.ts";
import { foldAddress } from "./address-hash.ts";
import { greatestCommonDivisor, isAnyEligible, isEligible } from "./selection.ts";
import { sipHashWord } from "./sip-hash.ts";

/** The prime of IP_VS_MH_TAB_INDEX 12. More destinations than this and the last have no slot. */
export const SLOT_COUNT = 4093;
/** Half the index: turns a visit are below 2^6. */
const WEIGHT_BITS = 6;
const FIRST_KEY = 2_654_435_761;
const SECOND_KEY = 2_654_446_892;
const FREE = -1;

export const maglevHashing = ({ flags }: Pick<SchedulerContext, "flags">): Scheduler => {
  const isPortHashed = flags.includes("mh-port");
  const isFallingBack = flags.includes("mh-fallback");
  /** Index in the list, by slot; FREE: nobody ever had a weight. */
  const slots = new Int32Array(SLOT_COUNT).fill(FREE);
  let isStale = true;

  const place = (flow: Flow): number =>
    (foldAddress(flow.words, 0) + (isPortHashed ? flow.sourcePort : 0)) | 0;

  return {
    name: "mh",
    pick(destinations, flow) {
      if (isStale) {
        fillMaglevTable(slots, destinations);
        isStale = false;
      }
      const value = place(flow);
      const slot = slotOf(value);
      const index = slots[slot]!;
      if (index === FREE) return undefined;
      const destination = destinations[index]!;
      if (isEligible(destination)) return destination;
      if (!isFallingBack || !isAnyEligible(destinations)) return undefined;
      for (let step = 0; step < SLOT_COUNT; step++) {
        const offset = (step + slot) % SLOT_COUNT;
        const other = destinations[slots[slotOf((value + offset) | 0)]!]!;
        if (isEligible(other)) return other;
      }
      return undefined;
    },
    // Filled at the next pick, so that a hundred servers added one by one cost one filling.
    changed() {
      isStale = true;
    },
  };
};

/** @param value - folded address plus port, plus offset */
export const slotOf = (value: number): number => (sipHashWord(value, FIRST_KEY) >>> 0) % SLOT_COUNT;

/** Where a destination begins and how far it jumps. */
export function maglevSteps({ words, port }: Pick<Destination, "words" | "port">): {
  start: number;
  skip: number;
} {
  const value = (foldAddress(words, 0) + port) | 0;
  return {
    start: slotOf(value),
    skip: ((sipHashWord(value, SECOND_KEY) >>> 0) % (SLOT_COUNT - 1)) + 1,
  };
}

/**
 * @param slots - SLOT_COUNT of them; indexes in the list are written here. Once a change, not a packet:
 * allocates.
 */
export function fillMaglevTable(
  slots: Int32Array,
  destinations: readonly Pick<Destination, "words" | "port" | "lastWeight">[],
): void {
  slots.fill(FREE);
  let divisor = 0;
  let highest = 0;
  for (const { lastWeight } of destinations) {
    divisor = greatestCommonDivisor(divisor, lastWeight);
    highest = Math.max(highest, lastWeight);
  }
  if (divisor === 0) return;
  const shift = Math.max(0, 32 - Math.clz32(highest / divisor) - WEIGHT_BITS);
  const turns = destinations.map(({ lastWeight }) =>
    lastWeight === 0 ? 0 : Math.max(1, (lastWeight / divisor) >> shift),
  );
  const steps = destinations.map(maglevSteps);
  const positions = Int32Array.from(steps, ({ start }) => start);
  let freeCount = SLOT_COUNT;
  for (let index = 0; ; index = (index + 1) % destinations.length) {
    const { skip } = steps[index]!;
    for (let turn = 0; turn < turns[index]!; turn++) {
      let position = positions[index]!;
      while (slots[position] !== FREE) position = (position + skip) % SLOT_COUNT;
      slots[position] = index;
      positions[index] = position;
      if (--freeCount === 0) return;
    }
  }
}
