import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAddress } from "../wire/address.ts";
import { SyncEntry, SyncFlag } from "./entry.ts";
import { MESSAGE_BYTES_MIN, MessageReader, MessageWriter, type SyncVersion } from "./message.ts";

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(/\s/g, ""), "hex"));
const hexOf = (bytes: Uint8Array | undefined): string | undefined =>
  bytes && Buffer.from(bytes).toString("hex");

/** 198.51.100.7:51514 -> 192.0.2.10:80 -> 10.0.0.12:8080, ESTABLISHED. */
const VERSION_1 = `
  0001002c 01010000
  00060024 00000000 0001c93a 00501f90 00000000 0000037d c6336407 c000020a 0a00000c`;
const VERSION_0 = `0101001c 0006c93a 00501f90 c6336407 c000020a 0a00000c 00000001`;

/** A version 1 message of one IPv4 entry with these options behind it, sizes right. */
function withOptions(options: string, type = "00"): string {
  const size = 36 + bytesOf(options).length;
  const hex = (value: number) => value.toString(16).padStart(4, "0");
  const entry = `${type}06${hex(size)}00000000 0001c93a 00501f90 00000000 0000037d c6336407 c000020a 0a00000c`;
  return `0001${hex(8 + size)} 01010000 ${entry} ${options}`;
}

/** Outcomes of `next` until there are no more entries; or why the message was not looked at. */
function outcomes(message: string): string[] {
  const reader = new MessageReader();
  const fault = reader.attach(bytesOf(message));
  if (fault !== undefined) return [fault];
  const list: string[] = [];
  for (;;) {
    const outcome = reader.next();
    list.push(outcome);
    if (outcome !== "entry") return list;
  }
}

describe("reading", () => {
  test.each([
    ["version 1", VERSION_1, 1, 893],
    ["version 0", VERSION_0, 0, 0],
  ] as const)("an established connection, %s", (_, text, version, timeoutSeconds) => {
    const reader = new MessageReader();
    expect(reader.attach(bytesOf(text))).toBeUndefined();
    expect(reader.next()).toBe("entry");
    expect([reader.version, reader.syncId]).toEqual([version, 1]);
    const { entry } = reader;
    expect(entry).toMatchObject({ family: 4, protocol: 6, flags: 0, state: 1, mark: 0, timeoutSeconds });
    expect([entry.clientPort, entry.virtualPort, entry.destinationPort]).toEqual([51_514, 80, 8080]);
    expect(entry.client).toEqual(parseAddress("198.51.100.7")?.words);
    expect(entry.virtual).toEqual(parseAddress("192.0.2.10")?.words);
    expect(entry.destination).toEqual(parseAddress("10.0.0.12")?.words);
    expect(reader.next()).toBe("end");
  });

  test.each([
    ["nothing", "", ["too-short"]],
    ["three bytes", "010100", ["too-short"]],
    ["a header and no entry", "00010008 00010000", ["end"]],
    ["size one less than the datagram", VERSION_1.replace("002c", "002b"), ["wrong-size"]],
    ["size one more than the datagram", VERSION_1.replace("002c", "002d"), ["wrong-size"]],
    ["more entries than there is room for", VERSION_1.replace("0101", "0201"), ["entry", "cut-entry"]],
    [
      "version 0: more entries than there is room for",
      VERSION_0.replace("0101", "0201"),
      ["entry", "cut-entry"],
    ],
    ["version 0: sequence records cut off", VERSION_0.replace("00000001", "02000001"), ["cut-entry"]],
    ["an entry of size 0", VERSION_1.replace("00060024", "00060000"), ["cut-entry"]],
    ["an entry smaller than its fields", VERSION_1.replace("00060024", "00060023"), ["cut-entry"]],
    ["an entry that ends behind the message", VERSION_1.replace("00060024", "00060025"), ["cut-entry"]],
    ["an IPv6 entry with room for IPv4", VERSION_1.replace("00060024", "01060024"), ["cut-entry"]],
    ["an entry version of the future", VERSION_1.replace("00060024", "00061024"), ["unknown-entry"]],
    ["a family of the future", VERSION_1.replace("00060024", "02060024"), ["unknown-entry"]],
    ["an option without a length", withOptions("03"), ["bad-option"]],
    ["an empty option", withOptions("0300"), ["bad-option"]],
    ["an option that ends behind its entry", withOptions("030273"), ["bad-option"]],
    ["a name of 16 bytes", withOptions(`0310${"73".repeat(16)}`), ["entry", "end"]],
    ["a name of 17 bytes", withOptions(`0311${"73".repeat(17)}`), ["bad-option"]],
    ["a name twice", withOptions("030173 030173"), ["bad-option"]],
    ["data of 255 bytes", withOptions(`02ff${"aa".repeat(255)}`), ["entry", "end"]],
    ["data twice", withOptions("0201aa 0201aa"), ["bad-option"]],
    ["sequence records", withOptions(`0118${"11".repeat(24)}`), ["entry", "end"]],
    ["sequence records one byte short", withOptions(`0117${"11".repeat(23)}`), ["bad-option"]],
    ["sequence records twice", withOptions(`0118${"11".repeat(24)}`.repeat(2)), ["bad-option"]],
    ["an unknown option that may be skipped", withOptions("4501aa"), ["entry", "end"]],
    ["an unknown option that may not", withOptions("0501aa"), ["end"]],
  ])("%s", (_, message, expected) => {
    expect(outcomes(message)).toEqual(expected);
  });

  test("an entry that is not understood costs only itself; the next begins at a multiple of four", () => {
    const entry = VERSION_1.replaceAll(/\s/g, "").slice(16);
    const strange = `${entry.replace("00060024", "00060027")}0501aa`;
    const reader = new MessageReader();
    expect(reader.attach(bytesOf(`00010054 02010000 ${strange} 00 ${entry}`))).toBeUndefined();
    expect([reader.next(), reader.next(), reader.skippedCount]).toEqual(["entry", "end", 1]);
  });

  test("no bytes whatever make it throw, loop or leave its bounds", () => {
    const reader = new MessageReader();
    const noise = fc.uint8Array({ maxLength: 400 });
    // Sizes and versions right, so that what follows is looked at.
    const message = fc
      .tuple(fc.constantFrom(0, 1, 3, 255), fc.constantFrom(0, 1), noise)
      .map(([count, version, rest]) => {
        const bytes = Uint8Array.from([version === 1 ? 0 : count, 9, 0, 0, count, version, 0, 0, ...rest]);
        new DataView(bytes.buffer).setUint16(2, bytes.length);
        // Entry sizes are rarely possible by chance.
        if (rest.length > 4) bytes.set([rest[0]! & 1, 6, rest[2]! & 1, rest[3]!], 8);
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(noise, message), (bytes) => {
        if (reader.attach(bytes) !== undefined) return;
        let count = 0;
        while (reader.next() === "entry") count++;
        expect(count).toBeLessThanOrEqual(255);
      }),
      { numRuns: 100_000 },
    );
  });
});

