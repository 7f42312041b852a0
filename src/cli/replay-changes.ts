/**
 * Configuration changes in the middle of a replay: what was edited while the capture was taken, or what would have come of
 * an edit. A YAML list in order of time:
 *
 *     - { at: 12.5, config: later.yaml }               # seconds after the first packet that arrives
 *     - { at: 80, config: first.yaml, anew: true }     # services made anew: schedulers begin at the beginning
 */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import * as z from "zod";
import type { DirectorControl } from "../control/director-control.ts";
import type { DirectorConfig } from "../nat/configuration.ts";
import { configOrFailure } from "./config-report.ts";
import { CommandFailure, ExitCode } from "./exit-code.ts";

const CHANGES_MAX = 10_000;
/** Captures count in microseconds; decimal seconds do not hit them exactly. */
const HALF_MICROSECOND_MS = 0.0005;

const changesSchema = z
  .array(z.strictObject({ at: z.number().min(0), config: z.string(), anew: z.boolean().default(false) }))
  .max(CHANGES_MAX);

interface TimedChange {
  readonly atMs: number;
  readonly config: DirectorConfig;
  readonly isAnew: boolean;
}

export class ReplayChanges {
  readonly #changes: readonly TimedChange[];
  #next = 0;

  constructor(changes: readonly TimedChange[]) {
    this.#changes = changes;
  }

  /** Make the changes whose time has come. Sizes of tables stay as they were at the start. */
  apply(control: DirectorControl, nowMs: number): void {
    for (; this.#next < this.#changes.length; this.#next++) {
      const { atMs, config, isAnew } = this.#changes[this.#next]!;
      if (atMs > nowMs + HALF_MICROSECOND_MS) return;
      if (isAnew) control.apply({ ...config, services: [] });
      control.apply(config);
    }
  }
}

/** Read a file of changes and every configuration it names. @throws CommandFailure */
export function loadReplayChanges(file: string): ReplayChanges {
  const refuse = (message: string): CommandFailure =>
    new CommandFailure(`Cannot read changes from ${file}: ${message}`, ExitCode.usage);
  let input: unknown;
  try {
    input = parse(readFileSync(file, "utf8"), { maxAliasCount: 0 });
  } catch (error) {
    throw refuse((error as Error).message);
  }
  const parsed = changesSchema.safeParse(input);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw refuse(`${path.join(".") || "the file"}: ${message}; expected a list of { at, config, anew }`);
  }
  const late = parsed.data.findIndex(({ at }, index) => index > 0 && at < parsed.data[index - 1]!.at);
  if (late >= 0) throw refuse(`${late}.at: the changes are not in order of time`);
  return new ReplayChanges(
    parsed.data.map(({ at, config, anew }) => ({
      atMs: at * 1000,
      config: configOrFailure(resolve(dirname(file), config)).director,
      isAnew: anew,
    })),
  );
}
