/** Reads users' application modules, and runs their statements before the director depends on them. */

import { ApplicationSandbox } from "./application-plugin-sandbox.ts";
import type { OwnApplicationDefinition } from "./config/own-application-schema.ts";
import { readModule, reasonOf } from "./module-file.ts";
import type { OwnApplicationCode } from "./own-applications.ts";
import { SandboxEngine } from "./sandbox.ts";

export interface OwnApplicationMistake {
  readonly name: string;
  readonly file: string;
  readonly message: string;
}

export interface OwnApplicationReading {
  readonly applications: readonly OwnApplicationCode[];
  readonly mistakes: readonly OwnApplicationMistake[];
}

export async function readOwnApplications(
  definitions: readonly OwnApplicationDefinition[],
): Promise<OwnApplicationReading> {
  const applications: OwnApplicationCode[] = [];
  const mistakes: OwnApplicationMistake[] = [];
  let engine: SandboxEngine | undefined;
  for (const one of definitions) {
    if (one.kind === "trigger") {
      applications.push(one);
      continue;
    }
    const { kind, file, name, transports, ports } = one;
    try {
      const plugin = { name, transports, ports, file, code: await readModule(file) };
      engine ??= await SandboxEngine.load();
      ApplicationSandbox.open(engine, plugin).close();
      applications.push({ kind, plugin });
    } catch (error) {
      mistakes.push({ name, file, message: reasonOf(error) });
    }
  }
  return { applications, mistakes };
}
