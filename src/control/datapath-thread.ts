/** The main thread's hold on the datapath thread: typed requests, reports, and word of its end. */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import { Wake } from "../datapath/tun/wake.ts";
import type {
  DatapathBeginning,
  DatapathMethod,
  DatapathReport,
  DatapathRequest,
  DatapathRequests,
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
  /** Likewise, when nothing is wrong. */
  onNote: (message: string) => void = () => {};
  /** Settles when the thread has loaded its code, or has ended. */
  readonly loaded: Promise<unknown>;
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

  #onLoaded: () => void = () => {};

  /** Loading takes a while, and may be done before anything else; the thread does nothing until it is told to begin. */
  constructor(onInternalError: (message: string, suppressedCount: number) => void) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#onInternalError = onInternalError;
    this.#worker = new Worker(new URL("./datapath-worker.js", import.meta.url), {
      name: "vsnat datapath",
      workerData: { port: port2, wakeDescriptor: this.#wake.descriptor },
      transferList: [port2],
    });
    port1.on("message", (report: DatapathReport) => this.#receive(report));
    const isLoaded = new Promise<void>((resolve) => {
      this.#onLoaded = resolve;
    });
    this.ended = new Promise((resolve) => {
      this.#worker.once("error", (error) => {
        this.#end = error instanceof Error ? error : new Error(String(error));
      });
      this.#worker.once("exit", (code) => {
        // The thread's last words may still lie in the port.
        for (let last = receiveMessageOnPort(port1); last !== undefined; last = receiveMessageOnPort(port1))
          this.#receive(last.message as DatapathReport);
        this.#end ??= new Error(`the datapath thread ended with code ${code}`);
        for (const { reject } of this.#pending.values())
          reject(new DatapathEndedError("the datapath has ended"));
        this.#pending.clear();
        port1.close();
        this.#wake.close();
        resolve(this.#end);
      });
    });
    this.loaded = Promise.race([isLoaded, this.ended]);
  }

  begin(beginning: DatapathBeginning): void {
    this.#post(beginning);
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
      this.#post({ id, method, params } as DatapathRequest);
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

  /**
   * Let the thread end after its current batch. Safe to call when it has ended already; not before it was told to begin.
   * @param isKept - the fast path goes on by itself, for the next process
   */
  async stop(isKept = false): Promise<DatapathEnd> {
    this.request("stop", { isKept }).catch(() => {}); // ended before it could answer: that is what was wanted
    return this.ended;
  }

  /** Why it ended; undefined while it has not. */
  get end(): DatapathEnd | undefined {
    return this.#end;
  }

  /** End a thread that was not told to begin, and will not be. Nothing when it has ended already. */
  async abandon(): Promise<void> {
    if (this.#end === undefined) this.#post(undefined);
    await this.ended;
  }

  #post(message: DatapathRequest | DatapathBeginning | undefined): void {
    this.#port.postMessage(message);
    this.#wake.ring();
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
      case "note":
        this.onNote(report.message);
        return;
      case "internal-error":
        this.#onInternalError(report.message, report.suppressedCount);
        return;
      case "loaded":
        this.#onLoaded();
        return;
      case "ended":
        this.#end = report.reason;
    }
  }
}
