/**
 * The running director: device, datapath thread and host set-up under one roof, from start to the exact undo. It knows
 * nothing of command lines and sockets; those who do call it.
 *
 * Start: host fit? → table of connections → device → thread → services → host changes, in this order, so that a virtual
 * address attracts packets only when somebody is there to take them. What fails undoes what came before it; what a daemon
 * before had left stays as it was, and so does the host at a stop, as long as there are connections that the next start can
 * go on with.
 */

import { letTrace } from "../datapath/system-call.ts";
import type { TunDevice } from "../datapath/tun/device.ts";
import type { HostIssue } from "../datapath/tun/host/host-issue.ts";
import {
  openTableFile,
  removeTableFile,
  type TableFile,
  type TablePlace,
} from "../datapath/tun/host/table-file.ts";
import { allowedProcessors, planProcessors } from "../datapath/tun/processor.ts";
import type { MasqueradeRule, ServiceKey } from "../nat/configuration.ts";
import type { TakeOver } from "../nat/take-over.ts";
import { SCHEDULERS } from "../schedulers/registry.ts";
import { availablePages } from "./available-memory.ts";
import type { Config } from "./config/config.ts";
import { changedPaths, restartPaths, withFixedPart } from "./config-difference.ts";
import { asDaemonError, attempt, DaemonError, messageOf } from "./daemon-error.ts";
import type { DatapathStatus, Departure, TraceLine } from "./datapath-protocol.ts";
import { DatapathThread } from "./datapath-thread.ts";
import type { Change } from "./director-control.ts";
import type { ConnectionStatus, DirectorStatus, MasqueradeStatus } from "./director-status.ts";
import type { Edit, EditOutcome, ManualChange } from "./edit.ts";
import { Host, planOfHost } from "./host.ts";
import { editAll } from "./layer-edit.ts";
import { conflicts, discard, type Layers, makeLayers, reload } from "./layers.ts";
import type { Loaded } from "./load.ts";
import type { Log } from "./log.ts";
import { manualChanges } from "./manual-changes.ts";
import { restoreLayers, writeManualFile } from "./manual-file.ts";
import { NOTHING_MANUAL } from "./manual-layer.ts";
import type { OwnApplicationCode } from "./own-applications.ts";
import { pinDirectory, removePins } from "./pin-directory.ts";
import type { Predecessor } from "./predecessor.ts";
import type { PluginCode } from "./scheduler-plugin.ts";
import { SyncDaemons } from "./sync-daemons.ts";
import type { TraceFilter } from "./trace-filter.ts";

/** Gratuitous announcements are repeated, because packets get lost. */
const ANNOUNCE_AGAIN_MS = [1000, 3000];
/** How often to look whether removed servers have lost their last connection. */
const DRAIN_CHECK_MS = 5000;
/** How often the automatic defences are told of the system's memory; IPVS looks as often. */
const MEMORY_INTERVAL_MS = 1000;
/** Changes by hand that one line of the log names. */
const LOGGED_CHANGES_MAX = 3;

export interface DaemonStatus extends Omit<DirectorStatus, "masquerade"> {
  readonly masquerade: readonly (MasqueradeRule & MasqueradeStatus)[];
  readonly device: DatapathStatus["device"];
  readonly fastPath: DatapathStatus["fastPath"];
  /** What was changed by hand and holds against the file, or waits to. */
  readonly manual: readonly ManualChange[];
  readonly internalErrorCount: number;
  readonly uptimeSeconds: number;
}

export interface ReloadResult {
  readonly changes: readonly Change[];
  /** Settings that changed and are in force, as paths in the file. */
  readonly settings: readonly string[];
  /** Settings that differ from what runs and take effect at the next start, as paths. */
  readonly needsRestart: readonly string[];
  /** Changes made by hand that are kept. */
  readonly manual: readonly ManualChange[];
  /** Of these, what holds against something that the file says otherwise than it did before. */
  readonly overriding: readonly ManualChange[];
  /** Changes made by hand that were dropped, because that was asked for. */
  readonly discarded: readonly ManualChange[];
}

/** How a daemon ended. */
export interface Farewell {
  /** Connections that wait for the next start, for which the host stays as it is; infinite: not known how many. */
  readonly keptConnections: number;
}

