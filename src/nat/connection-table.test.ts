/** The connection table against a plain Map, at the edges of its capacity, its wheel and its clock. */
import { describe, expect, test } from "vitest";
import { seededRandom } from "../base/seeded-random.ts";
import { Flow } from "../wire/flow.ts";
import { ConnectionFlag, ConnectionTable, SOURCES_MAX } from "./connection-table.ts";
import { ownMemory } from "./memory-part.ts";

const KEYS = [0x1234_5678, 0x9abc_def0] as const;
/** Ticks of one wheel slot and of a whole turn. */
const SLOT_TICKS = 16;
const TURN_TICKS = 8192 * SLOT_TICKS;
const NO_BUDGET = 1 << 30;

interface Tuple {
  family: 4 | 6;
  protocol: number;
  source: readonly number[];
  destination: readonly number[];
  sourcePort: number;
  destinationPort: number;
}

function flowOf({ family, protocol, source, destination, sourcePort, destinationPort }: Tuple): Flow {
  const flow = new Flow();
  flow.family = family;
  flow.protocol = protocol;
  flow.words.set(source, 0);
  flow.words.set(destination, 4);
  flow.sourcePort = sourcePort;
  flow.destinationPort = destinationPort;
  return flow;
}

/** Client number `i` of a service at 10.0.0.1:80. */
function client(i: number): Tuple {
  const family = i % 3 === 0 ? 6 : 4;
  const rest = family === 6 ? [0x20010db8, i & 7, 0, i >> 3] : [0x0a010000 + (i >> 3), 0, 0, 0];
  const destination = family === 6 ? [0x20010db8, 5, 0, 1] : [0x0a000001, 0, 0, 0];
  const protocol = i % 2 === 0 ? 6 : 17;
  return { family, protocol, source: rest, destination, sourcePort: 1024 + (i & 7), destinationPort: 80 };
}
const SERVER_WORDS = Int32Array.from([0x0a020001, 2, 3, 4]);
const serverOf = (tuple: Tuple): Int32Array =>
  tuple.family === 6 ? SERVER_WORDS : Int32Array.from([SERVER_WORDS[0]!, 0, 0, 0]);

function insert(table: ConnectionTable, tuple: Tuple, server = 0): number {
  return table.insert(flowOf(tuple), serverOf(tuple), 8080, 0, tuple.sourcePort, server);
}

/** The answer's tuple. */
function reply(tuple: Tuple): Tuple {
  const source = [...serverOf(tuple)];
  return { ...tuple, source, destination: tuple.source, sourcePort: 8080, destinationPort: tuple.sourcePort };
}

