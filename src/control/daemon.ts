/**
 * The running director: device, datapath thread and host set-up under one roof, from start to the exact undo. It knows
 * nothing of command lines and sockets; those who do call it.
 *
 * Start: host fit? → device → thread → services → host changes, in this order, so that a virtual address attracts
 * packets only when somebody is there to take them. What fails undoes what came before it.
 */
import { isDeepStrictEqual } from "node:util";
import { openTunDevice, TUN_PATH, type TunDevice } from "../datapath/tun/device.ts";
import type { HostConfig } from "../datapath/tun/host/host-config.ts";
import { allowedProcessors, planProcessors } from "../datapath/tun/processor.ts";
import { SystemCallError } from "../datapath/tun/system-call.ts";
import type { Config } from "./config/config.ts";
import type { DatapathStatus, TraceLine } from "./datapath-protocol.ts";
import { DatapathThread } from "./datapath-thread.ts";
import type { Change } from "./director-control.ts";
import type { ConnectionStatus, DirectorStatus } from "./director-status.ts";
import { Host } from "./host.ts";
import type { Log } from "./log.ts";
import type { TraceFilter } from "./trace-filter.ts";

/** Gratuitous announcements are repeated, because packets get lost. */
const ANNOUNCE_AGAIN_MS = [1000, 3000];
/** How often to look whether removed servers have lost their last connection. */
const DRAIN_CHECK_MS = 5000;
const NOTHING_DRAINS = { virtualAddresses: [], serverAddresses: [] };
/** Host settings that belong to the device and cannot change under it. */
const FIXED_HOST_KEYS = [
  "device",
  "routingTable",
  "rulePriority",
  "queueLength",
  "processor",
  "controlSocket",
] as const;

/** Why the daemon cannot start, or cannot go on; the message says what to do. */
export class DaemonError extends Error {
  override readonly name = "DaemonError";
}

export interface DaemonStatus extends DirectorStatus {
  readonly device: DatapathStatus["device"];
  readonly internalErrorCount: number;
  readonly uptimeSeconds: number;
}

export interface ReloadResult {
  readonly changes: readonly Change[];
  /** Settings that differ from what runs and take effect at the next start, as paths. */
  readonly needsRestart: readonly string[];
}

export class Daemon {
  readonly #log: Log;
  readonly #host: Host;
  readonly #device: TunDevice;
  readonly #thread: DatapathThread;
  readonly #startedMs = performance.now();
  readonly #timers = new Set<NodeJS.Timeout>();
  #config: Config;
  #lastChange: Promise<unknown> = Promise.resolve();
  #isStopping = false;
  #isDrainCheckDue = false;
  /** Settles when the daemon has ended by itself: the reason, ready to be shown. Never when it was stopped. */
  readonly failed: Promise<DaemonError>;

  /** @throws DaemonError */
  static async start(config: Config, log: Log): Promise<Daemon> {
    const host = attempt(() => new Host(config.host.device));
    let device: TunDevice | undefined;
    try {
      for (const command of host.leftovers)
        log("info", `undone, left by a vsnat that was killed: ${command}`);
      refuseUnfitHost(host, config, log);
      const { queueLength } = config.host;
      const processors = planProcessors(config.host.processor, allowedProcessors());
      device = attempt(() =>
        openTunDevice(config.host.device, { queueLength, receivingProcessors: processors.receiving }),
      );
      const daemon = new Daemon(config, log, host, device, processors.loop);
      try {
        await daemon.#begin();
        return daemon;
      } catch (error) {
        const end = await daemon.#thread.stop();
        throw end instanceof Error ? threadFailure(end, config) : error;
      }
    } catch (error) {
      host.close();
      device?.close();
      throw asDaemonError(error);
    }
  }

