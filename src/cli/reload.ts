/** `vsnat reload`: let the running daemon read its configuration again, and say what changed. */
import { Command } from "commander";
import type { ReloadResult } from "../control/daemon.ts";
import { ask } from "./control-client.ts";
import { manualLine } from "./manual-line.ts";
import { painter, printJson } from "./terminal.ts";

interface Options {
  readonly discardEdits?: boolean;
  readonly json?: boolean;
}

export const command = (): Command =>
  new Command("reload")
    .summary("let the daemon read its configuration again")
    .description(
      "Let the running daemon read its configuration file again, as SIGHUP does, and print what changed.\n" +
        "A file with mistakes changes nothing; connections of what stays go on undisturbed. What was changed by\n" +
        "hand (vsadm) stays, and is listed.",
    )
    .option("--discard-edits", "drop what was changed by hand")
    .option("--json", "print the result as JSON")
    .addHelpText("after", "\nExamples:\n  vsnat reload\n  vsnat reload --discard-edits")
    .action(async ({ discardEdits = false, json }: Options) => {
      const result = await ask<ReloadResult>("POST", "/v1/reload", { discardEdits });
      if (json) printJson(result);
      else process.stdout.write(`${formatReload(result, painter()).join("\n")}\n`);
    });

/** The lines that `vsnat reload` prints. */
export function formatReload(result: ReloadResult, paint: ReturnType<typeof painter>): string[] {
  const { changes, settings, needsRestart, manual, overriding, discarded } = result;
  const lines = changes.map(({ kind, subject, connections }) => {
    return `${kind} ${subject}${connections > 0 ? ` (${connections} connections go on)` : ""}`;
  });
  if (lines.length === 0) lines.push("no service or server changed");
  const isOverriding = ({ subject }: { subject: string }): boolean =>
    overriding.some((one) => one.subject === subject);
  return [
    ...lines,
    ...settings.map((path) => `edit ${path}`),
    ...needsRestart.map((path) => `${paint("yellow", "needs a restart:")} ${path}`),
    ...discarded.map((one) => `dropped, changed by hand: ${manualLine(one)}`),
    ...overriding.map(
      (one) => `${paint("yellow", "kept against the file, changed by hand:")} ${manualLine(one)}`,
    ),
    ...manual.filter((one) => !isOverriding(one)).map((one) => `kept, changed by hand: ${manualLine(one)}`),
  ];
}
