/**
 * The live trace inside the packet loop: packets before and after, as text, for whoever asked. Bounded per second and
 * trace, so that looking at a flood does not become a flood itself; what is left out is counted.
 */
import { type Milliseconds, milliseconds } from "../base/environment.ts";
import type { PacketTap } from "../datapath/tun/loop.ts";
import type { Verdict } from "../nat/verdict.ts";
import { Flow } from "../wire/flow.ts";
import { Packet } from "../wire/packet.ts";
import { formatPacket } from "../wire/text.ts";
import type { TraceLine } from "./datapath-protocol.ts";
import { matchesFlow, type TraceFilter } from "./trace-filter.ts";

export const TRACE_LINES_PER_SECOND_MAX = 1000;

interface Trace {
  readonly filter: TraceFilter;
  windowStart: Milliseconds;
  lineCount: number;
  lostCount: number;
}

export class PacketTrace implements PacketTap {
  readonly #traces = new Map<number, Trace>();
  readonly #emit: (id: number, line: TraceLine) => void;
  readonly #wallClockMs: () => number;
  /** The packet as it came. */
  readonly #original = new Packet();
  readonly #originalFlow = new Flow();
  readonly #flow = new Flow();
  #rewrites: { readonly before: string; readonly after: string }[] = [];

  constructor(emit: (id: number, line: TraceLine) => void, wallClockMs: () => number) {
    this.#emit = emit;
    this.#wallClockMs = wallClockMs;
  }

  get isEmpty(): boolean {
    return this.#traces.size === 0;
  }

  start(id: number, filter: TraceFilter): void {
    this.#traces.set(id, { filter, windowStart: milliseconds(-Infinity), lineCount: 0, lostCount: 0 });
  }

  stop(id: number): void {
    this.#traces.delete(id);
  }

  /** An application module changed something in the packet that is being judged. */
  rewrote(before: string, after: string): void {
    this.#rewrites.push({ before, after });
  }

  before(packet: Packet, _now: Milliseconds): void {
    this.#rewrites = [];
    this.#original.load(packet.toBytes());
  }

  after(packet: Packet, verdict: Verdict, now: Milliseconds): void {
    const isOriginal = this.#originalFlow.dissect(this.#original) === "ok";
    const isSent = verdict.kind !== "drop" && verdict.kind !== "held";
    const isResult = isSent && this.#flow.dissect(packet) === "ok";
    for (const [id, trace] of this.#traces) {
      const { filter } = trace;
      if (filter.isDropOnly && verdict.kind !== "drop") continue;
      const isMatch =
        (isOriginal && matchesFlow(filter, this.#originalFlow)) ||
        (isResult && matchesFlow(filter, this.#flow));
      // What cannot be read can only be shown to those who asked for everything.
      const isUnreadable =
        !isOriginal && filter.hosts.length + filter.ports.length + filter.protocols.length === 0;
      if (isMatch || isUnreadable) this.#show(id, trace, packet, verdict, isSent, now);
    }
  }

  #show(
    id: number,
    trace: Trace,
    packet: Packet,
    verdict: Verdict,
    isSent: boolean,
    now: Milliseconds,
  ): void {
    if (now - trace.windowStart >= 1000) {
      trace.windowStart = now;
      trace.lineCount = 0;
    }
    if (++trace.lineCount > TRACE_LINES_PER_SECOND_MAX) {
      trace.lostCount++;
      return;
    }
    this.#emit(id, {
      timeMs: this.#wallClockMs(),
      verdict: verdict.kind === "drop" ? `drop ${verdict.reason}` : verdict.kind,
      before: formatPacket(this.#original.toBytes()),
      ...(isSent ? { after: formatPacket(packet.toBytes()) } : {}),
      ...(this.#rewrites.length > 0 && { rewrites: this.#rewrites }),
      lostCount: trace.lostCount,
    });
    trace.lostCount = 0;
  }
}
