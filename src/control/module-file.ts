/** Files of users' modules, JavaScript or TypeScript, as JavaScript. */
import { readFileSync } from "node:fs";

const MODULE_BYTES_MAX = 256 * 1024;

/** @throws whatever is wrong with it; reasonOf() puts it into words */
export async function readModule(file: string): Promise<string> {
  const bytes = readFileSync(file);
  if (bytes.length > MODULE_BYTES_MAX)
    throw new RangeError(`it has ${bytes.length} bytes, expected at most ${MODULE_BYTES_MAX}`);
  const text = bytes.toString("utf8");
  if (!/\.[cm]?ts$/.test(file)) return text;
  // As Node does it: types become blanks, so lines and columns in messages stay right.
  const { transformSync } = await import("@swc/wasm-typescript");
  return transformSync(text, { mode: "strip-only", module: true, filename: file }).code;
}

/** swc throws objects and texts of its own. */
export function reasonOf(thrown: unknown): string {
  if (typeof thrown === "string") return thrown;
  const { message } = thrown as { readonly message?: unknown };
  return typeof message === "string" ? message : String(thrown);
}
