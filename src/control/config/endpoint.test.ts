import { describe, expect, it } from "vitest";
import { formatEndpoint, parseEndpoint, parseListen } from "./endpoint.ts";

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
    ["202.103.106.5:80", /PROTOCOL/],
    ["http://202.103.106.5:80", /tcp, udp or sctp/],
    ["TCP://202.103.106.5:80", /tcp, udp or sctp/],
    ["tcp://202.103.106.5", /port/],
    ["tcp://202.103.106.5:http", /port/],
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