describe("one entry", () => {
  test("is found from either side, with everything that was put in", () => {
    const table = new ConnectionTable(4, KEYS, 0);
    for (const i of [1, 2, 3, 6]) {
      const tuple = client(i);
      const record = table.insert(flowOf(tuple), serverOf(tuple), 8080, 0, 61_000, 7);
      const seen = { ...reply(tuple), destinationPort: 61_000 };
      expect(table.find(flowOf(tuple))).toBe(record * 2);
      expect(table.find(flowOf(seen))).toBe(record * 2 + 1);
      expect(table.find(flowOf(reply(tuple)))).toBe(-1);
      expect([table.protocol(record), table.family(record), table.state(record)]).toEqual([
        tuple.protocol,
        tuple.family,
        0,
      ]);
      expect([table.clientPort(record), table.virtualPort(record)]).toEqual([tuple.sourcePort, 80]);
      expect([table.destinationPort(record), table.sourcePort(record), table.server(record)]).toEqual([
        8080, 61_000, 7,
      ]);
      const words = (at: number) => [...table.words.subarray(at, at + 4)];
      expect(words(table.clientAt(record))).toEqual(tuple.source.map((word) => word | 0));
      expect(words(table.virtualAt(record))).toEqual(tuple.destination.map((word) => word | 0));
      expect(words(table.destinationAt(record))).toEqual([...serverOf(tuple)]);
    }
  });

  test("is not found by a tuple that differs in any one part", () => {
    const table = new ConnectionTable(8, KEYS, 0);
    const tuple = client(3);
    insert(table, tuple);
    const others: Tuple[] = [
      { ...tuple, protocol: 132 },
      { ...tuple, sourcePort: tuple.sourcePort + 1 },
      { ...tuple, destinationPort: 81 },
      { ...tuple, family: 4 },
      ...[0, 1, 2, 3].map((i) => ({ ...tuple, source: tuple.source.with(i, tuple.source[i]! ^ 1) })),
      ...[0, 1, 2, 3].map((i) => ({
        ...tuple,
        destination: tuple.destination.with(i, tuple.destination[i]! ^ 1),
      })),
      {
        ...tuple,
        source: tuple.destination,
        destination: tuple.source,
        sourcePort: 80,
        destinationPort: 1027,
      },
    ];
    for (const other of others) expect(table.find(flowOf(other))).toBe(-1);
  });

  test("ports above 32767 and addresses above 127.255.255.255 are told apart and read back unsigned", () => {
    const table = new ConnectionTable(8, KEYS, 0);
    const tuple = {
      ...client(1),
      source: [0xffff_fffe, 0, 0, 0],
      sourcePort: 65_535,
      destinationPort: 65_534,
    };
    const record = table.insert(flowOf(tuple), serverOf(tuple), 65_533, 0, 65_532, 0);
    expect([table.clientPort(record), table.virtualPort(record)]).toEqual([65_535, 65_534]);
    expect([table.destinationPort(record), table.sourcePort(record)]).toEqual([65_533, 65_532]);
    expect(table.find(flowOf(tuple))).toBe(record * 2);
  });

  test("state, flags and counters share words without touching each other", () => {
    const table = new ConnectionTable(1, KEYS, 0);
    const record = insert(table, client(1));
    table.setFlag(record, ConnectionFlag.inactive, true);
    table.setFlag(record, 0x80, true);
    table.setState(record, 255);
    table.countInPacket(record);
    expect([table.protocol(record), table.family(record), table.state(record)]).toEqual([17, 4, 255]);
    expect([table.hasFlag(record, ConnectionFlag.inactive), table.hasFlag(record, 2)]).toEqual([true, false]);
    table.setState(record, 3);
    table.setFlag(record, ConnectionFlag.inactive, false);
    expect([table.hasFlag(record, ConnectionFlag.inactive), table.hasFlag(record, 0x80)]).toEqual([
      false,
      true,
    ]);
    expect([table.state(record), table.inPackets(record)]).toEqual([3, 1]);
    expect(table.find(flowOf(client(1)))).toBe(record * 2);
  });
});

test("hasTuple knows both tuples of every entry, and only them", () => {
  const table = new ConnectionTable(16, KEYS, 0);
  const has = ({ family, protocol, source, destination, sourcePort, destinationPort }: Tuple): boolean => {
    // Somewhere in longer arrays, as the director passes them.
    const words = Int32Array.from([9, ...source, 9, ...destination]);
    return table.hasTuple(family, protocol, words, 1, words, 6, (sourcePort << 16) | destinationPort);
  };
  for (let i = 1; i < 9; i++) {
    expect([has(client(i)), has(reply(client(i)))]).toEqual([false, false]);
    insert(table, client(i));
    expect([has(client(i)), has(reply(client(i)))]).toEqual([true, true]);
  }
  expect(has({ ...reply(client(1)), destinationPort: 9 })).toBe(false);
});

test("a full table refuses, and takes one more for each that leaves", () => {
  const table = new ConnectionTable(3, KEYS, 0);
  const records = [1, 2, 3].map((i) => insert(table, client(i)));
  expect(records).not.toContain(-1);
  expect(insert(table, client(4))).toBe(-1);
  expect([table.count, table.highWater]).toEqual([3, 3]);
  table.remove(records[1]!);
  expect([table.count, table.isLive(records[1]!)]).toEqual([2, false]);
  expect(insert(table, client(5))).toBe(records[1]);
  expect(insert(table, client(6))).toBe(-1);
  expect(table.find(flowOf(client(4)))).toBe(-1);
});

test("impossible capacities and small buffers are refused with what was found and wanted", () => {
  for (const capacity of [0, -1, 1.5, 2 ** 24 + 1, Number.NaN])
    expect(() => new ConnectionTable(capacity, KEYS, 0)).toThrow(
      `${capacity} connections, expected 1..16777216`,
    );
  const bytes = ConnectionTable.bytesFor(100);
  expect(() => new ConnectionTable(100, KEYS, 0, ownMemory(bytes - 1))).toThrow(`needs ${bytes} bytes`);
  const shared = { ...ownMemory(0), buffer: new SharedArrayBuffer(bytes + 64), at: 64, byteLength: bytes };
  expect(new ConnectionTable(100, KEYS, 0, shared).capacity).toBe(100);
});

