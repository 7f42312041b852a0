/**
 * The datapath thread: owns the director and moves its packets until told to stop or the device is gone. Started by
 * datapath-thread.ts. It blocks in poll(2); requests are taken from the port when the bell rang, reports are posted.
 */
import { getRandomValues } from "node:crypto";
import { type MessagePort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { Engine } from "../alg/engine/engine.ts";
import { APPLICATIONS } from "../alg/registry.ts";
import { type Milliseconds, milliseconds } from "../base/environment.ts";
import { mapTableFile } from "../datapath/tun/host/table-file.ts";
import { PacketLoop } from "../datapath/tun/loop.ts";
import { stayOn } from "../datapath/tun/processor.ts";
import { TunDatapath } from "../datapath/tun/tun-datapath.ts";
import { Wake } from "../datapath/tun/wake.ts";
import type { Applications } from "../nat/contracts/application.ts";
import { Director } from "../nat/director.ts";
import { SCHEDULERS } from "../schedulers/registry.ts";
import { DirectorSync } from "../sync/director-sync.ts";
import { parseAddress } from "../wire/address.ts";
import type {
  DatapathBeginning,
  DatapathMethod,
  DatapathReport,
  DatapathRequest,
  DatapathRequests,
  Paths,
} from "./datapath-protocol.ts";
import { DirectorControl } from "./director-control.ts";
import { FastPath } from "./fast-path.ts";
import { OwnApplications } from "./own-applications.ts";
import { PacketTrace } from "./packet-trace.ts";
import { SandboxEngine } from "./sandbox.ts";
import { SchedulerPlugins } from "./scheduler-plugins.ts";

const { port, wakeDescriptor } = workerData as {
  readonly port: MessagePort;
  readonly wakeDescriptor: number;
};
const report = (message: DatapathReport): void => port.postMessage(message);

// Made now, whether or not there are modules, because later there is no event loop for it. It reserves gigabytes of
// address space (not memory): where those are limited, there are no schedulers and no application modules of one's own.
const engine = await SandboxEngine.load().catch(() => undefined);
const plugins = engine && new SchedulerPlugins(engine, (message) => report({ kind: "warning", message }));
const wake = new Wake(wakeDescriptor);
report({ kind: "loaded" });
const data = waitForBeginning() ?? process.exit();
if (data.processor !== undefined) stayOn(data.processor); // refused: slower, no less right
const clock = systemClock();
const director = new Director({
  settings: data.settings,
  schedulers: plugins?.registry ?? SCHEDULERS,
  applications: APPLICATIONS,
  randomU32: entropy(),
  hopChange: 1,
  now: clock(),
  ...(data.table !== undefined && { memory: mapTableFile(data.table) }),
});
const ownApplications =
  director.applications instanceof Engine
    ? new OwnApplications(director.applications, engine, (message) => report({ kind: "warning", message }))
    : undefined;
const control = new DirectorControl(director);
const sync = new DirectorSync(director, (message) => report({ kind: "sync", message }));
const datapath = new TunDatapath(data.device); // the main thread closes what it opened
const { device, fastPath: fastPathMode, pinDirectory } = data;
const fastPath = new FastPath(director, device.index, fastPathMode, pinDirectory, (message, kind) =>
  report({ kind, message }),
);
let isKept = false;
const trace = new PacketTrace((id, line) => report({ kind: "trace", id, line }), Date.now);
const loop = new PacketLoop({
  datapath,
  wake,
  processor: director,
  control: takeRequests,
  clock,
  isPaused: true,
  onError: (error, suppressedCount) => {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    report({ kind: "internal-error", message, suppressedCount });
  },
});

type Handlers = {
  readonly [M in DatapathMethod]: (
    params: DatapathRequests[M]["params"],
    now: Milliseconds,
  ) => DatapathRequests[M]["result"];
};

function showRewrites(show: Applications["onRewrite"]): void {
  if (director.applications !== undefined) director.applications.onRewrite = show;
}

function status(): DatapathRequests["status"]["result"] {
  const { internalErrorCount } = loop;
  const director = control.status();
  // The director cannot count what it threw; the loop's edge did.
  const drops =
    internalErrorCount > 0 ? { ...director.drops, "internal-error": internalErrorCount } : director.drops;
  const { name, offload } = data.device;
  const device = { name, state: datapath.state, offload, ...datapath.counters };
  return { director: { ...director, drops }, device, fastPath: fastPath.status, internalErrorCount };
}

const HANDLERS: Handlers = {
  useSchedulers: (code) => {
    if (plugins !== undefined) plugins.use(code);
    else if (code.length > 0)
      throw new Error("Cannot use schedulers of your own: too little address space for them (ulimit -v)");
  },
  useApplications: (code) => ownApplications?.use(code),
  apply: (config) => control.apply(config),
  takeOver: () => director.takeOver,
  open: () => {
    director.endTakeOver();
    if (director.takeOver !== undefined) fastPath.inherit();
    loop.resume();
  },
  departure: (_, now) => control.departure(now),
  draining: () => control.draining(),
  setPaths,
  status,
  connections: ({ limit }, now) => control.connections(now, limit),
  zero: (service) => control.zero(service),
  setAvailablePages: (pages) => {
    director.defence.availablePages = pages;
  },
  startTrace: ({ id, filter }) => {
    trace.start(id, filter);
    director.cached.suspend("trace", true);
    loop.tap = trace;
    showRewrites((before, after) => trace.rewrote(before, after));
  },
  stopTrace: ({ id }) => {
    trace.stop(id);
    if (!trace.isEmpty) return;
    director.cached.suspend("trace", false);
    loop.tap = undefined;
    showRewrites(undefined);
  },
  startSync: (part) => sync.start(part),
  stopSync: ({ role }) => sync.stop(role),
  flushSync: () => sync.flush(),
  receiveSync: ({ messages }, now) => sync.receive(messages, now),
  stop: (options) => {
    ({ isKept } = options);
    loop.stop();
  },
};

function takeRequests(now: Milliseconds): void {
  director.cached.catchUpChanges(); // what is asked about has begun already
  for (let received = receiveMessageOnPort(port); received; received = receiveMessageOnPort(port)) {
    const { id, method, params } = received.message as DatapathRequest;
    try {
      const handler = HANDLERS[method] as (params: unknown, now: Milliseconds) => unknown;
      report({ kind: "answer", id, result: handler(params, now) });
    } catch (error) {
      report({ kind: "failure", id, message: error instanceof Error ? error.message : String(error) });
    }
  }
}

function setPaths(paths: Paths): void {
  const { serverMtus, clientMtuBytes, ownAddresses } = paths;
  fastPath.setPaths(paths);
  for (const { address, mtuBytes } of serverMtus) control.setMtu(address, mtuBytes);
  director.clientMtuBytes = clientMtuBytes;
  for (const text of ownAddresses) {
    const address = parseAddress(text);
    if (address !== undefined) director.ownAddress[address.family] = address.words;
  }
}

/** The first message, for which nobody needs an event loop. @returns undefined: there is nothing to begin */
function waitForBeginning(): DatapathBeginning | undefined {
  for (;;) {
    wake.wait();
    wake.clear();
    const received = receiveMessageOnPort(port);
    if (received === undefined) continue;
    wake.ring(); // there may be requests behind it
    return received.message as DatapathBeginning | undefined;
  }
}

/**
 * The system's monotonic clock, which all processes share until the machine is started again: the next one must understand the
 * deadlines of this one.
 */
function systemClock(): () => Milliseconds {
  const [seconds, nanoseconds] = process.hrtime();
  const originMs = seconds * 1000 + nanoseconds / 1e6 - performance.now();
  return () => milliseconds(originMs + performance.now());
}

/** Uniform 32-bit numbers from the system, fetched a kilobyte at a time. */
function entropy(): () => number {
  const words = new Uint32Array(256);
  let at = words.length;
  return () => {
    if (at === words.length) {
      getRandomValues(words);
      at = 0;
    }
    return words[at++]!;
  };
}

const reason = loop.run();
fastPath.close(isKept);
report({ kind: "ended", reason });
port.close();
