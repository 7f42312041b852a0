/**
 * wrr: every destination as often as its weight says, in IPVS's interleaving (net/netfilter/ipvs/ip_vs_wrr.c
 * as described by the reference, 3.2). A level goes down from the highest weight in steps of the greatest
 * common divisor; at each level the list is walked once and everyone whose weight reaches the level is
 * served.
 *
 * Faithful in two surprises: every edit sends the walk back to the list's head, and the level is kept when a
 * destination is added, so that weights 1 then 2 begin B A B, not B B A.
 */
import type { Scheduler } from "../nat/contracts/scheduler.ts";
import type { Destination } from "../nat/destination.ts";
import { greatestCommonDivisor } from "./selection.ts";

const HEAD = -1;
/** Destinations of a service at most; a level times this is still a whole number. */
const LIST_MAX = 1 << 20;

export const weightedRoundRobin = (): Scheduler => {
  let current = HEAD;
  let level = 0;
  let topLevel = 0;
  let step = 1;

  return {
    name: "wrr",
    // A level is below 2^31, a list no longer than a few thousand.
    get position() {
      return level * LIST_MAX + current + 1;
    },
    set position(position) {
      current = (position % LIST_MAX) - 1;
      level = Math.floor(position / LIST_MAX);
    },
    pick(destinations) {
      if (topLevel === 0) return undefined;
      const start = current;
      let position = current;
      let isLastPass = false;
      let isRestarted = false;
      let stop = HEAD;
      for (;;) {
        const isWholePass = position === HEAD;
        let highest = 0;
        while (++position < destinations.length) {
          const destination = destinations[position]!;
          if (!destination.isOverloaded) {
            if (destination.weight >= level) {
              current = position;
              return destination;
            }
            if (destination.weight > highest) highest = destination.weight;
          }
          if (position === stop) {
            current = position;
            return undefined;
          }
        }
        position = HEAD;
        level -= isWholePass ? emptyLevels(level, step, highest) : step;
        if (level <= 0) {
          level = topLevel;
          if (isLastPass || start === HEAD) {
            current = HEAD;
            return undefined;
          }
          isRestarted = true;
        }
        isLastPass = level <= step;
        if (isLastPass && isRestarted) stop = start;
      }
    },
    changed(_change, destinations) {
      current = HEAD;
      step = commonStep(destinations);
      topLevel = highestWeight(destinations);
      if (topLevel > 0) topLevel -= step - 1;
      if (level > topLevel || level === 0) level = topLevel;
      else if (step > 1) level = Math.floor(level / step) * step + 1;
    },
  };
};

/**
 * How far the level may fall at once after a whole pass in vain: to the next one that somebody reaches, but
 * not past the lowest above zero, where the walk decides whether to stop. Without it a weight of 2^31 on an
 * overloaded destination would cost 2^31 passes.
 */
function emptyLevels(level: number, step: number, highest: number): number {
  const toLowest = Math.ceil(level / step) * step - step;
  const toSomebody = Math.ceil((level - highest) / step) * step;
  return Math.max(step, Math.min(toLowest, toSomebody));
}

/** Of the weights above zero; 1 when there are none. */
const commonStep = (destinations: readonly Destination[]): number =>
  destinations.reduce((step, { weight }) => greatestCommonDivisor(step, weight), 0) || 1;

function highestWeight(destinations: readonly Destination[]): number {
  let highest = 0;
  for (const { weight } of destinations) if (weight > highest) highest = weight;
  return highest;
}
