/** A network namespace of this thread's own, in which everything is routed to one interface that leads nowhere. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import koffi from "koffi";

const CLONE_NEWNET = 0x40000000;

/** @returns number of the interface; everything that is asked about routes from here on hears of it alone */
export function enterOwnNetwork(): number {
  const unshare = koffi.load("libc.so.6").func("int unshare(int)");
  if (unshare(CLONE_NEWNET) !== 0) throw new Error(`unshare: errno ${koffi.errno()}`);
  const ip = (...args: string[]): string => execFileSync("ip", args, { encoding: "utf8" });
  ip("link", "set", "lo", "up");
  ip("link", "add", "way0", "type", "veth", "peer", "name", "far0");
  ip("link", "set", "far0", "up");
  ip("link", "set", "way0", "up");
  for (const path of ["ipv4/ip_forward", "ipv6/conf/all/forwarding"])
    writeFileSync(`/proc/sys/net/${path}`, "1");
  ip("-4", "address", "add", "192.0.2.254/24", "dev", "way0");
  ip("-4", "route", "add", "default", "dev", "way0");
  ip("-6", "route", "add", "default", "dev", "way0");
  const [link] = JSON.parse(ip("-json", "link", "show", "dev", "way0")) as [{ ifindex: number }];
  return link.ifindex;
}
