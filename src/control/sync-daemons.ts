/**
 * The synchronisation daemons, as ipvsadm calls them: the director as master, backup or both, each on an interface of its
 * own. Messages are made and understood in the datapath thread; here are the sockets, the clock and the errors.
 */
import type { Socket } from "node:dgram";
import { Rtnetlink } from "../datapath/tun/netlink/rtnetlink.ts";
import type { IpvsSettings } from "../nat/configuration.ts";
import type { SyncCounters, SyncRole } from "../sync/director-sync.ts";
import { MESSAGE_BYTES_MIN } from "../sync/message.ts";
import { parseAddress } from "../wire/address.ts";
import type { DatapathThread } from "./datapath-thread.ts";
import type { Log } from "./log.ts";
import { openReceiver, openSender, receiveBufferOf, type SyncSegment, sendBufferOf } from "./sync-socket.ts";

/** The others are read by the datapath thread. */
export type SyncDaemonSettings = Pick<IpvsSettings, "sync_sock_size" | "sync_qlen_max">;

/** One daemon, as it is asked for. */
export interface SyncDaemonOptions {
  readonly role: SyncRole;
  readonly interface: string;
  /** 0..255. A backup with 0 hears every master, any other only those of the same number. */
  readonly syncId: number;
  /** A multicast address. */
  readonly group: string;
  readonly port: number;
  /** 1..255 */
  readonly ttl: number;
  /** Bytes of a message. Default: what a packet of the interface holds. */
  readonly maxLength?: number;
}

export interface SyncDaemonStatus extends Required<SyncDaemonOptions> {
  /** Master: messages the system did not take. Backup: messages given up because too many came at once. */
  readonly lostAtSocket: number;
  readonly counters: NonNullable<SyncCounters[SyncRole]>;
}

export type SyncErrorCode =
  /** It plays this role already. */
  | "EEXIST"
  /** It does not play this role. */
  | "ESRCH"
  /** No such interface. */
  | "ENODEV"
  /** The interface has no address of the group's family. */
  | "EADDRNOTAVAIL"
  | "EINVAL"
  /** The system refused, for the reason in the message. */
  | "EIO";

export class SyncError extends Error {
  override readonly name = "SyncError";
  readonly code: SyncErrorCode;

