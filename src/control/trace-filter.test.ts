import { describe, expect, it } from "vitest";
import { Flow, Protocol } from "../wire/flow.ts";
import { matchesFlow, parseTraceFilter, type TraceFilter } from "./trace-filter.ts";

const filterOf = (text: string): TraceFilter => {
  const parsed = parseTraceFilter(text);
  if ("wanted" in parsed) throw new Error(parsed.wanted);
  return parsed.value;
};

/** 202.100.1.2:3456 > 202.103.106.5:80 tcp */
function founding(): Flow {
  const flow = new Flow();
  flow.family = 4;
  flow.protocol = Protocol.tcp;
  flow.words.set([0xca640102 | 0], 0);
  flow.words.set([0xca676a05 | 0], 4);
  flow.sourcePort = 3456;
  flow.destinationPort = 80;
  flow.hasPorts = true;
  return flow;
}

describe("matchesFlow", () => {
  it.each([
    ["", true],
    ["tcp", true],
    ["udp", false],
    ["udp tcp", true],
    ["port 80", true],
    ["port 3456 port 80", true],
    ["port 81", false],
    ["host 202.100.1.2", true],
    ["host 202.103.106.5 host 202.100.1.2", true],
    ["host 202.100.1.3", false],
    ["host ca64:102::", false],
    ["service tcp://202.103.106.5:80", true],
    ["service udp://202.103.106.5:80", false],
    ["service tcp://202.103.106.5:*", true],
    ["service tcp://202.103.106.6:*", false],
    ["  icmp   port 80 ", false],
  ])("%j: %s", (text, expected) => {
    expect(matchesFlow(filterOf(text), founding())).toBe(expected);
  });

  it("asks for no port of a packet that has none", () => {
    const flow = founding();
    flow.hasPorts = false;
    expect(matchesFlow(filterOf("port 80"), flow)).toBe(false);
  });
});

it("drop is for the verdict, not the flow", () => {
  expect(filterOf("drop").isDropOnly).toBe(true);
  expect(filterOf("tcp").isDropOnly).toBe(false);
});

it.each([
  "host",
  "host www",
  "port",
  "port -1",
  "port 65536",
  "port http",
  "service 10.0.0.1:80",
  "service tcp://10.0.0.1:80-90",
  "service fwmark://7",
  "constructor",
  "TCP",
])("refuses %j", (text) => {
  expect(parseTraceFilter(text)).toHaveProperty("wanted");
});
