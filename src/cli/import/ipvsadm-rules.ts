/** Rules as `ipvsadm -S` prints them: one command line each, read by vsadm's own reader. */
import { parseCommandLine } from "../vsadm/command-line.ts";
import type { Names } from "../vsadm/names.ts";
import { Refusal } from "../vsadm/refusal.ts";
import { AS_MASQUERADING, type ImportedLine } from "./imported-line.ts";

const OTHER_METHODS = ["-g", "--gatewaying", "-i", "--ipip"];
const TUNNEL_VALUES = ["--tun-type", "--tun-port"];
const TUNNEL_FLAGS = ["--tun-nocsum", "--tun-csum", "--tun-remcsum"];

export async function readIpvsadmRules(text: string, file: string, names: Names): Promise<ImportedLine[]> {
  const lines: ImportedLine[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const words = line
      .replace(/#.*/, "")
      .split(/\s+/)
      .filter((word) => word !== "");
    if (/(^|\/)(ipvsadm|vsadm)$/.test(words[0] ?? "")) words.shift();
    if (words.length === 0) continue;
    const place = { file, line: index + 1 };
    lines.push({ place, text: words.join(" "), ...(await readRule(words, names)) });
  }
  return lines;
}

type Meaning = Pick<ImportedLine, "edits" | "remarks" | "refusal">;

async function readRule(given: readonly string[], names: Names): Promise<Meaning> {
  const refuse = (refusal: string): Meaning => ({ edits: [], remarks: [], refusal });
  const words = asMasquerading(given);
  const remarks = words.join() === given.join() ? [] : [AS_MASQUERADING];
  try {
    const command = await parseCommandLine(words, names);
    switch (command.kind) {
      case "edit":
        return { edits: [command.edit], remarks };
      case "start-daemon":
        return refuse(
          "synchronisation is no part of the configuration file: vsadm --start-daemon while it runs",
        );
      default:
        return refuse("it changes no rule");
    }
  } catch (error) {
    if (error instanceof Refusal) return refuse(error.message);
    throw error;
  }
}

function asMasquerading(words: readonly string[]): string[] {
  return words.flatMap((word, index) => {
    if (OTHER_METHODS.includes(word)) return ["-m"];
    if (TUNNEL_FLAGS.includes(word) || TUNNEL_VALUES.includes(word)) return [];
    return TUNNEL_VALUES.includes(words[index - 1] ?? "") ? [] : [word];
  });
}
