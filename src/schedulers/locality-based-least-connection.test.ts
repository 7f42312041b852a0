import { expect, test } from "vitest";
import { letterOf, SchedulerRig, schedulerContract } from "../../test/contract/scheduler.ts";
import { localityBasedLeastConnection } from "./locality-based-least-connection.ts";

schedulerContract("lblc", localityBasedLeastConnection, { keepsOverloaded: true });

const rig = (...weights: number[]) => new SchedulerRig(localityBasedLeastConnection, weights);
const pickFor = (it: SchedulerRig, virtual: string) => letterOf(it.pickFor("10.9.9.9:99", virtual));

test("an address stays where it was first sent, new addresses go by wlc", () => {
  const it = rig(1, 1).load(5, 3);
  expect(pickFor(it, "192.0.2.1")).toBe("B");
  it.load(0, 3);
  expect(pickFor(it, "192.0.2.2")).toBe("A");
  // At the weight or below half of it nobody is crowded.
  it.load(0, 1);
  expect(pickFor(it, "192.0.2.1")).toBe("B");
});

test("an address moves when its server is above its weight and another below half of its own", () => {
  const it = rig(4, 2).load(3, 0);
  expect(pickFor(it, "192.0.2.1")).toBe("B");
  expect(pickFor(it.load(2, 3), "192.0.2.1"), "4 is not below half of 4").toBe("B");
  expect(pickFor(it.load(1, 2), "192.0.2.1"), "2 is not above 2").toBe("B");
  expect(pickFor(it.load(1, 3), "192.0.2.1")).toBe("A");
  expect(pickFor(it.load(1, 0), "192.0.2.1"), "and stays there").toBe("A");
});

test("an address leaves a quiesced or removed server, not an overloaded one", () => {
  const it = rig(1, 1, 1);
  expect(pickFor(it, "192.0.2.1")).toBe("C");
  it.service.destinations[0]!.isOverloaded = true;
  expect(pickFor(it, "192.0.2.1")).toBe("C");
  it.edit(it.service.destinations[0]!, 0);
  expect(pickFor(it, "192.0.2.1")).toBe("B");
  it.remove(it.service.destinations[1]!);
  expect(pickFor(it, "192.0.2.1")).toBe("A");
});

test("a removed server that is added again has its addresses back", () => {
  const it = rig(1, 1);
  expect(pickFor(it, "192.0.2.1")).toBe("B");
  const [b] = it.service.destinations;
  it.remove(b!);
  it.add(1);
  it.load(0, 1);
  expect(pickFor(it, "192.0.2.1")).toBe("B");
  expect(pickFor(it, "192.0.2.2")).toBe("A");
});

test("IPv6 addresses are told apart, though they fold to one word", () => {
  const it = rig(9, 9);
  expect(pickFor(it, "2001:db8::1:2")).toBe("B");
  it.load(0, 5);
  expect(pickFor(it, "2001:db8::2:1")).toBe("A");
  expect(pickFor(it, "2001:db8::1:2")).toBe("B");
});

test("lblc_expiration says how long an unused address is remembered", () => {
  const it = rig(9, 9);
  it.ipvs = { ...it.ipvs, lblc_expiration: 1800, lblcr_expiration: 1 };
  expect(pickFor(it, "192.0.2.1")).toBe("B");
  it.load(0, 5).wait(29 * 60_000);
  expect(pickFor(it, "192.0.2.1"), "used again in time").toBe("B");
  it.wait(60 * 60_000);
  expect(pickFor(it, "192.0.2.1")).toBe("A");
});
