/** The sources as JavaScript, for programs that run inside a namespace: vitest's own transpiling ends at this process. */
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Program } from "../../src/cli/demo/program.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** @param directory - a private folder. @returns the folder that `src` became. */
export async function compileSources(directory: string): Promise<string> {
  const dist = join(directory, "dist");
  const compiler = join(ROOT, "node_modules/.bin/tsc");
  const project = ["-p", join(ROOT, "tsconfig.build.json"), "--outDir", dist, "--sourceMap", "false"];
  await new Program([compiler, ...project, "--declaration", "false", "--noCheck"]).result();
  await symlink(join(ROOT, "node_modules"), join(directory, "node_modules"));
  await new Program(["sh", "-c", `printf '{"type":"module"}' > "$1"/package.json`, "sh", directory]).result();
  return dist;
}
