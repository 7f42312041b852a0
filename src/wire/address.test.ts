import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatAddress, formatEndpoint, parseAddress, parseEndpoint } from "./address.ts";

const words = (...values: number[]): Int32Array => Int32Array.from(values, (value) => value | 0);

describe("parseAddress", () => {
  it.each([
    ["202.103.106.5", 4, words(0xca676a05, 0, 0, 0)],
    ["0.0.0.0", 4, words(0, 0, 0, 0)],
    ["255.255.255.255", 4, words(-1, 0, 0, 0)],
    ["::", 6, words(0, 0, 0, 0)],
    ["::1", 6, words(0, 0, 0, 1)],
    ["1::", 6, words(0x10000, 0, 0, 0)],
    ["2001:db8:5::5", 6, words(0x20010db8, 0x50000, 0, 5)],
    ["2001:DB8:0:0:8:800:200C:417A", 6, words(0x20010db8, 0, 0x80800, 0x200c417a)],
    ["::ffff:129.144.52.38", 6, words(0, 0, 0xffff, 0x81903426)],
    ["0:0:0:0:0:0:13.1.68.3", 6, words(0, 0, 0, 0x0d014403)],
    ["1:2:3:4:5:6:7::", 6, words(0x10002, 0x30004, 0x50006, 0x70000)],
  ] as const)("reads %s", (text, family, wanted) => {
    expect(parseAddress(text)).toEqual({ family, words: wanted });
  });

  it.each([
    "",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1.2.3.04",
    "1.2.3.4 ",
    "+1.2.3.4",
    "0x1.2.3.4",
    "1.2.3.",
    ":",
    ":::",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "::1::",
    "1:",
    ":1",
    "12345::",
    "g::",
    "::1.2.3.4:5",
    "1.2.3.4::",
    "::1.2.3",
    "[::1]",
    "fe80::1%eth0",
    "1:2:3:4:5:6:7:1.2.3.4",
    "0".repeat(100_000),
  ])("refuses %j", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });
});

describe("formatAddress", () => {
  it.each([
    // RFC 5952 sections 4 and 5.
    ["2001:0db8::0001", "2001:db8::1"],
    ["2001:db8:0:0:0:0:2:1", "2001:db8::2:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:DB8::ABCD", "2001:db8::abcd"],
    ["::ffff:c000:201", "::ffff:192.0.2.1"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["1:0:0:0:0:0:0:0", "1::"],
    ["172.16.0.2", "172.16.0.2"],
  ])("writes %s as %s", (text, wanted) => {
    const address = parseAddress(text)!;
    expect(formatAddress(address.family, address.words)).toBe(wanted);
  });

  it("is undone by parsing", () => {
    const word = fc.oneof(fc.constant(0), fc.constantFrom(0xffff, 0x10000, -1), fc.integer());
    fc.assert(
      fc.property(fc.tuple(word, word, word, word), (values) => {
        const text = formatAddress(6, values);
        expect([...parseAddress(text)!.words]).toEqual(values);
        expect(parseAddress(formatAddress(4, values))!.words[0]).toBe(values[0]);
      }),
      { numRuns: 5_000 },
    );
  });

  it("reads words from an offset", () => {
    expect(formatAddress(4, words(1, 2, 0x0a000001), 2)).toBe("10.0.0.1");
  });
});

describe("endpoints", () => {
  it.each(["1.2.3.4:80", "[::1]:80", "[2001:db8::5]:65535", "0.0.0.0:0"])("round trip of %s", (text) => {
    const endpoint = parseEndpoint(text)!;
    expect(formatEndpoint(endpoint.family, endpoint.words, 0, endpoint.port)).toBe(text);
  });

  it.each(["1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "::1:80", "[1.2.3.4]:80", "[::1]", "x:80"])(
    "refuses %s",
    (text) => {
      expect(parseEndpoint(text)).toBeUndefined();
    },
  );
});
