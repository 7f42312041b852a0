/**
 * Prometheus's text format, version 0.0.4: families of samples, each with a line that says what it is and one for its type
 * (https://prometheus.io/docs/instrumenting/exposition_formats/).
 */
export interface Family {
  /** Letters, digits and _; ends in _total if and only if it is a counter. */
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly help: string;
  /** No two with the same labels; a family without any is left out. */
  readonly samples: readonly Sample[];
}

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** Names of letters, digits and _, with any text. */
export type Labels = Readonly<Record<string, string>>;

export const formatExposition = (families: readonly Family[]): string =>
  families
    .filter(({ samples }) => samples.length > 0)
    .flatMap(({ name, type, help, samples }) => [
      `# HELP ${name} ${help.replace(/[\\\n]/g, escaped)}\n# TYPE ${name} ${type}\n`,
      ...samples.map(({ labels, value }) => `${name}${formatLabels(labels)} ${formatValue(value)}\n`),
    ])
    .join("");

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(
    ([name, text]) => `${name}="${text.replace(/[\\\n"]/g, escaped)}"`,
  );
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

const escaped = (character: string): string => (character === "\n" ? "\\n" : `\\${character}`);

/** As Go reads numbers. */
const formatValue = (value: number): string =>
  Number.isFinite(value) || Number.isNaN(value) ? String(value) : value > 0 ? "+Inf" : "-Inf";
