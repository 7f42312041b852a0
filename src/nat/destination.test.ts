/** The overload rule, step by step (reference 2.3). */
import { describe, expect, test } from "vitest";
import { destination, testBook } from "../../test/support/replayed.ts";
import type { Destination } from "./destination.ts";

function make(upper: number, lower: number): Destination {
  const book = testBook();
  const service = {
    protocol: "tcp",
    address: "192.0.2.1",
    port: 80,
    scheduler: "rr",
    destinations: [],
  } as const;
  return book.addDestination(book.addService(service), destination("10.0.0.1", 80, 1, upper, lower));
}

/** Is it overloaded after each step: + binds a connection, - unbinds one? */
function overloads(one: Destination, steps: string): string {
  return [...steps]
    .map((step) => {
      if (step === "+") one.bind();
      else one.unbind(one.inactiveConnections > 0);
      return one.isOverloaded ? "O" : ".";
    })
    .join("");
}

describe("overload", () => {
  test.each([
    [0, 0, "++++----", "........", "no threshold, no overload"],
    [1, 0, "+-", "O.", "set by the connection that reaches the threshold"],
    [4, 0, "++++--", "...OO.", "cleared below three quarters, not at them"],
    [8, 0, "++++++++---", ".......OOO.", "8 x 3/4 = 6 is not below"],
    [5, 0, "+++++--", "....OO.", "5 x 3/4 = 3.75: four is not below, three is"],
    [4, 2, "++++---", "...OOO.", "a lower threshold instead of three quarters"],
    [4, 4, "++++-", "...O.", "lower equal to upper"],
    [2, 1, "++--", ".OO.", "a lower threshold of one: only empty is below"],
  ])("upper %i, lower %i: %s is %s (%s)", (upper, lower, steps, wanted) => {
    expect(overloads(make(upper, lower), steps)).toBe(wanted);
  });

  test("counts active and inactive connections alike", () => {
    const one = make(2, 0);
    one.bind();
    one.move(false);
    one.bind();
    expect([one.activeConnections, one.inactiveConnections, one.isOverloaded]).toEqual([1, 1, true]);
    one.unbind(false);
    expect([one.activeConnections, one.inactiveConnections, one.isOverloaded]).toEqual([0, 1, false]);
  });

  test("is a soft limit: connections are still bound above it", () => {
    expect(overloads(make(2, 0), "++++----")).toBe(".OOOOO..");
  });

  test.each([
    [3, 2, 0, false, "no threshold any more"],
    [3, 2, 4, false, "a larger one"],
    [3, 3, 2, true, "a smaller one"],
    [3, 3, 3, true, "the same one"],
  ])("edit from upper %i with %i connections to %i leaves it %s (%s)", (upper, count, newUpper, wanted) => {
    const one = make(upper, 0);
    for (let i = 0; i < count; i++) one.bind();
    one.isOverloaded = true;
    expect(one.edit(destination("10.0.0.1", 80, 1, newUpper, 0))).toBe(upper !== newUpper);
    expect(one.isOverloaded).toBe(wanted);
  });

  test("is left when thresholds were removed while it lasted and a connection goes", () => {
    const one = make(1, 0);
    one.bind();
    one.upperThreshold = 0;
    one.unbind(true);
    expect(one.isOverloaded).toBe(false);
  });
});

test("an edit says whether anything differed, and remembers the last weight above zero", () => {
  const one = make(0, 0);
  expect(one.edit(destination("10.0.0.1", 80, 1))).toBe(false);
  expect(one.edit(destination("10.0.0.1", 80, 7))).toBe(true);
  expect(one.edit(destination("10.0.0.1", 80, 0))).toBe(true);
  expect([one.weight, one.lastWeight]).toEqual([0, 7]);
});
