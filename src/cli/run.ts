/** `vsnat run`: the daemon. */
import { Command, Option } from "commander";
import { ApiError, type Operations } from "../api/operations.ts";
import { createApi } from "../api/server.ts";
import { formatIssue } from "../control/config/issue.ts";
import {
  ControlSocketError,
  claimControlSocket,
  controlSocketPath,
  listenPrivately,
} from "../control/control-socket.ts";
import { Daemon, type Farewell, type ReloadResult } from "../control/daemon.ts";
import { DaemonError } from "../control/daemon-error.ts";
import { planOfHost } from "../control/host.ts";
import { loadWithModules } from "../control/load.ts";
import { createLog, type Log, type LogFormat } from "../control/log.ts";
import { manualFileOf } from "../control/manual-file.ts";
import { type Estate, Predecessor } from "../control/predecessor.ts";
import { monotonicUsec, notifyServiceManager } from "../control/service-notify.ts";
import { configOrFailure, loadedOrFailure } from "./config-report.ts";
import { CommandFailure, ExitCode } from "./exit-code.ts";
import { painter, printJson } from "./terminal.ts";
import { VERSION } from "./version.ts";

const CONFIG_FILE_DEFAULT = "/etc/vsnat/vsnat.yaml";

interface Options {
  readonly config: string;
  readonly dryRun?: boolean;
  readonly handover?: boolean;
  readonly json?: boolean;
  readonly logFormat: LogFormat;
}

export const command = (): Command =>
  new Command("run")
    .summary("run the director")
    .description(
      "Run the director in the foreground. SIGHUP reads the configuration again; SIGTERM and SIGINT stop it and leave\n" +
        "the host as it was, unless connections are open: those wait for the next start, which goes on with them.\n" +
        "Says when it is ready, to a service manager as well.",
    )
    .option("-c, --config <file>", "configuration file", CONFIG_FILE_DEFAULT)
    .option("--handover", "take over from the daemon that runs, if one does: for upgrades")
    .option("--dry-run", "print what would be changed on this host, and change nothing")
    .option("--json", "with --dry-run: as JSON")
    .addOption(new Option("--log-format <format>", "how to log").choices(["text", "json"]).default("text"))
    .addHelpText(
      "after",
      "\nExamples:\n  vsnat run\n  vsnat run --handover\n  vsnat run -c vsnat.yaml --dry-run\n  unshare -Urn vsnat run -c vsnat.yaml",
    )
    .action((options: Options) => (options.dryRun ? dryRun(options) : run(options)));

function dryRun({ config: file, json }: Options): void {
  const { commands, issues } = planOfHost(configOrFailure(file));
  if (issues.some(({ severity }) => severity === "error")) process.exitCode = ExitCode.failure;
  if (json) {
    printJson({ commands, issues });
    return;
  }
  const paint = painter(process.stderr);
  const colours = { error: "red", warning: "yellow", note: "dim" } as const;
  for (const { severity, message } of issues) {
    process.stderr.write(`${paint(colours[severity], `${severity}:`)} ${message}\n`);
  }
  process.stdout.write(`${commands.join("\n")}\n`);
}

async function run({ config: file, logFormat, handover }: Options): Promise<void> {
  const log = createLog(logFormat);
  const ending = new Ending(log);
  const loaded = await loadedOrFailure(file);
  const socketPath = controlSocketPath(loaded.config.host.controlSocket);
  const predecessor = handover ? await Predecessor.find(socketPath).catch(asFailure) : undefined;
  if (predecessor === undefined) await claimControlSocket(socketPath).catch(asFailure);
  const manualFile = manualFileOf(socketPath);
  const daemon = await Daemon.start(loaded, log, manualFile, predecessor).catch(asFailure);
  const operations = operationsOf(daemon, file, log, ending);
  const api = createApi(operations, (error) => log("error", `the API failed: ${error.stack}`));
  let end: End;
  let farewell: Farewell;
  try {
    if (predecessor !== undefined) {
      await resumeSync(daemon, predecessor, log);
      await predecessor.ended();
      await claimControlSocket(socketPath).catch(asFailure);
    }
    await listenPrivately(socketPath, () => api.listen({ path: socketPath }));
    process.on("SIGHUP", () => operations.reload().catch(() => {})); // it has logged why
    notifyServiceManager("READY=1", `MAINPID=${process.pid}`, `STATUS=${summary(daemon)}`);
    log("info", `ready: ${summary(daemon)}, control socket ${socketPath}`);
    end = await Promise.race([daemon.failed, ending.asked]);
  } finally {
    if (ending.successor === undefined) notifyServiceManager("STOPPING=1");
    await api.close();
    farewell = await daemon.stop({ flush: ending.isFlush }).catch(asFailure);
  }
  if (ending.successor !== undefined) return log("info", `handed over to process ${ending.successor}`);
  const host = farewellText(farewell);
  if (end instanceof DaemonError) throw new CommandFailure(`${end.message}\n${host}`);
  log("info", `stopped. ${host}`);
}

/** Why the daemon ends: it failed, or was asked to. */
type End = DaemonError | undefined;

/** What the daemon before synchronised, this one does. */
async function resumeSync(daemon: Daemon, { syncDaemons }: Predecessor, log: Log): Promise<void> {
  for (const one of syncDaemons) {
    const { role, syncId, group, port, ttl, maxLength } = one;
    const options = { role, interface: one.interface, syncId, group, port, ttl, maxLength: maxLength ?? 0 };
    await daemon.sync.start(options).catch((error: Error) => log("warning", error.message));
  }
}