  private constructor(
    config: Config,
    log: Log,
    host: Host,
    device: TunDevice,
    processor: number | undefined,
  ) {
    this.#config = config;
    this.#log = log;
    this.#host = host;
    this.#device = device;
    const { name, index, descriptor, offload } = device;
    const { settings } = config.director;
    const data = { device: { name, index, descriptor, offload }, settings, processor };
    this.#thread = new DatapathThread(data, (message, suppressedCount) => {
      log("error", `internal error, please report it: ${message}`, { suppressedCount });
    });
    this.failed = new Promise((resolve) => {
      this.#thread.ended.then((end) => {
        if (this.#isStopping) return;
        if (end === "gone") {
          resolve(new DaemonError(`The device ${name} was deleted under the director; start vsnat again`));
        } else {
          const why = end === "stopped" ? "for no reason" : (end.stack ?? end.message);
          resolve(new DaemonError(`The datapath thread ended: ${why}`));
        }
      });
    });
  }

  async #begin(): Promise<void> {
    await this.#thread.request("apply", this.#config.director.services);
    this.#host.apply(this.#config, NOTHING_DRAINS);
    await this.#thread.request("setPaths", this.#host.paths(this.#config, NOTHING_DRAINS));
    this.#host.watch(() => this.#fitHostLater());
    this.#announce();
    for (const delayMs of ANNOUNCE_AGAIN_MS) this.#later(delayMs, () => this.#announce());
  }

  get config(): Config {
    return this.#config;
  }

  async status(): Promise<DaemonStatus> {
    const { director, device, internalErrorCount } = await this.#thread.request("status", undefined);
    const uptimeSeconds = Math.floor((performance.now() - this.#startedMs) / 1000);
    return { ...director, device, internalErrorCount, uptimeSeconds };
  }

  connections(limit: number): Promise<ConnectionStatus[]> {
    return this.#thread.request("connections", { limit });
  }

  async zero(): Promise<void> {
    await this.#thread.request("zero", undefined);
  }

  /** Watch packets. @returns how to stop. */
  trace(filter: TraceFilter, onLine: (line: TraceLine) => void): Promise<() => void> {
    return this.#thread.trace(filter, onLine);
  }

  /**
   * Make what runs what `wanted` says; connections of everything that stays go on undisturbed.
   * @throws DaemonError, nothing changed, when this host is not fit for it.
   */
  reload(wanted: Config): Promise<ReloadResult> {
    return this.#enqueue(async () => {
      const needsRestart = restartPaths(this.#config, wanted);
      const config: Config = {
        director: { services: wanted.director.services, settings: this.#config.director.settings },
        host: { ...wanted.host, ...fixedPart(this.#config.host) },
      };
      refuseUnfitHost(this.#host, config, this.#log);
      const changes = await this.#thread.request("apply", config.director.services);
      this.#config = config;
      await this.#fitHost();
      this.#announce();
      return { changes, needsRestart };
    });
  }

  /** End, and leave the host as it was found. */
  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    await this.#lastChange;
    for (const timer of this.#timers) clearTimeout(timer);
    try {
      this.#host.close();
    } catch (error) {
      throw asDaemonError(error);
    } finally {
      await this.#thread.stop();
      this.#device.close();
    }
  }

  /** Bring host and paths in line with the configuration, with what still drains, and with the world. */
  async #fitHost(): Promise<void> {
    if (this.#isStopping) return;
    const draining = await this.#thread.request("draining", undefined);
    this.#host.apply(this.#config, draining);
    await this.#thread.request("setPaths", this.#host.paths(this.#config, draining));
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
      this.#host.announce(this.#config);
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

/** Why the thread died at its start: all the memory it needs is taken there. */
function threadFailure(error: Error, { director: { settings } }: Config): Error {
  if (!(error instanceof RangeError && /allocation/i.test(error.message))) return error;
  const wanted = `${settings.connectionsMax} connections`;
  return new DaemonError(`Cannot make a table for ${wanted}: not enough memory; lower limits.connections`);
}

function refuseUnfitHost(host: Host, config: Config, log: Log): void {
  const issues = host.issues(config);
  const errors = issues.filter(({ severity }) => severity === "error");
  if (errors.length > 0) throw new DaemonError(errors.map(({ message }) => message).join("\n"));
  for (const { severity, message, code } of issues) {
    log(severity === "warning" ? "warning" : "info", message, { code });
  }
}

const fixedPart = (host: HostConfig): Partial<HostConfig> =>
  Object.fromEntries(FIXED_HOST_KEYS.flatMap((key) => (host[key] === undefined ? [] : [[key, host[key]]])));

/** Settings that are read only at start, as far as they differ. */
function restartPaths(running: Config, wanted: Config): string[] {
  const [before, after] = [running.director.settings, wanted.director.settings];
  const settings = (Object.keys(after) as (keyof typeof after)[]).filter(
    (key) => !isDeepStrictEqual(before[key], after[key]),
  );
  const host = FIXED_HOST_KEYS.filter((key) => running.host[key] !== wanted.host[key]);
  return [...settings.map((key) => SETTING_PATHS[key]), ...host.map((key) => `host.${key}`)];
}

/** Where a director setting stands in the file. */
const SETTING_PATHS: Readonly<Record<keyof Config["director"]["settings"], string>> = {
  timeouts: "timeouts",
  connectionsMax: "limits.connections",
  unserved: "unserved",
  repliesPerSecondMax: "limits.repliesPerSecond",
  answerEcho: "answerEcho",
  removedDestination: "removedDestination",
  fragmentBytesMax: "limits.fragmentMemory",
  fragmentTimeout: "limits.fragmentTimeout",
};

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function attempt<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw asDaemonError(error);
  }
}

/** A failure of the system in words that say what to do about it. Everything else stays what it is. */
function asDaemonError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof DaemonError) return error;
  const isOfTheSystem =
    /^(SystemCallError|HostChangeError|JournalBusyError|AggregateError)$/.test(error.name) ||
    "syscall" in error ||
    (error.name === "Error" && error.message.startsWith("Cannot "));
  if (!isOfTheSystem) return error;
  const advice = adviceOn(error);
  return new DaemonError(advice === undefined ? error.message : `${error.message}\n${advice}`, {
    cause: error,
  });
}

const MORE_RIGHTS = "run it as root, or try it in a namespace of your own: unshare -Urn vsnat run";

function adviceOn(error: Error): string | undefined {
  const code = "code" in error ? error.code : undefined;
  if (error instanceof SystemCallError && error.call === `open ${TUN_PATH}`) {
    if (code === "EACCES")
      return "Its mode keeps this user out (0666 is usual): run as root, or change the mode";
    if (code === "EPERM") return "This container may not use the device: allow it (--device /dev/net/tun)";
    return "Is the TUN driver there? modprobe tun; in a container: --device /dev/net/tun. vsnat doctor says more";
  }
  switch (code) {
    case "EPERM":
    case "EACCES":
      return `This needs CAP_NET_ADMIN: ${MORE_RIGHTS}`;
    case "EROFS":
      return "/proc/sys is read-only here, as in most containers: set the sysctl outside, or give more privileges";
    case "EBUSY":
      return "The name of the device is taken: remove it (ip link del), or set another with host.device";
    default:
      return undefined;
  }
}
