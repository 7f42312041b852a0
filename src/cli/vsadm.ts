#!/usr/bin/env node
/** The `vsadm` command: ipvsadm 1.31 for the running daemon. See vsadm/run-vsadm.ts. */
import { text } from "node:stream/consumers";
import { ask } from "./control-client.ts";
import { CommandFailure } from "./exit-code.ts";
import { systemNames } from "./vsadm/names.ts";
import { runVsadm } from "./vsadm/run-vsadm.ts";

process.stdout.on("error", () => process.exit());
const io = {
  names: systemNames(),
  input: () => text(process.stdin),
  print: (output: string) => void process.stdout.write(output),
  complain: (output: string) => void process.stderr.write(output),
};
try {
  process.exitCode = await runVsadm(process.argv.slice(2), io, ask);
} catch (error) {
  if (!(error instanceof CommandFailure)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error.exitCode;
}
