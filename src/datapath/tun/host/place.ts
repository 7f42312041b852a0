/** Which kernel, and which network namespace of it, this is: so that a file is known to be about something that still is. */
import { readFileSync, statSync } from "node:fs";
import {
  AF_INET,
  addressOf,
  close,
  expectSuccess,
  getsockopt,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  socket,
} from "../../system-call.ts";

const SOL_SOCKET = 1;
const SO_NETNS_COOKIE = 71;

/** Unique among the namespaces that there are; used again afterwards. */
export const namespaceInode = (): number => statSync("/proc/thread-self/ns/net").ino;
export const bootId = (): string => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();

/** Unique among all network namespaces since boot (Linux 5.14); "" on older kernels. */
export function namespaceCookie(): string {
  const descriptor = expectSuccess(
    socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
    "socket",
    "identify the network namespace",
  );
  const buffer = new Uint8Array(128);
  const at = addressOf(buffer);
  const view = new DataView(buffer.buffer);
  view.setUint32(64, 8, true);
  const result = getsockopt(descriptor, SOL_SOCKET, SO_NETNS_COOKIE, at, at + 64);
  close(descriptor);
  return result < 0 ? "" : view.getBigUint64(0, true).toString();
}
