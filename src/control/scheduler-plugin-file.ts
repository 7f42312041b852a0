/**
 * Reads users' scheduler modules, JavaScript or TypeScript, and tries them before the director depends on them: a mistake
 * in a module is a mistake in the configuration.
 */
import { readFileSync } from "node:fs";
import { milliseconds } from "../base/environment.ts";
import { Flow, Protocol } from "../wire/flow.ts";
import type { SchedulerPlugin } from "./config/config.ts";
import type { PluginCode } from "./scheduler-plugin.ts";
import { NO_SERVER } from "./scheduler-plugin-guest.ts";
import { SandboxEngine, type SandboxServer } from "./scheduler-plugin-sandbox.ts";

const MODULE_BYTES_MAX = 256 * 1024;

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
      const plugin = { name, file, code: await codeOf(file) };
      tryOut(engine, plugin);
      plugins.push(plugin);
    } catch (error) {
      mistakes.push({ name, file, message: messageOf(error) });
    }
  }
  return { plugins, mistakes };
}

async function codeOf(file: string): Promise<string> {
  const bytes = readFileSync(file);
  if (bytes.length > MODULE_BYTES_MAX)
    throw new RangeError(`it has ${bytes.length} bytes, expected at most ${MODULE_BYTES_MAX}`);
  const text = bytes.toString("utf8");
  if (!/\.[cm]?ts$/.test(file)) return text;
  // As Node does it: types become blanks, so lines and columns in messages stay right.
  const { transformSync } = await import("@swc/wasm-typescript");
  return transformSync(text, { mode: "strip-only", module: true, filename: file }).code;
}

/** @throws SandboxError */
function tryOut(engine: SandboxEngine, plugin: PluginCode): void {
  const sandbox = engine.open(plugin, 1, []);
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

/** swc throws objects and texts of its own. */
function messageOf(thrown: unknown): string {
  if (typeof thrown === "string") return thrown;
  const { message } = thrown as { readonly message?: unknown };
  return typeof message === "string" ? message : String(thrown);
}
