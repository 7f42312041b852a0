/** Where a daemon keeps what the next one, and `vsnat cleanup`, must find: journal, table of connections, control socket. */
import { lstatSync, mkdirSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Types of statfs(2): file systems that are memory. */
const TMPFS = 0x01021994;
const RAMFS = 0x858458f6;
const SHARED_MEMORY = "/dev/shm";

/**
 * VSNAT_RUNTIME_DIRECTORY, or the first of /run/vsnat, $XDG_RUNTIME_DIR/vsnat and a folder of the user's own under the
 * temporary folder that can be made and belongs to this user: others must not be able to tell us what to undo.
 */
export function runtimeDirectory(): string {
  const { VSNAT_RUNTIME_DIRECTORY, XDG_RUNTIME_DIR } = process.env;
  const candidates = VSNAT_RUNTIME_DIRECTORY
    ? [VSNAT_RUNTIME_DIRECTORY]
    : [
        "/run/vsnat",
        ...(XDG_RUNTIME_DIR ? [join(XDG_RUNTIME_DIR, "vsnat")] : []),
        join(tmpdir(), `vsnat-${user()}`),
      ];
  const found = candidates.find(isOwn);
  if (found !== undefined) return found;
  throw new Error(
    `Cannot keep a journal of host changes: none of ${candidates.join(", ")} can be made by and belongs to this user alone`,
  );
}

/**
 * Where the table of connections lies: in the same place where that is memory, as /run nearly always is, else among the
 * system's shared memory. On a disk the kernel would write the table out, and the packets would wait for it.
 */
export function tableDirectory(): string {
  const first = runtimeDirectory();
  if (process.env.VSNAT_RUNTIME_DIRECTORY || isMemory(first) || !isMemory(SHARED_MEMORY)) return first;
  const second = join(SHARED_MEMORY, `vsnat-${user()}`);
  return isOwn(second) ? second : first;
}

const user = (): number => process.geteuid?.() ?? 0;

/** Is it, or can it be made, a folder that nobody else may write to? */
function isOwn(path: string): boolean {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch {
    return false;
  }
  const found = lstatSync(path);
  return found.isDirectory() && found.uid === user() && (found.mode & 0o022) === 0;
}

function isMemory(path: string): boolean {
  try {
    return [TMPFS, RAMFS].includes(statfsSync(path).type);
  } catch {
    return false; // no such folder
  }
}
