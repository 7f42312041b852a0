/**
 * Where users' schedulers run: a JavaScript engine of its own (QuickJS) inside WebAssembly, one runtime a service. It has
 * the language and nothing else: no Node, no clock, no import, no sight of the director's memory. Time is bounded by
 * counting steps, not by a clock, so that a busy machine stops nobody and a replay stops where the recording did.
 *
 * Why not node:vm: its time box starts a thread at every call (seen: 320 µs a pick, against 18 µs here with ten servers), it
 * has no bound on memory, and its documentation denies being a wall.
 *
 * Not bounded: one call of a built-in function over an absurd length ("new Array(1e9).indexOf(1)"), which the engine
 * does not interrupt.
 */
import wasmFile from "@jitl/quickjs-wasmfile-release-sync";
import {
  DefaultIntrinsics,
  newQuickJSWASMModuleFromVariant,
  newVariant,
  type QuickJSContext,
  type QuickJSHandle,
  type QuickJSRuntime,
  type QuickJSSyncVariant,
  type QuickJSWASMModule,
} from "quickjs-emscripten-core";
import type { Milliseconds } from "../base/environment.ts";
import type { SchedulerFlag } from "../nat/configuration.ts";
import type { Destination } from "../nat/destination.ts";
import { formatAddress } from "../wire/address.ts";
import type { Flow } from "../wire/flow.ts";
import type { PluginCode } from "./scheduler-plugin.ts";
import {
  CONNECTION_NUMBERS,
  GUEST_CODE,
  type Guest,
  NO_SERVER,
  SERVER_NUMBERS,
} from "./scheduler-plugin-guest.ts";

/** Its types describe the CommonJS build, which has one level more. */
const variant = wasmFile as unknown as QuickJSSyncVariant;
/** Known to TypeScript as a part of browsers only. */
declare const WebAssembly: {
  readonly Memory: new (pages: { readonly initial: number; readonly maximum: number }) => WasmMemory;
};
interface WasmMemory {
  readonly buffer: ArrayBufferLike;
}

/** Instances to use one after the other, should a module make one fail. */
const INSTANCES = 3;
/** Of all sandboxes of an instance together. */
const MEMORY_BYTES_MAX = 64 * 1024 * 1024;
const WASM_PAGE_BYTES = 65_536;
const STACK_BYTES_MAX = 128 * 1024;
/** A sandbox takes about 80 KiB before the module does anything. */
export const SANDBOXES_MAX = 256;
/** The engine asks after this many calls and rounds of loops whether to go on. */
const STEPS_PER_QUESTION = 10_000;
/** Steps of one pick, about 1 to 20 ms; a loop over 4096 servers takes a tenth. */
const PICK_STEPS_MAX = 100_000;
/** Steps of a module's own statements, once a service. */
const START_STEPS_MAX = 1_000_000;
const MESSAGE_CHARACTERS_MAX = 300;

/** What a module is told of a server. */
export type SandboxServer = Pick<
  Destination,
  "address" | "port" | "weight" | "activeConnections" | "inactiveConnections" | "isOverloaded"
>;

/** A module did not do what was asked of it. */
export class SandboxError extends Error {
  override readonly name = "SandboxError";
  /** It took too many steps or too much memory: asking again would cost as much again. */
  readonly isOverrun: boolean;

  constructor(message: string, isOverrun: boolean) {
    super(message);
    this.isOverrun = isOverrun;
  }
}

/** One WebAssembly instance. What happens to its memory happens to all its sandboxes. */
class Instance {
  readonly engine: QuickJSWASMModule;
  readonly #memory: WasmMemory;
  #isDead = false;

  private constructor(engine: QuickJSWASMModule, memory: WasmMemory) {
    this.engine = engine;
    this.#memory = memory;
  }

  static async make(): Promise<Instance> {
    const wasmMemory = new WebAssembly.Memory({
      initial: 256, // what the engine was built for
      maximum: MEMORY_BYTES_MAX / WASM_PAGE_BYTES,
    });
    const engine = await newQuickJSWASMModuleFromVariant(newVariant(variant, { wasmMemory }));
    return new Instance(engine, wasmMemory);
  }

  /** It failed, or what ran in it made it fail: nothing in it can be trusted. */
  get isDead(): boolean {
    return this.#isDead;
  }

