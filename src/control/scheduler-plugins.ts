/**
 * Users' schedulers as the director sees them: ordinary schedulers whose every pick is valid. A pick that the module fails
 * to make is made by wlc; the first failure is told once, and a module that fails too often, or once takes too long, is
 * not asked again.
 */
import type { Scheduler, SchedulerContext, SchedulerRegistry } from "../nat/contracts/scheduler.ts";
import type { Destination } from "../nat/destination.ts";
import { SCHEDULERS } from "../schedulers/registry.ts";
import { isEligible } from "../schedulers/selection.ts";
import { weightedLeastConnection } from "../schedulers/weighted-least-connection.ts";
import { formatAddress } from "../wire/address.ts";
import type { Flow } from "../wire/flow.ts";
import { type SandboxEngine, SandboxError } from "./sandbox.ts";
import type { PluginCode } from "./scheduler-plugin.ts";
import { NOBODY } from "./scheduler-plugin-guest.ts";
import { SchedulerSandbox } from "./scheduler-plugin-sandbox.ts";

/** Failed picks of one service after which its module is not asked again. */
export const FAILURES_MAX = 100;

export class SchedulerPlugins {
  /** The built-in schedulers and the users' own; `use` changes it. */
  readonly registry: SchedulerRegistry;
  readonly #registry: Record<string, SchedulerRegistry[string]> = { ...SCHEDULERS };
  readonly #engine: SandboxEngine;
  readonly #onFailure: (message: string) => void;
  #plugins: readonly PluginCode[] = [];
  readonly #live = new Set<PluginScheduler>();

  /** @param onFailure - told at most twice of each service */
  constructor(engine: SandboxEngine, onFailure: (message: string) => void) {
    this.#engine = engine;
    this.#onFailure = onFailure;
    this.registry = this.#registry;
  }

  /**
   * These plug-ins and no others from now on. Services at work begin anew with a module that changed, without what it
   * remembered; a module that is gone goes on where it is at work.
   */
  use(plugins: readonly PluginCode[]): void {
    for (const { name } of this.#plugins) delete this.#registry[name];
    const old = this.#plugins;
    this.#plugins = plugins;
    for (const plugin of plugins) {
      this.#registry[plugin.name] = (context) => this.#make(plugin, context);
      const before = old.find(({ name }) => name === plugin.name);
      if (before?.code === plugin.code) continue;
      for (const one of this.#live) if (one.name === plugin.name) one.begin(plugin);
    }
  }

  #make(plugin: PluginCode, context: SchedulerContext): Scheduler {
    const scheduler = new PluginScheduler(plugin, context, {
      engine: this.#engine,
      onFailure: this.#onFailure,
      onClose: () => this.#live.delete(scheduler),
    });
    this.#live.add(scheduler);
    return scheduler;
  }
}

interface Host {
  readonly engine: SandboxEngine;
  readonly onFailure: (message: string) => void;
  readonly onClose: () => void;
}

class PluginScheduler implements Scheduler {
  readonly name: string;
  failureCount = 0;
  readonly #context: SchedulerContext;
  readonly #host: Host;
  readonly #fallback = weightedLeastConnection();
  /** Undefined: it was given up. */
  #sandbox: SchedulerSandbox | undefined;
  #plugin: PluginCode;
  #firstFailure = "";
  #isStale = true;

  constructor(plugin: PluginCode, context: SchedulerContext, host: Host) {
    this.name = plugin.name;
    this.#plugin = plugin;
    this.#context = context;
    this.#host = host;
    this.begin(plugin);
  }

  get failure(): string | undefined {
    if (this.failureCount === 0) return undefined;
    const consequence =
      this.#sandbox === undefined
        ? "wlc picks in its place"
        : `${this.failureCount} picks were made by wlc instead`;
    return `${this.#plugin.file}: ${this.#firstFailure}; ${consequence}`;
  }

  /** Run the module, or another in its place. */
  begin(plugin: PluginCode): void {
    this.#sandbox?.close();
    this.#sandbox = undefined;
    this.#plugin = plugin;
    this.#isStale = true;
    this.failureCount = 0;
    try {
      this.#sandbox = SchedulerSandbox.open(
        this.#host.engine,
        plugin,
        this.#context.randomU32(),
        this.#context.flags,
      );
    } catch (error) {
      this.#fail(error, true);
    }
  }

  pick(destinations: readonly Destination[], flow: Flow): Destination | undefined {
    if (this.#sandbox?.isLost) this.begin(this.#plugin);
    const sandbox = this.#sandbox;
    if (sandbox === undefined) return this.#fallback.pick(destinations, flow);
    try {
      if (this.#isStale) sandbox.arrange(destinations);
      this.#isStale = false;
      const index = sandbox.pick(destinations, flow, this.#context.now());
      if (index === NOBODY) return undefined;
      const destination = destinations[index];
      if (destination !== undefined && isEligible(destination)) return destination;
      this.#fail(new SandboxError(`pick returned ${nameOf(destination)}`, false), false);
    } catch (error) {
      this.#fail(error, false);
    }
    return this.#fallback.pick(destinations, flow);
  }

  changed(): void {
    this.#isStale = true;
  }

  close(): void {
    this.#sandbox?.close();
    this.#sandbox = undefined;
    this.#host.onClose();
  }

  #fail(error: unknown, isFinal: boolean): void {
    const message = error instanceof Error ? error.message : String(error);
    this.failureCount++;
    if (this.failureCount === 1) this.#firstFailure = message;
    const isOverrun = error instanceof SandboxError && error.isOverrun;
    const isGivenUp = isFinal || isOverrun || this.failureCount === FAILURES_MAX;
    if (isGivenUp) {
      this.#sandbox?.close();
      this.#sandbox = undefined;
    }
    if (this.failureCount === 1 || isGivenUp) this.#host.onFailure(`scheduler ${this.name}: ${this.failure}`);
  }
}

function nameOf(destination: Destination | undefined): string {
  if (destination === undefined) return "something that is no server of the list";
  const { words, service, port, weight } = destination;
  const why = weight === 0 ? "has weight 0" : "is overloaded";
  return `${formatAddress(service.family, words)} port ${port}, which ${why}`;
}
