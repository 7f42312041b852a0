/** `vsnat metrics`: the figures of the running daemon for Prometheus. */
import { lstatSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { Command } from "commander";
import { formatExposition } from "../api/exposition.ts";
import { metricsOf } from "../api/metrics.ts";
import type { Status } from "../api/operations.ts";
import { ask } from "./control-client.ts";
import { CommandFailure, ExitCode } from "./exit-code.ts";

export const command = (): Command =>
  new Command("metrics")
    .summary("print figures for Prometheus")
    .description(
      "Print what the running daemon counts, in Prometheus's text format.\n" +
        "When no daemon answers that is vsnat_up 0 alone, and the exit status is 3.",
    )
    .option(
      "-o, --output <file>",
      "write it to this file, in one step, for node_exporter's textfile collector",
    )
    .addHelpText(
      "after",
      "\nExamples:\n  vsnat metrics\n  vsnat metrics --output /var/lib/prometheus/node-exporter/vsnat.prom",
    )
    .action(metrics);

async function metrics({ output }: { readonly output?: string }): Promise<void> {
  let status: Status | undefined;
  let failure: CommandFailure | undefined;
  try {
    status = await ask<Status>("GET", "/v1/status");
  } catch (error) {
    // What was written before must not go on as if it were true.
    if (!(error instanceof CommandFailure) || error.exitCode !== ExitCode.notRunning) throw error;
    failure = error;
  }
  const text = formatExposition(metricsOf(status));
  if (output === undefined) process.stdout.write(text);
  else replaceFile(output, text);
  if (failure !== undefined) throw failure;
}

/** Who reads the file sees all of the old one or all of the new one. */
function replaceFile(path: string, text: string): void {
  // The collector reads *.prom: this is none.
  const fresh = `${path}.${process.pid}`;
  try {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.isFile() === false) throw new Error("it is there, and not a file");
    rmSync(fresh, { force: true });
    writeFileSync(fresh, text, { mode: 0o644, flag: "wx" });
    renameSync(fresh, path);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw new CommandFailure(`Cannot write ${path}: ${(error as Error).message}`, ExitCode.failure, {
      cause: error,
    });
  }
}
