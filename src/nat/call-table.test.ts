import { expect, test } from "vitest";
import { seededRandom } from "../base/seeded-random.ts";
import { CALLS_MAX, CallTable } from "./call-table.ts";
import { ConnectionTable } from "./connection-table.ts";

const UDP = 17;
const SERVER = Int32Array.of(0x0a000015, 0, 0, 0);

interface Key {
  readonly family: 4 | 6;
  readonly protocol: number;
  readonly client: Int32Array;
  readonly virtual: Int32Array;
  readonly port: number;
}

const KEY: Key = {
  family: 4,
  protocol: UDP,
  client: Int32Array.of(0xc6336400 | 0, 0, 0, 0),
  virtual: Int32Array.of(0xc000020a | 0, 0, 0, 0),
  port: 5060,
};
const KEY6: Key = {
  ...KEY,
  family: 6,
  client: Int32Array.of(0x20010db8, 1, 2, 3),
  virtual: Int32Array.of(0x20010db8, 4, 5, 6),
};

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

class Calls {
  readonly table = new ConnectionTable(1024, [1, 2], 0);
  readonly calls: CallTable;

  constructor(capacity?: number) {
    this.calls = new CallTable([3, 4], capacity);
  }

  /** @returns the template's record, -1 when the call table is full */
  pin(text: string, { family, protocol, client, virtual, port }: Key = KEY): number {
    const record = this.table.insertTemplate(
      family, protocol, client, virtual, 0, port, SERVER, 5060, 0, true,
    ); // biome-ignore format: one key
    const bytes = bytesOf(`..${text}..`);
    return this.calls.insert(record, bytes, 2, bytes.length - 4) ? record : -1;
  }

  find(text: string, { family, protocol, client, virtual, port }: Key = KEY): number {
    const bytes = bytesOf(`.${text}`);
    // The virtual address may stand anywhere, as in a flow's words.
    const words = Int32Array.of(0, 0, 0, 0, ...virtual);
    return this.calls.find(
      bytes, 1, bytes.length - 1, this.table, family, protocol, client, words, 4, port,
    ); // biome-ignore format: one key
  }
}

test("a template is found by its Call-ID, and no other", () => {
  const calls = new Calls();
  expect(calls.find("a@b")).toBe(-1);
  const record = calls.pin("a@b");
  const other = calls.pin("a@c");
  expect(calls.find("a@b")).toBe(record);
  expect(calls.find("a@c")).toBe(other);
  for (const text of ["a@", "a@bb", "A@b", "", "a@b\0"]) expect(calls.find(text)).toBe(-1);
});

test("a Call-ID of up to 255 bytes counts to its last byte", () => {
  const calls = new Calls();
  for (let length = 1; length <= 255; length++) {
    const record = calls.pin("x".repeat(length));
    expect(calls.find("x".repeat(length))).toBe(record);
    expect(calls.find(`${"x".repeat(length - 1)}y`)).toBe(-1);
  }
});

test("every other part of the key counts as well", () => {
  for (const key of [KEY, KEY6]) {
    const calls = new Calls();
    const record = calls.pin("a@b", key);
    expect(calls.find("a@b", key)).toBe(record);
    const changed = (words: Int32Array, at: number): Int32Array =>
      words.map((word, i) => (i === at ? word ^ 1 : word));
    for (const at of key.family === 4 ? [0] : [0, 1, 2, 3]) {
      expect(calls.find("a@b", { ...key, client: changed(key.client, at) })).toBe(-1);
      expect(calls.find("a@b", { ...key, virtual: changed(key.virtual, at) })).toBe(-1);
    }
    expect(calls.find("a@b", { ...key, protocol: 0 })).toBe(-1);
    expect(calls.find("a@b", { ...key, port: 5061 })).toBe(-1);
    expect(calls.find("a@b", { ...key, family: key.family === 4 ? 6 : 4 })).toBe(-1);
    // The same call of another client network is another template.
    const second = calls.pin("a@b", { ...key, client: changed(key.client, 0) });
    expect(calls.find("a@b", key)).toBe(record);
    expect(calls.find("a@b", { ...key, client: changed(key.client, 0) })).toBe(second);
  }
});

test("a hidden template is not found", () => {
  const calls = new Calls();
  calls.table.hideTemplate(calls.pin("a@b"));
  expect(calls.find("a@b")).toBe(-1);
});

test("a removed one is forgotten, its Call-ID too; one that is not here may be removed", () => {
  const calls = new Calls();
  const record = calls.pin("a@b");
  calls.calls.remove(record + 1);
  expect(calls.calls.callId(record)).toBe("a@b");
  calls.calls.remove(record);
  calls.calls.remove(record);
  expect(calls.find("a@b")).toBe(-1);
  expect(calls.calls.callId(record)).toBeUndefined();
  expect(calls.calls.count).toBe(0);
});

test("a full table refuses, and takes the next one after a removal", () => {
  const calls = new Calls(3);
  const records = ["a", "b", "c"].map((text) => calls.pin(text));
  expect(calls.pin("d")).toBe(-1);
  expect(calls.find("d")).toBe(-1);
  calls.calls.remove(records[1]!);
  const again = calls.pin("d");
  expect(calls.find("d")).toBe(again);
  expect(["a", "b", "c"].map((text) => calls.find(text))).toEqual([records[0], -1, records[2]]);
});

test("the default bound is kept, whatever the records' numbers", () => {
  const calls = new CallTable([1, 2]);
  const bytes = new Uint8Array(4);
  const insert = (count: number): boolean => {
    new DataView(bytes.buffer).setUint32(0, count);
    return calls.insert(count * 64, bytes, 0, 4);
  };
  for (let count = 0; count < CALLS_MAX; count++) if (!insert(count)) expect.unreachable(`full at ${count}`);
  expect(insert(CALLS_MAX)).toBe(false);
  expect(calls.count).toBe(65_536);
  for (let count = 0; count < CALLS_MAX; count++) calls.remove(count * 64);
  expect(calls.count).toBe(0);
});

test("50,000 random steps keep what a map would", () => {
  const random = seededRandom(7);
  const calls = new Calls(64);
  const model = new Map<string, number>();
  for (let step = 0; step < 50_000; step++) {
    const text = `call-${random() % 100}`;
    const record = model.get(text);
    expect(calls.find(text)).toBe(record ?? -1);
    if (record !== undefined && random() % 2 === 0) {
      expect(calls.calls.callId(record)).toBe(text);
      calls.calls.remove(record);
      calls.table.remove(record);
      model.delete(text);
    } else if (record === undefined && model.size < 64) model.set(text, calls.pin(text));
    expect(calls.calls.count).toBe(model.size);
  }
});
