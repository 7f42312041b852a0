/**
 * The operator's own application modules as the engine sees them: triggers, and modules in sandboxes. A module that fails is
 * told of once; the connection it failed for is passed on unread. One that fails too often, or once takes too long, is not asked
 * again.
 */
import type { Engine } from "../alg/engine/engine.ts";
import { type LineRule, lineModule } from "../alg/engine/line-module.ts";
import type { ApplicationModule, Dialogue, Side } from "../alg/engine/module.ts";
import { type Trigger, triggerModule } from "../alg/engine/trigger.ts";
import type { Unit } from "../alg/engine/unit.ts";
import type { ApplicationPluginCode } from "./application-plugin.ts";
import { ApplicationSandbox } from "./application-plugin-sandbox.ts";
import { type SandboxEngine, SandboxError } from "./sandbox.ts";

/** Failures after which a module is not asked again. */
export const MODULE_FAILURES_MAX = 100;
/** Announcements of a connection that may wait. */
const EXPECTATIONS_MAX = 8;
/** Longest line that a module is given. */
const LINE_BYTES_MAX = 2048;
/** Modules that were exchanged and still have connections may be so many. */
const RETIRED_MAX = 8;

/** On its way to the datapath thread. */
export type OwnApplicationCode =
  | { readonly kind: "trigger"; readonly trigger: Trigger }
  | { readonly kind: "module"; readonly plugin: ApplicationPluginCode };

const nameOf = (one: OwnApplicationCode): string =>
  one.kind === "trigger" ? one.trigger.name : one.plugin.name;

export class OwnApplications {
  readonly #engine: Engine;
  readonly #sandboxes: SandboxEngine | undefined;
  readonly #onFailure: (message: string) => void;
  readonly #known = new Map<string, { readonly text: string; readonly plugin: Plugin | undefined }>();
  readonly #retired: Plugin[] = [];

  /**
   * @param sandboxes - undefined: there is no place for modules
   * @param onFailure - told at most twice of each module
   */
  constructor(engine: Engine, sandboxes: SandboxEngine | undefined, onFailure: (message: string) => void) {
    this.#engine = engine;
    this.#sandboxes = sandboxes;
    this.#onFailure = onFailure;
  }

  /** These and no others from now on, for new connections. What did not change is left alone. @throws Error: no place */
  use(wanted: readonly OwnApplicationCode[]): void {
    if (this.#sandboxes === undefined && wanted.some(({ kind }) => kind === "module"))
      throw new Error(
        "Cannot use application modules of your own: too little address space for them (ulimit -v)",
      );
    for (const [name, { plugin }] of this.#known) {
      if (wanted.some((one) => nameOf(one) === name)) continue;
      this.#engine.undefine(name);
      this.#known.delete(name);
      this.#retire(plugin);
    }
    for (const one of wanted) {
      const name = nameOf(one);
      const text = JSON.stringify(one);
      const before = this.#known.get(name);
      if (before?.text === text) continue;
      const plugin =
        one.kind === "module" ? new Plugin(one.plugin, this.#sandboxes!, this.#onFailure) : undefined;
      this.#engine.define(one.kind === "trigger" ? triggerModule(one.trigger) : plugin!.module);
      this.#known.set(name, { text, plugin });
      this.#retire(before?.plugin);
    }
  }

  /** Its connections go on as they began, as long as there are not too many such modules. */
  #retire(plugin: Plugin | undefined): void {
    if (plugin === undefined) return;
    this.#retired.push(plugin);
    if (this.#retired.length > RETIRED_MAX) this.#retired.shift()!.close();
  }
}

class Plugin {
  readonly module: ApplicationModule;
  readonly #code: ApplicationPluginCode;
  readonly #engine: SandboxEngine;
  readonly #onFailure: (message: string) => void;
  /** Undefined: it was given up. */
  #sandbox: ApplicationSandbox | undefined;
  #failureCount = 0;

  constructor(code: ApplicationPluginCode, engine: SandboxEngine, onFailure: (message: string) => void) {
    this.#code = code;
    this.#engine = engine;
    this.#onFailure = onFailure;
    this.#open();
    this.module = this.#makeModule();
  }

  close(): void {
    this.#sandbox?.close();
    this.#sandbox = undefined;
  }

  #open(): void {
    try {
      this.#sandbox = ApplicationSandbox.open(this.#engine, this.#code);
    } catch (error) {
      this.#fail(error, true);
    }
  }

  #makeModule(): ApplicationModule {
    const { name, transports, ports } = this.#code;
    const rules = this.#sandbox?.summary.rules ?? [];
    const lines = lineModule({
      name,
      ports: Array.from({ length: ports.last - ports.first + 1 }, (_, i) => ports.first + i),
      expectationsMax: EXPECTATIONS_MAX,
      lineBytesMax: LINE_BYTES_MAX,
      rules: rules.map(({ from, lead, names }, index): LineRule => {
        return {
          from,
          lead,
          ...(names !== undefined && { names }),
          read: (line, dialogue) => this.#line(index, line, dialogue),
        };
      }),
    });
    return {
      ...lines,
      transports,
      begin: (dialogue) => this.#begin(dialogue),
      read: (unit, from, dialogue) => {
        if (dialogue.transport === "tcp") lines.read(unit, from, dialogue);
        else this.#datagram(unit, from, dialogue);
      },
    };
  }

