import { expect, test } from "vitest";
import { letterOf, SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { replicatedLeastConnection } from "./replicated-least-connection.ts";

schedulerContract("lblcr", replicatedLeastConnection);

const rig = (...weights: number[]) => new SchedulerRig(replicatedLeastConnection, weights);
const pick = (it: SchedulerRig) => letterOf(it.pickFor("10.9.9.9:99"));
const DAY_MS = 86_400_000;

/** An address whose set became B, then also A. */
function shared(): SchedulerRig {
  const it = rig(4, 4).load(1, 0);
  expect(pick(it)).toBe("B");
  expect(pick(it.load(1, 5))).toBe("A");
  return it;
}

test("a crowded server gets help: both are members, the less loaded is picked", () => {
  const it = shared();
  expect(pick(it.load(3, 2))).toBe("B");
  expect(pick(it.load(2, 3))).toBe("A");
  expect(pick(it.load(2, 2)), "of two alike the one that came last").toBe("A");
});

test("an overloaded or quiesced member is passed over while there is another", () => {
  const it = shared().load(3, 2);
  const [b] = it.service.destinations;
  b!.isOverloaded = true;
  expect(pick(it)).toBe("A");
  b!.isOverloaded = false;
  it.edit(b!, 0);
  expect(pick(it)).toBe("A");
});

/** Half a day twice, with a use between: an entry without one would be collected. B is picked. */
function passDay(it: SchedulerRig): void {
  it.wait(DAY_MS / 2);
  expect(pick(it.load(3, 2))).toBe("B");
  it.wait(DAY_MS / 2);
}

test("a set that did not change for a day loses its most loaded member", () => {
  const it = shared();
  passDay(it);
  expect(pick(it.load(3, 2)), "not more than a day").toBe("B");
  it.wait(1);
  expect(pick(it.load(3, 2)), "A is taken out").toBe("B");
  expect(pick(it.load(0, 4)), "B is alone and not above its weight").toBe("B");
  passDay(it);
  it.wait(1);
  expect(pick(it.load(0, 4)), "a set of one keeps it").toBe("B");
});

test("the member to be taken out may serve once more", () => {
  const it = shared();
  passDay(it);
  it.wait(1);
  expect(pick(it.load(0, 0)), "both alike: A is the least loaded and the most loaded").toBe("A");
  expect(pick(it.load(0, 4))).toBe("B");
});

test("lblcr_expiration says how long a set stays as it is", () => {
  const it = shared();
  it.ipvs = { ...it.ipvs, lblcr_expiration: 60, lblc_expiration: 1 };
  it.wait(61_000);
  expect(pick(it.load(3, 2)), "A is taken out").toBe("B");
  expect(pick(it.load(0, 4))).toBe("B");
});
