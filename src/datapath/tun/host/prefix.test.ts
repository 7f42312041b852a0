import { expect, it } from "vitest";
import { contains, formatPrefix } from "./prefix.ts";

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
