/** `vsnat import FILE`: another program's configuration as ours. Needs no privilege and no daemon. */
import { readFileSync, writeFileSync } from "node:fs";
import { Command, Option } from "commander";
import { printable } from "../control/config/issue.ts";
import { CommandFailure, ExitCode } from "./exit-code.ts";
import { assemble, type Finding, type Imported } from "./import/assemble.ts";
import { ImportError, type ImportedLine } from "./import/imported-line.ts";
import { readIpvsadmRules } from "./import/ipvsadm-rules.ts";
import { readKeepalived } from "./import/keepalived-rules.ts";
import { painter } from "./terminal.ts";
import { systemNames } from "./vsadm/names.ts";

const FORMATS = ["ipvsadm", "keepalived"] as const;
type Format = (typeof FORMATS)[number];

interface Options {
  readonly from?: Format;
  readonly output?: string;
  readonly json?: boolean;
}

export const command = (): Command =>
  new Command("import")
    .summary("make a configuration file from ipvsadm's or keepalived's")
    .description(
      "Read what `ipvsadm -S` prints, or the virtual servers of keepalived.conf, and print a configuration file that " +
        "`vsnat check` accepts. What became of each line is reported on standard error: it maps, it is approximated, or " +
        "it is refused.",
    )
    .argument("<file>", "file to read, or - for standard input")
    .addOption(
      new Option("--from <format>", "what the file is; found out by itself otherwise").choices(FORMATS),
    )
    .option("-o, --output <file>", "write the configuration to a file")
    .option("--json", "report as JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  ipvsadm -Sn | vsnat import -\n" +
        "  vsnat import /etc/keepalived/keepalived.conf -o /etc/vsnat/vsnat.yaml",
    )
    .action(importFile);

async function importFile(file: string, { from, output, json }: Options): Promise<void> {
  const name = file === "-" ? "standard input" : file;
  const text = readText(file);
  let imported: Imported;
  try {
    imported = assemble(await linesOf(text, name, from ?? formatOf(text, name)), printable(name));
  } catch (error) {
    if (error instanceof ImportError) throw new CommandFailure(error.message, ExitCode.usage);
    throw error;
  }
  if (output === undefined) process.stdout.write(imported.yaml);
  else writeText(output, imported.yaml);
  const { findings, serviceCount, serverCount } = imported;
  const report = json
    ? `${JSON.stringify({ services: serviceCount, servers: serverCount, findings }, undefined, 2)}\n`
    : reportText(imported);
  process.stderr.write(report);
}

const linesOf = async (text: string, file: string, format: Format): Promise<ImportedLine[]> =>
  format === "ipvsadm" ? await readIpvsadmRules(text, file, systemNames()) : readKeepalived(text, file);

/** @throws CommandFailure when it looks like neither */
function formatOf(text: string, file: string): Format {
  for (const line of text.split("\n")) {
    if (/^\s*((\S*\/)?(ipvsadm|vsadm)\s+)?-{1,2}[A-Za-z]/.test(line)) return "ipvsadm";
    if (/^\s*([a-z_]\w*.*\{|include\w?\s|@|\$)/.test(line)) return "keepalived";
  }
  const message = `Cannot import ${file}: expected rules of \`ipvsadm -S\` or blocks of keepalived.conf (--from says which)`;
  throw new CommandFailure(message, ExitCode.usage);
}

function readText(file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (error) {
    throw new CommandFailure(`Cannot import ${file}: ${(error as Error).message}`, ExitCode.usage);
  }
}

function writeText(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw new CommandFailure(`Cannot write ${file}: ${(error as Error).message}`);
  }
}

const COLOURS = { maps: "green", approximated: "yellow", refused: "red" } as const;

function reportText({ findings, serviceCount, serverCount }: Imported): string {
  const paint = painter(process.stderr);
  const lines = findings.map(({ file, line, outcome, text, reasons }) => {
    const why = reasons.map((reason) => `\n    ${printable(reason)}`).join("");
    return `${file}:${line}: ${paint(COLOURS[outcome], outcome)}: ${printable(text)}${why}\n`;
  });
  const count = (outcome: Finding["outcome"]): number =>
    findings.filter((finding) => finding.outcome === outcome).length;
  const summary = `${counted(serviceCount, "service")}, ${counted(serverCount, "server")}; lines: ${count("maps")} map, ${count("approximated")} approximated, ${count("refused")} refused`;
  return `${lines.join("")}${summary}\n`;
}

const counted = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? "" : "s"}`;
