/**
 * Reads users' scheduler modules, JavaScript or TypeScript, and tries them before the director depends on them: a mistake
 * in a module is a mistake in the configuration.
 */
import { milliseconds } from "../base/environment.ts";
import { Flow, Protocol } from "../wire/flow.ts";
import type { SchedulerPlugin } from "./config/config.ts";
import { readModule, reasonOf } from "./module-file.ts";
import { SandboxEngine } from "./sandbox.ts";
import type { PluginCode } from "./scheduler-plugin.ts";
import { NO_SERVER } from "./scheduler-plugin-guest.ts";
import { type SandboxServer, SchedulerSandbox } from "./scheduler-plugin-sandbox.ts";

/** What cannot be used, and why. */
export interface PluginMistake extends SchedulerPlugin {
  readonly message: string;
}

export interface PluginReading {
  /** Those that can be used. */
  readonly plugins: readonly PluginCode[];
  readonly mistakes: readonly PluginMistake[];
}

/** Read modules and let each pick once. */
export async function readSchedulerPlugins(files: readonly SchedulerPlugin[]): Promise<PluginReading> {
  const plugins: PluginCode[] = [];
  const mistakes: PluginMistake[] = [];
  if (files.length === 0) return { plugins, mistakes };
  const engine = await SandboxEngine.load();
  for (const { name, file } of files) {
    try {
      const plugin = { name, file, code: await readModule(file) };
      tryOut(engine, plugin);
      plugins.push(plugin);
    } catch (error) {
      mistakes.push({ name, file, message: reasonOf(error) });
    }
  }
  return { plugins, mistakes };
}

/** @throws SandboxError */
function tryOut(engine: SandboxEngine, plugin: PluginCode): void {
  const sandbox = SchedulerSandbox.open(engine, plugin, 1, []);
  try {
    sandbox.arrange(TRIAL_SERVERS);
    const index = sandbox.pick(TRIAL_SERVERS, TRIAL_FLOW, milliseconds(0));
    if (index === NO_SERVER) throw new RangeError("pick returned something that is no server of the list");
  } finally {
    sandbox.close();
  }
}

/** Of the documentation's addresses (RFC 5737). */
const TRIAL_SERVERS: readonly SandboxServer[] = ["192.0.2.2", "192.0.2.1"].map((address) => {
  return { address, port: 80, weight: 1, activeConnections: 0, inactiveConnections: 0, isOverloaded: false };
});
const TRIAL_FLOW = new Flow();
TRIAL_FLOW.protocol = Protocol.tcp;
TRIAL_FLOW.words[0] = 0xc6336401 | 0;
TRIAL_FLOW.words[4] = 0xcb007101 | 0;
TRIAL_FLOW.sourcePort = 40_000;
TRIAL_FLOW.destinationPort = 80;
