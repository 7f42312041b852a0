/**
 * The text of a configuration file: YAML 1.2 to plain data, and from a place in the data back to line and column.
 *
 * The text may be hostile. Its size, its nesting and the expansion of aliases ("billion laughs") are bounded before
 * anything is built from it. Left out on purpose: several documents in one file, custom tags, merge keys (`<<`).
 */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  type Node,
  parseDocument,
  visit,
} from "yaml";
import { type ConfigIssue, formatPath, type PathSegment, printable } from "./issue.ts";

/** Largest accepted file: a service with four servers takes about 200 bytes, so this is some 5,000 of them. */
export const CONFIG_BYTES_MAX = 1024 * 1024;
/** How many nodes aliases may stand for, as the yaml package counts them. */
const ALIAS_COUNT_MAX = 10_000;
/**
 * Deepest nesting; the schema needs five levels. The yaml package recurses: 4 MiB of `[` cost 23 s, of `- ` all
 * memory, so what is deeper is refused by a look at the text.
 */
const DEPTH_MAX = 64;
/** A line that opens blocks (`- - ? -`) or indents deeper than DEPTH_MAX. */
const DEEP_LINE = new RegExp(`^(?:[-?][ \\t]+| ){${2 * DEPTH_MAX},}`, "m");
/** Mistakes reported of one kind: enough for a person, and bounded work for a file of nothing else. */
export const ISSUES_MAX = 100;
const EXCERPT_CHARACTERS_MAX = 120;

export class ConfigSource {
  readonly #text: string;
  /** Offset of the first character of every line. */
  readonly #lineStarts: number[] = [0];
  #document: Document.Parsed | undefined;

  constructor(text: string) {
    this.#text = text;
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) this.#lineStarts.push(at + 1);
  }

  /** Parse the text. @returns the data, or what is wrong with the text as YAML. */
  parse(): { readonly data: unknown } | { readonly issues: readonly ConfigIssue[] } {
    const deepAt = deepNestingAt(this.#text);
    if (deepAt !== undefined) {
      return { issues: [this.#at([], deepAt, deepAt + 1, "deeper nesting", `at most ${DEPTH_MAX} levels`)] };
    }
    // uniqueKeys: the package compares every key with every other, minutes for 100,000 of them.
    const document = parseDocument(this.#text, { prettyErrors: false, uniqueKeys: false, stringKeys: true });
    this.#document = document;
    const issues = [...document.errors, ...document.warnings]
      .slice(0, ISSUES_MAX)
      .map((error) => this.#at([], ...error.pos, firstLine(error.message), "valid YAML 1.2"));
    issues.push(...this.#duplicateKeys(document));
    if (issues.length > 0) return { issues };
    try {
      return { data: document.toJS({ maxAliasCount: ALIAS_COUNT_MAX }) };
    } catch (error) {
      return { issues: [this.#at([], 0, 0, firstLine((error as Error).message), "aliases used sparingly")] };
    }
  }

  /** An issue about the value at `path`, or about the nearest enclosing value that exists. */
  issueAtValue(path: readonly PathSegment[], found: string, wanted: string): ConfigIssue {
    const [start, end] = this.#find(path)?.range ?? [0, 0];
    return this.#at(path, start, end, found, wanted);
  }

  /** An issue about the key `key` of the mapping at `path`. */
  issueAtKey(path: readonly PathSegment[], key: string, found: string, wanted: string): ConfigIssue {
    const map = this.#find(path);
    const pair = isMap(map) ? map.items.find((item) => keyText(item.key) === key) : undefined;
    const [start, end] = (isNode(pair?.key) ? pair.key.range : map?.range) ?? [0, 0];
    return this.#at([...path, key], start, end, found, wanted);
  }

  /** 1-based line of the value at `path`. */
  lineOf(path: readonly PathSegment[]): number {
    return this.issueAtValue(path, "", "").line;
  }

  /** The node at `path`, or its nearest ancestor that exists. Aliases are followed. */
  #find(path: readonly PathSegment[]): Node | undefined {
    let node: Node | undefined = this.#document?.contents ?? undefined;
    for (const segment of path) {
      const target: Node | undefined = isAlias(node) ? node.resolve(this.#document!) : node;
      const next: unknown = isMap(target)
        ? target.items.find((item) => keyText(item.key) === String(segment))?.value
        : isSeq(target) && typeof segment === "number"
          ? target.items[segment]
          : undefined;
      if (!isNode(next)) return target;
      node = next;
    }
    return isAlias(node) ? node.resolve(this.#document!) : node;
  }

  #duplicateKeys(document: Document.Parsed): ConfigIssue[] {
    const issues: ConfigIssue[] = [];
    visit(document, {
      Map: (_, map) => {
        const seen = new Set<string>();
        for (const { key } of map.items) {
          const text = keyText(key);
          if (seen.has(text) && isNode(key) && key.range && issues.length < ISSUES_MAX) {
            issues.push(
              this.#at([], key.range[0], key.range[1], `${JSON.stringify(text)} twice`, "each key once"),
            );
          }
          seen.add(text);
        }
      },
    });
    return issues;
  }

  #at(path: readonly PathSegment[], start: number, end: number, found: string, wanted: string): ConfigIssue {
    const line = upperBound(this.#lineStarts, start);
    const lineStart = this.#lineStarts[line - 1]!;
    const lineEnd = this.#lineStarts[line] ?? this.#text.length + 1;
    const lineText = this.#text.slice(lineStart, lineEnd - 1).replace(/\r$/, "");
    const column = start - lineStart + 1;
    return {
      path: formatPath(path), line, column, found: printable(found), wanted,
      excerpt: this.#text.trim() === "" ? "" : excerpt(lineText, line, column, end - start),
    }; // biome-ignore format: one row reads as the record
  }
}

const keyText = (key: unknown): string => String(isScalar(key) ? key.value : key);
const firstLine = (text: string): string => text.split("\n", 1)[0]!;

/** How many of the ascending `starts` are at or before `at`. */
function upperBound(starts: readonly number[], at: number): number {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (starts[middle]! <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Where nesting may become too deep. Brackets inside quotes and comments count too: harmless in a configuration. */
function deepNestingAt(text: string): number | undefined {
  const deepLine = DEEP_LINE.exec(text);
  if (deepLine !== null) return deepLine.index;
  let depth = 0;
  for (const { 0: bracket, index } of text.matchAll(/[[\]{}]/g)) {
    depth = bracket === "[" || bracket === "{" ? depth + 1 : Math.max(0, depth - 1);
    if (depth > DEPTH_MAX) return index;
  }
  return undefined;
}

/** The source line behind its number, and carets under the place. Long lines are cut around it. */
function excerpt(lineText: string, line: number, column: number, length: number): string {
  const from = Math.max(0, column - 1 - EXCERPT_CHARACTERS_MAX / 2);
  const shown = printable(lineText.slice(from, from + EXCERPT_CHARACTERS_MAX));
  const caretAt = column - 1 - from;
  const caretCount = Math.max(1, Math.min(length, shown.trimEnd().length - caretAt));
  const gutter = String(line).padStart(5);
  return `${gutter} | ${shown}\n${" ".repeat(gutter.length)} | ${" ".repeat(caretAt)}${"^".repeat(caretCount)}`;
}
