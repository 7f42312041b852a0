/**
 * Where users' modules run: a JavaScript engine of its own (QuickJS) inside WebAssembly, one runtime a module at work. It has
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
/** Steps of one answer, about 1 to 20 ms; a loop over 4096 servers takes a tenth. */
export const ANSWER_STEPS_MAX = 100_000;
/** Steps of a module's own statements, once for each sandbox. */
export const START_STEPS_MAX = 1_000_000;
const MESSAGE_CHARACTERS_MAX = 300;

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

/** A module of the user's. */
export interface ModuleCode {
  /** Its path, for messages. */
  readonly file: string;
  /** JavaScript. */
  readonly code: string;
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
   * A sandbox for a module.
   * @param make - makes it
   * @param begin - runs the module's statements in it
   * @throws SandboxError
   */
  open<S extends Sandbox>(make: (place: SandboxPlace) => S, begin: (sandbox: S) => void): S {
    while (this.#instances[0]?.isDead) this.#instances.shift();
    const instance = this.#instances[0];
    if (instance === undefined)
      throw new SandboxError(
        `the engine failed ${INSTANCES} times: there is none until the next start`,
        true,
      );
    if (this.#count === SANDBOXES_MAX)
      throw new SandboxError(`there are ${SANDBOXES_MAX} services with modules of your own already`, false);
    let sandbox: S;
    try {
      sandbox = make({
        instance,
        onClose: () => {
          this.#count--;
        },
      });
    } catch (error) {
      throw instance.fail(error);
    }
    this.#count++;
    try {
      begin(sandbox);
    } catch (error) {
      sandbox.close();
      throw error;
    }
    return sandbox;
  }
}

/** Where a sandbox is made. */
export interface SandboxPlace {
  readonly instance: Instance;
  readonly onClose: () => void;
}

/** One module at work. What it is asked, and by which names, is for its kinds to say. */
export abstract class Sandbox {
  protected readonly context: QuickJSContext;
  readonly #instance: Instance;
  readonly #runtime: QuickJSRuntime;
  readonly #onClose: () => void;
  readonly #handles: QuickJSHandle[] = [];
  #questionsLeft = 0;

  constructor({ instance, onClose }: SandboxPlace) {
    this.#instance = instance;
    this.#onClose = onClose;
    this.#runtime = instance.engine.newRuntime({ maxStackSizeBytes: STACK_BYTES_MAX });
    this.#runtime.setInterruptHandler(() => --this.#questionsLeft < 0);
    this.context = this.#runtime.newContext({ intrinsics: { ...DefaultIntrinsics, Date: false } });
  }

  /** True when another sandbox took the engine down with it: this one has to begin anew, elsewhere. */
  get isLost(): boolean {
    return this.#instance.isDead;
  }

  close(): void {
    this.#onClose();
    if (this.isLost) return;
    try {
      for (const handle of this.#handles) handle.dispose();
      this.context.dispose();
      this.#runtime.dispose();
    } catch (error) {
      this.#instance.fail(error); // what cannot be tidied up cannot be used any more
    }
  }

  /** Anything thrown but a SandboxError is the engine's own failure. @throws SandboxError */
  protected guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw error instanceof SandboxError ? error : this.#instance.fail(error);
    }
  }

  protected allow(steps: number): void {
    this.#questionsLeft = steps / STEPS_PER_QUESTION;
  }

  /** Kept until the end. */
  protected own(handle: QuickJSHandle): QuickJSHandle {
    this.#handles.push(handle);
    return handle;
  }

  /** Run our side's code and the user's module. @returns what each is, kept until the end */
  protected load(
    guestCode: string,
    { code, file }: ModuleCode,
    ...values: QuickJSHandle[]
  ): { readonly ours: QuickJSHandle; readonly module: QuickJSHandle } {
    const { context } = this;
    this.allow(START_STEPS_MAX);
    const make = this.own(this.#value(context.evalCode(guestCode, "vsnat", { strict: true })));
    const ours = this.own(this.call(make, ...values));
    const module = this.own(this.#value(context.evalCode(code, file, { type: "module" })));
    return { ours, module };
  }

  /** @throws SandboxError, when it throws or takes too much */
  protected call(method: QuickJSHandle, ...values: QuickJSHandle[]): QuickJSHandle {
    return this.#value(this.context.callFunction(method, this.context.undefined, ...values));
  }

  #value(result: ReturnType<QuickJSContext["callFunction"]>): QuickJSHandle {
    if (result.error === undefined) return result.value;
    const isOutOfSteps = this.#questionsLeft < 0;
    // What was thrown may have code of its own that speaks for it.
    this.allow(ANSWER_STEPS_MAX);
    const thrown: unknown = this.context.dump(result.error);
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
