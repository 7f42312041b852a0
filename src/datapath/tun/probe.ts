/**
 * What this kernel and these privileges allow, for `vsnat doctor`. Makes a TUN device for a moment, changes nothing else.
 */
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { close, errnoName, O_CLOEXEC, O_RDWR, open, SystemCallError } from "../system-call.ts";
import { openTunDevice, TUN_PATH, type TunOffload } from "./device.ts";
import { readSysctl } from "./host/host-facts.ts";
import { Rtnetlink } from "./netlink/rtnetlink.ts";

const CAP_NET_ADMIN = 12n;
const CAP_NET_RAW = 13n;

export interface HostProbe {
  readonly kernelVersion: string;
  /** "yes", or the errno name of opening /dev/net/tun: ENOENT, EACCES, EPERM (container), ENODEV (no driver). */
  readonly canOpenTun: string;
  /** "yes", or the errno name of making a device: EPERM without CAP_NET_ADMIN. */
  readonly canCreateTun: string;
  /** What the kernel hands over unsplit; undefined when no device could be made. */
  readonly offload: TunOffload | undefined;
  /** Needed for everything: the device, routes, rules. */
  readonly hasNetAdmin: boolean;
  /** Needed to announce virtual addresses to neighbours at take-over. */
  readonly hasNetRaw: boolean;
  /** Root here is not root of the machine: no eBPF, the rest works in network namespaces of one's own. */
  readonly isInUserNamespace: boolean;
  /** Forwarding is on, or can be switched on. */
  readonly canForwardIpv4: boolean;
  readonly canForwardIpv6: boolean;
  readonly hasIpv6: boolean;
  /** The kernel has policy routing. */
  readonly hasPolicyRules: boolean;
}

export function probeHost(): HostProbe {
  const capabilities = effectiveCapabilities();
  return {
    kernelVersion: release(),
    canOpenTun: tryToOpenTun(),
    ...tryToCreateTun(),
    hasNetAdmin: ((capabilities >> CAP_NET_ADMIN) & 1n) === 1n,
    hasNetRaw: ((capabilities >> CAP_NET_RAW) & 1n) === 1n,
    isInUserNamespace: !/^\s*0\s+0\s+4294967295\s*$/.test(readFileSync("/proc/self/uid_map", "utf8")),
    canForwardIpv4: isSetOrWritable("net/ipv4/ip_forward"),
    canForwardIpv6: isSetOrWritable("net/ipv6/conf/all/forwarding"),
    hasIpv6: existsSync("/proc/sys/net/ipv6"),
    hasPolicyRules: hasPolicyRules(),
  };
}

function effectiveCapabilities(): bigint {
  const status = readFileSync("/proc/thread-self/status", "utf8");
  return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
}

function tryToOpenTun(): string {
  const descriptor = open(TUN_PATH, O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return errnoName(-descriptor);
  close(descriptor);
  return "yes";
}

function tryToCreateTun(): Pick<HostProbe, "canCreateTun" | "offload"> {
  try {
    const device = openTunDevice(`probe${process.pid}`);
    device.close();
    return { canCreateTun: "yes", offload: device.offload };
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    return { canCreateTun: error.code, offload: undefined };
  }
}

function isSetOrWritable(path: string): boolean {
  if (readSysctl(path) === "1") return true;
  try {
    accessSync(`/proc/sys/${path}`, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function hasPolicyRules(): boolean {
  const rtnetlink = new Rtnetlink();
  try {
    return rtnetlink.rules(4).length > 0;
  } finally {
    rtnetlink.close();
  }
}
