/** Where a benchmark ran, printed above every result, since no figure means anything without it; and where it goes. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";
import { dirname } from "node:path";

/** Taken before the benchmark adds its own. */
const loadBefore = loadavg()[0]!;

/** Lines for the head of a result: date, commit, machine and what else it was doing, kernel, runtime. */
export function describeMachine(): string[] {
  const distribution = /^PRETTY_NAME="(.*)"$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
  const memoryGiB = Math.round(totalmem() / 2 ** 30);
  return [
    `date      ${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC`,
    `commit    ${commit()}`,
    `machine   ${availableParallelism()} x ${cpus()[0]?.model ?? "unknown processor"}, ${memoryGiB} GiB`,
    `load      ${loadBefore.toFixed(1)} tasks in the minute before: near 0 on an idle machine, where figures are worth most`,
    `kernel    Linux ${release()}, ${distribution ?? "unknown distribution"}`,
    `runtime   Node ${process.versions.node}, V8 ${process.versions.v8}`,
  ];
}

/** Date of a result's file name. */
export const today = (): string => new Date().toISOString().slice(0, 10);

/** Keep a result in the tree, and say where. */
export function writeResult(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${text}\n`);
  console.log(`\nWritten to ${file}`);
}

function commit(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    const isChanged = git("status", "--porcelain", "--", "src", "bench/**/*.ts") !== "";
    return git("rev-parse", "--short", "HEAD") + (isChanged ? " with changes not committed" : "");
  } catch {
    return "unknown: not a git checkout";
  }
}
