import { expect, test } from "vitest";
import { parseAddress } from "../wire/address.ts";
import { Flow, Protocol } from "../wire/flow.ts";
import type { MarkRule } from "./configuration.ts";
import { MarkRules } from "./mark-rules.ts";

function flowOf(source: string, destination: string, port: number, protocol: number = Protocol.tcp): Flow {
  const flow = new Flow();
  const to = parseAddress(destination)!;
  flow.family = to.family;
  flow.protocol = protocol;
  flow.words.set(parseAddress(source)!.words, 0);
  flow.words.set(to.words, 4);
  flow.destinationPort = port;
  return flow;
}

const RULES: MarkRule[] = [
  { mark: 1, protocol: "tcp", destination: "192.0.2.1", ports: { first: 80, last: 80 } },
  { mark: 2, source: "198.51.100.0/24", destination: "192.0.2.0/30", ports: { first: 1000, last: 1999 } },
  { mark: 3, protocol: "sctp", destination: "192.0.2.0/24" },
  { mark: 4, destination: "192.0.2.1/32", ports: { first: 80, last: 1500 } },
  { mark: 0xffffffff, protocol: "udp", source: "2001:db8:1::/48", destination: "2001:db8:5::5" },
  { mark: 6, destination: "2001:db8:5::/112" },
];

test.each([
  ["203.0.113.1", "192.0.2.1", 80, "tcp", 1],
  ["203.0.113.1", "192.0.2.1", 79, "tcp", 0],
  // The first that fits, not the narrowest.
  ["198.51.100.9", "192.0.2.1", 1000, "tcp", 2],
  ["198.51.100.9", "192.0.2.3", 1999, "udp", 2],
  ["198.51.100.9", "192.0.2.4", 1999, "udp", 0],
  ["198.51.101.9", "192.0.2.1", 1000, "tcp", 4],
  ["198.51.100.9", "192.0.2.1", 999, "udp", 4],
  ["198.51.100.9", "192.0.2.1", 2000, "udp", 0],
  ["203.0.113.1", "192.0.2.1", 80, "udp", 4],
  ["203.0.113.1", "192.0.2.200", 80, "sctp", 3],
  ["203.0.113.1", "192.0.2.200", 80, "tcp", 0],
  ["203.0.113.1", "192.0.3.1", 80, "sctp", 0],
  ["2001:db8:1:9::1", "2001:db8:5::5", 0, "udp", 0xffffffff],
  ["2001:db8:2::1", "2001:db8:5::5", 65_535, "udp", 6],
  ["2001:db8:1::1", "2001:db8:5::5", 1, "tcp", 6],
  ["2001:db8:1::1", "2001:db8:5::1:0", 1, "tcp", 0],
] as const)("from %s to %s port %i %s: mark %i", (source, destination, port, protocol, mark) => {
  expect(new MarkRules(RULES).markOf(flowOf(source, destination, port, Protocol[protocol]))).toBe(mark);
});

test("an IPv4 rule says nothing about the IPv6 address of the same words", () => {
  const rules = new MarkRules([{ mark: 1, destination: "192.0.2.1/32" }]);
  const { words } = parseAddress("c000:201::")!;
  expect(rules.covers(6, words, 0)).toBe(false);
  expect(rules.covers(4, words, 0)).toBe(true);
  expect(rules.markOf(flowOf("::1", "c000:201::", 80))).toBe(0);
});

test("covers every destination of a rule, whatever else it asks for, and no source", () => {
  const rules = new MarkRules(RULES);
  const covers = (text: string): boolean => {
    const { family, words } = parseAddress(text)!;
    return rules.covers(family, words, 0);
  };
  expect(["192.0.2.0", "192.0.2.255", "2001:db8:5::", "2001:db8:5::ffff"].map(covers)).toEqual(
    Array(4).fill(true),
  );
  expect(["192.0.1.255", "192.0.3.0", "198.51.100.9", "2001:db8:5::1:0"].map(covers)).toEqual(
    Array(4).fill(false),
  );
});

test.each(["", "192.0.2.1/33", "192.0.2/24", "2001:db8::/129", "host"])(
  "refuses the prefix %j",
  (destination) => {
    expect(() => new MarkRules([{ mark: 1, destination }])).toThrow(
      `Cannot mark packets: "${destination}" is no prefix`,
    );
  },
);
