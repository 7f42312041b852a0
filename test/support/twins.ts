/**
 * Two directors with one history: one alone, one with the eBPF fast path in front of it. Every packet goes to the kernel's
 * program first (BPF_PROG_TEST_RUN); what it rewrites must be what the lone director makes of the same packet, and what it
 * leaves must be untouched and fare the same at both directors. No interface, no namespace; needs CAP_BPF.
 */
import { expect } from "vitest";
import { seededRandom } from "../../src/base/seeded-random.ts";
import { EbpfFlowCache } from "../../src/datapath/ebpf/flow-cache.ts";
import { Connection } from "../../src/datapath/ebpf/maps/layout.ts";
import { REDIRECT } from "../../src/datapath/ebpf/program/context.ts";
import type { FindWay } from "../../src/datapath/ebpf/way.ts";
import type { DirectorConfig, ServiceConfig } from "../../src/nat/configuration.ts";
import { TICK_MS } from "../../src/nat/connection-table.ts";
import { Gso } from "../../src/wire/packet.ts";
import { expectBytes } from "./same-bytes.ts";
import { type Sent, Stage, type StageOptions } from "./stage.ts";

const ETHERNET_BYTES = 14;
const MTU_BYTES = 1500;
const STEP_MS = 1000;

const kernelNowNs = (): number => Number(process.hrtime.bigint());

function options(
  stage: Stage,
  routedAs: number,
  findWay: FindWay = () => ({ device: routedAs || 1, mtuBytes: MTU_BYTES }),
) {
  const warnings: string[] = [];
  return {
    table: stage.director.connections,
    findWay,
    routedAs,
    originNs: kernelNowNs(),
    auditedOneIn: 1,
    onWarning: (text: string) => warnings.push(text),
    warnings,
  };
}

export class Twins {
  /** Alone. */
  readonly lone: Stage;
  /** With the fast path in front of it. */
  readonly fast: Stage;
  readonly cache: EbpfFlowCache;
  readonly warnings: readonly string[];
  readonly #isChoosing: boolean;
  fastCount = 0;
  slowCount = 0;

  constructor(
    services: readonly ServiceConfig[],
    stageOptions: StageOptions = {},
    seed = 42,
    findWay?: FindWay,
    routedAs = 0,
  ) {
    const make = (): Stage => new Stage(services, { ...stageOptions, randomU32: seededRandom(seed) });
    this.lone = make();
    this.fast = make();
    const cacheOptions = options(this.fast, routedAs, findWay);
    this.warnings = cacheOptions.warnings;
    this.cache = new EbpfFlowCache(cacheOptions);
    this.#isChoosing = routedAs !== 0;
    this.#align();
    this.fast.director.cached.cache = this.cache;
  }

  /** One packet; everything that must be the same is. @returns what became of it, and whether in the fast path */
  send(packet: Uint8Array, gsoBytes = 0): Sent & { readonly isFast: boolean } {
    this.#align();
    // As often as the packet loop does.
    if (this.#isChoosing) for (const { director, now } of [this.lone, this.fast]) director.advance(now);
    const frame = new Uint8Array(ETHERNET_BYTES + packet.length);
    new DataView(frame.buffer).setUint16(12, packet[0]! >> 4 === 6 ? 0x86dd : 0x0800);
    frame.set(packet, ETHERNET_BYTES);
    // The kernel runs no program on what is shorter than its header.
    const isRun = packet.length >= (packet[0]! >> 4 === 6 ? 40 : 20);
    const { result, data } = isRun ? this.cache.program.run(frame, 1, gsoBytes) : { result: -1, data: frame };
    const offload = gsoBytes > 0 ? { gso: packet[0]! >> 4 === 6 ? Gso.tcp6 : Gso.tcp4, gsoBytes } : {};
    const wanted = this.lone.send(packet, offload);
    if (result === REDIRECT) {
      this.fastCount++;
      expect(wanted.verdict).toMatch(/^to-(server|client)$/);
      expectBytes(data.subarray(ETHERNET_BYTES, ETHERNET_BYTES + wanted.bytes.length), wanted.bytes);
      return { ...wanted, isFast: true };
    }
    this.slowCount++;
    expect(result).toBe(-1);
    expectBytes(data, frame);
    const found = this.fast.send(packet, offload);
    expect(found.verdict).toBe(wanted.verdict);
    expect(found.out.length).toBe(wanted.out.length);
    found.out.forEach((one, index) => {
      expectBytes(one, wanted.out[index]!);
    });
    return { ...found, isFast: false };
  }

  /** Let time pass, with the directors' timers running every second at least. */
  run(ms: number): void {
    for (let left = ms; left > 0; left -= STEP_MS) {
      this.wait(Math.min(left, STEP_MS));
      for (const { director, now } of [this.lone, this.fast]) director.advance(now);
    }
  }

  /** Let time pass, for the kernel's lines as well. */
  wait(ms: number): void {
    const { memory } = this.cache.maps.connections;
    const [times, words] = [new BigUint64Array(memory), new Int32Array(memory)];
    const { highWater } = this.fast.director.connections;
    for (let record = 0; record < highWater; record++) {
      const at = (record * Connection.bytes) / 4;
      const isKnown = words[at] === words[at + Connection.at.enteredSeen / 4];
      times[at / 2]! -= BigInt(ms * 1e6);
      // What is news stays news, although the real clock may show the same as before.
      words[at + Connection.at.enteredSeen / 4] = isKnown ? words[at]! : ~words[at]!;
    }
    this.lone.wait(ms);
    this.fast.wait(ms);
    this.#align();
  }

  apply(services: readonly ServiceConfig[], rest: Partial<Omit<DirectorConfig, "services">> = {}): void {
    for (const stage of [this.lone, this.fast]) stage.apply(services, rest);
  }

  /** Connections, counters and everything else an operator sees are the same on both sides. */
  expectSame(): void {
    this.#align();
    expect(this.fast.control.status()).toEqual(this.lone.control.status());
    const [found, wanted] = [listing(this.fast), listing(this.lone)];
    expect(found.map(({ text }) => text)).toEqual(wanted.map(({ text }) => text));
    found.forEach(({ expiresSeconds }, index) => {
      expect(
        Math.abs(expiresSeconds - wanted[index]!.expiresSeconds),
        `${found[index]!.text} ${expiresSeconds} ${wanted[index]!.expiresSeconds}`,
      ).toBeLessThanOrEqual(1);
    });
    const { connections, excepted } = this.cache.status;
    expect(this.cache.maps.flows.count()).toBe(2 * (connections + excepted));
    expect(this.cache.status.mismatches, this.warnings.join("\n")).toBe(0);
  }

  close(): void {
    this.fast.director.cached.cache = undefined;
    this.cache.close();
  }

  /** The stage's clock stands still between steps; the kernel's does not. */
  #align(): void {
    this.cache.originNs = kernelNowNs() - this.fast.now * 1e6 - TICK_MS * 1e5;
  }
}

/** Not by record: those are given away again in the order in which others ended, and the kernel's clock is coarser. */
const listing = (stage: Stage): { readonly text: string; readonly expiresSeconds: number }[] =>
  stage
    .connections()
    .map(({ expiresSeconds, ...one }) => ({ text: JSON.stringify(one), expiresSeconds }))
    .sort((a, b) => (a.text < b.text ? -1 : 1));
