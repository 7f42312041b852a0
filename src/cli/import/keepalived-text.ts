/**
 * The syntax of keepalived.conf (keepalived.conf(5)): a statement a line, blocks in braces, comments from # or ! to the end
 * of the line, double quotes, `include` and its variants with * and ?. Words like others are, for whoever reads the
 * statements: definitions ($NAME=...), repetitions (~SEQ), lines for certain hosts (@NAME), an include of no file.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { ImportError, type Place } from "./imported-line.ts";

export interface Statement {
  readonly place: Place;
  readonly words: readonly string[];
  /** Undefined: none, which is something else than an empty one. */
  block?: Statement[];
}

const FILES_MAX = 256;
const DEPTH_MAX = 32;

/**
 * @param file - its name, which included ones are relative to
 * @throws ImportError
 */
export function parseKeepalived(text: string, file: string): Statement[] {
  const parser = new Parser();
  parser.read(text, file);
  return parser.finish();
}

interface OpenBlock {
  /** Where it began; undefined: the whole of the files. */
  readonly place?: Place;
  readonly statements: Statement[];
}

class Parser {
  readonly #open: OpenBlock[] = [{ statements: [] }];
  #fileCount = 0;

  read(text: string, file: string): void {
    this.#fileCount++;
    for (const [index, line] of text.split("\n").entries()) this.#readLine(line, { file, line: index + 1 });
  }

  finish(): Statement[] {
    const { place, statements } = this.#open.at(-1)!;
    if (place !== undefined) throw new ImportError(place, "a block without an end", "}");
    return statements;
  }

  #readLine(line: string, place: Place): void {
    const [, keyword, pattern] = /^\s*(include[abmrw]?)\s+"?([^\s"]+)/.exec(line) ?? [];
    if (pattern !== undefined && this.#include(pattern, place)) return;
    if (pattern !== undefined) {
      this.#open.at(-1)!.statements.push({ place, words: [keyword!, pattern] });
      return;
    }
    let words: string[] = [];
    const endStatement = (): void => {
      if (words.length > 0) this.#open.at(-1)!.statements.push({ place, words });
      words = [];
    };
    for (const [token, quoted, bare] of line.matchAll(/"((?:[^"\\]|\\.)*)"?|[#!].*|[{}]|([^\s"#!{}]+)/g)) {
      if (quoted !== undefined) words.push(quoted.replace(/\\(.)/g, "$1"));
      else if (bare !== undefined) words.push(bare);
      else if (token === "{" || token === "}") {
        endStatement();
        if (token === "{") this.#begin(place);
        else this.#end(place);
      }
    }
    endStatement();
  }

  #begin(place: Place): void {
    const head = this.#open.at(-1)!.statements.at(-1);
    if (head === undefined || head.block !== undefined)
      throw new ImportError(place, "{", "a keyword in front of it");
    if (this.#open.length > DEPTH_MAX)
      throw new ImportError(place, `more than ${DEPTH_MAX} blocks in each other`, "fewer");
    head.block = [];
    this.#open.push({ place: head.place, statements: head.block });
  }

  #end(place: Place): void {
    if (this.#open.length === 1) throw new ImportError(place, "}", "a block that it ends");
    this.#open.pop();
  }

  /** @returns false when there is no file that can be read, which keepalived allows */
  #include(pattern: string, place: Place): boolean {
    const path = resolve(dirname(place.file), pattern);
    let isRead = false;
    for (const file of filesMatching(path)) {
      if (this.#fileCount === FILES_MAX)
        throw new ImportError(place, `more than ${FILES_MAX} files`, "fewer, and none that includes itself");
      const text = textOf(file);
      if (text !== undefined) this.read(text, file);
      isRead ||= text !== undefined;
    }
    return isRead;
  }
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined; // a directory, or nobody's to read
  }
}

/** @param path - * and ? stand for anything in its last part */
function filesMatching(path: string): string[] {
  const name = basename(path);
  if (!/[*?]/.test(name)) return [path];
  const escaped = name
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  const wanted = new RegExp(`^${escaped}$`);
  try {
    return readdirSync(dirname(path))
      .filter((one) => wanted.test(one) && !one.startsWith("."))
      .sort()
      .map((one) => join(dirname(path), one));
  } catch {
    return []; // as if there were no such file
  }
}
