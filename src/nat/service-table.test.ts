import { describe, expect, test } from "vitest";
import { seededRandom } from "../base/seeded-random.ts";
import { roundRobin } from "../schedulers/round-robin.ts";
import { formatAddress, parseAddress } from "../wire/address.ts";
import { Flow } from "../wire/flow.ts";
import type { ServiceProtocol } from "./configuration.ts";
import { MarkRules } from "./mark-rules.ts";
import { ServiceTable } from "./service-table.ts";
import { VirtualService } from "./virtual-service.ts";

function make(protocol: ServiceProtocol, address: string, port: number): VirtualService {
  return new VirtualService({ protocol, address, port, scheduler: "rr" }, roundRobin());
}

function flowTo(protocol: number, text: string, port: number): Flow {
  const flow = new Flow();
  const { family, words } = parseAddress(text)!;
  flow.family = family;
  flow.protocol = protocol;
  flow.words.set(words, 4);
  flow.destinationPort = port;
  return flow;
}

test("finds a service by protocol, address and port together", () => {
  const table = new ServiceTable();
  const web = make("tcp", "192.0.2.1", 80);
  const dns = make("udp", "192.0.2.1", 80);
  const web6 = make("tcp", "2001:db8::1", 80);
  for (const one of [web, dns, web6]) table.add(one);
  expect(table.find(flowTo(6, "192.0.2.1", 80))).toBe(web);
  expect(table.find(flowTo(17, "192.0.2.1", 80))).toBe(dns);
  expect(table.find(flowTo(6, "2001:db8::1", 80))).toBe(web6);
  expect(table.find(flowTo(6, "192.0.2.1", 81))).toBeUndefined();
  expect(table.find(flowTo(6, "192.0.2.2", 80))).toBeUndefined();
  expect(table.find(flowTo(132, "192.0.2.1", 80))).toBeUndefined();
});

test("an IPv4 address is not the IPv6 address of the same words", () => {
  const table = new ServiceTable();
  table.add(make("tcp", "192.0.2.1", 80));
  expect(table.isToVirtual(flowTo(6, "c000:201::", 80))).toBe(false);
  expect(table.find(flowTo(6, "c000:201::", 80))).toBeUndefined();
});

test("knows a virtual address as source and as destination", () => {
  const table = new ServiceTable();
  table.add(make("tcp", "2001:db8::1", 80));
  const flow = flowTo(17, "2001:db8::1", 9);
  expect([table.isToVirtual(flow), table.isFromVirtual(flow)]).toEqual([true, false]);
  flow.reverse();
  expect([table.isToVirtual(flow), table.isFromVirtual(flow)]).toEqual([false, true]);
});

test("a held address stays virtual without a service", () => {
  const table = new ServiceTable();
  const web = make("tcp", "192.0.2.1", 80);
  table.add(web);
  table.hold(web);
  table.remove(web);
  expect(table.isToVirtual(flowTo(6, "192.0.2.1", 80))).toBe(true);
  expect(table.find(flowTo(6, "192.0.2.1", 80))).toBeUndefined();
  table.release(web);
  expect(table.isToVirtual(flowTo(6, "192.0.2.1", 80))).toBe(false);
});

test("an address is virtual until its last service is gone", () => {
  const table = new ServiceTable();
  const [web, dns] = [make("tcp", "192.0.2.1", 80), make("udp", "192.0.2.1", 53)];
  table.add(web);
  table.add(dns);
  table.remove(web);
  expect(table.isToVirtual(flowTo(1, "192.0.2.1", 0))).toBe(true);
  table.remove(dns);
  expect(table.isToVirtual(flowTo(1, "192.0.2.1", 0))).toBe(false);
});

test("keeps thousands of services apart while they come and go in any order", () => {
  const random = seededRandom(3);
  const table = new ServiceTable();
  const known = new Map<string, VirtualService>();
  const keyOf = (address: string, port: number) => `${address} ${port}`;
  for (let step = 0; step < 20_000; step++) {
    const address = formatAddress(4, [0x0a000000 | (random() % 60)]);
    const port = 30 + (random() % 40); // neither FTP nor its data
    const key = keyOf(address, port);
    const one = known.get(key);
    if (one === undefined) {
      const added = make("tcp", address, port);
      known.set(key, added);
      table.add(added);
    } else if (random() % 2 === 0) {
      known.delete(key);
      table.remove(one);
    }
    if (table.find(flowTo(6, address, port)) !== known.get(key)) expect.fail(`wrong service at ${key}`);
    if (step % 500 !== 0) continue;
    for (let i = 0; i < 60; i++) {
      const other = formatAddress(4, [0x0a000000 | i]);
      const isKnown = [...known.keys()].some((name) => name.startsWith(`${other} `));
      expect(table.isToVirtual(flowTo(17, other, 1))).toBe(isKnown);
    }
  }
});

