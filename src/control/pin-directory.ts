/**
 * Where the fast path outlives the daemon: in a bpf file system that is there. None is mounted for it, because a mount would be
 * left on the host; without one flows wait for the next start as all others do.
 */
import { mkdirSync, rmdirSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { Pins } from "../datapath/ebpf/kernel/pins.ts";
import { namespaceInode } from "../datapath/tun/host/place.ts";
import { runtimeDirectory } from "../datapath/tun/host/runtime-directory.ts";

const BPF_FS_MAGIC = 0xcafe4a11;

/** @returns undefined when there is no such file system, or nothing may be made in it */
export function pinDirectory(device: string): string | undefined {
  const base = [join(runtimeDirectory(), "bpf"), "/sys/fs/bpf"].find(isBpfFileSystem);
  if (base === undefined) return undefined;
  const directory = join(base, `vsnat-${namespaceInode()}-${device}`);
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    return directory;
  } catch {
    return undefined; // not root
  }
}

/** Take everything off that a daemon left at work. */
export function removePins(device: string): void {
  const directory = pinDirectory(device);
  if (directory === undefined) return;
  Pins.clear(directory);
  try {
    rmdirSync(directory);
  } catch {
    // Somebody put something of his own there.
  }
}

function isBpfFileSystem(path: string): boolean {
  try {
    return statfsSync(path).type === BPF_FS_MAGIC;
  } catch {
    return false; // not there
  }
}
