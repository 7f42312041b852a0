/**
 * Running a command line: help and errors as people expect them, one exit status a kind of failure.
 *
 * Convention: each command is a file of this folder that exports `command(): Command`; vsnat.ts lists them.
 */
import { type Command, CommanderError } from "commander";
import { CommandFailure, ExitCode } from "./exit-code.ts";
import { painter } from "./terminal.ts";

/** Let `program` take over a command made elsewhere: settings are inherited, and it is shown under `group`. */
export function addCommand(program: Command, group: string, command: Command): void {
  command.copyInheritedSettings(program).helpGroup(group);
  program.addCommand(command);
}

/** Parse and run. Sets `process.exitCode`; never throws. */
export async function runProgram(program: Command, argv: readonly string[] = process.argv): Promise<void> {
  // A reader that goes away (`vsnat status | head -1`) is not an error worth a stack trace.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    process.exit(error.code === "EPIPE" ? ExitCode.ok : ExitCode.failure);
  });
  try {
    await program.parseAsync([...argv]);
  } catch (error) {
    process.exitCode = exitCodeOf(error, program.name());
  }
}

function exitCodeOf(error: unknown, programName: string): ExitCode {
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage; // already printed
  const paint = painter(process.stderr);
  if (error instanceof CommandFailure) {
    process.stderr.write(`${programName}: ${paint("red", error.message)}\n`);
    return error.exitCode;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`${programName}: ${paint("red", "internal error")}, please report it: ${text}\n`);
  return ExitCode.failure;
}
