/** Plain aligned tables for terminals. */
import { stripVTControlCharacters } from "node:util";

export type Alignment = "left" | "right";

/** Lay out rows in columns two blanks apart; colours inside cells do not count as width. */
export function formatTable(
  rows: readonly (readonly string[])[],
  alignments: readonly Alignment[],
): string[] {
  const widths = alignments.map((_, column) => Math.max(0, ...rows.map((row) => widthOf(row[column] ?? ""))));
  return rows.map((row) =>
    alignments
      .map((alignment, column) => {
        const cell = row[column] ?? "";
        const padding = " ".repeat(widths[column]! - widthOf(cell));
        return alignment === "right" ? padding + cell : cell + padding;
      })
      .join("  ")
      .trimEnd(),
  );
}

const widthOf = (cell: string): number => stripVTControlCharacters(cell).length;

const UNITS = "kMGTP";

/** 1234567 is `1.23M`: three significant digits and a decimal unit; whole below 10,000. */
export function shortNumber(value: number): string {
  const rounded = Math.round(value);
  if (rounded < 10_000) return String(rounded);
  let power = Math.floor(Math.log10(rounded) / 3);
  if (rounded / 1000 ** power >= 999.5) power++; // 999,999 is 1.00M, not 1000k
  power = Math.min(power, UNITS.length);
  return `${(rounded / 1000 ** power).toPrecision(3)}${UNITS[power - 1]}`;
}
