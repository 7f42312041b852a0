/** What this kernel's eBPF can do, asked once a process. */
import { readFileSync } from "node:fs";
import { EINVAL, SystemCallError } from "../../system-call.ts";
import { assemble } from "../asm/assembler.ts";
import { call, exit, mov } from "../asm/instruction.ts";
import { BpfProgram, TcxLink } from "./bpf.ts";

export interface Features {
  /** bpf_l4_csum_replace knows IPv6 (Linux 6.16, and corrected older ones): checksums of whole packets stay right. */
  readonly hasIpv6Checksums: boolean;
  /** Processors the machine may have. */
  readonly processorCount: number;
}

const CHANGE_TRANSPORT_CHECKSUM = 11;
const PASS = -1;
/** Index of the interface that every network namespace has. */
const LOOPBACK = 1;
/** BPF_F_PSEUDO_HDR and BPF_F_IPV6. */
const IPV6_FLAGS = 0x90;

let features: Features | undefined;

/** @throws SystemCallError where eBPF is not there or not allowed: EPERM, ENOSYS */
export function probeFeatures(): Features {
  if (features === undefined) {
    expectTcx();
    features = { hasIpv6Checksums: hasIpv6Checksums(), processorCount: possibleProcessors() };
  }
  return features;
}

/** Attach a program that does nothing, for a moment. @throws SystemCallError */
function expectTcx(): void {
  const program = BpfProgram.load("vsnat_probe", assemble([mov("r0", PASS), exit], {}), "MIT");
  try {
    TcxLink.attach(program, LOOPBACK).close();
  } catch (error) {
    if (!(error instanceof SystemCallError) || error.code !== "EINVAL") throw error;
    throw new SystemCallError(
      EINVAL,
      "bpf BPF_LINK_CREATE",
      "attach a program to an interface before Linux 6.6",
    );
  } finally {
    program.close();
  }
}

function hasIpv6Checksums(): boolean {
  const program = BpfProgram.load(
    "vsnat_probe",
    assemble(
      [
        mov("r2", 50),
        mov("r3", 0),
        mov("r4", 1),
        mov("r5", IPV6_FLAGS),
        call(CHANGE_TRANSPORT_CHECKSUM),
        exit,
      ],
      {},
    ),
    "MIT",
  );
  try {
    return program.run(new Uint8Array(64)).result === 0;
  } finally {
    program.close();
  }
}

/** Highest number of a processor, and one: "0-3" is four. */
function possibleProcessors(): number {
  const list = readFileSync("/sys/devices/system/cpu/possible", "latin1");
  return Number(/(\d+)\s*$/.exec(list)?.[1] ?? 0) + 1;
}
