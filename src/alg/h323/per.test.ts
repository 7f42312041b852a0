/** The grammars against messages that another encoder made; and the reader's own limits. */
import { expect, test } from "vitest";
import { H323_MESSAGES } from "../../../test/support/h323-messages.ts";
import { Unit } from "../engine/unit.ts";
import { rasMessage, userInformation } from "./h225-grammar.ts";
import { multimediaSystemControlMessage } from "./h245-grammar.ts";
import { addressAndPort, listOf, NOTES_MAX, number, PerReader, type PerType, sequence } from "./per.ts";

const GRAMMARS = {
  signalling: userInformation,
  h245: multimediaSystemControlMessage,
  ras: rasMessage,
} as const;

const reader = new PerReader();
const unit = new Unit();

/** What is noted: names and values. */
function notes(type: PerType, bytes: Uint8Array, length = bytes.length): [string, number][] {
  unit.aim(bytes, 0, length);
  reader.read(type, unit, 0, length);
  return reader.notes.slice(0, reader.noteCount).map((name, i) => [name, reader.values[i]!]);
}

test.each(H323_MESSAGES.map((one) => [`${one.type}: ${one.name}`, one] as const))("%s", (_, message) => {
  const { type, places, bytes } = message;
  const found = notes(GRAMMARS[type], bytes).filter(([name]) => name !== "timeToLive");
  expect(found.map(([name, at]) => [name.replace(/6$/, ""), at])).toEqual(places);
  expect(found.every(([name]) => name.endsWith("6") === message.name.includes("IPv6"))).toBe(true);
});

test.each([
  ["registrationRequest", 600],
  ["registrationConfirm", 120],
  ["registrationRequest with everything", 4_294_967_295],
  ["registrationRequest without timeToLive", undefined],
])("timeToLive of %s", (wanted, seconds) => {
  const { bytes } = H323_MESSAGES.find(({ name }) => name === wanted)!;
  expect(notes(rasMessage, bytes).find(([name]) => name === "timeToLive")?.[1]).toBe(seconds);
});

test("a message that ends early: a beginning of what is in the whole one", () => {
  for (const { type, bytes } of H323_MESSAGES) {
    const whole = notes(GRAMMARS[type], bytes);
    for (let length = 0; length < bytes.length; length++) {
      const some = notes(GRAMMARS[type], bytes, length);
      expect(some.every(([name, at]) => whole.some((one) => one[0] === name && one[1] === at))).toBe(true);
    }
  }
});

test("longer lists than there may be are read, and not noted; more notes than there may be neither", () => {
  const list = (max?: number) => listOf(sequence([addressAndPort("address", 4)]), max);
  const bytes = Uint8Array.from([
    0x80,
    200,
    ...Array.from({ length: 200 }, () => [0, 1, 2, 3, 4, 5, 6]).flat(),
  ]);
  expect(notes(list(10), bytes)).toHaveLength(10);
  expect(reader.isLost).toBe(false);
  expect(notes(list(), bytes)).toHaveLength(NOTES_MAX);
});

test.each([
  ["up to 255 values: bits", 1, 255, [0xfe], 255],
  ["256: a byte", 1, 256, [0xff], 256],
  ["up to 65536: two bytes", 0, 65_535, [0x12, 0x34], 0x1234],
  ["more: how many bytes, and they", 0, 4_294_967_295, [0xc0, 1, 2, 3, 4], 0x01020304],
  ["one of them", 0, 4_294_967_295, [0x00, 7], 7],
])("numbers with %s", (_, lower, upper, encoding, wanted) => {
  notes((one) => one.note("value", number(lower, upper)(one)), Uint8Array.from(encoding));
  expect(reader.values[0]).toBe(wanted);
});
