/** The Internet checksum: over a whole packet, which only slow cases need, and incrementally, which every packet needs. */
import { sum, updateChecksum32 } from "../../src/wire/checksum.ts";
import { three } from "../sample.ts";
import { table } from "../table.ts";
import { timing } from "../timing.ts";

/** Kept where the compiler cannot see that nobody reads it. */
export let lastResult = 0;

export function checksumBenchmark(seconds: number): string {
  const bytes = new DataView(Uint8Array.from({ length: 65_536 }, (_, at) => (at * 31) & 0xff).buffer);
  const rows = [64, 512, 1500, 65_535].map((length) => {
    const { ns, spread } = timing((count) => {
      let total = 0;
      for (let i = 0; i < count; i++) total ^= sum(bytes, 0, length, i & 0xff);
      lastResult = total;
    }, seconds);
    return [`sum, ${length} bytes`, three(ns), percent(spread), three(length / ns)];
  });
  const update = timing((count) => {
    let checksum = 0x1234;
    for (let i = 0; i < count; i++) checksum = updateChecksum32(checksum, i, 0xac10_0002);
    lastResult = checksum;
  }, seconds);
  rows.push(["update for one address", three(update.ns), percent(update.spread), ""]);
  return `wire/checksum\n${table(["", "ns", "spread", "bytes/ns"], rows)}`;
}

const percent = (share: number): string => `±${(100 * share).toFixed(0)} %`;
