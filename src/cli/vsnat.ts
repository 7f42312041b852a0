#!/usr/bin/env node
/** The `vsnat` command. */
import { Command } from "commander";
import { command as check } from "./check.ts";
import { command as cleanup } from "./cleanup.ts";
import { command as connections } from "./connections.ts";
import { command as demo } from "./demo.ts";
import { command as doctor } from "./doctor.ts";
import { command as exportFile } from "./export.ts";
import { command as importFile } from "./import.ts";
import { command as metrics } from "./metrics.ts";
import { addCommand, runProgram } from "./program.ts";
import { command as reload } from "./reload.ts";
import { command as replay } from "./replay.ts";
import { command as run } from "./run.ts";
import { command as schema } from "./schema.ts";
import { command as status } from "./status.ts";
import { command as stop } from "./stop.ts";
import { command as trace } from "./trace.ts";
import { VERSION } from "./version.ts";

const GROUPS = {
  "Daemon:": [run, reload, stop, cleanup],
  "Looking at it:": [status, connections, metrics, exportFile, trace],
  "Configuration:": [check, importFile, schema],
  "Without a daemon:": [demo, replay, doctor],
};

const program = new Command("vsnat")
  .description(
    "Linux Virtual Server via NAT outside the kernel: a layer-4 load balancer with IPVS semantics.",
  )
  .version(VERSION, "-V, --version", "print the version")
  .helpOption("-h, --help", "print help")
  .helpCommand("help [command]", "print help for a command")
  .showSuggestionAfterError()
  .showHelpAfterError("(vsnat --help shows what there is)")
  .addHelpText(
    "after",
    "\nExamples:\n  vsnat demo                          see it work, in network namespaces of its own\n" +
      "  vsnat check /etc/vsnat/vsnat.yaml   is the configuration right?\n" +
      "  vsnat run                           run the director\n" +
      "\nExit status: 0 success, 1 failure, 2 wrong command line or configuration, 3 no daemon answers.",
  )
  .exitOverride();

for (const [group, commands] of Object.entries(GROUPS)) {
  for (const command of commands) addCommand(program, group, command());
}

await runProgram(program);
