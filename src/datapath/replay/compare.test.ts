import { expect, test } from "vitest";
import { icmp, tcp, udp } from "../../../test/support/packet-builder.ts";
import { compare } from "./compare.ts";
import type { Side } from "./replay.ts";

const packet = (port: number): Uint8Array => udp({ from: `10.0.0.1:${port}`, to: "10.0.0.2:80" });
const made = (bytes: Uint8Array, isOwn = false, side: Side = "client") => ({ side, bytes, isOwn });
const recorded = (bytes: Uint8Array, side: Side = "client") => ({ side, bytes });
/** Ports of the packets that differ, "made/recorded"; "-" where there is none. */
function differences(ours: readonly number[], theirs: readonly number[]): string[] {
  const port = (bytes: Uint8Array | undefined) => (bytes === undefined ? "-" : bytes[20]! * 256 + bytes[21]!);
  const found = compare(
    ours.map((one) => made(packet(one))),
    theirs.map((one) => recorded(packet(one))),
  );
  return found.map((one) => `${port(one.made)}/${port(one.recorded)}`);
}

test("nothing differs from itself", () => {
  expect(differences([1, 2, 3], [1, 2, 3])).toEqual([]);
  expect(compare([], [])).toEqual([]);
});

test.each([
  [[1, 9, 3], [1, 2, 3], ["9/2"], "one made differently"],
  [[1, 3], [1, 2, 3], ["-/2"], "one missing"],
  [[1, 2, 2, 3], [1, 2, 3], ["2/-"], "one too many"],
  [[], [1, 2], ["-/1", "-/2"], "all missing"],
  [[1, 2], [], ["1/-", "2/-"], "all too many"],
  [[1, 8, 9, 4, 5], [1, 2, 3, 4], ["8/2", "9/3", "5/-"], "two differently, one at the end"],
  [[2, 1, 3], [1, 2, 3], ["-/1", "1/-"], "another order"],
])("%j against %j: %j (%s)", (ours, theirs, wanted) => {
  expect(differences(ours, theirs)).toEqual(wanted);
});

test("each side is compared by itself, in its own order", () => {
  const ours = [made(packet(1)), made(packet(2), false, "server"), made(packet(3))];
  const theirs = [recorded(packet(2), "server"), recorded(packet(1)), recorded(packet(3))];
  expect(compare(ours, theirs)).toEqual([]);
  expect(compare(ours, [recorded(packet(2)), ...theirs.slice(1)])).toHaveLength(2);
});

test("one differing byte anywhere is a difference, so is a length", () => {
  const wanted = tcp({ from: "10.0.0.1:1", to: "10.0.0.2:80", payload: "abc" });
  for (let at = 0; at < wanted.length; at++) {
    expect(compare([made(wanted.with(at, wanted[at]! ^ 1))], [recorded(wanted)]), `byte ${at}`).toHaveLength(
      1,
    );
  }
  expect(compare([made(wanted.slice(0, -1))], [recorded(wanted)])).toHaveLength(1);
});

test("in messages of the director's own the identification of ICMP and the IPv6 flow label are free, nothing else", () => {
  const four = { from: "10.0.0.1", to: "10.0.0.2", type: 3, payload: packet(1) };
  const [one, other] = [icmp({ ...four, identification: 1 }), icmp({ ...four, identification: 77 })];
  expect(compare([made(one, true)], [recorded(other)])).toEqual([]);
  expect(compare([made(one)], [recorded(other)])).toHaveLength(1);
  expect(compare([made(one, true)], [recorded(icmp({ ...four, identification: 77, ttl: 63 }))])).toHaveLength(
    1,
  );
  const six = icmp({ from: "fd00::1", to: "fd00::2", type: 1, payload: packet(1) });
  const labelled = six.slice();
  labelled.set([0x60, 0x0a, 0xbc, 0xde]);
  expect(compare([made(six, true)], [recorded(labelled)])).toEqual([]);
  expect(compare([made(six)], [recorded(labelled)])).toHaveLength(1);
});