  #begin(dialogue: Dialogue): void {
    const { summary } = this.#sandbox ?? {};
    if (summary?.hasBegin) this.#ask((sandbox) => sandbox.opened(dialogue), dialogue);
    const isRead = dialogue.transport === "tcp" ? summary?.rules.length !== 0 : summary?.hasDatagram === true;
    if (!isRead) dialogue.passUnread();
  }

  #line(rule: number, line: string, dialogue: Dialogue): string | undefined {
    const bytes = Uint8Array.from(line, (character) => character.charCodeAt(0));
    const after = this.#ask((sandbox) => sandbox.line(rule, bytes, dialogue), dialogue);
    return after === undefined ? undefined : String.fromCharCode(...after);
  }

  #datagram(unit: Unit, from: Side, dialogue: Dialogue): void {
    const before = unit.bytes.subarray(unit.at, unit.at + unit.length);
    const after = this.#ask((sandbox) => sandbox.datagram(from, before, dialogue), dialogue);
    if (after !== undefined) replaceDifference(unit, before, after);
  }

  #ask<T>(question: (sandbox: ApplicationSandbox) => T, dialogue: Dialogue): T | undefined {
    if (this.#sandbox?.isLost) this.#open();
    if (this.#sandbox === undefined) {
      dialogue.passUnread();
      return undefined;
    }
    try {
      return question(this.#sandbox);
    } catch (error) {
      this.#fail(error, false);
      throw error; // counted by the engine, which passes this connection on unread
    }
  }

  #fail(error: unknown, isFinal: boolean): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#failureCount++;
    const isOverrun = error instanceof SandboxError && error.isOverrun;
    const isGivenUp = isFinal || isOverrun || this.#failureCount === MODULE_FAILURES_MAX;
    if (isGivenUp) this.close();
    if (this.#failureCount > 1 && !isGivenUp) return;
    const consequence = isGivenUp
      ? "its connections are passed on unread from now on"
      : "the connection is passed on unread";
    this.#onFailure(`application ${this.#code.name}: ${this.#code.file}: ${message}; ${consequence}`);
  }
}

/** Only what differs is written, so that a long datagram has room for a small change. */
function replaceDifference(unit: Unit, before: Uint8Array, after: Uint8Array): void {
  const shorter = Math.min(before.length, after.length);
  let same = 0;
  while (same < shorter && before[same] === after[same]) same++;
  let tail = 0;
  while (tail < shorter - same && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  if (same === before.length && same === after.length) return;
  let text = "";
  for (let i = same; i < after.length - tail; i++) text += String.fromCharCode(after[i]!);
  unit.replace(same, before.length - same - tail, text);
}
