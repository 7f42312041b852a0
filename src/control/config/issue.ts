/** One mistake or warning in a configuration file, and how it is shown to a person. */

export interface ConfigIssue {
  /** Place in the data: `services[0].servers[1].weight`; empty for the file as a whole. */
  readonly path: string;
  /** 1-based; 0 when the file could not be read at all. */
  readonly line: number;
  readonly column: number;
  readonly found: string;
  readonly wanted: string;
  /** The source line with a line of carets under the place; empty when there is none. */
  readonly excerpt: string;
}

export type PathSegment = string | number;

export const formatPath = (segments: readonly PathSegment[]): string =>
  segments.reduce<string>((path, segment) => {
    if (typeof segment === "number") return `${path}[${segment}]`;
    return path === "" ? segment : `${path}.${segment}`;
  }, "");

/** Replaces what could steer a terminal: a configuration file may come from anywhere. */
export const printable = (text: string): string => text.replace(/\p{C}/gu, "·");

const FOUND_CHARACTERS_MAX = 60;

/** What was found, in a few words: scalars as written, collections by kind and size. */
export function describeValue(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  if (value !== null && typeof value === "object") return "a mapping";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  const shown = text.length > FOUND_CHARACTERS_MAX ? `${text.slice(0, FOUND_CHARACTERS_MAX)}…` : text;
  return printable(shown);
}

/** `FILE:LINE:COLUMN: error: PATH: found X, wanted Y`, then the excerpt, as compilers print it. */
export function formatIssue(file: string, kind: "error" | "warning", issue: ConfigIssue): string {
  const place = issue.line > 0 ? `${file}:${issue.line}:${issue.column}` : file;
  const path = issue.path === "" ? "" : `${printable(issue.path)}: `;
  const head = `${place}: ${kind}: ${path}found ${issue.found}, wanted ${issue.wanted}`;
  return issue.excerpt === "" ? head : `${head}\n${issue.excerpt}`;
}
