/** Whether there would be a fast path here, for `vsnat doctor`. Attaches a program to loopback for a moment. */
import { ConnectionTable } from "../../nat/connection-table.ts";
import { SystemCallError } from "../system-call.ts";
import { EbpfFlowCache } from "./flow-cache.ts";
import { ProgramRefusedError } from "./kernel/bpf.ts";

/** @returns undefined when there would be; otherwise why not, in a clause */
export function whyNoFastPath(): string | undefined {
  try {
    const table = new ConnectionTable(1, [1, 2], 0);
    new EbpfFlowCache({ table, findWay: () => undefined, originNs: 0, onWarning: () => {} }).close();
    return undefined;
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    return reasonOf(error);
  }
}

/** Why there is no fast path, in a word, for programs that watch; `failed` is anything else. */
export const OBSTACLES = [
  "no-privilege",
  "kernel-too-old",
  "program-refused",
  "no-memory",
  "failed",
] as const;
export type Obstacle = (typeof OBSTACLES)[number];

export function obstacleOf(error: SystemCallError): Obstacle {
  const isProgram = error instanceof ProgramRefusedError;
  switch (error.code) {
    case "EPERM":
      return "no-privilege";
    case "ENOMEM":
      return "no-memory";
    case "ENOSYS":
      return "kernel-too-old";
    case "EINVAL": // of an attachment or a map: a kind that this kernel does not know
      return isProgram ? "program-refused" : "kernel-too-old";
    default:
      return isProgram ? "program-refused" : "failed";
  }
}

/** The same in a clause, for people. */
export function reasonOf(error: SystemCallError): string {
  return error.code === "EPERM"
    ? "it needs CAP_BPF and CAP_NET_ADMIN on the machine, which no user namespace has"
    : error.message;
}
