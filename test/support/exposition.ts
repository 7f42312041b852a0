/**
 * Reads Prometheus's text format, version 0.0.4, and refuses what a scraper may not understand: a family in two places or
 * without its two lines, a series twice, a name or a number that is none. Stricter than the format, which forgives much.
 */
import type { Family, Sample } from "../../src/api/exposition.ts";

const NAME = "[a-zA-Z_][a-zA-Z0-9_]*";
// With the flag s: a line ends at \n and nowhere else.
const HELP = new RegExp(`^# HELP (${NAME}) (.+)$`, "s");
const TYPE = new RegExp(`^# TYPE (${NAME}) (counter|gauge)$`);
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.+)\\})? ([^ ]+)$`, "s");
const LABEL = new RegExp(`(${NAME})="((?:[^"\\\\]|\\\\[\\\\n"])*)"(?:,|$)`, "y");
const NUMBER = /^(?:[+-]Inf|NaN|-?\d+(?:\.\d+)?(?:e[+-]\d+)?)$/;

/** @throws Error naming the line */
export function parseExposition(text: string): Family[] {
  if (text !== "" && !text.endsWith("\n")) throw new Error("the last line has no end");
  const lines = text.split("\n").slice(0, -1);
  const families: (Family & { readonly samples: Sample[] })[] = [];
  const seen = new Set<string>();
  const once = (what: string): void => {
    if (seen.has(what)) throw new Error(`twice: ${what}`);
    seen.add(what);
  };
  for (let at = 0; at < lines.length; at++) {
    const help = HELP.exec(lines[at]!);
    if (help !== null) {
      const type = TYPE.exec(lines[++at] ?? "");
      const name = help[1]!;
      if (type?.[1] !== name) throw new Error(`no type: ${name}`);
      once(name);
      families.push({ name, help: plain(help[2]!), type: type[2] as Family["type"], samples: [] });
      continue;
    }
    const [, name, labels = "", value = ""] = SAMPLE.exec(lines[at]!) ?? [];
    const family = families.at(-1);
    if (name === undefined || family?.name !== name || !NUMBER.test(value))
      throw new Error(`not understood: ${lines[at]}`);
    const sample = { labels: parseLabels(labels), value: Number(value.replace("Inf", "Infinity")) };
    once(`${name} ${JSON.stringify(Object.entries(sample.labels).sort())}`);
    family.samples.push(sample);
  }
  return families;
}

function parseLabels(text: string): Record<string, string> {
  const labels: [string, string][] = [];
  LABEL.lastIndex = 0;
  for (let end = 0; end < text.length; end = LABEL.lastIndex) {
    const [, name, value] = LABEL.exec(text) ?? [];
    if (name === undefined || value === undefined) throw new Error(`labels not understood: ${text}`);
    if (labels.some(([other]) => other === name)) throw new Error(`a label twice: ${text}`);
    labels.push([name, plain(value)]);
  }
  return Object.fromEntries(labels);
}

const plain = (text: string): string => text.replace(/\\([\\n"])/g, (_, c) => (c === "n" ? "\n" : c));

/** One series' value, in text or in families. */
export function figureOf(
  from: string | readonly Family[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const families = typeof from === "string" ? parseExposition(from) : from;
  const samples = families.find((one) => one.name === name)?.samples ?? [];
  const wanted = Object.entries(labels);
  return samples.find((one) => wanted.every(([label, text]) => one.labels[label] === text))?.value;
}
