/**
 * The connection table by number of live entries, in a table of the default bound: what one connection's beginning
 * (is its reply tuple free, insert, arm), one look-up in random order, and its end (come due, remove) cost. The memory of
 * a million connections, made by a million SYNs through the director.
 */
import { milliseconds } from "../../src/base/environment.ts";
import { ConnectionTable } from "../../src/nat/connection-table.ts";
import { updateChecksum32 } from "../../src/wire/checksum.ts";
import { Flow, Protocol } from "../../src/wire/flow.ts";
import { IPV4_CHECKSUM_AT, IPV4_HEADER_BYTES, IPV4_SOURCE_AT } from "../../src/wire/ipv4.ts";
import { Packet } from "../../src/wire/packet.ts";
import { median, three } from "../sample.ts";
import { table } from "../table.ts";
import { collectGarbage, millisecondsOf } from "../timing.ts";
import { foundingDirector, seeded } from "./directors.ts";
import { makePacket, SYN } from "./packets.ts";

const SIZES = [1_000, 10_000, 100_000, 1_000_000];
/** The default of `connectionsMax`. */
const CAPACITY = 1_048_576;
/** Operations behind every figure: small tables are filled and emptied that many times more. */
const OPERATIONS_MIN = 1_000_000;
const ROUNDS = 3;
const LIFE_TICKS = 6_000;
/** Ticks that pass between two calls for the expired: as the daemon's loop does it. */
const STEP_TICKS = 16;
const EXPIRE_BUDGET = 4_096;

export interface TableResult {
  readonly text: string;
  /** Sum of the three costs at the largest size over that at the smallest. */
  readonly ratio: number;
}

export interface Cost {
  readonly insertNs: number;
  readonly findNs: number;
  readonly expireNs: number;
}

export function connectionTableBenchmark(): TableResult {
  const connections = new ConnectionTable(CAPACITY, [0x1234_5678, 0x1abc_def0], 0);
  const clock = { tick: 0 };
  cycle(connections, clock, 100_000, 3);
  const sums: number[] = [];
  const rows = SIZES.map((size) => {
    const costs: Cost[] = [];
    for (let round = 0; round < ROUNDS; round++)
      costs.push(cycle(connections, clock, size, Math.max(1, OPERATIONS_MIN / size)));
    const middle = (pick: (cost: Cost) => number): number => median(costs.map(pick));
    const total = middle(({ insertNs, findNs, expireNs }) => insertNs + findNs + expireNs);
    sums.push(total);
    return [
      `${size} entries`,
      three(middle(({ insertNs }) => insertNs)),
      three(middle(({ findNs }) => findNs)),
      three(middle(({ expireNs }) => expireNs)),
      three(total),
      (total / sums[0]!).toFixed(2),
    ];
  });
  const header = ["", "insert ns", "look-up ns", "expire ns", "sum ns", "/ 1000"];
  return {
    text: `nat/connection-table, bound of ${CAPACITY} connections\n${table(header, rows)}`,
    ratio: sums.at(-1)! / sums[0]!,
  };
}

