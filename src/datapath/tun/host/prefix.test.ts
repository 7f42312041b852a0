import { expect, it } from "vitest";
import { addressCount, addressesIn, contains, formatPrefix, isHost, overlaps, prefixOf } from "./prefix.ts";

it.each([
  ["172.16.0.1", 24, "172.16.0.255", true],
  ["172.16.0.1", 24, "172.16.1.0", false],
  ["172.16.0.1", 32, "172.16.0.1", true],
  ["172.16.0.1", 32, "172.16.0.0", false],
  ["172.16.0.1", 31, "172.16.0.0", true],
  ["0.0.0.0", 0, "255.255.255.255", true],
  ["0.0.0.0", 0, "::1", false],
  ["fe80::", 10, "febf::1", true],
  ["fe80::", 10, "fec0::1", false],
  ["2001:db8::", 64, "2001:db8::ffff:1", true],
  ["2001:db8::", 64, "2001:db8:0:1::1", false],
  ["2001:db8::1", 128, "2001:db8::1", true],
])("%s/%i contains %s: %s", (address, prefixLength, inside, expected) => {
  expect(contains({ family: address.includes(":") ? 6 : 4, address, prefixLength }, inside)).toBe(expected);
});

it("names a subnet by its first address", () => {
  expect(formatPrefix({ family: 4, address: "172.16.5.77", prefixLength: 20 })).toBe("172.16.0.0/20");
  expect(formatPrefix({ family: 6, address: "2001:db8::77", prefixLength: 64 })).toBe("2001:db8::/64");
});

it.each([
  ["172.16.0.254/31", 8, ["172.16.0.254", "172.16.0.255"]],
  ["128.0.0.0/16", 2, ["128.0.0.0", "128.0.0.1"]],
  ["10.0.0.1", 8, ["10.0.0.1"]],
  ["2001:db8::/126", 3, ["2001:db8::", "2001:db8::1", "2001:db8::2"]],
])("%s begins with so many addresses: %i", (text, max, expected) => {
  expect(addressesIn(prefixOf(text), max)).toEqual(expected);
});

it("counts the addresses of a prefix", () => {
  expect(["10.0.0.0/8", "10.0.0.1", "fd00::/112", "fd00::1"].map((it) => addressCount(prefixOf(it)))).toEqual(
    [2 ** 24, 1, 65_536, 1],
  );
  expect(["10.0.0.0/8", "10.0.0.1", "fd00::/127", "fd00::1/128"].map((it) => isHost(prefixOf(it)))).toEqual([
    false,
    true,
    false,
    true,
  ]);
});

it.each([
  ["10.0.0.0/8", "10.1.0.0/16", true],
  ["10.1.0.0/16", "10.0.0.0/8", true],
  ["10.1.0.0/16", "10.2.0.0/16", false],
  ["0.0.0.0/0", "fd00::/8", false],
])("%s overlaps %s: %s", (a, b, expected) => {
  expect(overlaps(prefixOf(a), prefixOf(b))).toBe(expected);
});
