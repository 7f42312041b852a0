/** A configuration file together with the scheduler modules it names: it is as good as they are. */
import { type Config, type ConfigResult, loadConfig } from "./config/config.ts";
import type { PluginCode } from "./scheduler-plugin.ts";
import { readSchedulerPlugins } from "./scheduler-plugin-file.ts";

/** Everything a daemon needs to know. */
export interface Loaded {
  readonly config: Config;
  readonly plugins: readonly PluginCode[];
}

export type LoadResult =
  | (Extract<ConfigResult, { ok: true }> & Loaded)
  | Extract<ConfigResult, { ok: false }>;

/**
 * Read and judge a file, and try out its modules.
 * @param file - a path, or `-` for standard input
 */
export async function loadWithModules(file: string): Promise<LoadResult> {
  const result = loadConfig(file);
  if (!result.ok) return result;
  const { plugins, mistakes } = await readSchedulerPlugins(result.config.schedulerPlugins);
  if (mistakes.length === 0) return { ...result, plugins };
  const issues = mistakes.map(({ name, file: module, message }) =>
    result.source.issueAtValue(
      ["schedulers", name],
      `${module}: ${message}`,
      "a module that picks one of the servers it is given",
    ),
  );
  return { ok: false, issues, warnings: result.warnings };
}
