/** The file in which connections outlive a process: opened again, refused, resized. */
import {
  chmodSync,
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ConnectionTable } from "../../../nat/connection-table.ts";
import { directorMemory, TABLE_AT } from "../../../nat/director-memory.ts";
import { Flow } from "../../../wire/flow.ts";
import { unmapMemory } from "../../system-call.ts";
import { mapTableFile, openTableFile, removeTableFile, tableFileDevices } from "./table-file.ts";

const CAPACITY = 100;
const HEADER_AT = 4096 + TABLE_AT;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "vsnat-table-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const path = (): string => join(directory, readdirSync(directory)[0]!);

/** Open it as a daemon does, and let a table use it as the datapath thread does. */
function use(capacity: number, act: (table: ConnectionTable) => void = () => {}) {
  const file = openTableFile("vs0", capacity, directory);
  const memory = mapTableFile(file);
  act(new ConnectionTable(file.connectionsMax, [1, 2], 0, directorMemory(memory).table));
  unmapMemory(memory.buffer as ArrayBuffer);
  closeSync(file.descriptor);
  return file;
}

function fill(table: ConnectionTable, count: number): void {
  const flow = new Flow();
  for (let port = 1; port <= count; port++) {
    flow.sourcePort = port;
    expect(table.insert(flow, new Int32Array(4), 80, 0, port, 0)).toBeGreaterThanOrEqual(0);
  }
}

describe("what was left", () => {
  test("is there again, in a file that nobody else may read and that is as large as what was written", () => {
    expect(use(CAPACITY, (table) => fill(table, 3))).toMatchObject({ isLeft: false, remark: undefined });
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    let highWater = 0;
    const again = use(CAPACITY, (table) => {
      ({ highWater } = table);
    });
    expect(again).toMatchObject({ isLeft: true, remark: undefined, connectionsMax: CAPACITY });
    expect(highWater).toBe(3);
    expect(tableFileDevices(directory)).toEqual(["vs0"]);
    removeTableFile("vs0", directory);
    expect(tableFileDevices(directory)).toEqual([]);
  });

  test("grows and shrinks with the configuration, but not below what is in use", () => {
    use(CAPACITY, (table) => fill(table, 60));
    expect(use(1000)).toMatchObject({ isLeft: true, connectionsMax: 1000, remark: undefined });
    expect(use(70)).toMatchObject({ isLeft: true, connectionsMax: 70, remark: undefined });
    const small = use(10);
    expect(small).toMatchObject({ isLeft: true, connectionsMax: 60 });
    expect(small.remark).toMatch(/limits\.connections is 10, and 60 until the next start/);
  });

  test("that was never used is nothing to speak of", () => {
    closeSync(openTableFile("vs0", CAPACITY, directory).descriptor);
    expect(use(CAPACITY)).toMatchObject({ isLeft: false, remark: undefined });
  });
});

describe("refused in one sentence, and begun anew", () => {
  const title = (): Record<string, unknown> => JSON.parse(readFileSync(path(), "latin1").split("\n")[0]!);
  const retitle = (change: object): void => {
    const file = openSync(path(), "r+");
    writeSync(file, `${JSON.stringify({ ...title(), ...change })}\n`, 0, "latin1");
    closeSync(file);
  };
  const spoilWord = (word: number, value: number): void => {
    const file = openSync(path(), "r+");
    const bytes = new Uint8Array(Int32Array.of(value).buffer);
    writeSync(file, bytes, 0, 4, HEADER_AT + word * 4);
    closeSync(file);
  };

  test.each<readonly [string, () => void, RegExp]>([
    ["another boot's", () => retitle({ boot: "x".repeat(36) }), /before the machine was started/],
    ["another namespace's", () => retitle({ namespace: "7" }), /another network namespace's/],
    ["another device's", () => retitle({ device: "vs9" }), /another device's/],
    ["another program's", () => retitle({ vsnat: "something" }), /no table of connections/],
    ["a text", () => writeFileSync(path(), "hello\n"), /no table of connections/],
    ["binary", () => writeFileSync(path(), new Uint8Array(5000).fill(0xff)), /no table of connections/],
    ["cut short", () => truncateSync(path(), HEADER_AT + 64), /it has \d+ bytes, wanted at least \d+/],
    ["another version's", () => spoilWord(0, 0x76736e31), /another version of vsnat/],
    ["of an impossible size", () => spoilWord(4, -1), /another version of vsnat wrote it, or it is damaged/],
    ["with more in use than there is", () => spoilWord(3, CAPACITY + 1), /or it is damaged/],
    ["readable for others", () => chmodSync(path(), 0o644), /no file of this user's alone/],
  ])("%s", (_, spoil, why) => {
    use(CAPACITY, (table) => fill(table, 3));
    spoil();
    const file = use(CAPACITY, (table) => expect(table.highWater).toBe(0));
    expect(file.isLeft).toBe(false);
    expect(file.remark).toMatch(/^Cannot take over the connections in \/.*: /);
    expect(file.remark).toMatch(why);
    expect(use(CAPACITY)).toMatchObject({ remark: undefined });
  });

  test("a link to somebody's file, which stays as it is", () => {
    use(CAPACITY);
    const target = join(directory, "somebody's");
    writeFileSync(target, "precious");
    const link = path();
    rmSync(link);
    symlinkSync(target, link);
    expect(openTableFile("vs0", CAPACITY, directory)).toMatchObject({ isLeft: false });
    expect(readFileSync(target, "utf8")).toBe("precious");
    expect(statSync(link).ino).not.toBe(statSync(target).ino);
  });
});
