import { describe, expect, test } from "vitest";
import { SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { weightedRoundRobin } from "./weighted-round-robin.ts";

schedulerContract("wrr", weightedRoundRobin);

/**
 * A service whose list reads A, B, C, ... from its head, as the reference's rows are written, with the level at the top as
 * in a service that gets its scheduler when all destinations are there.
 */
function inListOrder(...weights: number[]): SchedulerRig {
  const it = new SchedulerRig(weightedRoundRobin, weights.toReversed());
  it.book.editService(it.service, {
    ...it.service.attributes,
    schedulerFlags: ["sh-port"],
    destinations: [],
  });
  return it;
}

/** Letters by place in the list: the head is A. */
function picks(it: SchedulerRig, count: number): string {
  const { destinations } = it.service;
  return Array.from({ length: count }, () => {
    const picked = it.pick();
    return picked === undefined ? "-" : String.fromCharCode(65 + destinations.indexOf(picked));
  }).join("");
}

describe("the reference's sequences (3.2)", () => {
  test.each([
    [[4, 3, 2], "AABABCABCAABABCABCAA"],
    [[2, 3, 4], "CBCABCABCCBCABCABCCB"],
    [[100, 50, 50], "AABCAABCAABCAABCAABC"],
    [[5, 1, 1], "AAAAABCAAAAABCAAAAAB"],
    [[6, 4, 2], "AABABCAABABCAABABCAA"],
    [[3, 0, 1], "AAACAAACAAACAAACAAAC"],
  ])("weights %j", (weights, wanted) => {
    expect(picks(inListOrder(...weights), 20)).toBe(wanted);
  });

  test("weights 1, 1 (overloaded), 1", () => {
    const it = inListOrder(1, 1, 1);
    it.service.destinations[1]!.isOverloaded = true;
    expect(picks(it, 8)).toBe("ACACACAC");
  });

  test("weights 4, 3, 2, the first set to 1 after four picks", () => {
    const it = inListOrder(4, 3, 2);
    expect(picks(it, 4)).toBe("AABA");
    it.edit(it.service.destinations[0]!, 1);
    expect(picks(it, 12)).toBe("BCABCBBCABCB");
  });
});

test("the founding example: weights 1 then 2 are served B A B, B A B", () => {
  expect(new SchedulerRig(weightedRoundRobin, [1, 2]).picks(9)).toBe("BABBABBAB");
});

test("serves every weight exactly in each round, for any weights", () => {
  for (const weights of [[1], [3, 5, 7], [10, 20, 40], [1, 1, 1, 97], [6, 0, 9, 15]]) {
    const it = inListOrder(...weights);
    const divisor = weights.filter((weight) => weight > 0).reduce((a, b) => greatestCommonDivisor(a, b));
    const roundLength = weights.reduce((a, b) => a + b) / divisor;
    for (let round = 0; round < 3; round++) {
      const served = picks(it, roundLength);
      const counts = weights.map(
        (_, i) => [...served].filter((letter) => letter === String.fromCharCode(65 + i)).length,
      );
      expect(counts).toEqual(weights.map((weight) => weight / divisor));
    }
  }
});

/**
 * The reference's pseudo-code (3.2) word for word, without any short cut: one pass over the list per level. What the
 * scheduler does must be the same, for small weights and any history.
 */
class SlowWrr {
  cl = -1;
  cw = 0;
  mw = 0;
  di = 1;

  changed(weights: readonly number[]): void {
    this.cl = -1;
    this.di = weights.filter((weight) => weight > 0).reduce((a, b) => greatestCommonDivisor(a, b), 0) || 1;
    const highest = Math.max(0, ...weights);
    this.mw = highest > 0 ? highest - (this.di - 1) : 0;
    if (this.cw > this.mw || this.cw === 0) this.cw = this.mw;
    else if (this.di > 1) this.cw = Math.floor(this.cw / this.di) * this.di + 1;
  }

  pick(weights: readonly number[], overloaded: readonly boolean[]): number {
    if (this.mw === 0) return -1;
    const start = this.cl;
    let lastPass = false;
    let restarted = false;
    let stop = -1;
    for (let position = this.cl; ; position = -1) {
      while (++position < weights.length) {
        if (!overloaded[position] && weights[position]! >= this.cw) {
          this.cl = position;
          return position;
        }
        if (position === stop) {
          this.cl = position;
          return -1;
        }
      }
      this.cw -= this.di;
      if (this.cw <= 0) {
        this.cw = this.mw;
        if (lastPass || start === -1) {
          this.cl = -1;
          return -1;
        }
        restarted = true;
      }
      lastPass = this.cw <= this.di;
      if (lastPass && restarted && start !== -1) stop = start;
    }
  }
}

test("does what the reference's pseudo-code does, step by step, in 200 random histories", () => {
  let state = 12_345;
  const random = () => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31);
  for (let history = 0; history < 200; history++) {
    const it = new SchedulerRig(weightedRoundRobin);
    const slow = new SlowWrr();
    const list = it.service.destinations;
    const weights = () => list.map(({ weight }) => weight);
    const overloaded = () => list.map(({ isOverloaded }) => isOverloaded);
    for (let step = 0; step < 120; step++) {
      const one = list[random() % Math.max(1, list.length)];
      const choice = (random() >> 8) % 12;
      if (choice === 0 && list.length < 6) it.add((random() >> 5) % 9);
      else if (choice === 1 && one !== undefined) {
        if (!it.edit(one, (random() >> 5) % 9)) continue;
      } else if (choice === 2 && one !== undefined && history % 2 === 0) it.remove(one);
      else if (choice === 3 && one !== undefined) {
        one.isOverloaded = !one.isOverloaded;
        continue;
      } else {
        const wanted = slow.pick(weights(), overloaded());
        const picked = it.pick();
        const made = picked === undefined ? -1 : list.indexOf(picked);
        if (made !== wanted)
          expect.fail(`history ${history}, step ${step}: ${made}, wanted ${wanted} of ${weights()}`);
        continue;
      }
      slow.changed(weights());
    }
  }
});

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
