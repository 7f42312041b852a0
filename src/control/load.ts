/** A configuration file together with the modules it names: it is as good as they are. */
import { type Config, type ConfigResult, loadConfig } from "./config/config.ts";
import { readOwnApplications } from "./own-application-file.ts";
import type { OwnApplicationCode } from "./own-applications.ts";
import type { PluginCode } from "./scheduler-plugin.ts";
import { readSchedulerPlugins } from "./scheduler-plugin-file.ts";

/** Everything a daemon needs to know. */
export interface Loaded {
  readonly config: Config;
  readonly plugins: readonly PluginCode[];
  readonly applications: readonly OwnApplicationCode[];
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
  const own = await readOwnApplications(result.config.applications);
  const { applications } = own;
  if (mistakes.length + own.mistakes.length === 0) return { ...result, plugins, applications };
  const issues = [
    ...mistakes.map(({ name, file: module, message }) =>
      result.source.issueAtValue(
        ["schedulers", name],
        `${module}: ${message}`,
        "a module that picks one of the servers it is given",
      ),
    ),
    ...own.mistakes.map(({ name, file: module, message }) =>
      result.source.issueAtValue(
        ["applications", name, "module"],
        `${module}: ${message}`,
        "a module that exports rules, or a function datagram",
      ),
    ),
  ];
  return { ok: false, issues, warnings: result.warnings };
}
