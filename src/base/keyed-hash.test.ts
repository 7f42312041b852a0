/**
 * The published test vectors of HalfSipHash do not apply: they hash bytes with 2-4 rounds and add the length, and this
 * one hashes words with 1-3 rounds. What is tested instead is a second implementation of the rounds, written from the
 * paper in exact integers, and what the tables need: spread, keys that matter, no structure that survives.
 */
import { expect, test } from "vitest";
import { KeyedHash } from "./keyed-hash.ts";
import { seededRandom } from "./seeded-random.ts";

const hashOf = (hash: KeyedHash, words: readonly number[]): number => {
  hash.start();
  for (const word of words) hash.add(word);
  return hash.finish();
};

/** HalfSipHash with c = 1, d = 3 rounds over whole words, in unbounded integers cut to 32 bits at every step. */
function plainHash(key0: number, key1: number, words: readonly number[]): number {
  const cut = (value: bigint): bigint => BigInt.asUintN(32, value);
  const turn = (value: bigint, bits: bigint): bigint => cut((value << bits) | (value >> (32n - bits)));
  const k0 = cut(BigInt(key0));
  const k1 = cut(BigInt(key1));
  let [v0, v1, v2, v3] = [k0, k1, 0x6c796765n ^ k0, 0x74656462n ^ k1];
  const round = (): void => {
    v0 = cut(v0 + v1);
    v1 = turn(v1, 5n) ^ v0;
    v0 = turn(v0, 16n);
    v2 = cut(v2 + v3);
    v3 = turn(v3, 8n) ^ v2;
    v0 = cut(v0 + v3);
    v3 = turn(v3, 7n) ^ v0;
    v2 = cut(v2 + v1);
    v1 = turn(v1, 13n) ^ v2;
    v2 = turn(v2, 16n);
  };
  for (const word of words) {
    v3 ^= cut(BigInt(word));
    round();
    v0 ^= cut(BigInt(word));
  }
  v2 ^= 0xffn;
  for (let i = 0; i < 3; i++) round();
  return Number(BigInt.asIntN(32, v1 ^ v3));
}

test("agrees with the algorithm in exact integers", () => {
  const random = seededRandom(1);
  for (let i = 0; i < 500; i++) {
    const [key0, key1] = [random(), random()];
    const words = Array.from({ length: i % 12 }, () => random() | 0);
    expect(hashOf(new KeyedHash(key0, key1), words)).toBe(plainHash(key0, key1, words));
  }
});

test("a hash begun anew knows nothing of the one before, finished or not", () => {
  const hash = new KeyedHash(1, 2);
  const first = hashOf(hash, [1, 2, 3]);
  hash.start();
  hash.add(99);
  expect(hashOf(hash, [1, 2, 3])).toBe(first);
});

/** Chi-squared of counts over equally likely buckets, as standard deviations from its mean. */
function deviation(counts: Int32Array, total: number): number {
  const wanted = total / counts.length;
  const squares = counts.reduce((sum, count) => sum + (count - wanted) ** 2 / wanted, 0);
  return (squares - (counts.length - 1)) / Math.sqrt(2 * (counts.length - 1));
}

test.each([
  ["clients in one network", (i: number) => [0xca64_0000 + (i & 0xffff), 0xca67_6a05, 0x8000_0050, 6]],
  ["ports of one client", (i: number) => [0xca64_0102, 0xca67_6a05, ((i & 0xffff) << 16) | 80, 6]],
  ["IPv6 interface identifiers", (i: number) => [0x2001_0db8, 5, 0, 0, 0, 0, i, 5, (4000 << 16) | 443, 6]],
  ["multiples of the bucket count", (i: number) => [i << 16, 0xca67_6a05, 80, 6]],
])("spreads %s over all buckets, under any key", (_what, words) => {
  const random = seededRandom(7);
  for (let key = 0; key < 8; key++) {
    const hash = new KeyedHash(random(), random());
    const counts = new Int32Array(1024);
    for (let i = 0; i < 65_536; i++) counts[hashOf(hash, words(i)) & 1023]!++;
    // Six standard deviations: never by chance, always for a hash that clusters.
    expect(Math.abs(deviation(counts, 65_536))).toBeLessThan(6);
  }
});

test("a changed bit of the input or of the key changes half of the output", () => {
  const random = seededRandom(3);
  let changed = 0;
  let trials = 0;
  for (let i = 0; i < 200; i++) {
    const words = Array.from({ length: 4 }, () => random() | 0);
    const [key0, key1] = [random(), random()];
    const before = hashOf(new KeyedHash(key0, key1), words);
    for (let bit = 0; bit < 32; bit++) {
      const flipped = words.with(i % 4, words[i % 4]! ^ (1 << bit));
      changed += bitCount(before ^ hashOf(new KeyedHash(key0, key1), flipped));
      changed += bitCount(before ^ hashOf(new KeyedHash(key0 ^ (1 << bit), key1), words));
      changed += bitCount(before ^ hashOf(new KeyedHash(key0, key1 ^ (1 << bit)), words));
      trials += 3;
    }
  }
  expect(changed / trials).toBeGreaterThan(15.8);
  expect(changed / trials).toBeLessThan(16.2);
});

test("keys that collide under one key do not collide under another", () => {
  const [one, other] = [new KeyedHash(11, 12), new KeyedHash(13, 14)];
  const collided: number[] = [];
  for (let i = 0; collided.length < 1000; i++) if ((hashOf(one, [i, 80]) & 1023) === 0) collided.push(i);
  const counts = new Int32Array(64);
  for (const i of collided) counts[hashOf(other, [i, 80]) & 63]!++;
  expect(Math.max(...counts)).toBeLessThan(40);
});

function bitCount(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}
