/** Failures of the system around the daemon, in words that say what to do about them. */

import { SystemCallError } from "../datapath/system-call.ts";
import { TUN_PATH } from "../datapath/tun/device.ts";

/** Why the daemon cannot start, or cannot go on; the message says what to do. */
export class DaemonError extends Error {
  override readonly name = "DaemonError";
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export function attempt<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw asDaemonError(error);
  }
}

/** A failure of the system in words that say what to do about it. Everything else stays what it is. */
export function asDaemonError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof DaemonError) return error;
  const isOfTheSystem =
    /^(SystemCallError|HostChangeError|JournalBusyError|AggregateError)$/.test(error.name) ||
    "syscall" in error ||
    (error.name === "Error" && error.message.startsWith("Cannot "));
  if (!isOfTheSystem) return error;
  const advice = adviceOn(error);
  return new DaemonError(advice === undefined ? error.message : `${error.message}\n${advice}`, {
    cause: error,
  });
}

const MORE_RIGHTS = "run it as root, or try it in a namespace of your own: unshare -Urn vsnat run";

function adviceOn(error: Error): string | undefined {
  const code = "code" in error ? error.code : undefined;
  if (error instanceof SystemCallError && error.call === `open ${TUN_PATH}`) {
    if (code === "EACCES")
      return "Its mode keeps this user out (0666 is usual): run as root, or change the mode";
    if (code === "EPERM") return "This container may not use the device: allow it (--device /dev/net/tun)";
    return "Is the TUN driver there? modprobe tun; in a container: --device /dev/net/tun. vsnat doctor says more";
  }
  switch (code) {
    case "EPERM":
    case "EACCES":
      return `This needs CAP_NET_ADMIN: ${MORE_RIGHTS}`;
    case "EROFS":
      return "/proc/sys is read-only here, as in most containers: set the sysctl outside, or give more privileges";
    case "EBUSY":
      return "The name of the device is taken: remove it (ip link del), or set another with host.device";
    default:
      return undefined;
  }
}
