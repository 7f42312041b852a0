/** Looking into data of which nothing is known yet: what does not fit is as if it were not there. */
import type { ConfigIssue, PathSegment } from "./issue.ts";
import type { Parsed } from "./parsed.ts";
import type { ConfigSource } from "./source.ts";

export type RawMapping = Readonly<Record<string, unknown>>;

export const arrayOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

export const recordOf = (value: unknown): RawMapping =>
  value !== null && typeof value === "object" && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};

export function parsedOr<T>(parse: (text: string) => Parsed<T>, input: unknown): T | undefined {
  const result = typeof input === "string" ? parse(input) : undefined;
  return result !== undefined && "value" in result ? result.value : undefined;
}

export const familyName = (it: { readonly family: string }): string =>
  it.family === "ipv4" ? "IPv4" : "IPv6";

/** An issue when `key` was met before; `firstAt` remembers where. */
export function duplicates(
  firstAt: Map<string, readonly PathSegment[]>,
  key: string,
  path: readonly PathSegment[],
  source: ConfigSource,
  noun: string,
): ConfigIssue[] {
  const first = firstAt.get(key);
  if (first !== undefined) {
    const wanted = `each ${noun} once (the first is in line ${source.lineOf(first)})`;
    return [source.issueAtValue(path, `${key} again`, wanted)];
  }
  firstAt.set(key, path);
  return [];
}
