/** `vsnat reload`: let the running daemon read its configuration again, and say what changed. */
import { Command } from "commander";
import type { ReloadResult } from "../control/daemon.ts";
import { ask } from "./control-client.ts";
import { painter, printJson } from "./terminal.ts";

export const command = (): Command =>
  new Command("reload")
    .summary("let the daemon read its configuration again")
    .description(
      "Let the running daemon read its configuration file again, as SIGHUP does, and print what changed.\n" +
        "A file with mistakes changes nothing; connections of what stays go on undisturbed.",
    )
    .option("--json", "print the result as JSON")
    .action(async ({ json }: { readonly json?: boolean }) => {
      const result = await ask<ReloadResult>("POST", "/v1/reload");
      if (json) printJson(result);
      else process.stdout.write(`${formatReload(result).join("\n")}\n`);
    });

function formatReload({ changes, needsRestart }: ReloadResult): string[] {
  const paint = painter();
  const lines = changes.map(({ kind, subject, connections }) => {
    return `${kind} ${subject}${connections > 0 ? ` (${connections} connections go on)` : ""}`;
  });
  if (lines.length === 0) lines.push("no service or server changed");
  return [...lines, ...needsRestart.map((path) => `${paint("yellow", "needs a restart:")} ${path}`)];
}
