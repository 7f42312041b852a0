import { expect, it } from "vitest";
import { milliseconds } from "../base/environment.ts";
import { DROP, HELD, TO_SERVER, type Verdict } from "../nat/verdict.ts";
import { Packet } from "../wire/packet.ts";
import type { TraceLine } from "./datapath-protocol.ts";
import { PacketTrace, TRACE_LINES_PER_SECOND_MAX } from "./packet-trace.ts";
import { parseTraceFilter, type TraceFilter } from "./trace-filter.ts";

/** IPv4, UDP, 10.0.0.1:1000 > 10.0.0.2:53; header checksum right, UDP checksum absent. */
const UDP = Uint8Array.from([
  0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0x66, 0xcf, 10, 0, 0, 1, 10, 0, 0, 2, 0x03, 0xe8, 0, 53, 0, 8, 0, 0,
]); // biome-ignore format: a packet

function traced(filterText: string) {
  const lines: TraceLine[] = [];
  const trace = new PacketTrace(
    (_, line) => lines.push(line),
    () => 7,
  );
  trace.start(1, (parseTraceFilter(filterText) as { value: TraceFilter }).value);
  const pass = (bytes: Uint8Array, verdict: Verdict, nowMs = 0): void => {
    const packet = new Packet();
    packet.load(bytes);
    trace.before(packet, milliseconds(nowMs));
    packet.view.setUint8(packet.at + 8, 63); // the director's edit
    trace.after(packet, verdict, milliseconds(nowMs));
  };
  return { lines, pass, trace };
}

it("shows a packet as it came and as it went", () => {
  const { lines, pass } = traced("");
  pass(UDP, TO_SERVER);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({ timeMs: 7, verdict: "to-server", lostCount: 0 });
  expect(lines[0]!.before).toMatch(/^10\.0\.0\.1:1000 > 10\.0\.0\.2:53 udp.* ttl 64/);
  expect(lines[0]!.after).toMatch(/ ttl 63/);
});

it("has no second half for what is not sent", () => {
  const { lines, pass } = traced("");
  pass(UDP, DROP["table-full"]);
  pass(UDP, HELD);
  expect(lines.map(({ verdict, after }) => [verdict, after])).toEqual([
    ["drop table-full", undefined],
    ["held", undefined],
  ]);
});

it("shows only drops when asked to", () => {
  const { lines, pass } = traced("drop port 53");
  pass(UDP, TO_SERVER);
  pass(UDP, DROP["no-service"]);
  expect(lines.map(({ verdict }) => verdict)).toEqual(["drop no-service"]);
});

it("shows unreadable packets to those who asked for everything", () => {
  const all = traced("drop");
  const some = traced("tcp");
  for (const { pass } of [all, some]) pass(Uint8Array.of(0x45, 0), DROP.truncated);
  expect([all.lines.length, some.lines.length]).toEqual([1, 0]);
});

it("is bounded per second, and counts what it leaves out", () => {
  const { lines, pass } = traced("");
  for (let count = 0; count < TRACE_LINES_PER_SECOND_MAX + 5; count++) pass(UDP, TO_SERVER, 10);
  expect(lines).toHaveLength(TRACE_LINES_PER_SECOND_MAX);
  pass(UDP, TO_SERVER, 1010);
  expect(lines.at(-1)!.lostCount).toBe(5);
});

it("ends when the last one stops", () => {
  const { trace } = traced("");
  expect(trace.isEmpty).toBe(false);
  trace.stop(1);
  expect(trace.isEmpty).toBe(true);
});
