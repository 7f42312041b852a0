/** `vsnat check FILE`: is this configuration right? Needs no privilege and no daemon, changes nothing. */
import { Command } from "commander";
import { loadWithModules } from "../control/load.ts";
import { reportIssues } from "./config-report.ts";
import { CommandFailure, ExitCode } from "./exit-code.ts";
import { painter, printJson } from "./terminal.ts";

export const command = (): Command =>
  new Command("check")
    .summary("check a configuration file")
    .description("Check a configuration file. All mistakes are reported at once, with line and column.")
    .argument("<file>", "configuration file, or - for standard input")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  vsnat check /etc/vsnat/vsnat.yaml\n  vsnat check --json - < vsnat.yaml",
    )
    .action(check);

async function check(file: string, options: { json?: boolean }): Promise<void> {
  const result = await loadWithModules(file);
  const issues = result.ok ? [] : result.issues;
  const services = result.ok ? result.config.director.services : [];
  const serverCount = services.reduce((sum, service) => sum + service.destinations.length, 0);
  if (options.json) {
    printJson({
      ok: result.ok,
      file,
      services: services.length,
      servers: serverCount,
      issues,
      warnings: result.warnings,
    });
    if (!result.ok) process.exitCode = ExitCode.usage;
    return;
  }
  reportIssues(file, result);
  if (!result.ok) throw new CommandFailure(`${file}: ${counted(issues.length, "mistake")}`, ExitCode.usage);
  const summary = `${counted(services.length, "service")}, ${counted(serverCount, "server")}`;
  const warnings = result.warnings.length > 0 ? `, ${counted(result.warnings.length, "warning")}` : "";
  process.stdout.write(`${file}: ${painter()("green", "ok")}: ${summary}${warnings}\n`);
}

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;
