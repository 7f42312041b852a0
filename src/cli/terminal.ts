/** Colours on a terminal only, and not when NO_COLOR (no-color.org) is set; FORCE_COLOR turns them on for pipes. */
import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];
type Output = { readonly isTTY?: boolean };

const hasColour = (output: Output): boolean => {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (NO_COLOR !== undefined && NO_COLOR !== "") return false;
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== "") return FORCE_COLOR !== "0";
  return output.isTTY === true && TERM !== "dumb";
};

/** A painter for one stream: `paint("bold", text)`. */
export const painter = (output: Output = process.stdout): ((style: Style, text: string) => string) =>
  hasColour(output) ? (style, text) => styleText(style, text, { validateStream: false }) : (_, text) => text;

/** Print a line of machine-readable output. */
export const printJson = (value: unknown): void => {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
};
