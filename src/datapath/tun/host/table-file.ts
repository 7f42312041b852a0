/**
 * The file in memory in which a director's connections outlive its process: one for each network namespace and device, like
 * the journal, whose lock is its lock too. The first page says in a line of JSON what it is and where it belongs; the
 * director's memory (nat/director-memory.ts) comes behind.
 *
 * What was left there is refused, with one sentence, when it is of another boot, namespace, device or version, or shorter
 * than it claims; everything else is for the director to judge, record by record.
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { ConnectionTable } from "../../../nat/connection-table.ts";
import { directorBytes, TABLE_AT } from "../../../nat/director-memory.ts";
import type { MemoryPart } from "../../../nat/memory-part.ts";
import { allocateFile, EOPNOTSUPP, mapMemory } from "../../system-call.ts";
import { bootId, namespaceCookie, namespaceInode } from "./place.ts";
import { tableDirectory } from "./runtime-directory.ts";

const PAGE_BYTES = 4096;
const TITLE_BYTES = 512;
const HEADER_BYTES = 64;
/** Bytes asked of the file system at a time. */
const CHUNK_BYTES = 65_536;
const FILE_PATTERN = /^connections-(\d+)-(.+)\.table$/;

/** What the datapath thread needs to use it. */
export interface TablePlace {
  readonly descriptor: number;
  /** Most connections that it has room for. */
  readonly connectionsMax: number;
}

export interface TableFile extends TablePlace {
  readonly path: string;
  /** Something was left in it for the director to take over. */
  readonly isLeft: boolean;
  /** What the operator should know of what was left. */
  readonly remark: string | undefined;
}

/**
 * Open the file of a device whose journal is held, or make it.
 * @param connectionsMax - as configured; more when what was left needs it
 * @throws an Error of the system: no room, no right
 */
export function openTableFile(
  device: string,
  connectionsMax: number,
  directory: string = tableDirectory(),
): TableFile {
  const path = pathOf(directory, device);
  const title = titleOf(device);
  const { descriptor, left } = openLeft(path, title);
  if (typeof left === "string" || left === undefined) {
    ftruncateSync(descriptor, 0);
    ftruncateSync(descriptor, PAGE_BYTES + directorBytes(connectionsMax));
    for (const [at, byteCount] of ConnectionTable.initialParts(connectionsMax)) {
      if (allocate(descriptor, PAGE_BYTES + TABLE_AT + at, byteCount)) continue;
      rmSync(path);
      closeSync(descriptor);
      throw new Error(`Cannot keep the connections in ${path}: no room`);
    }
    const written = Buffer.from(title);
    writeSync(descriptor, written, 0, written.length, 0);
    const remark = left === undefined ? undefined : `Cannot take over the connections in ${path}: ${left}`;
    return { path, descriptor, connectionsMax, isLeft: false, remark };
  }
  const wanted = Math.max(connectionsMax, left.highWater);
  const bytes = PAGE_BYTES + directorBytes(wanted);
  if (fstatSync(descriptor).size < bytes) ftruncateSync(descriptor, bytes);
  const remark =
    wanted === connectionsMax
      ? undefined
      : `limits.connections is ${connectionsMax}, and ${wanted} until the next start, because a connection of the process ` +
        "before has that place";
  return { path, descriptor, connectionsMax: wanted, isLeft: true, remark };
}

/** Nobody will need what it holds. The director may go on using the memory until it ends. */
export const removeTableFile = (device: string, directory: string = tableDirectory()): void =>
  rmSync(pathOf(directory, device), { force: true });

/** Devices of this network namespace that have one. */
export function tableFileDevices(directory: string = tableDirectory()): string[] {
  const inode = String(namespaceInode());
  return readdirSync(directory).flatMap((name) => {
    const match = FILE_PATTERN.exec(name);
    return match?.[1] === inode ? [match[2]!] : [];
  });
}

