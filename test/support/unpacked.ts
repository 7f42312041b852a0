/** Programs of Debian packages that exclude an installed one, which scripts/setup.mjs therefore only unpacks. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** As in scripts/setup.mjs. */
const ROOT = fileURLToPath(new URL("../../node_modules/.cache/vsnat-unpacked", import.meta.url));

/** The command that runs one of them, with the libraries unpacked beside it. @param path - in the package */
export function unpackedProgram(path: string, ...args: readonly string[]): string[] {
  const program = join(ROOT, path);
  if (!existsSync(program)) throw new Error(`Cannot run ${program}: not there, npm test would unpack it`);
  const folders = readdirSync(join(ROOT, "usr/lib")).map((folder) => join(ROOT, "usr/lib", folder));
  return ["env", `LD_LIBRARY_PATH=${folders.join(":")}`, program, ...args];
}
