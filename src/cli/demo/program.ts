/**
 * A program the laboratory started: its process id, what it said, and promises for what it will say or how it will
 * end. Everything is awaited as an event; the only clocks are the limits after which waiting becomes an error.
 */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";

export interface ProgramOptions {
  /** Added to this process's own environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Written to standard input, which is then closed. Without it standard input is empty. */
  readonly input?: string;
  /** Standard input stays open for `tell`, behind `input` if there is one. */
  readonly isInteractive?: boolean;
  /** Limit for `run`: after it the program is killed and the call fails. Default 60 s. */
  readonly timeoutMs?: number;
}

export interface ProgramEnd {
  /** Exit code, or undefined if a signal ended it. */
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

const STOP_PATIENCE_MS = 5_000;

export class Program {
  /** Settles when the process is gone and its output has been read; never rejects. */
  readonly ended: Promise<ProgramEnd>;
  readonly #child: ChildProcess;
  readonly #title: string;
  readonly #watchers = new Set<() => void>();
  #stdout = "";
  #stderr = "";
  #hasEnded = false;

  constructor(command: readonly string[], options: ProgramOptions = {}) {
    const [file = "", ...args] = command;
    const spawnOptions: SpawnOptions = {
      env: { ...process.env, ...options.env },
      stdio: [options.input === undefined && !options.isInteractive ? "ignore" : "pipe", "pipe", "pipe"],
    };
    this.#title = command.join(" ");
    this.#child = spawn(file, args, spawnOptions);
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => this.#heard({ stdout: text }));
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => this.#heard({ stderr: text }));
    // A program that ends without reading its input is judged by its exit code, not by the broken pipe.
    this.#child.stdin?.on("error", () => {});
    if (options.isInteractive) this.#child.stdin?.write(options.input ?? "");
    else this.#child.stdin?.end(options.input);
    this.ended = new Promise((resolve) => {
      const end = (code: number | null, signal: NodeJS.Signals | null): void => {
        this.#hasEnded = true;
        resolve({
          code: code ?? undefined,
          signal: signal ?? undefined,
          stdout: this.#stdout,
          stderr: this.#stderr,
        });
        this.#heard({});
      };
      this.#child.once("close", end);
      this.#child.once("error", (error) => {
        this.#stderr += `${error.message}\n`;
        end(127, null);
      });
    });
  }

  /** Process id, also of the program inside its namespace: `ip netns exec` becomes the program. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  get isRunning(): boolean {
    return !this.#hasEnded;
  }

  /** Wait until the program has printed something that matches, on either stream. Fails if it ends before that. */
  waitFor(pattern: RegExp, timeoutMs = 15_000): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        this.#watchers.delete(look);
        clearTimeout(limit);
        act();
      };
      const fail = (why: string): void =>
        settle(() =>
          reject(new Error(`${this.#title}: ${why} before printing ${pattern}\n${this.#transcript()}`)),
        );
      const look = (): void => {
        const found = pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr);
        if (found) settle(() => resolve(found));
        else if (this.#hasEnded) fail("ended");
      };
      const limit = setTimeout(() => fail(`waited ${timeoutMs} ms`), timeoutMs);
      this.#watchers.add(look);
      look();
    });
  }

  /** Wait for the end and insist on success. */
  async result(timeoutMs = 60_000): Promise<ProgramEnd> {
    const end = await this.end(timeoutMs);
    if (end.code === 0) return end;
    throw new Error(
      `${this.#title}: ended with ${end.signal ?? `exit code ${end.code}`}\n${this.#transcript()}`,
    );
  }

  /** Wait for the end, whatever it is; past the limit the program is killed and the call fails. */
  async end(timeoutMs = 60_000): Promise<ProgramEnd> {
    let isLate = false;
    const limit = setTimeout(() => {
      isLate = true;
      this.kill("SIGKILL");
    }, timeoutMs);
    const end = await this.ended;
    clearTimeout(limit);
    if (isLate) throw new Error(`${this.#title}: still running after ${timeoutMs} ms\n${this.#transcript()}`);
    return end;
  }

  /** Say a line to an interactive program. */
  tell(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  kill(signal: NodeJS.Signals): void {
    if (this.isRunning) this.#child.kill(signal);
  }

  /** Ask it to stop, insist after a while, and wait until it is gone. */
  async stop(): Promise<ProgramEnd> {
    this.kill("SIGTERM");
    const insist = setTimeout(() => {
      this.kill("SIGKILL");
      // What it started itself may live on and hold its output open; the laboratory's guardian ends that.
      this.#child.stdout?.destroy();
      this.#child.stderr?.destroy();
    }, STOP_PATIENCE_MS);
    const end = await this.ended;
    clearTimeout(insist);
    return end;
  }

  #heard(said: { readonly stdout?: string; readonly stderr?: string }): void {
    this.#stdout += said.stdout ?? "";
    this.#stderr += said.stderr ?? "";
    for (const look of [...this.#watchers]) look();
  }

  #transcript(): string {
    return `--- stdout\n${this.#stdout.slice(-4_000)}\n--- stderr\n${this.#stderr.slice(-4_000)}`;
  }
}