/** Its memory, in this thread. @throws SystemCallError: ENOMEM where the process may not have so much */
export function mapTableFile({ descriptor, connectionsMax }: TablePlace): MemoryPart {
  const byteLength = directorBytes(connectionsMax);
  const buffer = mapMemory(descriptor, PAGE_BYTES + byteLength, 0, true);
  const isReserved = new Uint8Array(Math.ceil(buffer.byteLength / CHUNK_BYTES));
  const reserve = (at: number, byteCount: number): boolean => {
    const first = Math.floor((PAGE_BYTES + at) / CHUNK_BYTES);
    const end = Math.ceil((PAGE_BYTES + at + byteCount) / CHUNK_BYTES);
    for (let chunk = first; chunk < end; chunk++) {
      if (isReserved[chunk] === 1) continue;
      const from = chunk * CHUNK_BYTES;
      if (!allocate(descriptor, from, Math.min(CHUNK_BYTES, buffer.byteLength - from))) return false;
      isReserved[chunk] = 1;
    }
    return true;
  };
  return { buffer, at: PAGE_BYTES, byteLength, reserve };
}

/** A file system that cannot say so has room, or has not: there is nothing to ask. */
function allocate(descriptor: number, at: number, byteCount: number): boolean {
  const result = allocateFile(descriptor, at, byteCount);
  return result >= 0 || result === -EOPNOTSUPP;
}

const pathOf = (directory: string, device: string): string =>
  join(directory, `connections-${namespaceInode()}-${device}.table`);

const titleOf = (device: string): string =>
  `${JSON.stringify({ vsnat: "connections", boot: bootId(), namespace: namespaceCookie(), device })}\n`;

type Left = NonNullable<ReturnType<typeof ConnectionTable.left>>;

/** Open it, anew if it cannot be ours. @returns `left`: what is there; undefined: nothing; a text: why not that */
function openLeft(path: string, title: string): { descriptor: number; left: Left | string | undefined } {
  try {
    const descriptor = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const left = judge(descriptor, title);
    if (left !== NOT_OURS) return { descriptor, left };
    closeSync(descriptor);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT")
      return { descriptor: make(path), left: undefined };
  }
  rmSync(path, { force: true, recursive: true });
  return { descriptor: make(path), left: NOT_OURS };
}

const make = (path: string): number =>
  openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);

const NOT_OURS = "it is no file of this user's alone";

function judge(descriptor: number, title: string): Left | string | undefined {
  const { uid, mode, size } = fstatSync(descriptor);
  const isFile = (mode & constants.S_IFMT) === constants.S_IFREG;
  if (!isFile || uid !== process.geteuid?.() || (mode & 0o077) !== 0) return NOT_OURS;
  const start = Buffer.alloc(TITLE_BYTES);
  readSync(descriptor, start, 0, TITLE_BYTES, 0);
  const found = start.toString("latin1");
  if (!found.startsWith(title)) return otherTitle(found);
  const header = new Uint8Array(HEADER_BYTES);
  readSync(descriptor, header, 0, HEADER_BYTES, PAGE_BYTES + TABLE_AT);
  // Made, and never used: nobody had the time.
  if (header.every((byte) => byte === 0)) return undefined;
  const part = { buffer: header.buffer, at: 0, byteLength: HEADER_BYTES, reserve: () => true };
  const left = ConnectionTable.left(part);
  if (left === undefined) return "another version of vsnat wrote it, or it is damaged";
  const wanted = PAGE_BYTES + directorBytes(left.capacity);
  return size < wanted ? `it has ${size} bytes, wanted at least ${wanted}` : left;
}

function otherTitle(found: string): string {
  try {
    const { vsnat, boot, namespace } = JSON.parse(found.slice(0, found.indexOf("\n"))) as Record<
      string,
      unknown
    >;
    if (vsnat !== "connections") return "it is no table of connections";
    if (boot !== bootId()) return "it is from before the machine was started";
    return namespace === namespaceCookie() ? "it is another device's" : "it is another network namespace's";
  } catch {
    return "it is no table of connections";
  }
}
