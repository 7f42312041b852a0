/** Schedulers by name in a configuration file, and the user's own ones: `schedulers: { mine: ./my-scheduler.js }`. */
import * as z from "zod";
import type { Parsed } from "./parsed.ts";
import { choice, textLeaf } from "./value.ts";

export const SCHEDULER_PLUGINS_MAX = 16;
const NAME_PATTERN = "^[a-z][a-z0-9-]{0,14}$";
const PATH_CHARACTERS_MAX = 4096;

/** @param schedulers - that there are */
export const schedulerName = (schedulers: readonly string[]) =>
  choice(schedulers, "How a server is picked for a new connection.", {
    anyOf: [{ enum: schedulers }, { type: "string", pattern: NAME_PATTERN }],
  });

export const moduleFile = (description: string) =>
  textLeaf(
    {
      pattern: "\\.[cm]?[jt]s$",
      maxLength: PATH_CHARACTERS_MAX,
      description: `${description}: JavaScript or TypeScript; relative to this file.`,
    },
    (text): Parsed<string> =>
      /\.[cm]?[jt]s$/.test(text) && text.length <= PATH_CHARACTERS_MAX && !text.includes("\0")
        ? { value: text }
        : { wanted: "the path of a JavaScript or TypeScript module, as in ./mine.ts" },
  );

const pluginName = z
  .string()
  .regex(new RegExp(NAME_PATTERN), { error: "a name of 1 to 15 small letters, digits and -" });

export const pluginModules = z
  .record(pluginName, moduleFile("Scheduler"), { error: "a mapping of names to modules" })
  .refine((modules) => Object.keys(modules).length <= SCHEDULER_PLUGINS_MAX, {
    error: `at most ${SCHEDULER_PLUGINS_MAX}`,
  })
  .transform((modules) => Object.entries(modules).map(([name, file]) => ({ name, file })))
  .meta({ description: "Schedulers of your own: name and module.", maxProperties: SCHEDULER_PLUGINS_MAX });

/** Names of the plug-ins in the raw data, as far as they are names. */
export const pluginNames = (schedulers: unknown): string[] =>
  schedulers !== null && typeof schedulers === "object"
    ? Object.keys(schedulers)
        .filter((name) => new RegExp(NAME_PATTERN).test(name))
        .slice(0, SCHEDULER_PLUGINS_MAX)
    : [];
