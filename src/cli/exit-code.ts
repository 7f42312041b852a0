/** What a command's exit status says. Documented in docs/management.md; later commands add, never renumber. */
export const ExitCode = {
  ok: 0,
  /** The command was understood and did not succeed. */
  failure: 1,
  /** The command line or a configuration file is wrong; nothing was changed. */
  usage: 2,
  /** No daemon answers on the control socket. */
  notRunning: 3,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** A failure that is reported as one message, without a stack trace, under its own exit status. */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure";
  readonly exitCode: ExitCode;

  constructor(message: string, exitCode: ExitCode = ExitCode.failure, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}
