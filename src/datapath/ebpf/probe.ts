/** Whether there would be a fast path here, for `vsnat doctor`. Attaches a program to loopback for a moment. */
import { ConnectionTable } from "../../nat/connection-table.ts";
import { SystemCallError } from "../tun/system-call.ts";
import { EbpfFlowCache } from "./flow-cache.ts";

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

/** What the kernel's refusal means to an operator. */
export function reasonOf(error: SystemCallError): string {
  return error.code === "EPERM"
    ? "it needs CAP_BPF and CAP_NET_ADMIN on the machine, which no user namespace has"
    : error.message;
}
