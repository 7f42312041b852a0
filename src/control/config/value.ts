/**
 * Kinds of values in a configuration file, as zod schemas: how each is parsed, and what editors are told of it.
 *
 * Every message is a phrase that follows "wanted"; place and finding are added by whoever reports it.
 */
import * as z from "zod";
import { seconds } from "../../base/environment.ts";
import type { Parsed } from "./parsed.ts";
import {
  DURATION_PATTERN,
  DURATION_SECONDS_MAX,
  parseDuration,
  parseSize,
  SIZE_PATTERN,
} from "./quantity.ts";

/** Counts and weights are 31-bit, as in IPVS's netlink interface. */
export const INT31_MAX = 2_147_483_647;

export type JsonSchemaPart = Readonly<Record<string, unknown>>;

/** A value read by a parser of ours; `json` is what the published schema says of it. */
export function leaf<T>(json: JsonSchemaPart, parse: (input: unknown) => Parsed<T>) {
  return z
    .unknown()
    .meta(json)
    .transform((input, context): T => {
      const result = parse(input);
      if ("value" in result) return result.value;
      context.issues.push({ code: "custom", message: result.wanted, input });
      return z.NEVER;
    });
}

/** Like `leaf`, for values that are text in the file. */
export const textLeaf = <T>(json: JsonSchemaPart, parse: (text: string) => Parsed<T>) =>
  leaf({ type: "string", ...json }, (input) => parse(typeof input === "string" ? input : ""));

export function whole(min: number, max: number, description: string) {
  return leaf(
    { type: "integer", minimum: min, maximum: max, description },
    (input): Parsed<number> =>
      typeof input === "number" && Number.isInteger(input) && input >= min && input <= max
        ? { value: input }
        : { wanted: `a whole number from ${min} to ${max}` },
  );
}

/** One of a few numbers. */
export function numeral<const T extends number>(options: readonly T[], description: string) {
  return leaf({ enum: options, description }, (input): Parsed<T> => {
    const option = options.find((candidate) => candidate === input);
    return option === undefined ? { wanted: `one of ${options.join(", ")}` } : { value: option };
  });
}

/** One of a few words. @param json - what editors are told, where there may be more words than this build knows */
export function choice<const T extends string>(
  options: readonly T[],
  description: string,
  json: JsonSchemaPart = { enum: options },
) {
  return leaf({ ...json, description }, (input): Parsed<T> => {
    const option = options.find((candidate) => candidate === input);
    return option === undefined ? { wanted: `one of ${options.join(", ")}` } : { value: option };
  });
}

export function duration(description: string) {
  const whole = { type: "integer", minimum: 1, maximum: DURATION_SECONDS_MAX };
  const json = { anyOf: [whole, { type: "string", pattern: DURATION_PATTERN }], description };
  return leaf(json, parseDuration).transform(seconds);
}

export function size(min: number, max: number, description: string) {
  const bytes = { type: "integer", minimum: min, maximum: max };
  const json = { anyOf: [bytes, { type: "string", pattern: SIZE_PATTERN }], description };
  return leaf(json, (input) => parseSize(input, min, max));
}

export const yesOrNo = (description: string) =>
  leaf(
    { type: "boolean", description },
    (input): Parsed<boolean> => (typeof input === "boolean" ? { value: input } : { wanted: "true or false" }),
  );

/** A mapping with exactly these keys. */
export function mapping<S extends z.ZodRawShape>(shape: S, description: string) {
  const keys = `one of ${Object.keys(shape).join(", ")}`;
  return z
    .strictObject(shape, { error: (issue) => (issue.code === "unrecognized_keys" ? keys : "a mapping") })
    .meta({ description });
}

export function list<S extends z.ZodType>(item: S, max: number, description: string, min = 0) {
  const items = z.array(item, { error: "a list" }).max(max, { error: `at most ${max}` });
  return (min === 0 ? items : items.min(min, { error: `at least ${min}` })).meta({ description });
}
