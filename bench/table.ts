/** Text tables: the first column to the left, all others to the right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const text = (line: readonly string[]): string =>
    widths
      .map((width, column) => (line[column] ?? "")[column === 0 ? "padEnd" : "padStart"](width))
      .join("  ")
      .trimEnd();
  return [text(header), "-".repeat(text(header).length), ...rows.map(text)].join("\n");
}
