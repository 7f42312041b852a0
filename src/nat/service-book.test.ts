import { describe, expect, test } from "vitest";
import { destination, service, testBook } from "../../test/support/replayed.ts";
import { SCHEDULERS } from "../schedulers/registry.ts";
import { Flow } from "../wire/flow.ts";
import type { ServiceBook } from "./service-book.ts";
import type { VirtualService } from "./virtual-service.ts";

const WEB = service("tcp", "192.0.2.1", 80, "wrr");
const A = destination("10.0.0.1", 80, 1);
const B = destination("10.0.0.2", 80, 2);

function bookWith(...destinations: readonly (typeof A)[]): [ServiceBook, VirtualService] {
  const book = testBook();
  const web = book.addService(WEB);
  for (const one of destinations) book.addDestination(web, one);
  return [book, web];
}

/** The first picks of a service, by letters. */
const picks = (web: VirtualService, count: number): string =>
  Array.from({ length: count }, () => {
    const picked = web.scheduler.pick(web.destinations, new Flow());
    return picked === undefined ? "-" : String.fromCharCode(64 + Number(picked.address.at(-1)));
  }).join("");

test("keeps the newest destination first", () => {
  const [, web] = bookWith(A, B);
  expect(web.destinations.map(({ address }) => address)).toEqual(["10.0.0.2", "10.0.0.1"]);
});

describe("refuses, naming what and why", () => {
  test.each([
    [{ ...WEB, address: "nonsense" }, "Cannot add service tcp nonsense:80: not an IP address"],
    [WEB, "Cannot add service tcp 192.0.2.1:80: it exists"],
    [{ ...WEB, port: 81, scheduler: "best" }, 'no scheduler "best", expected one of rr, wrr, lc, wlc'],
  ])("service %#", (config, message) => {
    const [book] = bookWith();
    expect(() => book.addService(config)).toThrow(message);
    expect(book.all).toHaveLength(1);
  });

  test.each([
    [destination("fd00::1", 80), "Cannot add destination fd00::1:80: expected an IPv4 address"],
    [destination("nonsense", 80), "expected an IPv4 address"],
    [A, "Cannot add destination 10.0.0.1:80: it exists"],
  ])("destination %#", (config, message) => {
    const [book, web] = bookWith(A);
    expect(() => book.addDestination(web, config)).toThrow(message);
    expect(web.destinations).toHaveLength(1);
  });
});

test("the same address with another port is another destination", () => {
  const [book, web] = bookWith(A);
  book.addDestination(web, { ...A, port: 81 });
  expect(web.destinations).toHaveLength(2);
});

describe("a removed destination", () => {
  test("without connections is forgotten at once and its number used again", () => {
    const [book, web] = bookWith(A);
    const removed = web.destinations[0]!;
    book.removeDestination(web, removed);
    expect([...book.destinations()]).toEqual([]);
    expect(book.addDestination(web, B).number).toBe(removed.number);
  });

  test("with connections stays known by its number until the last one is gone", () => {
    const [book, web] = bookWith(A, B);
    const removed = book.findDestination(web, A)!;
    removed.bind();
    book.removeDestination(web, removed);
    expect(web.destinations.map(({ address }) => address)).toEqual([B.address]);
    expect([book.destination(removed.number), removed.isAvailable]).toEqual([removed, false]);
    expect(picks(web, 4)).toBe("BBBB");
    removed.unbind(true);
    book.forget(removed);
    expect([...book.destinations()].map(({ address }) => address)).toEqual([B.address]);
  });

  test("comes back as the same object, with connections, counters and the new weight", () => {
    const [book, web] = bookWith(A, B);
    const removed = book.findDestination(web, A)!;
    removed.bind();
    removed.traffic.countConnection();
    book.removeDestination(web, removed);
    const again = book.addDestination(web, { ...A, weight: 9 });
    expect(again).toBe(removed);
    expect([again.isAvailable, again.weight, again.connectionCount, again.traffic.count(0)]).toEqual([
      true,
      9,
      1,
      1,
    ]);
    expect(web.destinations[0]).toBe(again);
  });

  test("comes back through a service of the same name made anew, and not through another", () => {
    const [book, web] = bookWith(A);
    const removed = web.destinations[0]!;
    removed.bind();
    removed.traffic.countConnection();
    book.removeService(web);
    const other = book.addService({ ...WEB, port: 81 });
    expect(book.addDestination(other, A)).not.toBe(removed);
    const again = book.addService(WEB);
    expect(book.addDestination(again, { ...A, port: 81 })).not.toBe(removed);
    expect(book.addDestination(again, A)).toBe(removed);
    expect(removed.service).toBe(again);
    expect([removed.connectionCount, removed.traffic.count(0)]).toEqual([1, 0]);
  });
});

test("a service removed takes its destinations with it, and its address when it was the last", () => {
  const [book, web] = bookWith(A, B);
  book.removeService(web);
  expect([book.all.length, web.destinations.length, [...book.destinations()].length]).toEqual([0, 0, 0]);
  expect(book.findService(WEB)).toBeUndefined();
});

describe("a scheduler changed while running begins as in a service that had it from the start", () => {
  test("wrr starts at the highest weight (reference 3.2: cl = head, cw = mw)", () => {
    const [book, web] = bookWith(
      destination("10.0.0.1", 80, 1),
      destination("10.0.0.2", 80, 2),
      destination("10.0.0.3", 80, 4),
    );
    book.editService(web, { ...WEB, scheduler: "rr" });
    expect(picks(web, 4)).toBe("CBAC");
    book.editService(web, { ...WEB, scheduler: "wrr" });
    expect(picks(web, 14)).toBe("CCCBCBACCCBCBA");
  });

  test("every scheduler of the registry can take over, also from nobody", () => {
    for (const name of Object.keys(SCHEDULERS).filter((one) => one !== "none")) {
      const [book, web] = bookWith(A, B);
      book.editService(web, { ...WEB, scheduler: name });
      expect(web.scheduler.name).toBe(name);
      expect(picks(web, 1)).toMatch(/[AB]/);
      const [empty, nobody] = bookWith();
      empty.editService(nobody, { ...WEB, scheduler: name });
      expect(picks(nobody, 1)).toBe("-");
      empty.addDestination(nobody, A);
      expect(picks(nobody, 1)).toBe("A");
    }
  });

  test("an unknown one is refused and the old one stays", () => {
    const [book, web] = bookWith(A);
    expect(() => book.editService(web, { ...WEB, scheduler: "best" })).toThrow('no scheduler "best"');
    expect(web.scheduler.name).toBe("wrr");
  });
});

test("an edit that changes nothing does not disturb the scheduler", () => {
  const [book, web] = bookWith(destination("10.0.0.1", 80, 1), destination("10.0.0.2", 80, 1));
  expect(picks(web, 1)).toBe("B");
  expect(book.editDestination(web, web.destinations[0]!, destination("10.0.0.2", 80, 1))).toBe(false);
  expect(picks(web, 2)).toBe("AB");
  expect(book.editDestination(web, web.destinations[1]!, destination("10.0.0.1", 80, 1, 100))).toBe(true);
  expect(picks(web, 1)).toBe("B");
});
