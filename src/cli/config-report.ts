/** A configuration file as commands see it: read, mistakes and warnings printed, or a usage failure. */
import { type Config, type ConfigResult, loadConfig } from "../control/config/config.ts";
import { type ConfigIssue, formatIssue } from "../control/config/issue.ts";
import { type Loaded, loadWithModules } from "../control/load.ts";
import { CommandFailure, ExitCode } from "./exit-code.ts";
import { painter } from "./terminal.ts";

const ISSUES_SHOWN_MAX = 50;

/** Print mistakes and warnings to standard error, as compilers do. */
export function reportIssues(file: string, result: ConfigResult): void {
  const shownName = file === "-" ? "(standard input)" : file;
  const issues = result.ok ? [] : result.issues;
  const lines = [...shown(shownName, "error", issues), ...shown(shownName, "warning", result.warnings)];
  if (lines.length > 0) process.stderr.write(`${lines.join("\n")}\n`);
}

/** The configuration in `file`, its warnings printed. @throws CommandFailure after printing its mistakes. */
export function configOrFailure(file: string): Config {
  return okOrFailure(file, loadConfig(file)).config;
}

/** The same with the scheduler modules that the file names. */
export async function loadedOrFailure(file: string): Promise<Loaded> {
  return okOrFailure(file, await loadWithModules(file));
}

function okOrFailure<T extends ConfigResult>(file: string, result: T): Extract<T, { ok: true }> {
  reportIssues(file, result);
  if (result.ok) return result as Extract<T, { ok: true }>;
  const count = result.issues.length;
  throw new CommandFailure(
    `${file}: ${count} ${count === 1 ? "mistake" : "mistakes"}; nothing was applied`,
    ExitCode.usage,
  );
}

function shown(file: string, kind: "error" | "warning", issues: readonly ConfigIssue[]): string[] {
  const paint = painter(process.stderr);
  const lines = issues.slice(0, ISSUES_SHOWN_MAX).map((issue) => {
    return formatIssue(file, kind, issue).replace(
      `${kind}:`,
      paint(kind === "error" ? "red" : "yellow", `${kind}:`),
    );
  });
  const more = issues.length - ISSUES_SHOWN_MAX;
  return more > 0 ? [...lines, `${file}: ${more} more`] : lines;
}