describe("of several services for one packet, the one IPVS takes (its reference, section 1.2)", () => {
  const address = "192.0.2.1";
  const all = {
    web: make("tcp", address, 80),
    range: ranged("tcp", address, 80, 90),
    ftp: make("tcp", address, 21),
    rest: make("tcp", address, 0),
    mark: marked("0.0.0.0"),
    mark6: marked("::"),
    dns: make("udp", address, 53),
    restOfUdp: make("udp", address, 0),
  } as const;
  type Name = keyof typeof all;
  const rules = [
    { mark: 7, destination: `${address}/32`, ports: { first: 85, last: 86 } },
    { mark: 8, destination: `${address}/32`, ports: { first: 87, last: 87 } },
  ];

  function ranged(protocol: ServiceProtocol, at: string, port: number, lastPort: number): VirtualService {
    return new VirtualService({ protocol, address: at, port, lastPort, scheduler: "rr" }, roundRobin());
  }
  function marked(family: string): VirtualService {
    return new VirtualService(
      { protocol: "fwmark", address: family, port: 0, mark: 7, scheduler: "rr" },
      roundRobin(),
    );
  }
  function found(there: readonly Name[], protocol: number, port: number): Name | undefined {
    const table = new ServiceTable();
    table.marks = new MarkRules(rules);
    for (const name of there) table.add(all[name]);
    const service = table.find(flowTo(protocol, address, port));
    for (const name of there) table.remove(all[name]);
    return there.find((name) => all[name] === service);
  }
  const TCP: readonly Name[] = ["rest", "ftp", "range", "mark", "mark6"];

  test.each([
    [TCP, 6, 80, "range"],
    [["rest", "ftp", "web", "mark"], 6, 80, "web"],
    [TCP, 6, 90, "range"],
    [TCP, 6, 91, "rest"],
    [TCP, 6, 79, "rest"],
    // A mark comes first; one that has no service, or none of the family, is as none.
    [TCP, 6, 85, "mark"],
    [TCP, 6, 87, "range"],
    [["rest", "mark6"], 6, 85, "rest"],
    [["mark"], 17, 86, "mark"],
    [["mark"], 6, 84, undefined],
    // FTP's data: port 20, and unprivileged ones, of TCP.
    [TCP, 6, 21, "ftp"],
    [TCP, 6, 20, "ftp"],
    [TCP, 6, 1024, "ftp"],
    [TCP, 6, 65_535, "ftp"],
    [TCP, 6, 1023, "rest"],
    [TCP, 6, 22, "rest"],
    [["ftp"], 6, 1023, undefined],
    [["ftp", "restOfUdp"], 17, 1024, "restOfUdp"],
    [["dns", "restOfUdp"], 17, 53, "dns"],
    [["dns", "rest"], 17, 54, undefined],
    [["dns", "rest"], 132, 53, undefined],
  ] as [readonly Name[], number, number, Name | undefined][])(
    "%j, protocol %i, port %i: %s",
    (there, protocol, port, wanted) => {
      expect(found(there, protocol, port)).toBe(wanted);
      // The order they were added in does not matter.
      expect(found(there.toReversed(), protocol, port)).toBe(wanted);
    },
  );

  test("what is reserved: ports that services ask for by name, of their own protocol", () => {
    const table = new ServiceTable();
    for (const name of ["range", "rest", "dns"] as const) table.add(all[name]);
    const { words } = parseAddress(address)!;
    const served = (protocol: number, port: number): boolean => table.isServed(4, protocol, words, 0, port);
    expect([79, 80, 85, 90, 91, 53].map((port) => served(6, port))).toEqual([
      false,
      true,
      true,
      true,
      false,
      false,
    ]);
    expect([served(17, 53), served(17, 80), served(132, 80)]).toEqual([true, false, false]);
  });

  test("what a mark rule covers is a virtual address, with a mark service or without", () => {
    const table = new ServiceTable();
    expect(table.isToVirtual(flowTo(6, address, 9))).toBe(false);
    table.marks = new MarkRules(rules);
    expect(table.isToVirtual(flowTo(6, address, 9))).toBe(true);
    table.add(all.mark);
    table.remove(all.mark);
    expect(table.isToVirtual(flowTo(6, address, 9))).toBe(true);
    // A mark service itself has no address.
    table.add(all.mark);
    expect(table.isToVirtual(flowTo(6, "0.0.0.0", 9))).toBe(false);
    table.remove(all.mark);
  });
});
