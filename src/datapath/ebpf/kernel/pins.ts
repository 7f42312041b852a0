/**
 * Where the fast path outlives its process: a directory of the bpf file system, with a link for each interface and the
 * connections' map. A link keeps its program at work, and the program its maps.
 */
import { mkdirSync, readdirSync, statfsSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { expectSuccess, mount } from "../../system-call.ts";
import { LAYOUT_VERSION } from "../maps/layout.ts";
import { BpfMap, openPinned, TcxLink } from "./bpf.ts";

const BPF_FS_MAGIC = 0xcafe4a11;
const LINK_PREFIX = "link-";
/** What another layout pinned is not read. */
const CONNECTIONS_PREFIX = "connections-";
const CONNECTIONS = `${CONNECTIONS_PREFIX}${LAYOUT_VERSION}`;

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

  /** The connections' map of a process before; undefined: there is none that could be read. */
  connections(): BpfMap | undefined {
    return BpfMap.openPinned(join(this.#directory, CONNECTIONS), "connections");
  }

  keepLink(link: TcxLink, device: number): void {
    this.#keep(link, `${LINK_PREFIX}${device}`);
  }

  dropLink(device: number): void {
    drop(join(this.#directory, `${LINK_PREFIX}${device}`));
  }

  keepConnections(map: BpfMap): void {
    this.#keep(map, CONNECTIONS);
  }

  /** Let go of everything pinned, and with it of what nobody else holds. The file system stays mounted. */
  clear(): void {
    Pins.clear(this.#directory);
  }

  /** Likewise, whoever pinned it; nothing happens where nothing is. */
  static clear(directory: string): void {
    for (const name of namesIn(directory))
      if (name.startsWith(LINK_PREFIX) || name.startsWith(CONNECTIONS_PREFIX)) drop(join(directory, name));
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
