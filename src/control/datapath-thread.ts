/** The main thread's hold on the datapath thread: typed requests, reports, and word of its end. */
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { Wake } from "../datapath/tun/wake.ts";
import type {
  DatapathMethod,
  DatapathReport,
  DatapathRequest,
  DatapathRequests,
  DatapathThreadData,
  TraceLine,
} from "./datapath-protocol.ts";
import type { TraceFilter } from "./trace-filter.ts";

/** `stopped` as asked; `gone`: the device was deleted; an Error: the thread died. */
export type DatapathEnd = "stopped" | "gone" | Error;

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** The thread is no more, so it cannot answer. */
export class DatapathEndedError extends Error {
  override readonly name = "DatapathEndedError";
}

export class DatapathThread {
  /** Takes synchronisation messages to be sent to other directors. */
  onSyncMessage: (message: Uint8Array) => void = () => {};
  /** Takes what the operator should know. */
  onWarning: (message: string) => void = () => {};
  /** Settles when the thread has ended, however. Never rejects. */
  readonly ended: Promise<DatapathEnd>;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #wake = new Wake();
  readonly #pending = new Map<number, Pending>();
  readonly #traces = new Map<number, (line: TraceLine) => void>();
  readonly #onInternalError: (message: string, suppressedCount: number) => void;
  #lastId = 0;
  #end: DatapathEnd | undefined;

  constructor(
    data: Omit<DatapathThreadData, "wakeDescriptor">,
    onInternalError: (message: string, suppressedCount: number) => void,
  ) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#onInternalError = onInternalError;
    const threadData: DatapathThreadData = { ...data, wakeDescriptor: this.#wake.descriptor };
    this.#worker = new Worker(new URL("./datapath-worker.js", import.meta.url), {
      name: "vsnat datapath",
      workerData: { port: port2, data: threadData },
      transferList: [port2],
    });
    port1.on("message", (report: DatapathReport) => this.#receive(report));
    this.ended = new Promise((resolve) => {
      this.#worker.once("error", (error) => {
        this.#end = error instanceof Error ? error : new Error(String(error));
      });
      this.#worker.once("exit", (code) => {
        this.#end ??= new Error(`the datapath thread ended with code ${code}`);
        for (const { reject } of this.#pending.values())
          reject(new DatapathEndedError("the datapath has ended"));
        this.#pending.clear();
        port1.close();
        this.#wake.close();
        resolve(this.#end);
      });
    });
  }

  /** Ask the thread something. @throws DatapathEndedError; an Error with the thread's words when it could not do it. */
  request<M extends DatapathMethod>(
    method: M,
    params: DatapathRequests[M]["params"],
  ): Promise<DatapathRequests[M]["result"]> {
    if (this.#end !== undefined) return Promise.reject(new DatapathEndedError("the datapath has ended"));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as Pending["resolve"], reject });
      this.#port.postMessage({ id, method, params } as DatapathRequest);
      this.#wake.ring();
    });
  }

  /** Watch packets. @returns how to stop. */
  async trace(filter: TraceFilter, onLine: (line: TraceLine) => void): Promise<() => void> {
    const id = ++this.#lastId;
    this.#traces.set(id, onLine);
    await this.request("startTrace", { id, filter });
    return () => {
      if (this.#traces.delete(id)) this.request("stopTrace", { id }).catch(() => {}); // ended: nothing to stop
    };
  }

  /** Let the thread end after its current batch. Safe to call when it has ended already. */
  async stop(): Promise<DatapathEnd> {
    this.request("stop", undefined).catch(() => {}); // ended before it could answer: that is what was wanted
    return this.ended;
  }

  #receive(report: DatapathReport): void {
    switch (report.kind) {
      case "answer":
        this.#pending.get(report.id)?.resolve(report.result);
        this.#pending.delete(report.id);
        return;
      case "failure":
        this.#pending.get(report.id)?.reject(new Error(report.message));
        this.#pending.delete(report.id);
        return;
      case "trace":
        this.#traces.get(report.id)?.(report.line);
        return;
      case "sync":
        this.onSyncMessage(report.message);
        return;
      case "warning":
        this.onWarning(report.message);
        return;
      case "internal-error":
        this.#onInternalError(report.message, report.suppressedCount);
        return;
      case "ended":
        this.#end = report.reason;
    }
  }
}
