/**
 * `vsnat run` inside a namespace of the laboratory, and the commands that talk to it. The file system is shared with
 * the host, so configuration and control socket lie in the laboratory's own directory.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Laboratory, Namespace } from "./laboratory.ts";
import type { Program, ProgramEnd } from "./program.ts";

/** The built package, whether this file runs from `src/` (in tests) or from `dist/`. */
const DIST = fileURLToPath(new URL("../../../dist/", import.meta.url));

/** The command that runs one of this package's built files. */
export const builtProgram = (path: string, ...args: readonly string[]): string[] => [
  process.execPath,
  join(DIST, path),
  ...args,
];

export class DirectorDaemon {
  /** Path of the configuration file. */
  readonly file: string;
  /** Lines behind every configuration. */
  more = "";
  /** What starts the daemon's command: a program and its arguments, behind which the command comes. */
  launcher: readonly string[] = [];
  readonly #namespace: Namespace;
  /** With it the other commands find this daemon. */
  readonly environment: { readonly VSNAT_SOCKET: string; readonly VSNAT_RUNTIME_DIRECTORY: string };
  #program: Program | undefined;

  constructor(laboratory: Pick<Laboratory, "directory" | "runtimeDirectory">, namespace: Namespace) {
    this.#namespace = namespace;
    this.file = join(laboratory.directory, "founding.yaml");
    this.environment = {
      VSNAT_SOCKET: join(laboratory.directory, "vsnat.sock"),
      VSNAT_RUNTIME_DIRECTORY: laboratory.runtimeDirectory,
    };
  }

  /** The running daemon. */
  get program(): Program {
    if (!this.#program) throw new Error("The daemon was not started");
    return this.#program;
  }

  /** Write the configuration, start the daemon and wait until it says that it is ready. */
  async start(configuration: string, ...args: readonly string[]): Promise<Program> {
    await writeFile(
      this.file,
      `${configuration}
${this.more}`,
    );
    const command = builtProgram("cli/vsnat.js", "run", "--config", this.file, ...args);
    this.#program = this.#namespace.start([...this.launcher, ...command], { env: this.environment });
    await this.#program.waitFor(/\bready\b/i);
    return this.#program;
  }

  /** Write another configuration and have the daemon read it. */
  async reload(configuration: string, ...args: readonly string[]): Promise<ProgramEnd> {
    await writeFile(this.file, `${configuration}\n${this.more}`);
    return this.vsnat("reload", ...args);
  }

  /** Stop the daemon, keeping no connection. */
  async stop(): Promise<ProgramEnd> {
    await this.vsnat("stop", "--flush");
    return this.program.ended;
  }

  /** `vsnat ARGS` beside the daemon, e.g. `vsnat("status", "--json")`. */
  vsnat(...args: readonly string[]): Promise<ProgramEnd> {
    return this.#namespace.run(builtProgram("cli/vsnat.js", ...args), { env: this.environment });
  }
}