describe("writing", () => {
  const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
  const u16 = fc.integer({ min: 0, max: 0xffff });
  const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
  const option = (min: number, max: number) =>
    fc.option(fc.uint8Array({ minLength: min, maxLength: max }), { nil: undefined });
  const fields = fc.record({
    family: fc.constantFrom(4 as const, 6 as const),
    protocol: fc.integer({ min: 0, max: 255 }),
    flags: word,
    state: u16,
    clientPort: u16,
    virtualPort: u16,
    destinationPort: u16,
    mark: u32,
    timeoutSeconds: u32,
    addresses: fc.array(word, { minLength: 12, maxLength: 12 }),
    sequence: option(24, 24),
    engineName: option(1, 16),
    engineData: option(1, 255),
  });
  type Fields = typeof fields extends fc.Arbitrary<infer T> ? T : never;

  function entryOf({ addresses, ...rest }: Fields, version: SyncVersion): SyncEntry {
    const entry = new SyncEntry();
    Object.assign(entry, rest);
    if (version === 0) {
      Object.assign(entry, { family: 4, flags: rest.flags & 0xf9ff, mark: 0, timeoutSeconds: 0 });
      Object.assign(entry, { engineName: undefined, engineData: undefined, sequence: undefined });
    }
    const wordCount = entry.family === 4 ? 1 : 4;
    [entry.client, entry.virtual, entry.destination].forEach((words, index) => {
      words.set(addresses.slice(index * 4, index * 4 + wordCount));
    });
    return entry;
  }

  test.each([1, 0] as const)("what is written is read again, version %i", (version) => {
    fc.assert(
      fc.property(
        fc.array(fields, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 0, max: 255 }),
        (list, syncId) => {
          const writer = new MessageWriter(12 * MESSAGE_BYTES_MIN, syncId, version);
          const entries = list.map((one) => entryOf(one, version));
          for (const entry of entries) expect(writer.add(entry)).toBe(true);
          const message = writer.take();
          const reader = new MessageReader();
          expect(reader.attach(message!)).toBeUndefined();
          expect([reader.version, reader.syncId]).toEqual([version, syncId]);
          for (const entry of entries) {
            expect(reader.next()).toBe("entry");
            expect(reader.entry).toEqual(entry);
          }
          expect(reader.next()).toBe("end");
        },
      ),
    );
  });

  test("a full message takes no more, and the next begins empty", () => {
    const reader = new MessageReader();
    reader.attach(bytesOf(VERSION_1));
    reader.next();
    const writer = new MessageWriter(8 + 2 * 36 + 35, 1);
    expect(writer.entryCount).toBe(0);
    expect([1, 2, 3].map(() => writer.add(reader.entry))).toEqual([true, true, false]);
    expect(writer.take()).toHaveLength(8 + 2 * 36);
    expect(writer.take()).toBeUndefined();
    expect(writer.add(reader.entry)).toBe(true);
    expect(hexOf(writer.take())).toBe(hexOf(bytesOf(VERSION_1)));
  });

  test("at most 255 entries, the most that the count can say", () => {
    const writer = new MessageWriter(65_507, 0);
    const entry = new SyncEntry();
    let count = 0;
    while (writer.add(entry)) count++;
    expect(count).toBe(255);
  });

  test("version 0 has no place for IPv6", () => {
    const entry = new SyncEntry();
    entry.family = 6;
    entry.flags = SyncFlag.inactive;
    expect(new MessageWriter(1472, 0, 0).add(entry)).toBe(false);
  });
});