/** Fill with `size` entries, look every one up, let all expire; all of it `times` times. */
export function cycle(
  connections: ConnectionTable,
  clock: { tick: number },
  size: number,
  times: number,
): Cost {
  const order = shuffled(size);
  const flow = new Flow();
  flow.family = 4;
  flow.protocol = Protocol.tcp;
  flow.destinationPort = 80;
  flow.words[4] = 0xca67_6a05 | 0;
  const destination = Int32Array.of(0xac10_0003 | 0, 0, 0, 0);
  let insertMs = 0;
  let findMs = 0;
  let expireMs = 0;
  let missing = 0;
  const aim = (index: number): void => {
    flow.words[0] = (0x0a00_0000 + (index >> 4)) | 0;
    flow.sourcePort = 1024 + (index & 15) * 4000;
  };
  for (let time = 0; time < times; time++) {
    insertMs += millisecondsOf(() => {
      for (let i = 0; i < size; i++) {
        aim(i);
        const ports = (8000 << 16) | flow.sourcePort;
        if (connections.hasTuple(4, Protocol.tcp, destination, 0, flow.words, 0, ports)) missing++;
        const record = connections.insert(flow, destination, 8000, 0, flow.sourcePort, 0);
        connections.setTimeout(record, 1 + (order[i]! % LIFE_TICKS));
        connections.touch(record, clock.tick);
      }
    });
    findMs += millisecondsOf(() => {
      for (let i = 0; i < size; i++) {
        aim(order[i]!);
        if (connections.find(flow) < 0) missing++;
      }
    });
    expireMs += millisecondsOf(() => {
      const end = clock.tick + LIFE_TICKS + 2 * STEP_TICKS;
      for (; clock.tick < end; clock.tick += STEP_TICKS) {
        for (;;) {
          const record = connections.nextExpired(clock.tick, EXPIRE_BUDGET);
          if (record === -1) break;
          if (record >= 0) connections.remove(record);
        }
      }
    });
    if (missing > 0 || connections.count > 0)
      throw new Error(
        `Connection table: ${missing} look-ups went wrong, ${connections.count} entries did not expire`,
      );
  }
  const ns = (ms: number): number => (ms * 1e6) / (size * times);
  return { insertNs: ns(insertMs), findNs: ns(findMs), expireNs: ns(expireMs) };
}

function shuffled(size: number): Int32Array {
  const order = Int32Array.from({ length: size }, (_, index) => index);
  const random = seeded(size);
  for (let i = size - 1; i > 0; i--) {
    const other = random() % (i + 1);
    const index = order[i]!;
    order[i] = order[other]!;
    order[other] = index;
  }
  return order;
}

export interface MemoryResult {
  readonly text: string;
  readonly tableBytes: number;
}

export function memoryBenchmark(): MemoryResult {
  const count = 1_000_000;
  const now = milliseconds(1_000_000);
  collectGarbage();
  const before = process.memoryUsage();
  const director = foundingDirector(now);
  const packet = new Packet();
  const original = makePacket({
    from: "10.0.0.0:1024",
    to: "202.103.106.5:80",
    protocol: "tcp",
    tcpFlags: SYN,
    bytes: 64,
  });
  packet.load(original);
  const { at } = packet;
  const elapsedMs = millisecondsOf(() => {
    for (let i = 0; i < count; i++) {
      packet.bytes.set(original, at);
      packet.view.setUint16(at + IPV4_HEADER_BYTES, 1024 + (i & 15) * 4000);
      setClient(packet, i >> 4);
      director.receive(packet, now);
    }
  });
  collectGarbage();
  const after = process.memoryUsage();
  const found = director.connections.count;
  if (found !== count) throw new Error(`Wanted ${count} connections, the table has ${found}`);
  const tableBytes = ConnectionTable.bytesFor(director.connections.capacity) / director.connections.capacity;
  const rows = [
    ["table, bytes a connection", three(tableBytes)],
    ["resident set growth, bytes a connection", three((after.rss - before.rss) / count)],
    [
      "JavaScript heap growth, bytes a connection",
      three(Math.max(0, after.heapUsed - before.heapUsed) / count),
    ],
    ["a SYN of a new connection through the director, ns", three((elapsedMs * 1e6) / count)],
  ];
  return { text: `memory of ${count} connections\n${table(["", "found"], rows)}`, tableBytes };
}

/** Client 10.0.0.0 + index, the header checksum with it. */
function setClient(packet: Packet, index: number): void {
  const { view, at } = packet;
  const before = view.getInt32(at + IPV4_SOURCE_AT);
  const after = 0x0a00_0000 + index;
  view.setInt32(at + IPV4_SOURCE_AT, after);
  const checksum = view.getUint16(at + IPV4_CHECKSUM_AT);
  view.setUint16(at + IPV4_CHECKSUM_AT, updateChecksum32(checksum, before, after));
}
