/**
 * The table in a mapped file against one in V8's own memory, in turn; and how long taking over what is in it takes. In
 * processor time, because the machines are shared.
 */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unmapMemory } from "../../src/datapath/system-call.ts";
import { mapTableFile } from "../../src/datapath/tun/host/table-file.ts";
import { ConnectionTable } from "../../src/nat/connection-table.ts";
import { directorBytes, directorMemory } from "../../src/nat/director-memory.ts";
import type { MemoryPart } from "../../src/nat/memory-part.ts";
import { Flow, Protocol } from "../../src/wire/flow.ts";
import { median, three } from "../sample.ts";
import { table } from "../table.ts";
import { cycle } from "./connection-table.ts";
import { foundingDirector } from "./directors.ts";

/** The default of `connectionsMax`. */
const CAPACITY = 1_048_576;
const SIZES = [1_000, 100_000, 1_000_000];
const OPERATIONS_MIN = 1_000_000;
const ROUNDS = 5;
const NOW_MS = 1_000_000;

export function takeOverBenchmark(): string {
  const directory = mkdtempSync(join(process.platform === "linux" ? "/dev/shm" : tmpdir(), "vsnat-bench-"));
  const descriptor = openSync(join(directory, "table"), "w+");
  ftruncateSync(descriptor, 4096 + directorBytes(CAPACITY));
  const memory = mapTableFile({ descriptor, connectionsMax: CAPACITY });
  try {
    return `${compareMemories(memory)}\n\n${takeOvers(memory)}`;
  } finally {
    unmapMemory(memory.buffer as ArrayBuffer);
    closeSync(descriptor);
    rmSync(directory, { recursive: true });
  }
}

function compareMemories(memory: MemoryPart): string {
  const keys = [0x1234_5678, 0x1abc_def0] as const;
  const tables = [undefined, directorMemory(memory).table].map((part) => ({
    connections: new ConnectionTable(CAPACITY, keys, 0, part),
    clock: { tick: 0 },
  }));
  for (const { connections, clock } of tables) cycle(connections, clock, 100_000, 2);
  const rows = SIZES.map((size) => {
    const samples: number[][] = tables.map(() => []);
    const times = Math.max(1, OPERATIONS_MIN / size);
    for (let round = 0; round < ROUNDS; round++)
      tables.forEach(({ connections, clock }, index) => {
        const ms = processorMsOf(() => cycle(connections, clock, size, times));
        samples[index]!.push((ms * 1e6) / (size * times));
      });
    const [own, mapped] = samples.map(median) as [number, number];
    return [`${size} entries`, three(own), three(mapped), (mapped / own).toFixed(2)];
  });
  return `nat/connection-table, insert + look-up + expire, ns\n${table(["", "own memory", "mapped", "ratio"], rows)}`;
}

function takeOvers(memory: MemoryPart): string {
  // What the comparison left is empty, and of no director.
  const first = foundingDirector(NOW_MS, memory);
  const flow = new Flow();
  flow.family = 4;
  flow.protocol = Protocol.tcp;
  flow.destinationPort = 80;
  const [service] = first.services.all;
  const destination = service!.destinations[0]!;
  flow.words.set(service!.words, 4);
  let made = 0;
  const rows = SIZES.map((size) => {
    for (; made < size; made++) {
      flow.words[0] = 0x0a00_0000 + (made >> 4);
      flow.sourcePort = 1024 + (made & 15) * 4000;
      const { connections, bindings } = first;
      const record = connections.insert(flow, destination.words, 80, 0, flow.sourcePort, destination.number);
      bindings.bind(record, destination, 0, -1);
      connections.setTimeout(record, 90_000);
      connections.touch(record, NOW_MS / 10);
    }
    const ms = Array.from({ length: ROUNDS }, () => processorMsOf(() => take(memory, size)));
    return [`${size} entries`, three(median(ms))];
  });
  return `nat/take-over, ms\n${table(["", "ms"], rows)}`;
}

function take(memory: MemoryPart, wanted: number): void {
  const { takeOver } = foundingDirector(NOW_MS, memory);
  if (takeOver?.connections !== wanted)
    throw new Error(`Wanted ${wanted} connections, took over ${takeOver?.connections}`);
}

function processorMsOf(action: () => void): number {
  const before = process.cpuUsage();
  action();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
