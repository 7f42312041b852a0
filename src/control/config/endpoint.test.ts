import { describe, expect, it } from "vitest";
import { formatEndpoint, formatListen, parseEndpoint, parseListen } from "./endpoint.ts";

describe("parseEndpoint", () => {
  it.each([
    ["172.16.0.2:80", "172.16.0.2", 80],
    ["172.16.0.2", "172.16.0.2", undefined],
    ["[fd00::2]:65535", "fd00::2", 65_535],
    ["[FD00:0:0:0::2]", "fd00::2", undefined],
    ["[2001:db8::10.0.0.1]:1", "2001:db8::a00:1", 1],
  ])("reads %s", (text, address, port) => {
    expect(parseEndpoint(text)).toMatchObject({ value: { address, port } });
  });

  it.each([
    "", ":80", "172.16.0.2:", "172.16.0.2:0", "172.16.0.2:65536", "172.16.0.2:+80", "172.16.0.2:8 0", "172.16.0.2:80:81",
    "fd00::2", "fd00::2:80", "[fd00::2", "fd00::2]", "[]:80", "[172.16.0.2]:80", "[fe80::1%eth0]:80", "172.16.0.02:80",
    "172.16.0.256", "172.16.2", "0x7f.1", "www:80", "0.0.0.0:80", "0.1.2.3:80", "127.0.0.1:80", "169.254.1.1:80",
    "224.0.0.1:80", "240.0.0.1:80", "255.255.255.255:80", "[::]:80", "[::1]:80", "[ff02::1]:80", "[fe80::1]:80",
    "[::ffff:10.0.0.1]:80", "172.16.0.2:80\n", "tcp://172.16.0.2:80",
  ])("refuses %j", (text) => {
    expect(parseEndpoint(text)).toHaveProperty("wanted");
  }); // biome-ignore format: a list to read
});

describe("parseListen", () => {
  it.each([
    ["tcp://202.103.106.5:80", "tcp", "202.103.106.5", 80],
    ["udp://[2001:db8::5]:53", "udp", "2001:db8::5", 53],
    ["sctp://202.103.106.5:36412", "sctp", "202.103.106.5", 36_412],
  ])("reads %s", (text, protocol, address, port) => {
    expect(parseListen(text)).toMatchObject({ value: { protocol, address, port } });
  });

  it.each([
    ["tcp://202.103.106.5:*", { protocol: "tcp", address: "202.103.106.5", port: 0 }],
    ["sctp://202.103.106.5:8000-8010", { protocol: "sctp", port: 8000, lastPort: 8010 }],
    ["udp://[2001:DB8::5]:1-65535", { protocol: "udp", address: "2001:db8::5", port: 1, lastPort: 65_535 }],
    ["fwmark://7", { protocol: "fwmark", address: "0.0.0.0", family: "ipv4", port: 0, mark: 7 }],
    ["fwmark6://4294967295", { protocol: "fwmark", address: "::", family: "ipv6", mark: 4_294_967_295 }],
  ])("reads %s, and writes it again", (text, expected) => {
    const parsed = parseListen(text);
    expect(parsed).toMatchObject({ value: expected });
    expect("value" in parsed && formatListen(parsed.value)).toBe(text.toLowerCase());
  });

  it("takes a range of one port for that port", () => {
    expect(parseListen("tcp://202.103.106.5:80-80")).toEqual({
      value: { protocol: "tcp", address: "202.103.106.5", family: "ipv4", port: 80 },
    });
  });

  it.each([
    ["202.103.106.5:80", /PROTOCOL/],
    ["http://202.103.106.5:80", /tcp, udp, sctp/],
    ["TCP://202.103.106.5:80", /tcp, udp, sctp/],
    ["tcp://202.103.106.5", /port/],
    ["tcp://202.103.106.5:http", /port/],
    ["tcp://202.103.106.5:81-80", /8000-8010/],
    ["tcp://202.103.106.5:0-80", /8000-8010/],
    ["tcp://202.103.106.5:80:*", /8000-8010/],
    ["tcp://202.103.106.5:80-65536", /8000-8010/],
    ["fwmark://0", /mark from 1/],
    ["fwmark6://4294967296", /mark from 1/],
    ["fwmark://0x7", /mark from 1/],
    ["tcp://", /address/],
    ["tcp://0.0.0.0:80", /unicast/],
    ["tcp://fd00::1:80", /brackets/],
  ])("refuses %s", (text, wanted) => {
    expect(parseListen(text)).toHaveProperty("wanted", expect.stringMatching(wanted));
  });
});

it("formatEndpoint puts IPv6 into brackets", () => {
  expect([formatEndpoint("10.0.0.1", 80), formatEndpoint("fd00::1", 80)]).toEqual([
    "10.0.0.1:80",
    "[fd00::1]:80",
  ]);
});
