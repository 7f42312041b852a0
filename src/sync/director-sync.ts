/**
 * A director's part in synchronisation, in the thread that owns it: master, backup or both. Messages go out through
 * `send` and come in through `receive`; sockets are not its business.
 */
import type { Milliseconds } from "../base/environment.ts";
import type { Director } from "../nat/director.ts";
import { type BackupCounters, SyncBackup } from "./backup.ts";
import { type MasterCounters, type MasterOptions, SyncMaster } from "./master.ts";

export type SyncRole = "master" | "backup";

export interface SyncPart extends MasterOptions {
  readonly role: SyncRole;
}

/** Of the roles that are played. */
export interface SyncCounters {
  readonly master?: Readonly<MasterCounters>;
  readonly backup?: Readonly<BackupCounters>;
}

export class DirectorSync {
  readonly #director: Director;
  readonly #send: (message: Uint8Array) => void;
  #master: SyncMaster | undefined;
  #backup: SyncBackup | undefined;

  /** @param send - takes a message to the other directors; it is the receiver's to keep */
  constructor(director: Director, send: (message: Uint8Array) => void) {
    this.#director = director;
    this.#send = send;
  }

  start({ role, ...options }: SyncPart): void {
    const director = this.#director;
    if (role === "backup") {
      director.isBackup = true;
      this.#backup = new SyncBackup(director, options.syncId, (record, state, nowTick) =>
        this.#master?.adopted(record, state, nowTick),
      );
    } else {
      this.#master = new SyncMaster(director, options, this.#send);
      director.observer = this.#master;
    }
  }

  /** What was learnt stays in the table. */
  stop(role: SyncRole): void {
    if (role === "backup") {
      this.#director.isBackup = false;
      this.#backup = undefined;
      return;
    }
    this.#director.observer = undefined;
    this.#master?.flush();
    this.#master = undefined;
  }

  /** Send what waits for its message to fill. To be called about once a second. */
  flush(): SyncCounters {
    this.#director.cached.catchUpChanges();
    this.#master?.flush();
    const [master, backup] = [this.#master?.counters, this.#backup?.counters];
    return { ...(master && { master }), ...(backup && { backup }) };
  }

  /** Take messages over, as far as they can be understood. */
  receive(messages: readonly Uint8Array[], now: Milliseconds): void {
    for (const message of messages) this.#backup?.receive(message, now);
  }
}
