import { expect, test } from "vitest";
import { parseAddress } from "../wire/address.ts";
import { foldAddress, hash32 } from "./address-hash.ts";

test.each([
  ["192.0.2.1", 0xc0000201, 50, 214, 203],
  ["192.0.2.2", 0xc0000202, 148, 56, 594],
  ["198.51.100.7", 0xc6336407, 171, 79, 684],
  ["203.0.113.200", 0xcb0071c8, 52, 216, 211],
  ["2001:db8::1", 0x20010db9, 63, 226, 252],
  ["2001:db8:1:2::abcd", 0x2000a677, 91, 255, 365],
])("%s: folded word, buckets of 8 bits, with port 40000, of 10 bits (reference 3.16)", (text, ...wanted) => {
  const word = foldAddress(parseAddress(text)!.words, 0);
  expect([word >>> 0, hash32(word, 8), hash32(word + 40_000, 8), hash32(word, 10)]).toEqual(wanted);
});
