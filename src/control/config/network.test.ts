import { describe, expect, it } from "vitest";
import { addressesOf, parsePool, parsePorts, parsePrefix, parseUnicastPrefix } from "./network.ts";

describe("parsePrefix", () => {
  it.each([
    ["10.0.0.0/8", "10.0.0.0/8"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["203.0.113.7", "203.0.113.7/32"],
    ["2001:DB8:0::/32", "2001:db8::/32"],
    ["::/0", "::/0"],
    ["fd00::1", "fd00::1/128"],
  ])("reads %s", (text, canonical) => {
    expect(parsePrefix(text)).toMatchObject({ value: { text: canonical } });
  });

  it.each([
    ["10.0.0.1/8", /10\.0\.0\.0\/8/],
    ["2001:db8::1/64", /2001:db8::\/64/],
    ["10.0.0.0/33", /0 to 32/],
    ["2001:db8::/129", /0 to 128/],
    ["10.0.0.0/", /ADDRESS\/LENGTH/],
    ["10.0.0.0/8/8", /ADDRESS\/LENGTH/],
    ["[fd00::]/8", /ADDRESS\/LENGTH/],
    ["", /ADDRESS\/LENGTH/],
  ])("refuses %j", (text, wanted) => {
    expect(parsePrefix(text)).toHaveProperty("wanted", expect.stringMatching(wanted));
  });

  it.each(["0.0.0.0/0", "127.0.0.0/8", "224.0.0.0/4", "fe80::/64", "::/0"])(
    "%s is not a unicast prefix",
    (text) => {
      expect(parseUnicastPrefix(text)).toHaveProperty("wanted", expect.stringMatching(/unicast/));
    },
  );
});

describe("parsePool", () => {
  it.each([
    ["172.16.0.250", ["172.16.0.250"]],
    ["10.0.0.254-10.0.1.1", ["10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1"]],
    ["fd00::FFFF-fd00::1:0", ["fd00::ffff", "fd00::1:0"]],
    ["fd00:0:0:0:ffff:ffff:ffff:ffff-fd00:0:0:1::", ["fd00::ffff:ffff:ffff:ffff", "fd00:0:0:1::"]],
  ])("reads %s", (text, addresses) => {
    const parsed = parsePool(text);
    expect("value" in parsed && addressesOf(parsed.value)).toEqual(addresses);
  });

  it("takes 1024 addresses and no more", () => {
    expect(parsePool("10.0.0.0-10.0.3.255")).toMatchObject({ value: { count: 1024 } });
    expect(parsePool("10.0.0.0-10.0.4.0")).toHaveProperty("wanted");
  });

  it.each([
    "", "10.0.0.2-10.0.0.1", "10.0.0.1-fd00::1", "10.0.0.1-10.0.0.2-10.0.0.3", "10.0.0.1-", "[fd00::1]", "127.0.0.1",
    "fd00::-ffff::", "10.0.0.0/24",
  ])("refuses %j", (text) => {
    expect(parsePool(text)).toHaveProperty("wanted");
  }); // biome-ignore format: a list to read
});

describe("parsePorts", () => {
  it.each([
    [80, { first: 80, last: 80 }],
    ["80-90", { first: 80, last: 90 }],
    ["1-65535", { first: 1, last: 65_535 }],
  ])("reads %j", (input, value) => {
    expect(parsePorts(input)).toEqual({ value });
  });

  it.each([0, 65_536, 1.5, "80", "0-80", "90-80", "80-", "80-90-100", "80-70000", null, undefined])(
    "refuses %j",
    (input) => {
      expect(parsePorts(input)).toHaveProperty("wanted");
    },
  );
});