  /** Give it up. @param error - what it threw: memory ran out where it does not expect it */
  fail(error: unknown): SandboxError {
    this.#isDead = true;
    return new SandboxError(`the engine failed: ${error instanceof Error ? error.message : error}`, true);
  }

  /** It took about all the memory it may have (growing by a twentieth is refused); some may be free again. */
  get isGrown(): boolean {
    return this.#memory.buffer.byteLength > 0.9 * MEMORY_BYTES_MAX;
  }
}

export class SandboxEngine {
  /** The first is in use. */
  readonly #instances: Instance[];
  #count = 0;

  private constructor(instances: Instance[]) {
    this.#instances = instances;
  }

  /** Takes some 20 ms an instance, and needs an event loop. That is why there are spare ones. */
  static async load(): Promise<SandboxEngine> {
    return new SandboxEngine(await Promise.all(Array.from({ length: INSTANCES }, () => Instance.make())));
  }

  /**
   * Run a module's statements.
   * @param seed - of its Math.random
   * @param flags - the service's
   * @throws SandboxError
   */
  open(plugin: PluginCode, seed: number, flags: readonly SchedulerFlag[]): Sandbox {
    while (this.#instances[0]?.isDead) this.#instances.shift();
    const instance = this.#instances[0];
    if (instance === undefined)
      throw new SandboxError(
        `the engine failed ${INSTANCES} times: there is none until the next start`,
        true,
      );
    if (this.#count === SANDBOXES_MAX)
      throw new SandboxError(
        `there are ${SANDBOXES_MAX} services with schedulers of your own already`,
        false,
      );
    let sandbox: Sandbox;
    try {
      sandbox = new Sandbox(instance, () => {
        this.#count--;
      });
    } catch (error) {
      throw instance.fail(error);
    }
    this.#count++;
    try {
      sandbox.begin(plugin, seed, flags);
    } catch (error) {
      sandbox.close();
      throw error;
    }
    return sandbox;
  }
}

export class Sandbox {
  readonly #instance: Instance;
  readonly #runtime: QuickJSRuntime;
  readonly #context: QuickJSContext;
  readonly #onClose: () => void;
  readonly #handles: QuickJSHandle[] = [];
  #arrange: QuickJSHandle | undefined;
  #pick: QuickJSHandle | undefined;
  /** What the guest is told at every pick. */
  #block = new Float64Array(0);
  #questionsLeft = 0;
  #flow: Flow | undefined;

  constructor(instance: Instance, onClose: () => void) {
    this.#instance = instance;
    this.#onClose = onClose;
    this.#runtime = instance.engine.newRuntime({ maxStackSizeBytes: STACK_BYTES_MAX });
    this.#runtime.setInterruptHandler(() => --this.#questionsLeft < 0);
    this.#context = this.#runtime.newContext({ intrinsics: { ...DefaultIntrinsics, Date: false } });
  }

  /** True when another sandbox took the engine down with it: this one has to begin anew, elsewhere. */
  get isLost(): boolean {
    return this.#instance.isDead;
  }

  /** @throws SandboxError */
  begin(plugin: PluginCode, seed: number, flags: readonly SchedulerFlag[]): void {
    this.#guard(() => this.#begin(plugin, seed, flags));
  }

  /** The list of servers changed. @throws SandboxError */
  arrange(destinations: readonly SandboxServer[]): void {
    this.#guard(() => this.#arrangeServers(destinations));
  }

  /** @returns index in the list last arranged, NOBODY or NO_SERVER @throws SandboxError */
  pick(destinations: readonly SandboxServer[], flow: Flow, now: Milliseconds): number {
    return this.#guard(() => this.#pickOne(destinations, flow, now));
  }

  close(): void {
    this.#onClose();
    if (this.isLost) return;
    try {
      for (const handle of this.#handles) handle.dispose();
      this.#context.dispose();
      this.#runtime.dispose();
    } catch (error) {
      this.#instance.fail(error); // what cannot be tidied up cannot be used any more
    }
  }

  /** Anything thrown but a SandboxError is the engine's own failure. */
  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw error instanceof SandboxError ? error : this.#instance.fail(error);
    }
  }

  #begin({ code, file }: PluginCode, seed: number, flags: readonly SchedulerFlag[]): void {
    const context = this.#context;
    this.#allow(START_STEPS_MAX);
    const addressOf = context.newFunction("addressOf", (whose) => {
      const { family, words } = this.#flow!;
      return context.newString(formatAddress(family, words, context.getString(whose) === "client" ? 0 : 4));
    });
    const make = this.#own(this.#value(context.evalCode(GUEST_CODE, "vsnat", { strict: true })));
    const ours = this.#own(
      this.#call(make, this.#own(addressOf), this.#own(context.newNumber(seed | 0 || 1))),
    );
    const module = this.#own(this.#value(context.evalCode(code, file, { type: "module" })));
    const method = (name: keyof Guest) => this.#own(context.getProp(ours, name));
    const refusal = this.#own(
      this.#call(method("begin"), module, this.#own(context.newString(flags.join()))),
    );
    if (context.typeof(refusal) === "string") throw new SandboxError(context.getString(refusal), false);
    this.#arrange = method("arrange");
    this.#pick = method("pick");
  }

  #arrangeServers(destinations: readonly SandboxServer[]): void {
    this.#allow(START_STEPS_MAX);
    const list = JSON.stringify(destinations.map(({ address, port }) => [address, port]));
    const text = this.#context.newString(list);
    try {
      this.#call(this.#arrange!, text).dispose();
    } finally {
      text.dispose();
    }
    this.#block = new Float64Array(CONNECTION_NUMBERS + SERVER_NUMBERS * destinations.length);
  }

  #pickOne(destinations: readonly SandboxServer[], flow: Flow, now: Milliseconds): number {
    const block = this.#block;
    block[0] = flow.protocol;
    block[1] = flow.sourcePort;
    block[2] = flow.destinationPort;
    block[3] = now;
    for (let i = 0, at = CONNECTION_NUMBERS; i < destinations.length; i++, at += SERVER_NUMBERS) {
      const { weight, activeConnections, inactiveConnections, isOverloaded } = destinations[i]!;
      block[at] = weight;
      block[at + 1] = activeConnections;
      block[at + 2] = inactiveConnections;
      block[at + 3] = isOverloaded ? 1 : 0;
    }
    this.#flow = flow;
    this.#allow(PICK_STEPS_MAX);
    const numbers = this.#context.newArrayBuffer(block.buffer);
    let index: number;
    try {
      const answer = this.#call(this.#pick!, numbers);
      index = this.#context.getNumber(answer);
      answer.dispose();
    } finally {
      numbers.dispose();
    }
    return Number.isInteger(index) ? index : NO_SERVER;
  }

  #allow(steps: number): void {
    this.#questionsLeft = steps / STEPS_PER_QUESTION;
  }

  #own(handle: QuickJSHandle): QuickJSHandle {
    this.#handles.push(handle);
    return handle;
  }

  #call(method: QuickJSHandle, ...values: QuickJSHandle[]): QuickJSHandle {
    return this.#value(this.#context.callFunction(method, this.#context.undefined, ...values));
  }

  #value(result: ReturnType<QuickJSContext["callFunction"]>): QuickJSHandle {
    if (result.error === undefined) return result.value;
    const isOutOfSteps = this.#questionsLeft < 0;
    // What was thrown may have code of its own that speaks for it.
    this.#allow(PICK_STEPS_MAX);
    const thrown: unknown = this.#context.dump(result.error);
    result.error.dispose();
    if (isOutOfSteps) throw new SandboxError("it took too long", true);
    const message = wordsOf(thrown).slice(0, MESSAGE_CHARACTERS_MAX);
    // When there is no memory for the error either, a part of it is thrown, or null.
    const isHalf = /^(threw (null|InternalError.*)?|InternalError: undefined.*)$/.test(message);
    if (message.startsWith("InternalError: out of memory") || (isHalf && this.#instance.isGrown))
      throw new SandboxError("out of memory", true);
    throw new SandboxError(message, false);
  }
}

/** "TypeError: not a function at pick (my-scheduler.js:3:12)" */
function wordsOf(thrown: unknown): string {
  if (thrown === null || typeof thrown !== "object") return `threw ${String(thrown)}`;
  const { name, message, stack } = thrown as Readonly<Record<string, unknown>>;
  const place = typeof stack === "string" ? (stack.trim().split("\n", 1)[0] ?? "") : "";
  return `${String(name)}: ${String(message)} ${place}`.trim();
}
