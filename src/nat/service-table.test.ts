import { expect, test } from "vitest";
import { seededRandom } from "../base/seeded-random.ts";
import { roundRobin } from "../schedulers/round-robin.ts";
import { formatAddress, parseAddress } from "../wire/address.ts";
import { Flow } from "../wire/flow.ts";
import type { ServiceProtocol } from "./configuration.ts";
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
