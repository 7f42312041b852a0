/**
 * A director's part in synchronisation, in the thread that owns it: master, backup or both. Messages go out through
 * `send` and come in through `receive`; sockets are not its business.
 */
import type { Milliseconds } from "../base/environment.ts";
import type { Director } from "../nat/director.ts";
import { type BackupCounters, SyncBackup } from "./backup.ts";
import { type MasterCounters, type MasterOptions, SyncMaster } from "./master.ts";

export type SyncRole = "master" | "backup";

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

  startMaster(options: MasterOptions): void {
    const { connections, services } = this.#director;
    this.#master = new SyncMaster(connections, services, options, this.#send);
    this.#director.observer = this.#master;
  }

  /** @param syncId - whose messages count; 0: everybody's */
  startBackup(syncId: number): void {
    this.#backup = new SyncBackup(this.#director, syncId, (record, state) =>
      this.#master?.begin(record, state),
    );
  }

  /** What was learnt stays in the table. */
  stop(role: SyncRole): void {
    if (role === "backup") {
      this.#backup = undefined;
      return;
    }
    this.#director.observer = undefined;
    this.#master?.flush();
    this.#master = undefined;
  }

  /** Send what waits for its message to fill. To be called about once a second. */
  flush(): void {
    this.#master?.flush();
  }

  /** Take messages over, as far as they can be understood. */
  receive(messages: readonly Uint8Array[], now: Milliseconds): void {
    for (const message of messages) this.#backup?.receive(message, now);
  }

  get counters(): SyncCounters {
    const [master, backup] = [this.#master?.counters, this.#backup?.counters];
    return { ...(master && { master: { ...master } }), ...(backup && { backup: { ...backup } }) };
  }
}
