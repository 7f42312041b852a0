/**
 * Which processors do the work of the device, when the operator wants that settled: the thread that moves packets stays on
 * one, the routing and receiving behind its writes is handed to the others (receive packet steering,
 * Documentation/networking/scaling.rst), so that both go on at the same time. On two processors, in one run against neither:
 * bulk TCP 0.66 of plain forwarding instead of 0.60, but small datagrams 0.59 of nftables instead of 0.99 and requests
 * 0.47 of plain forwarding instead of 0.55; hence off by default. Steering to both of two processors was worse still.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { addressOf, schedSetaffinity } from "../system-call.ts";

/** Processors beyond are not used: one 32-bit word of a mask. */
const PROCESSORS_MAX = 32;

export interface ProcessorPlan {
  /** Where the packet loop stays; undefined: wherever the scheduler puts it. */
  readonly loop: number | undefined;
  /** Who routes and receives what it wrote; none: whoever wrote. */
  readonly receiving: readonly number[];
}

/** Processors this process may use, by the kernel's numbers; 0 alone where that cannot be read. */
export function allowedProcessors(status: string = readFileSync("/proc/self/status", "latin1")): number[] {
  const list = /^Cpus_allowed_list:\s*([\d,-]+)$/m.exec(status)?.[1] ?? "0";
  return list.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

/** @param wanted - a processor's number; "auto": the first allowed one; "off": leave everything to the kernel. */
export function planProcessors(wanted: "auto" | "off" | number, allowed: readonly number[]): ProcessorPlan {
  const usable = allowed.filter((processor) => processor < PROCESSORS_MAX);
  if (wanted === "off" || usable.length < 2) return { loop: undefined, receiving: [] };
  const loop = wanted === "auto" ? usable[0] : wanted;
  return { loop, receiving: usable.filter((processor) => processor !== loop) };
}

/** Keep the calling thread on one processor. @returns false when the kernel does not allow it. */
export function stayOn(processor: number): boolean {
  const mask = new Uint8Array(128);
  mask[processor >> 3] = 1 << (processor & 7);
  return schedSetaffinity(mask.length, addressOf(mask)) >= 0;
}

/** Hand the receiving of what is written to a device to these processors. Speed only: where sysfs is read-only, nothing. */
export function handOverReceiving(device: string, processors: readonly number[]): void {
  if (processors.length === 0) return;
  const mask = processors.reduce((total, processor) => total + 2 ** processor, 0);
  try {
    writeFileSync(`/sys/class/net/${device}/queues/rx-0/rps_cpus`, mask.toString(16));
  } catch {
    // A container's sysfs; packets are received where they were written.
  }
}