test("costs at most 128 bytes a connection", () => {
  for (const capacity of [1 << 16, 1 << 20, 1_000_000, 1_048_577]) {
    const fixed = 4 * (16 + 8192 + 4 * (SOURCES_MAX + 1)) + 4 * Math.ceil((SOURCES_MAX + 1) / 4);
    expect((ConnectionTable.bytesFor(capacity) - fixed) / capacity).toBeLessThanOrEqual(128);
  }
});

describe("the timer wheel", () => {
  /** Beginnings of time: at start, before 31 and 32 bits of ticks overflow, and where doubles are still exact. */
  const origins = [0, 1, 2 ** 31 - 500, 2 ** 32 - 500, 2 ** 40];
  const lives = [
    1,
    15,
    16,
    17,
    200,
    90_000,
    TURN_TICKS - 1,
    TURN_TICKS,
    TURN_TICKS + 1,
    5 * TURN_TICKS,
    267_840_000,
  ];

  test.each(origins)("finds an entry at its deadline, never before, from tick %i on", (origin) => {
    for (const life of lives) {
      const table = new ConnectionTable(1, KEYS, origin);
      const record = insert(table, client(1));
      table.setTimeout(record, life);
      table.touch(record, origin);
      expect([table.isExpired(record, origin), table.ticksLeft(record, origin)]).toEqual([false, life]);
      expect(table.isExpired(record, origin + life - 1)).toBe(false);
      expect(table.isExpired(record, origin + life)).toBe(true);
      // Looked at regularly on the way, the wheel never gives it out early.
      for (let tick = origin; tick < origin + life; tick += Math.max(1, Math.floor(life / 50)))
        expect(table.nextExpired(tick, NO_BUDGET)).toBe(-1);
      expect(table.nextExpired(origin + life - 1, NO_BUDGET)).toBe(-1);
      expect(table.nextExpired(origin + life + 2 * SLOT_TICKS, NO_BUDGET)).toBe(record);
      table.remove(record);
      expect(table.nextExpired(origin + life + 2 * SLOT_TICKS, NO_BUDGET)).toBe(-1);
    }
  });

  test.each(origins)("after a long silence everything due comes at once, from tick %i on", (origin) => {
    const table = new ConnectionTable(64, KEYS, origin);
    const due = new Set<number>();
    for (let i = 0; i < 64; i++) {
      const record = insert(table, client(i));
      table.setTimeout(record, 1 + i * 5000);
      table.touch(record, origin);
      if (i <= 40) due.add(record);
    }
    const later = origin + 40 * 5000 + 2 * SLOT_TICKS;
    for (
      let record = table.nextExpired(later, NO_BUDGET);
      record >= 0;
      record = table.nextExpired(later, NO_BUDGET)
    ) {
      expect(due.delete(record)).toBe(true);
      table.remove(record);
    }
    expect(due.size).toBe(0);
    expect(table.count).toBe(23);
    // And after several turns of the wheel the rest.
    const muchLater = origin + 7 * TURN_TICKS;
    for (
      let record = table.nextExpired(muchLater, NO_BUDGET);
      record >= 0;
      record = table.nextExpired(muchLater, NO_BUDGET)
    )
      table.remove(record);
    expect(table.count).toBe(0);
  });

  test("an entry whose deadline comes nearer is found then, one that moves away is not found early", () => {
    const table = new ConnectionTable(2, KEYS, 0);
    const record = insert(table, client(1));
    table.setTimeout(record, 90_000);
    table.touch(record, 0);
    table.setTimeout(record, 1000);
    table.touch(record, 500);
    expect(table.nextExpired(1499, NO_BUDGET)).toBe(-1);
    table.setTimeout(record, 90_000);
    table.touch(record, 1499);
    expect(table.nextExpired(91_498, NO_BUDGET)).toBe(-1);
    expect(table.nextExpired(91_499 + 2 * SLOT_TICKS, NO_BUDGET)).toBe(record);
  });

  test("an entry touched while the wheel is behind is still found", () => {
    // Nobody looked at the wheel for more than a turn; then an entry comes to life with a short timeout.
    const table = new ConnectionTable(2, KEYS, 0);
    const now = 3 * TURN_TICKS + 5;
    const record = insert(table, client(1));
    table.setTimeout(record, 100);
    table.touch(record, now);
    expect(table.nextExpired(now + 99, NO_BUDGET)).toBe(-1);
    expect(table.nextExpired(now + 100 + 2 * SLOT_TICKS, NO_BUDGET)).toBe(record);
  });

  test("a budget bounds one look, and the next goes on where it stopped", () => {
    const table = new ConnectionTable(100, KEYS, 0);
    for (let i = 0; i < 100; i++) {
      const record = insert(table, client(i));
      table.setTimeout(record, 10);
      table.touch(record, 0);
    }
    // All are touched again: 100 looks find nothing, ten in each call, and the tenth call sees the end.
    for (let record = 0; record < 100; record++) table.touch(record, 500);
    const answers = Array.from({ length: 12 }, () => table.nextExpired(505, 10));
    expect(answers.filter((answer) => answer === -2)).toHaveLength(9);
    expect(answers.slice(9)).toEqual([-1, -1, -1]);
  });
});

