/**
 * Tells when links, addresses or routes of this network namespace change, from the event loop of the thread that made
 * it. What changed is not told: whoever cares reads the state anew, which is right also when events were lost.
 */
import {
  AF_NETLINK,
  addressOf,
  bind,
  close,
  expectSuccess,
  recv,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_RAW,
  socket,
  watchReadable,
} from "../../system-call.ts";

const NETLINK_ROUTE = 0;
/** RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE */
const GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
const SOCKADDR_NL_BYTES = 12;
const GROUPS_AT = 8;
const RECEIVE_BYTES = 32_768;
/** Several events belong to one change: a link that comes up brings addresses and routes. */
const SETTLE_MS = 100;

/** @param onChange - called once for changes that follow each other closely. @returns how to stop. */
export function watchRouting(onChange: () => void): () => void {
  const purpose = "watch links, addresses and routes";
  const descriptor = expectSuccess(
    socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE),
    "socket AF_NETLINK",
    purpose,
  );
  const address = new Uint8Array(128);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_NETLINK, true);
  view.setUint32(GROUPS_AT, GROUPS, true);
  expectSuccess(bind(descriptor, addressOf(address), SOCKADDR_NL_BYTES), "bind AF_NETLINK", purpose);

  const buffer = new Uint8Array(RECEIVE_BYTES);
  const at = addressOf(buffer);
  let timer: NodeJS.Timeout | undefined;
  const unwatch = watchReadable(descriptor, () => {
    // ENOBUFS says that events were lost, which is a change too; the next receive then works again.
    while (recv(descriptor, at, buffer.length, 0) > 0);
    timer ??= setTimeout(() => {
      timer = undefined;
      onChange();
    }, SETTLE_MS);
  });
  return () => {
    clearTimeout(timer);
    unwatch();
    close(descriptor);
  };
}