export class Daemon {
  /** Synchronisation with other directors. */
  readonly sync: SyncDaemons;
  readonly #log: Log;
  readonly #host: Host;
  readonly #device: TunDevice;
  readonly #table: TableFile | undefined;
  readonly #thread: DatapathThread;
  readonly #startedMs = performance.now();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #manualFile: string;
  /** Of the file; the director's part of what runs is in the layers. */
  #file: Config;
  #layers: Layers;
  #lastChange: Promise<unknown> = Promise.resolve();
  #isStopping = false;
  #isDrainCheckDue = false;
  /** Settles when the daemon has ended by itself: the reason, ready to be shown. Never when it was stopped. */
  readonly failed: Promise<DaemonError>;

  /**
   * @param manualFile - where changes made by hand are kept
   * @param predecessor - the daemon to take over from, which goes on until this one is ready for it
   * @throws DaemonError
   */
  static async start(
    { config: file, plugins, applications }: Loaded,
    log: Log,
    manualFile: string,
    predecessor?: Predecessor,
  ): Promise<Daemon> {
    const thread = new DatapathThread((message, suppressedCount) => {
      log("error", `internal error, please report it: ${message}`, { suppressedCount });
    });
    let host: Host | undefined;
    let device: TunDevice | undefined;
    let table: TableFile | undefined;
    let config = file;
    try {
      const descriptor = predecessor && (await takeFrom(predecessor, file, thread));
      const layers = attempt(() => {
        return restoreLayers(makeLayers(file.director, schedulerNames(file)), manualFile, log);
      });
      config = effectiveConfig(file, layers);
      host = new Host(config.host.device);
      try {
        refuseUnfitHost(host, config, log);
      } catch (error) {
        if (layers.manual === NOTHING_MANUAL || !(error instanceof DaemonError)) throw error;
        throw new DaemonError(`${error.message}\nWhat was changed by hand is part of this: ${manualFile}`);
      }
      table = openTable(config, log);
      const processors = planProcessors(config.host.processor, allowedProcessors());
      const receivingProcessors = processors.receiving;
      device = await host.openDevice(config, { receivingProcessors }, descriptor);
      const daemon = new Daemon(file, layers, manualFile, log, host, device, thread, table);
      daemon.#beginThread(processors.loop);
      try {
        await daemon.#begin(plugins, applications);
        return daemon;
      } catch (error) {
        const end = await thread.stop();
        throw end instanceof Error ? threadFailure(end, config) : error;
      }
    } catch (error) {
      await thread.abandon();
      if (host !== undefined && host.leftovers.length > 0) host.release();
      else host?.close();
      device?.close();
      if (table?.isLeft === false) removeTableFile(config.host.device);
      throw asDaemonError(error);
    }
  }

