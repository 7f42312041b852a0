/** Why a command line of vsadm did not succeed, in ipvsadm's words and with its exit status. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly exitCode: number;
  /** Whether the lines behind it in a file that is restored are still read. */
  readonly endsRestore: boolean;

  /** @param exitCode - 2: the command line is wrong; 1: nothing to list; 255: the director refuses */
  constructor(message: string, exitCode = 2, { endsRestore = true }: { endsRestore?: boolean } = {}) {
    super(message);
    this.exitCode = exitCode;
    this.endsRestore = endsRestore;
  }
}

/** As ipvsadm where there is no command it knows. */
export const tryHelp = (): Refusal =>
  new Refusal("Try `vsadm -h' or 'vsadm --help' for more information.", 255);
