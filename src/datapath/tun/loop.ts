/**
 * The packet loop: device to director to device, until told to stop or the device is gone. It blocks its thread in
 * poll(2) and never needs the event loop, so packets do not wait for anything else in the process, nor anything for
 * packets: after at most `batchMax` of them it looks at the bell and at the clock.
 *
 * Nothing a packet does ends the loop. A mistake of ours thrown by the director costs that packet, is counted, and is
 * reported at most once in REPORT_INTERVAL_MS.
 *
 * Tried and refused: looking for up to 30 us before sleeping. On two busy cores the shortest round trip fell from 27 to
 * 23 us; means and bulk transfers went either way within noise (six interleaved runs), and the processor never rested.
 */
import { type Milliseconds, milliseconds } from "../../base/environment.ts";
import { unreachable } from "../../base/unreachable.ts";
import type { Verdict } from "../../nat/verdict.ts";
import { Packet } from "../../wire/packet.ts";
import { addressOf, EINTR, expectSuccess, POLLIN, poll } from "../system-call.ts";
import type { TunDatapath } from "./tun-datapath.ts";
import type { Wake } from "./wake.ts";

const BATCH_MAX = 256;
const TICK_MS = 100;
/** While there is more to do than one call of `advance` does. */
const BUSY_TICK_MS = 1;
const REPORT_INTERVAL_MS = 10_000;

/** What the loop drives: the director, or something as simple as one. */
export interface PacketProcessor {
  /** Judge one packet and edit it in place. */
  receive(packet: Packet, now: Milliseconds): Verdict;
  /** Do what is due. Called at least every tick, and often; bounded work each time. */
  advance(now: Milliseconds): void;
  /** One call of `advance` did not do all there is to do: it is called again soon. */
  readonly isBusy?: boolean;
}

/** Watches packets; set only while somebody looks, because it slows every packet. */
export interface PacketTap {
  /** As received. */
  before(packet: Packet, now: Milliseconds): void;
  /** As judged; the packet is what is about to be sent when the verdict says so. */
  after(packet: Packet, verdict: Verdict, now: Milliseconds): void;
}

export interface PacketLoopOptions {
  readonly datapath: TunDatapath;
  readonly wake: Wake;
  readonly processor: PacketProcessor;
  /** Called after the bell rang, between packets. */
  readonly control: (now: Milliseconds) => void;
  /** A thrown error, rate-limited; `suppressed` others were not reported since the last one. */
  readonly onError: (error: unknown, suppressed: number) => void;
  /** Monotonic. Default: performance.now(), which every thread counts from its own origin. */
  readonly clock?: () => Milliseconds;
  /** Packets between two looks at bell and clock. Default 256: about a millisecond. */
  readonly batchMax?: number;
  /** Longest time between two calls of `advance`. Default 100. */
  readonly tickMs?: number;
  /** Begin with moving no packets, until `resume`: they wait in the device. */
  readonly isPaused?: boolean;
}

/** `stopped` as asked; `gone`: the device was deleted. */
export type LoopEnd = "stopped" | "gone";

export class PacketLoop {
  tap: PacketTap | undefined;
  /** Errors thrown by processor, control or tap. */
  internalErrorCount = 0;
  readonly #options: PacketLoopOptions;
  readonly #clock: () => Milliseconds;
  readonly #batchMax: number;
  readonly #tickMs: number;
  readonly #packet = new Packet();
  #isPaused: boolean;
  #isStopping = false;
  #reportedAtMs = -Infinity;
  #suppressedCount = 0;

  constructor(options: PacketLoopOptions) {
    this.#options = options;
    this.#clock = options.clock ?? (() => milliseconds(performance.now()));
    this.#batchMax = options.batchMax ?? BATCH_MAX;
    this.#tickMs = options.tickMs ?? TICK_MS;
    this.#isPaused = options.isPaused === true;
  }

  /** Move packets from now on. From another thread: ring the bell and call this in `control`. */
  resume(): void {
    this.#isPaused = false;
  }

  /** Make `run` return after the current batch. From another thread: ring the bell and call this in `control`. */
  stop(): void {
    this.#isStopping = true;
  }

  /** Blocks this thread. */
  run(): LoopEnd {
    const { datapath, wake, control, processor } = this.#options;
    const polled = new PollPair(datapath.device.descriptor, wake.descriptor);
    let isMore = true;
    for (;;) {
      if (this.#isPaused) wake.wait();
      if (polled.wait(isMore ? 0 : processor.isBusy === true ? BUSY_TICK_MS : this.#tickMs)) {
        wake.clear();
        try {
          control(this.#clock());
        } catch (error) {
          this.#report(error, this.#clock());
        }
      }
      if (this.#isStopping) return "stopped";
      if (this.#isPaused) continue;
      isMore = this.#moveBatch(this.#clock());
      if (datapath.state === "gone") return "gone";
    }
  }

  /** Advance, then move what is waiting. @returns true when the batch was full, so that more may be waiting. */
  #moveBatch(now: Milliseconds): boolean {
    const { datapath, processor } = this.#options;
    const packet = this.#packet;
    try {
      processor.advance(now);
    } catch (error) {
      this.#report(error, now);
    }
    for (let count = 0; count < this.#batchMax; count++) {
      if (!datapath.receive(packet)) {
        datapath.flush();
        return false;
      }
      try {
        this.tap?.before(packet, now);
        const verdict = processor.receive(packet, now);
        this.tap?.after(packet, verdict, now);
        if (isToBeSent(verdict)) datapath.transmit(packet);
      } catch (error) {
        this.#report(error, now);
      }
    }
    datapath.flush();
    return true;
  }

  #report(error: unknown, now: Milliseconds): void {
    this.internalErrorCount++;
    if (now - this.#reportedAtMs < REPORT_INTERVAL_MS) {
      this.#suppressedCount++;
      return;
    }
    this.#reportedAtMs = now;
    this.#options.onError(error, this.#suppressedCount);
    this.#suppressedCount = 0;
  }
}

function isToBeSent(verdict: Verdict): boolean {
  switch (verdict.kind) {
    case "to-server":
    case "to-client":
    case "pass":
    case "reply":
      return true;
    case "held":
    case "drop":
      return false;
    default:
      return unreachable(verdict);
  }
}

/** The two descriptors the loop waits for: struct pollfd, twice. */
class PollPair {
  readonly #bytes = new Uint8Array(128);
  readonly #returned = new Int16Array(this.#bytes.buffer);
  readonly #at = addressOf(this.#bytes);

  constructor(device: number, bell: number) {
    const descriptors = new Int32Array(this.#bytes.buffer);
    descriptors[0] = device;
    descriptors[2] = bell;
    this.#returned[2] = POLLIN;
    this.#returned[6] = POLLIN;
  }

  /** Until there is a packet, the device fails, the bell rings or the time is up. @returns true if the bell rings. */
  wait(timeoutMs: number): boolean {
    const result = poll(this.#at, 2, timeoutMs);
    if (result === -EINTR) return false;
    expectSuccess(result, "poll", "wait for packets");
    return result > 0 && this.#returned[7] !== 0;
  }
}
