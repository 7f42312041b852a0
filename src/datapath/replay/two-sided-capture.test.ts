/** Telling what arrived at a director from what it sent, in captures of each link type. */
import { describe, expect, test } from "vitest";
import { tcp } from "../../../test/support/packet-builder.ts";
import { formatAddress } from "../../wire/address.ts";
import type { CaptureRecord } from "../../wire/capture-record.ts";
import { LinkType } from "../../wire/link-layer.ts";
import type { Side } from "./replay.ts";
import { type AddressKind, readSide } from "./two-sided-capture.ts";

const VIP = "202.103.106.5";
const SERVER = "172.16.0.2";
const CLIENT = "202.100.1.2";
const DIRECTOR_MAC = [2, 0, 0, 0, 0, 1];
const OTHER_MAC = [2, 0, 0, 0, 0, 9];

const kindOf = (family: 4 | 6, words: Int32Array, at: number): AddressKind => {
  const text = formatAddress(family, words, at);
  return text === VIP ? "virtual" : text === SERVER ? "server" : "other";
};
const record = (linkType: number, bytes: readonly number[]): CaptureRecord => {
  const frame = Uint8Array.from(bytes);
  return { linkType, timestampMs: 0, bytes: frame, originalLength: frame.length };
};
const ethernet = (isToDirector: boolean, packet: Uint8Array): CaptureRecord => {
  const macs = isToDirector ? [...DIRECTOR_MAC, ...OTHER_MAC] : [...OTHER_MAC, ...DIRECTOR_MAC];
  return record(LinkType.ethernet, [...macs, 8, 0, ...packet]);
};
const arrivals = (records: readonly CaptureRecord[], side: Side): boolean[] =>
  readSide(records, side, kindOf).map(({ hasArrived }) => hasArrived);

const ask = tcp({ from: `${CLIENT}:4000`, to: `${VIP}:80`, flags: "S" });
const asked = tcp({ from: `${CLIENT}:4000`, to: `${SERVER}:80`, flags: "S" });
const answer = tcp({ from: `${SERVER}:80`, to: `${CLIENT}:4000`, flags: "SA" });
const answered = tcp({ from: `${VIP}:80`, to: `${CLIENT}:4000`, flags: "SA" });
/** An answer that leaves untranslated looks the same on both sides. */
const stray = tcp({ from: `${SERVER}:99`, to: `${CLIENT}:4000`, flags: "A" });

describe("Ethernet: by the director's MAC, learned from whatever frame comes first", () => {
  test("client side", () => {
    const frames = [ethernet(true, ask), ethernet(false, answered), ethernet(false, stray)];
    expect(arrivals(frames, "client")).toEqual([true, false, false]);
    expect(arrivals(frames.toReversed(), "client")).toEqual([false, false, true]);
  });

  test("server side", () => {
    const frames = [ethernet(false, asked), ethernet(true, answer), ethernet(true, stray)];
    expect(arrivals(frames, "server")).toEqual([false, true, true]);
    expect(arrivals(frames.toReversed(), "server")).toEqual([true, true, false]);
  });
});

test("raw IP: by the addresses alone", () => {
  const raw = (packet: Uint8Array) => record(LinkType.raw, [...packet]);
  expect(arrivals([raw(ask), raw(answered), raw(stray)], "client")).toEqual([true, false, false]);
  expect(arrivals([raw(asked), raw(answer), raw(stray)], "server")).toEqual([false, true, true]);
});

test("Linux cooked, both versions: as the capturing host says", () => {
  const cooked = (type: number, packet: Uint8Array) =>
    record(LinkType.linuxCooked, [0, type, 0, 1, 0, 6, ...OTHER_MAC, 0, 0, 8, 0, ...packet]);
  expect(arrivals([cooked(0, ask), cooked(4, answered), cooked(4, stray)], "client")).toEqual([
    true,
    false,
    false,
  ]);
  const cooked2 = (type: number, packet: Uint8Array) =>
    record(LinkType.linuxCooked2, [8, 0, 0, 0, 0, 0, 0, 1, 0, 1, type, 6, ...OTHER_MAC, 0, 0, ...packet]);
  expect(arrivals([cooked2(0, ask), cooked2(4, answered), cooked2(4, stray)], "client")).toEqual([
    true,
    false,
    false,
  ]);
});

test("frames that are not IP are left out, broken IP stays in, padding is kept for the director to cut", () => {
  const arp = record(LinkType.ethernet, [...DIRECTOR_MAC, ...OTHER_MAC, 8, 6, ...Array(28).fill(0)]);
  const broken = ethernet(true, ask.slice(0, 10));
  const padded = ethernet(true, Uint8Array.from([...ask, 0, 0, 0]));
  const read = readSide([arp, ethernet(true, ask), broken, padded], "client", kindOf);
  expect(read.map(({ bytes, hasArrived }) => [bytes.length, hasArrived])).toEqual([
    [ask.length, true],
    [10, true],
    [ask.length + 3, true],
  ]);
});