  constructor(code: SyncErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** A part-filled message waits no longer; in IPVS it is 2 seconds. */
const FLUSH_INTERVAL_MS = 1000;
/** Messages that wait for the datapath thread, and how many it takes at a time: packets wait for those. */
const RECEIVED_MAX = 4096;
const RECEIVED_BATCH = 16;
/** What may wait in the socket, where the system takes less than is told. */
const SENDING_BYTES_MAX = 8 * 1024 * 1024;
const HEADERS_BYTES = { 4: 20 + 8, 6: 40 + 8 } as const;
const MTU_MIN = 1500;
const MTU_MAX = 65_535;

interface Running {
  readonly options: Required<SyncDaemonOptions>;
  readonly socket: Socket;
  /** Give the socket a buffer of so many bytes; 0: its own. */
  readonly resize: (bytes: number) => void;
  lostAtSocket: number;
}

export class SyncDaemons {
  readonly #thread: DatapathThread;
  readonly #log: Log;
  readonly #running = new Map<SyncRole, Running>();
  /** What went wrong at least once since the start of its daemon, so that it is not said again. */
  readonly #complaints = new Set<string>();
  readonly #received: Uint8Array[] = [];
  #settings: SyncDaemonSettings;
  #isDelivering = false;
  #timer: NodeJS.Timeout | undefined;
  /** One start or stop at a time. */
  #lastChange: Promise<unknown> = Promise.resolve();

  constructor(thread: DatapathThread, settings: SyncDaemonSettings, log: Log) {
    this.#thread = thread;
    this.#settings = settings;
    this.#log = log;
    thread.onSyncMessage = (message) => this.#send(message);
  }

  /** Other settings, for what runs as well. */
  configure(settings: SyncDaemonSettings): void {
    this.#settings = settings;
    for (const [role, running] of this.#running) this.#resize(role, running);
  }

  /** @throws SyncError */
  start(wanted: SyncDaemonOptions): Promise<void> {
    return this.#inTurn(() => this.#start(wanted));
  }

  /** What was learnt stays in the connection table. @throws SyncError */
  stop(role: SyncRole): Promise<void> {
    return this.#inTurn(() => this.#stop(role));
  }

  async list(): Promise<SyncDaemonStatus[]> {
    const counters = await this.#thread.request("flushSync", undefined);
    return [...this.#running].flatMap(([role, { options, lostAtSocket }]) => {
      const counted = counters[role];
      return counted === undefined ? [] : [{ ...options, lostAtSocket, counters: counted }];
    });
  }

  /** With the daemon; there is no thread to tell. */
  close(): void {
    clearInterval(this.#timer);
    for (const { socket } of this.#running.values()) socket.close();
    this.#running.clear();
  }

  async #start(wanted: SyncDaemonOptions): Promise<void> {
    const { role, syncId } = wanted;
    if (this.#running.has(role)) throw new SyncError("EEXIST", `Cannot start the ${role}: it is running`);
    const { segment, mtu } = findSegment(wanted);
    const roomBytes = mtu - HEADERS_BYTES[segment.family];
    const maxLength = Math.max(MESSAGE_BYTES_MIN, wanted.maxLength ?? roomBytes);
    const socket = await (role === "master" ? openSender : openReceiver)(segment).catch((error: Error) => {
      const where = `${segment.group} port ${segment.port} on ${segment.interface}`;
      throw new SyncError("EIO", `Cannot start the ${role} for ${where}: ${error.message}`, error);
    });
    const resize = (role === "master" ? sendBufferOf : receiveBufferOf)(socket);
    const running: Running = { options: { ...wanted, maxLength }, socket, resize, lostAtSocket: 0 };
    this.#running.set(role, running);
    this.#resize(role, running);
    socket.on("error", (error) => this.#complain(role, `the ${role} failed: ${error.message}`));
    if (role === "backup") socket.on("message", (message) => this.#receive(message, running));
    try {
      await this.#thread.request("startSync", { role, syncId, lengthMax: maxLength });
    } catch (error) {
      this.#end(role);
      throw error;
    }
    this.#timer ??= setInterval(() => this.#flush(), FLUSH_INTERVAL_MS);
    this.#log(
      "info",
      `synchronisation: ${role} on ${segment.interface}, ${segment.group} port ${segment.port}`,
    );
  }

  async #stop(role: SyncRole): Promise<void> {
    if (!this.#running.has(role)) throw new SyncError("ESRCH", `Cannot stop the ${role}: it is not running`);
    await this.#thread.request("stopSync", { role });
    this.#end(role);
    this.#log("info", `synchronisation: the ${role} has ended`);
  }

  #end(role: SyncRole): void {
    // What the thread sent last is on its way to the socket.
    const { socket } = this.#running.get(role)!;
    this.#running.delete(role);
    setImmediate(() => socket.close());
    for (const name of this.#complaints) if (name.startsWith(role)) this.#complaints.delete(name);
    if (this.#running.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #resize(role: SyncRole, { resize }: Running): void {
    try {
      resize(this.#settings.sync_sock_size);
    } catch (error) {
      // It goes on with the buffer it has.
      this.#complain(role, `the ${role}'s buffer keeps its size: ${(error as Error).message}`);
    }
  }

  #send(message: Uint8Array): void {
    const master = this.#running.get("master");
    if (master === undefined) return;
    const lose = (why: string): void => {
      master.lostAtSocket++;
      this.#complain("master", `the master cannot send: ${why}`);
    };
    const { socket } = master;
    const isFull = socket.getSendQueueCount() >= this.#settings.sync_qlen_max;
    if (isFull || socket.getSendQueueSize() > SENDING_BYTES_MAX) {
      lose("the system is too slow");
      return;
    }
    socket.send(message, (error) => {
      if (error !== null) lose(error.message);
    });
  }

  #receive(message: Uint8Array, backup: Running): void {
    if (this.#received.length === RECEIVED_MAX) {
      backup.lostAtSocket++;
      this.#complain("backup", "the backup cannot keep up with what it is told");
      return;
    }
    this.#received.push(new Uint8Array(message)); // of its own: what is behind it is not sent along
    if (!this.#isDelivering) void this.#deliver();
  }

  /** One batch on its way at a time; what comes meanwhile is the next. */
  async #deliver(): Promise<void> {
    this.#isDelivering = true;
    try {
      while (this.#received.length > 0) {
        const messages = this.#received.splice(0, RECEIVED_BATCH);
        await this.#thread.request("receiveSync", { messages });
      }
    } catch {
      this.#received.length = 0; // the thread has ended, and the daemon is told so elsewhere
    }
    this.#isDelivering = false;
  }

  #flush(): void {
    this.#thread.request("flushSync", undefined).then(
      ({ master, backup }) => {
        if (master !== undefined && master.lostMessages > 0)
          this.#complain("master", "the master has more to tell than it may send");
        if (backup === undefined) return;
        if (backup.faultyMessages > 0) this.#complain("backup", "the backup hears messages it cannot read");
        if (backup.refusedEntries > 0)
          this.#complain("backup", "the backup is told of connections it cannot take over");
        if (backup.overflowEntries > 0) this.#complain("backup", "the connection table is full");
      },
      () => {}, // the thread has ended, and the daemon is told so elsewhere
    );
  }

  #complain(role: SyncRole, problem: string): void {
    const name = `${role} ${problem}`;
    if (this.#complaints.has(name)) return;
    this.#complaints.add(name);
    this.#log("warning", `synchronisation: ${problem}; said once, vsadm -L --daemon --json counts`);
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const result = this.#lastChange.then(act);
    this.#lastChange = result.catch(() => {}); // whoever asked is told
    return result;
  }
}

/** @throws SyncError */
function findSegment({ interface: name, group, port, ttl }: SyncDaemonOptions): {
  readonly segment: SyncSegment;
  readonly mtu: number;
} {
  const parsed = parseAddress(group);
  if (parsed === undefined || !isMulticast(parsed.family, parsed.words[0]!))
    throw new SyncError("EINVAL", `Cannot use the group ${group}: expected a multicast address`);
  const { family } = parsed;
  const rtnetlink = new Rtnetlink();
  try {
    const link = rtnetlink.links().find((one) => one.name === name);
    if (link === undefined)
      throw new SyncError("ENODEV", `Cannot synchronise over ${name}: no such interface`);
    const own = rtnetlink.addresses().find((one) => one.device === link.index && one.family === family);
    if (own === undefined)
      throw new SyncError(
        "EADDRNOTAVAIL",
        `Cannot synchronise over ${name}: it has no IPv${family} address, and the group ${group} needs one`,
      );
    const address = family === 4 ? own.address : "::";
    const mtu = Math.min(MTU_MAX, Math.max(MTU_MIN, link.mtu));
    return { segment: { interface: name, address, family, group, port, ttl }, mtu };
  } finally {
    rtnetlink.close();
  }
}

/** @param word - the first of the address */
const isMulticast = (family: 4 | 6, word: number): boolean =>
  family === 4 ? word >>> 28 === 0xe : word >>> 24 === 0xff;