function farewellText({ keptConnections }: Farewell): string {
  if (keptConnections === 0) return "The host is as it was before.";
  const count = Number.isFinite(keptConnections) ? `${keptConnections} connections` : "Connections";
  return (
    `${count} wait for the next start, and the host stays as it is for them; ` +
    "vsnat cleanup gives them up, vsnat stop --flush would have"
  );
}

const summary = ({ config: { director, host } }: Daemon): string => {
  const servers = director.services.reduce((count, { destinations }) => count + destinations.length, 0);
  return `${director.services.length} services, ${servers} servers, device ${host.device}`;
};

/** How the daemon comes to its end. The first signal asks for a clean stop; a second one does not wait for it. */
class Ending {
  /** Settles when somebody asks for the end. */
  readonly asked: Promise<undefined>;
  /** Nothing is to be kept. */
  isFlush = false;
  /** The process that takes over. */
  successor: number | undefined;
  #ask: () => void = () => {};

  constructor(log: Log) {
    let isStopping = false;
    this.asked = new Promise((resolve) => {
      this.#ask = () => resolve(undefined);
    });
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => {
        if (isStopping) {
          log("error", `${signal} again: ending at once; "vsnat cleanup" puts the host back`);
          process.exit(ExitCode.failure);
        }
        isStopping = true;
        log("info", `${signal}: stopping`);
        this.ask();
      });
    }
  }

  ask(): void {
    this.#ask();
  }
}

/** Hand over, and end when the other process has what it needs, or is gone. */
async function handOver(
  daemon: Daemon,
  pid: number,
  hungUp: Promise<unknown>,
  ending: Ending,
): Promise<Estate> {
  let descriptor: number;
  try {
    descriptor = await daemon.handOver(pid);
  } catch (error) {
    throw new ApiError(409, "cannot-hand-over", error instanceof Error ? error.message : String(error));
  }
  ending.successor = pid;
  notifyServiceManager(`MAINPID=${pid}`);
  const patience = new Promise((resolve) => setTimeout(resolve, HANG_UP_PATIENCE_MS).unref());
  void Promise.race([hungUp, patience]).then(() => ending.ask());
  return { pid: process.pid, descriptor };
}

const HANG_UP_PATIENCE_MS = 5000;

function operationsOf(daemon: Daemon, file: string, log: Log, ending: Ending): Operations {
  const startedAt = new Date().toISOString();
  let reloadedAt: string | undefined;
  /** One reload reads the file after the other, so that what was read last is what runs. */
  let lastReload: Promise<unknown> = Promise.resolve();
  return {
    sync: daemon.sync,
    status: async () => ({
      ...(await daemon.status()),
      daemon: {
        version: VERSION,
        pid: process.pid,
        configFile: file,
        startedAt,
        ...(reloadedAt === undefined ? {} : { reloadedAt }),
      },
    }),
    stop: ({ flush }) => {
      log("info", flush ? "asked to stop and to keep nothing" : "asked to stop");
      ending.isFlush = flush;
      ending.ask();
    },
    handOver: (pid, hungUp) => handOver(daemon, pid, hungUp, ending),
    connections: (limit) => daemon.connections(limit),
    settings: () => ({ director: daemon.config.director.settings, host: daemon.config.host }),
    edit: (edits) => daemon.edit(edits),
    zero: async (service) => {
      if (await daemon.zero(service)) return;
      throw new ApiError(404, "ESRCH", "Cannot zero counters: there is no such service");
    },
    trace: (filter, onLine) => daemon.trace(filter, onLine),
    reload: (options = {}) => {
      const outcome = lastReload.then(async () => {
        notifyServiceManager("RELOADING=1", monotonicUsec());
        try {
          const result = await reload(daemon, file, log, options);
          reloadedAt = new Date().toISOString();
          return result;
        } finally {
          notifyServiceManager("READY=1", `STATUS=${summary(daemon)}`);
        }
      });
      lastReload = outcome.catch(() => {}); // whoever asked is told
      return outcome;
    },
  };
}

async function reload(
  daemon: Daemon,
  file: string,
  log: Log,
  options: { readonly discardEdits?: boolean },
): Promise<ReloadResult> {
  const result = await loadWithModules(file);
  for (const issue of result.warnings) log("warning", formatIssue(file, "warning", issue));
  if (!result.ok) {
    for (const issue of result.issues) log("error", formatIssue(file, "error", issue));
    const message = `${file} has mistakes (${result.issues.length}); the running configuration stays`;
    log("error", message);
    throw new ApiError(422, "bad-configuration", message, result.issues);
  }
  try {
    const outcome = await daemon.reload(result, options);
    for (const { kind, subject, connections } of outcome.changes) {
      log("info", `${kind} ${subject}${connections > 0 ? ` (${connections} connections)` : ""}`);
    }
    for (const path of outcome.settings) log("info", `edit ${path}`);
    for (const { subject, what } of outcome.discarded)
      log("info", `dropped, changed by hand: ${subject}: ${what}`);
    for (const { subject, what } of outcome.overriding) {
      log("warning", `the file says otherwise, what was changed by hand stays: ${subject}: ${what}`);
    }
    for (const path of outcome.needsRestart) log("warning", `${path} changes at the next start only`);
    log("info", `reloaded: ${summary(daemon)}`);
    return outcome;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    log("error", `${message}\nreload failed; see vsnat status for what runs`);
    throw new ApiError(409, "cannot-reload", message);
  }
}

function asFailure(error: unknown): never {
  if (error instanceof DaemonError || error instanceof ControlSocketError) {
    throw new CommandFailure(error.message, ExitCode.failure, { cause: error });
  }
  throw error;
}