  private constructor(
    file: Config,
    layers: Layers,
    manualFile: string,
    log: Log,
    host: Host,
    device: TunDevice,
    thread: DatapathThread,
    table: TableFile | undefined,
  ) {
    this.#file = file;
    this.#layers = layers;
    this.#manualFile = manualFile;
    this.#log = log;
    this.#host = host;
    this.#device = device;
    this.#thread = thread;
    this.#table = table;
    this.sync = new SyncDaemons(thread, layers.effective.settings.ipvs, log);
    this.failed = new Promise((resolve) => {
      thread.ended.then((end) => {
        if (this.#isStopping) return;
        if (end === "gone") {
          resolve(
            new DaemonError(`The device ${device.name} was deleted under the director; start vsnat again`),
          );
        } else {
          const why = end === "stopped" ? "for no reason" : (end.stack ?? end.message);
          resolve(new DaemonError(`The datapath thread ended: ${why}`));
        }
      });
    });
  }

  #beginThread(processor: number | undefined): void {
    const { name, index, descriptor, offload } = this.#device;
    const settings = { ...this.#layers.effective.settings };
    let table: TablePlace | undefined;
    if (this.#table !== undefined) {
      const { descriptor: file, connectionsMax } = this.#table;
      table = { descriptor: file, connectionsMax };
      settings.connectionsMax = connectionsMax;
    }
    this.#thread.onWarning = (message) => this.#log("warning", message);
    this.#thread.onNote = (message) => this.#log("info", message);
    const { fastPath } = this.#file;
    // What is kept of flows is of use together with their connections only.
    const pins = table && attempt(() => pinDirectory(name));
    this.#thread.begin({
      device: { name, index, descriptor, offload },
      table,
      settings,
      fastPath,
      pinDirectory: pins,
      processor,
    });
  }

  async #begin(plugins: readonly PluginCode[], applications: readonly OwnApplicationCode[]): Promise<void> {
    const beganMs = performance.now();
    await this.#thread.request("useSchedulers", plugins);
    await this.#thread.request("useApplications", applications);
    await this.#thread.request("apply", this.#layers.effective);
    const takeOver = await this.#thread.request("takeOver", undefined);
    const draining = await this.#thread.request("draining", undefined);
    // Whoever was connected waits already.
    await this.#thread.request("setPaths", this.#host.paths(this.config, draining));
    await this.#thread.request("open", undefined);
    const tookMs = Math.round(performance.now() - beganMs);
    if (takeOver !== undefined)
      this.#log("info", takeOverText(takeOver, this.#host.leftovers.length, tookMs));
    await this.#fitHost();
    await this.#tellOfFastPath();
    this.#watchMemory();
    this.#host.watch(() => this.#fitHostLater());
    this.#announce();
    for (const delayMs of ANNOUNCE_AGAIN_MS) this.#later(delayMs, () => this.#announce());
  }

  async #tellOfFastPath(): Promise<void> {
    const { fastPath } = await this.#thread.request("status", undefined);
    if (fastPath.state === "on") {
      const names = fastPath.interfaces.flatMap(({ name, refusal }) => (refusal === undefined ? [name] : []));
      const where = names.length > 0 ? `at ${names.join(", ")}` : "at no interface yet";
      this.#log("info", `fast path on, ${where}: known connections stay inside the kernel`);
    } else if (fastPath.state === "unavailable") {
      if (this.#file.fastPath === "required")
        throw new DaemonError(
          `Cannot run with "fastPath: required": ${fastPath.reason}. "auto" runs without it`,
        );
      this.#log("info", `no fast path, every packet takes the slow path: ${fastPath.reason}`);
    }
  }

  /** What runs: the file with everything made by hand over it. */
  get config(): Config {
    return effectiveConfig(this.#file, this.#layers);
  }

  async status(): Promise<DaemonStatus> {
    const { director, device, fastPath, internalErrorCount } = await this.#thread.request(
      "status",
      undefined,
    );
    const uptimeSeconds = Math.floor((performance.now() - this.#startedMs) / 1000);
    const rules = this.#layers.effective.masquerade;
    const masquerade = director.masquerade.flatMap((one, at) => (rules[at] ? { ...rules[at], ...one } : []));
    const manual = manualChanges(this.#layers);
    return { ...director, masquerade, device, fastPath, manual, internalErrorCount, uptimeSeconds };
  }

  connections(limit: number): Promise<ConnectionStatus[]> {
    return this.#thread.request("connections", { limit });
  }

  /** Counters to zero, of one service or of everything. @returns false: there is no such service. */
  zero(service?: ServiceKey): Promise<boolean> {
    return this.#thread.request("zero", service);
  }

  /** Watch packets. @returns how to stop. */
  trace(filter: TraceFilter, onLine: (line: TraceLine) => void): Promise<() => void> {
    return this.#thread.trace(filter, onLine);
  }

  /** Change what runs by hand. All that can be done is done in one step. @returns the outcomes, in order. */
  edit(edits: readonly Edit[]): Promise<EditOutcome[]> {
    return this.#enqueue(async () => {
      let result = await editAll(this.#layers, edits, new Date());
      if (this.#newHostErrors(result.layers).length > 0) {
        // One of them at least asks too much of this host: which one shows when they are made one after the other.
        result = await editAll(this.#layers, edits, new Date(), (layers) => {
          return this.#newHostErrors(layers)[0]?.message;
        });
      }
      const { layers, outcomes } = result;
      if (layers !== this.#layers) {
        const before = virtualAddresses(this.config);
        const changes = await this.#run(this.#file, layers);
        if (virtualAddresses(this.config) !== before) this.#announce();
        const named = changes.slice(0, LOGGED_CHANGES_MAX).map(({ kind, subject }) => `${kind} ${subject}`);
        const more = changes.length > named.length ? `, and ${changes.length - named.length} more` : "";
        if (changes.length > 0) this.#log("info", `by hand: ${named.join(", ")}${more}`);
      }
      return outcomes;
    });
  }

  /** What the host would refuse of these layers and does not of what runs. */
  #newHostErrors(layers: Layers): HostIssue[] {
    if (layers === this.#layers) return [];
    const found = errorsOf(this.#host.issues(effectiveConfig(this.#file, layers)));
    if (found.length === 0) return [];
    const known = new Set(errorsOf(this.#host.issues(this.config)).map(({ message }) => message));
    return found.filter(({ message }) => !known.has(message));
  }

  /**
   * Make what runs what `wanted` says, under what was changed by hand; connections of everything that stays go on
   * undisturbed.
   * @throws DaemonError, nothing changed, when this host is not fit for it, or it excludes what was changed by hand.
   */
  reload(
    { config: wanted, plugins, applications }: Loaded,
    options: { readonly discardEdits?: boolean } = {},
  ): Promise<ReloadResult> {
    return this.#enqueue(async () => {
      const before = this.config;
      const needsRestart = restartPaths(this.#file, wanted);
      const file = withFixedPart(wanted, this.#file);
      const discarded = options.discardEdits ? manualChanges(this.#layers) : [];
      const base = options.discardEdits ? discard(this.#layers) : this.#layers;
      const { layers, overriding } = reload(base, file.director, schedulerNames(file));
      const problems = conflicts(layers);
      if (problems.length > 0) {
        const advice = "vsnat reload --discard-edits drops what was changed by hand";
        throw new DaemonError(
          `The new file excludes what was changed by hand:\n${problems.join("\n")}\n${advice}`,
        );
      }
      refuseUnfitHost(this.#host, effectiveConfig(file, layers), this.#log);
      await this.#thread.request("useSchedulers", plugins);
      await this.#thread.request("useApplications", applications);
      const changes = await this.#run(file, layers);
      this.#announce();
      const settings = changedPaths(before, this.config);
      return { changes, settings, needsRestart, manual: manualChanges(layers), overriding, discarded };
    });
  }

  /** Make it so, from here on; what was changed by hand is kept for the next start. */
  async #run(file: Config, layers: Layers): Promise<Change[]> {
    const changes = await this.#thread.request("apply", layers.effective);
    const isKept = this.#layers.manual === layers.manual;
    this.#file = file;
    this.#layers = layers;
    this.sync.configure(layers.effective.settings.ipvs);
    if (!isKept) this.#keepManual();
    await this.#fitHost();
    return changes;
  }

  #keepManual(): void {
    try {
      writeManualFile(this.#manualFile, this.#layers.manual);
    } catch (error) {
      this.#log("warning", `${messageOf(error)}; what was changed by hand is lost at the next start`);
    }
  }

  /** The automatic defences begin while memory is low. */
  #watchMemory(): void {
    const { drop_entry, drop_packet, secure_tcp } = this.#layers.effective.settings.ipvs;
    const isAutomatic = [drop_entry, drop_packet, secure_tcp].includes(1);
    const pages = isAutomatic ? availablePages() : undefined;
    if (pages !== undefined) this.#thread.request("setAvailablePages", pages).catch(() => {}); // ended: no defence
    this.#later(MEMORY_INTERVAL_MS, () => this.#watchMemory());
  }

  /**
   * End. As long as there are connections over which something may be sent, the host stays as it is and the next start goes on
   * with them; else it is left as it was found. What else the next start could use, templates say, is kept without.
   * @param options.flush - keep nothing
   */
  async stop(options: { readonly flush?: boolean } = {}): Promise<Farewell> {
    if (this.#isStopping) return { keptConnections: 0 };
    this.#isStopping = true;
    await this.#lastChange;
    for (const timer of this.#timers) clearTimeout(timer);
    this.sync.close();
    const { entries, open } = await this.#departure(options.flush === true);
    try {
      if (open > 0) this.#host.release();
      else this.#host.close();
    } catch (error) {
      throw asDaemonError(error);
    } finally {
      await this.#thread.stop(open > 0);
      this.#device.close();
      if (open === 0) removePins(this.#device.name);
      if (entries === 0 && this.#table !== undefined) removeTableFile(this.#device.name);
    }
    return { keptConnections: open };
  }

  /**
   * Move no more packets, and leave everything as it is for the process that takes over.
   * @param pid - that process
   * @returns the descriptor of the TUN device, which is that process's as soon as it has one of its own
   * @throws DaemonError, nothing changed, when connections would be lost
   */
  async handOver(pid: number): Promise<number> {
    if (this.#isStopping) throw new DaemonError("it is stopping");
    if (this.#table === undefined)
      throw new DaemonError("its connections are in no file; stop it and start another");
    this.#isStopping = true;
    await this.#lastChange;
    for (const timer of this.#timers) clearTimeout(timer);
    this.sync.close();
    await this.#thread.stop(true);
    this.#host.release();
    letTrace(pid);
    return this.#device.descriptor;
  }

  /** What to keep. Of a thread that died it is not known, so everything, as if the whole process had. */
  async #departure(isFlush: boolean): Promise<Departure> {
    if (isFlush || this.#table === undefined) return { entries: 0, open: 0 };
    const isDead = this.#thread.end instanceof Error;
    const departure = await this.#thread.request("departure", undefined).catch(() => undefined);
    return departure ?? { entries: 1, open: isDead ? Number.POSITIVE_INFINITY : 0 };
  }

  /** Bring host and paths in line with the configuration, with what still drains, and with the world. */
  async #fitHost(): Promise<void> {
    if (this.#isStopping) return;
    const draining = await this.#thread.request("draining", undefined);
    this.#host.apply(this.config, draining);
    await this.#thread.request("setPaths", this.#host.paths(this.config, draining));
    if (draining.serverAddresses.length === 0 || this.#isDrainCheckDue) return;
    this.#isDrainCheckDue = true;
    this.#later(DRAIN_CHECK_MS, () => {
      this.#isDrainCheckDue = false;
      this.#fitHostLater();
    });
  }

  /** When nobody waits for it, so that a failure is only logged. */
  #fitHostLater(): void {
    this.#enqueue(() => this.#fitHost()).catch((error) => {
      if (!this.#isStopping) this.#log("warning", messageOf(error));
    });
  }

  /** One change of the host at a time. */
  #enqueue<T>(act: () => Promise<T>): Promise<T> {
    const result = this.#lastChange.then(act).catch((error) => {
      throw asDaemonError(error);
    });
    this.#lastChange = result.catch(() => {}); // whoever asked is told
    return result;
  }

  #announce(): void {
    try {
      this.#host.announce(this.config);
    } catch (error) {
      this.#log("warning", `${messageOf(error)}; neighbours may need a while to find the virtual addresses`);
    }
  }

  #later(delayMs: number, act: () => unknown): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, delayMs);
    this.#timers.add(timer);
  }
}

/**
 * Make everything ready that can be, then take over.
 * @returns the descriptor of its device; undefined: it has ended, and left the device
 */
async function takeFrom(
  predecessor: Predecessor,
  file: Config,
  thread: DatapathThread,
): Promise<number | undefined> {
  const { device } = file.host;
  if (predecessor.device !== device)
    throw new DaemonError(
      `Cannot take over ${predecessor.device} as ${device}: stop one and start the other`,
    );
  const errors = errorsOf(attempt(() => planOfHost(file).issues));
  if (errors.length > 0) throw new DaemonError(errors.map(({ message }) => message).join("\n"));
  await thread.loaded;
  return await predecessor.take();
}

/** Where connections outlive the process; undefined, and said so, where that cannot be. */
function openTable({ host, director }: Config, log: Log): TableFile | undefined {
  try {
    const file = openTableFile(host.device, director.settings.connectionsMax);
    if (file.remark !== undefined) log("warning", file.remark);
    return file;
  } catch (error) {
    log("warning", `${messageOf(error)}; connections will not outlive this process`);
    return undefined;
  }
}

function takeOverText(
  { connections, templates, damaged, homeless }: TakeOver,
  changes: number,
  ms: number,
): string {
  const lost =
    damaged + homeless > 0 ? `; dropped ${damaged} damaged records, ${homeless} of unknown servers` : "";
  const what = `${connections} connections, ${templates} templates and ${changes} changes of the host`;
  return `took over from a vsnat before: ${what}, in ${ms} ms${lost}`;
}

/** Why the thread died at its start: all the memory it needs is taken there. */
function threadFailure(error: Error, { director: { settings } }: Config): Error {
  if (!/allocation failed|\bENOMEM\b/i.test(error.message)) return error;
  const wanted = `${settings.connectionsMax} connections`;
  return new DaemonError(`Cannot make a table for ${wanted}: not enough memory; lower limits.connections`);
}

const effectiveConfig = (file: Config, layers: Layers): Config => ({ ...file, director: layers.effective });

const schedulerNames = ({ schedulerPlugins }: Config): string[] => [
  ...Object.keys(SCHEDULERS),
  ...schedulerPlugins.map(({ name }) => name),
];

const virtualAddresses = ({ director }: Config): string =>
  [...new Set(director.services.map(({ address }) => address))].sort().join();

const errorsOf = (issues: readonly HostIssue[]): HostIssue[] =>
  issues.filter(({ severity }) => severity === "error");

function refuseUnfitHost(host: Host, config: Config, log: Log): void {
  const issues = host.issues(config);
  const errors = errorsOf(issues);
  if (errors.length > 0) throw new DaemonError(errors.map(({ message }) => message).join("\n"));
  for (const { severity, message, code } of issues) {
    log(severity === "warning" ? "warning" : "info", message, { code });
  }
}
