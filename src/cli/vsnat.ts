#!/usr/bin/env node
/** The `vsnat` command. */
import { Command } from "commander";
import { command as check } from "./check.ts";
import { command as demo } from "./demo.ts";
import { addCommand, runProgram } from "./program.ts";
import { command as replay } from "./replay.ts";
import { command as run } from "./run.ts";
import { command as schema } from "./schema.ts";
import { VERSION } from "./version.ts";

const program = new Command("vsnat")
  .description(
    "Linux Virtual Server via NAT outside the kernel: a layer-4 load balancer with IPVS semantics.",
  )
  .version(VERSION, "-V, --version", "print the version")
  .helpOption("-h, --help", "print help")
  .helpCommand("help [command]", "print help for a command")
  .showSuggestionAfterError()
  .showHelpAfterError("(vsnat --help shows what there is)")
  .exitOverride();

addCommand(program, "Daemon:", run());
addCommand(program, "Configuration:", check());
addCommand(program, "Configuration:", schema());
addCommand(program, "Without a daemon:", demo());
addCommand(program, "Without a daemon:", replay());

await runProgram(program);
