import fc from "fast-check";
import { expect, test } from "vitest";
import { parseAddress } from "../wire/address.ts";
import { foldAddress } from "./address-hash.ts";
import { sipHashWord } from "./sip-hash.ts";

test.each([
  ["192.0.2.1", 2_458_426_504],
  ["192.0.2.2", 4_179_178_861],
  ["198.51.100.7", 2_914_618_038],
  ["203.0.113.200", 2_644_543_819],
  ["2001:db8::1", 3_452_170_633],
  ["2001:db8:1:2::abcd", 4_223_321_849],
])("mh's first hash of %s (reference 3.16)", (address, hash) => {
  expect(sipHashWord(foldAddress(parseAddress(address)!.words, 0), 2_654_435_761) >>> 0).toBe(hash);
});

test("equals SipHash-1-3 in 64-bit arithmetic for any word and key", () => {
  const word32 = fc.integer({ min: 0, max: 0xffffffff });
  fc.assert(
    fc.property(word32, word32, (word, key) => {
      expect(sipHashWord(word, key) >>> 0).toBe(
        Number(plainSipHash(BigInt(word), BigInt(key)) & 0xffffffffn),
      );
    }),
    { numRuns: 2000 },
  );
});

/** SipHash-1-3 of four bytes as the paper writes it. */
function plainSipHash(word: bigint, key: bigint): bigint {
  const rotate = (x: bigint, bits: bigint) => BigInt.asUintN(64, (x << bits) | (x >> (64n - bits)));
  const add = (x: bigint, y: bigint) => BigInt.asUintN(64, x + y);
  let v0 = key ^ 0x736f6d6570736575n;
  let v1 = key ^ 0x646f72616e646f6dn;
  let v2 = key ^ 0x6c7967656e657261n;
  let v3 = key ^ 0x7465646279746573n;
  const rounds = (count: number) => {
    for (let i = 0; i < count; i++) {
      v0 = add(v0, v1);
      v2 = add(v2, v3);
      v1 = rotate(v1, 13n) ^ v0;
      v3 = rotate(v3, 16n) ^ v2;
      v0 = rotate(v0, 32n);
      v2 = add(v2, v1);
      v0 = add(v0, v3);
      v1 = rotate(v1, 17n) ^ v2;
      v3 = rotate(v3, 21n) ^ v0;
      v2 = rotate(v2, 32n);
    }
  };
  const block = (4n << 56n) | word;
  v3 ^= block;
  rounds(1);
  v0 ^= block;
  v2 ^= 0xffn;
  rounds(3);
  return v0 ^ v1 ^ v2 ^ v3;
}
