/**
 * What was changed on this host, written down before it is changed, so that a process that was killed can be cleaned up
 * after: exactly what it made, and nothing else.
 *
 * One file per network namespace and device, one JSON line per event; the file is locked as long as its owner lives
 * (flock(2), which the kernel ends with the process, also when the owner is in another PID namespace). A last line cut
 * short by a crash was about a change not yet made.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { EAGAIN, expectSuccess, flockExclusively } from "../../system-call.ts";
import { changeKey, type HostChange } from "./host-change.ts";
import { bootId, namespaceCookie, namespaceInode } from "./place.ts";
import { runtimeDirectory } from "./runtime-directory.ts";

type JournalLine =
  /** `namespace` and `boot` say which kernel object the rest is about: inode numbers are used again. */
  | {
      readonly event: "open";
      readonly version: 1;
      readonly device: string;
      readonly namespace: string;
      readonly boot: string;
    }
  | { readonly event: "make"; readonly change: HostChange }
  | { readonly event: "undone"; readonly key: string };

const FILE_PATTERN = /^host-(\d+)-(.+)\.jsonl$/;

/** Another process is at work on the same device. */
export class JournalBusyError extends Error {
  constructor(device: string, path: string) {
    super(
      `Cannot set up ${device}: another vsnat is running with it in this network namespace (it holds ${path})`,
    );
    this.name = "JournalBusyError";
  }
}

export class Journal {
  readonly path: string;
  readonly #file: number;
  readonly #made = new Map<string, HostChange>();

  /**
   * Open the journal of `device` in this network namespace and lock it. What a dead owner left is in `made`.
   * @throws JournalBusyError when the owner lives.
   */
  constructor(device: string, directory: string = runtimeDirectory()) {
    this.path = join(directory, `host-${namespaceInode()}-${device}.jsonl`);
    this.#file = openLocked(this.path, device);
    const namespace = namespaceCookie();
    const boot = bootId();
    const text = readFileSync(this.path, "utf8");
    const complete = text.slice(0, text.lastIndexOf("\n") + 1);
    const lines = parseLines(complete);
    const [first] = lines;
    if (first?.event === "open" && first.namespace === namespace && first.boot === boot) {
      ftruncateSync(this.#file, Buffer.byteLength(complete));
      this.#replay(lines);
    } else {
      ftruncateSync(this.#file);
      this.#append({ event: "open", version: 1, device, namespace, boot });
    }
  }

  /** What was made and not undone, in the order in which it was made. */
  get made(): readonly HostChange[] {
    return [...this.#made.values()];
  }

  /** To be called right before the change is made. */
  willMake(change: HostChange): void {
    this.#append({ event: "make", change });
    this.#made.set(changeKey(change), change);
  }

  /** To be called right after the change was undone, or turned out not to be ours to make. */
  wasUndone(change: HostChange): void {
    const key = changeKey(change);
    this.#append({ event: "undone", key });
    this.#made.delete(key);
  }

  /** Give the journal up; the file goes too when there is nothing left to undo. */
  close(): void {
    if (this.#made.size === 0) unlinkSync(this.path);
    closeSync(this.#file);
  }

  #append(line: JournalLine): void {
    writeSync(this.#file, `${JSON.stringify(line)}\n`);
  }

  #replay(lines: readonly JournalLine[]): void {
    for (const line of lines) {
      if (line.event === "make") this.#made.set(changeKey(line.change), line.change);
      else if (line.event === "undone") this.#made.delete(line.key);
    }
  }
}

/** Devices of this network namespace for which there is a journal, of a living owner or a dead one. */
export function journaledDevices(directory: string = runtimeDirectory()): string[] {
  const inode = namespaceInode();
  return readdirSync(directory).flatMap((name) => {
    const match = FILE_PATTERN.exec(name);
    return match?.[1] === String(inode) ? [match[2]!] : [];
  });
}

/** Open and lock, again if the file was removed between the two. */
function openLocked(path: string, device: string): number {
  for (;;) {
    const file = openSync(path, "a+", 0o600);
    const result = flockExclusively(file);
    if (result < 0) {
      closeSync(file);
      if (result === -EAGAIN) throw new JournalBusyError(device, path);
      expectSuccess(result, "flock", `lock ${path}`);
    }
    try {
      if (statSync(path).ino === fstatSync(file).ino) return file;
    } catch {
      // Removed by the owner before; ours is a file without a name.
    }
    closeSync(file);
  }
}

/** What comes behind a line that is none was not written by us. */
function parseLines(text: string): JournalLine[] {
  const lines: JournalLine[] = [];
  for (const line of text.split("\n").slice(0, -1)) {
    try {
      lines.push(JSON.parse(line) as JournalLine);
    } catch {
      break;
    }
  }
  return lines;
}