test.each([0, 2 ** 31 - 40_000, 2 ** 32 - 40_000])("does what a Map does, from tick %i on", (origin) => {
  const random = seededRandom(origin + 11);
  const capacity = 200;
  const table = new ConnectionTable(capacity, KEYS, origin);
  interface Model {
    record: number;
    timeout: number;
    deadline: number;
    state: number;
  }
  const model = new Map<number, Model>();
  const pick = () => random() % 400;
  let now = origin;
  let inserted = 0;
  for (let step = 0; step < 60_000; step++) {
    const i = pick();
    const entry = model.get(i);
    switch (random() % 8) {
      case 0:
      case 1:
      case 2: {
        if (entry !== undefined) break;
        const record = insert(table, client(i), i);
        must(record < 0 === (model.size === capacity), "refuses exactly when full");
        if (record < 0) break;
        const timeout = [5, 300, 9000, 200_000][random() % 4]!;
        table.setTimeout(record, timeout);
        table.touch(record, now);
        model.set(i, { record, timeout, deadline: now + timeout, state: 0 });
        inserted++;
        break;
      }
      case 3:
        if (entry === undefined) break;
        table.remove(entry.record);
        model.delete(i);
        break;
      case 4:
        if (entry === undefined) break;
        entry.timeout = [5, 300, 9000, 200_000][random() % 4]!;
        entry.deadline = now + entry.timeout;
        entry.state = random() % 11;
        table.setTimeout(entry.record, entry.timeout);
        table.setState(entry.record, entry.state);
        table.touch(entry.record, now);
        break;
      case 5:
        now += random() % (random() % 50 === 0 ? 2 * TURN_TICKS : 200);
        break;
      case 6: {
        // Expire: whoever comes out is due, and who is due for two slots has come out.
        for (
          let record = table.nextExpired(now, NO_BUDGET);
          record >= 0;
          record = table.nextExpired(now, NO_BUDGET)
        ) {
          const key = table.server(record);
          const due = model.get(key);
          must(due?.record === record && due.deadline <= now, "gives out what is due, once");
          table.remove(record);
          model.delete(key);
        }
        for (const one of model.values())
          must(one.deadline > now - 2 * SLOT_TICKS, "gives out everything due");
        break;
      }
      default: {
        const found = table.find(flowOf(client(i)));
        const answer = table.find(flowOf(reply(client(i))));
        const wanted = entry === undefined ? -1 : entry.record * 2;
        must(found === wanted, "finds the original tuple");
        must(answer === (entry === undefined ? -1 : wanted + 1), "finds the reply tuple");
        if (entry === undefined) break;
        must(table.ticksLeft(entry.record, now) === entry.deadline - now, "knows the deadline");
        must(table.state(entry.record) === entry.state, "keeps the state");
        break;
      }
    }
    must(table.count === model.size, "counts");
  }
  expect(inserted).toBeGreaterThan(2000);
  expect(table.highWater).toBeLessThanOrEqual(capacity);
});

/** Like expect, at a millionth of the cost. */
function must(isTrue: boolean, what: string): void {
  if (!isTrue) expect.fail(`the table no longer ${what}`);
}
