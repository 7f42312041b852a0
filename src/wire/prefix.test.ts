import fc from "fast-check";
import { expect, test } from "vitest";
import { formatAddress, parseAddress } from "./address.ts";
import { isInPrefix, parsePrefix, prefixMask } from "./prefix.ts";

const inPrefix = (prefix: string, address: string): boolean =>
  isInPrefix(parsePrefix(prefix)!, parseAddress(address)!.words, 0);

test.each([
  ["10.0.0.0/8", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"],
  ["192.0.2.129/25", "192.0.2.128", "192.0.2.255", "192.0.2.127", "192.0.3.0"],
  ["192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.6", "192.0.2.8"],
  ["128.0.0.0/1", "128.0.0.0", "255.255.255.255", "127.255.255.255", "0.0.0.0"],
  ["2001:db8::/33", "2001:db8::", "2001:db8:7fff:ffff::", "2001:db7:ffff::", "2001:db8:8000::"],
  [
    "2001:db8:1:2:8000::/65",
    "2001:db8:1:2:8000::",
    "2001:db8:1:2:ffff::1",
    "2001:db8:1:2::",
    "2001:db8:1:3:8000::",
  ],
  ["2001:db8::1", "2001:db8::1", "2001:db8::1", "2001:db8::", "2001:db8::2"],
])("%s reaches from %s to %s, not to %s nor to %s", (prefix, first, last, before, after) => {
  expect([first, last, before, after].map((address) => inPrefix(prefix, address))).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

test.each(["0.0.0.0/0", "::/0"])("%s has every address of its family", (prefix) => {
  const addresses = prefix === "::/0" ? ["::", "ffff::ffff"] : ["0.0.0.0", "255.255.255.255"];
  expect(addresses.map((address) => inPrefix(prefix, address))).toEqual([true, true]);
});

test.each([
  "",
  "/",
  "/8",
  "10.0.0.0/",
  "10.0.0.0/33",
  "10.0.0.0/-1",
  "10.0.0.0/08x",
  "10.0.0.0/ 8",
  "::/129",
  "10.0.0.0/8/9",
  "10/8",
])("%j is no prefix", (text) => {
  expect(parsePrefix(text)).toBeUndefined();
});

test("has exactly the addresses whose first bits are its own, by text of bits", () => {
  const words = (family: 4 | 6) =>
    fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), {
      minLength: family === 4 ? 1 : 4,
      maxLength: family === 4 ? 1 : 4,
    });
  const cases = fc.constantFrom(4 as const, 6 as const).chain((family) =>
    fc.record({
      family: fc.constant(family),
      own: words(family),
      length: fc.integer({ min: 0, max: family === 4 ? 32 : 128 }),
      /** The other address differs from this bit on, or not at all. */
      flipped: fc.integer({ min: 0, max: family === 4 ? 32 : 128 }),
    }),
  );
  fc.assert(
    fc.property(cases, ({ family, own, length, flipped }) => {
      const address = Int32Array.from({ length: 4 }, (_, at) => own[at] ?? 0);
      const prefix = parsePrefix(`${formatAddress(family, address, 0)}/${length}`)!;
      const other = new Int32Array(5);
      other.set(address, 1);
      if (flipped < own.length * 32) other[1 + (flipped >> 5)]! ^= (-1 << 31) >>> (flipped & 31);
      const hasSameStart = flipped >= length || flipped === own.length * 32;
      expect(isInPrefix(prefix, other, 1)).toBe(hasSameStart);
      expect(prefix.mask).toEqual(prefixMask(family, length));
    }),
    { numRuns: 2000, seed: 1 },
  );
});
