/**
 * Where the fast path outlives its process: a directory of the bpf file system, with a link for each interface, the
 * connections' map and the news. A link keeps its program at work, and the program its maps.
 */
import { mkdirSync, readdirSync, statfsSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { expectSuccess, mount } from "../../system-call.ts";
import { LAYOUT_VERSION } from "../maps/layout.ts";
import { BpfMap, openPinned, TcxLink } from "./bpf.ts";

const BPF_FS_MAGIC = 0xcafe4a11;
const LINK_PREFIX = "link-";
/** What another layout pinned is not read. */
const MAP_PREFIXES = { connections: "connections-", news: "news-" } as const;
type PinnedMap = keyof typeof MAP_PREFIXES;
const nameOf = (map: PinnedMap): string => `${MAP_PREFIXES[map]}${LAYOUT_VERSION}`;

export class Pins {
  readonly #directory: string;

  /** @param directory - made, and the file system mounted on it, where that is missing @throws SystemCallError */
  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    if (isBpfFileSystem(directory)) return;
    expectSuccess(mount("bpf", directory), "mount bpf", `keep the fast path for a restart in ${directory}`);
  }

  /** Links of a process before, wherever they are attached. */
  links(): TcxLink[] {
    return namesIn(this.#directory)
      .filter((name) => name.startsWith(LINK_PREFIX))
      .flatMap((name) => {
        const descriptor = openPinned(join(this.#directory, name));
        return descriptor < 0 ? [] : [new TcxLink(descriptor)];
      });
  }

  /** A map of a process before; undefined: there is none that could be read. */
  map(name: PinnedMap): BpfMap | undefined {
    return BpfMap.openPinned(join(this.#directory, nameOf(name)), name);
  }

  keepLink(link: TcxLink, device: number): void {
    this.#keep(link, `${LINK_PREFIX}${device}`);
  }

  dropLink(device: number): void {
    drop(join(this.#directory, `${LINK_PREFIX}${device}`));
  }

  keepMaps(maps: Readonly<Record<PinnedMap, BpfMap>>): void {
    this.#keep(maps.connections, nameOf("connections"));
    this.#keep(maps.news, nameOf("news"));
  }

  /** Let go of everything pinned, and with it of what nobody else holds. The file system stays mounted. */
  clear(): void {
    Pins.clear(this.#directory);
  }

  /** Likewise, whoever pinned it; nothing happens where nothing is. */
  static clear(directory: string): void {
    const prefixes = [LINK_PREFIX, ...Object.values(MAP_PREFIXES)];
    for (const name of namesIn(directory))
      if (prefixes.some((prefix) => name.startsWith(prefix))) drop(join(directory, name));
  }

  #keep(object: TcxLink | BpfMap, name: string): void {
    const path = join(this.#directory, name);
    drop(path);
    object.pin(path);
  }
}

function isBpfFileSystem(directory: string): boolean {
  return statfsSync(directory).type === BPF_FS_MAGIC;
}

function namesIn(directory: string): string[] {
  try {
    return isBpfFileSystem(directory) ? readdirSync(directory) : [];
  } catch {
    return []; // not there
  }
}

function drop(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Not there: as wanted.
  }
}
