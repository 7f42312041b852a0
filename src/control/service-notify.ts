/**
 * Telling the service manager how the daemon is: sd_notify(3), a datagram to the unix socket that NOTIFY_SOCKET names,
 * abstract ones ("@...") included. Without NOTIFY_SOCKET nothing is sent; a failure is nobody's loss.
 */
import { addressOf, close, SOCK_CLOEXEC, SOCK_DGRAM, sendto, socket } from "../datapath/system-call.ts";

const AF_UNIX = 1;
/** struct sockaddr_un: family and a path of up to 108 bytes. */
const PATH_AT = 2;
const PATH_BYTES_MAX = 108;
const PAYLOAD_AT = 128;

/** @param lines - assignments such as `READY=1`. @returns whether it was sent. */
export function notifyServiceManager(...lines: readonly string[]): boolean {
  const name = process.env.NOTIFY_SOCKET;
  if (name === undefined || !/^[/@]./.test(name)) return false;
  const path = new TextEncoder().encode(name);
  const payload = new TextEncoder().encode(lines.join("\n"));
  if (path.length >= PATH_BYTES_MAX) return false;
  const bytes = new Uint8Array(PAYLOAD_AT + Math.max(payload.length, 1));
  new DataView(bytes.buffer).setUint16(0, AF_UNIX, true);
  bytes.set(path, PATH_AT);
  if (name.startsWith("@")) bytes[PATH_AT] = 0; // the abstract name space
  bytes.set(payload, PAYLOAD_AT);
  const descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return false;
  const at = addressOf(bytes);
  const sent = sendto(descriptor, at + PAYLOAD_AT, payload.length, 0, at, PATH_AT + path.length);
  close(descriptor);
  return sent === payload.length;
}

/** `MONOTONIC_USEC=`, which has to come with RELOADING=1 (systemd 253, Type=notify-reload). */
export const monotonicUsec = (): string => `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`;
