/**
 * Room for a million connections in the kernel's connection tracking. Its size is the machine's, not a namespace's, so whatever
 * ends this process, a shell that waits for the end of a pipe puts back what was there.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

const DIRECTORY = "/proc/sys/net/netfilter";
export const CONNECTIONS_MAX = 1 << 21;
const BUCKETS = 1 << 20;
/** $1: connections, $2: buckets. */
const GUARDIAN = `
cat >/dev/null
echo "$1" >${DIRECTORY}/nf_conntrack_max
echo "$2" >${DIRECTORY}/nf_conntrack_buckets
`;

/** Nothing where the kernel has no connection tracking yet. @returns what puts it back */
export function makeConntrackRoom(): () => Promise<void> {
  const [max, buckets] = [`${DIRECTORY}/nf_conntrack_max`, `${DIRECTORY}/nf_conntrack_buckets`];
  if (!existsSync(max)) return async () => {};
  const before = [max, buckets].map((path) => readFileSync(path, "utf8").trim());
  const guardian = spawn("sh", ["-c", GUARDIAN, "sh", ...before], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  guardian.unref();
  (guardian.stdin as unknown as { unref(): void }).unref();
  writeFileSync(buckets, `${BUCKETS}`);
  writeFileSync(max, `${CONNECTIONS_MAX}`);
  return async () => {
    const gone = once(guardian, "exit");
    guardian.ref();
    guardian.stdin.end();
    await gone;
  };
}
