/** What is said about a handful of readings of one quantity. Medians, because the machines are shared and noisy. */

/** Middle value; of an even count the mean of the two middle ones; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle]!;
  return sorted.length === 0 ? Number.NaN : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Half the distance between the lowest and the highest, as a share of the median. */
export function spread(values: readonly number[]): number {
  return (Math.max(...values) - Math.min(...values)) / 2 / median(values);
}

/** Three significant digits, thousands apart: 94 300, 12.4, 0.0731. Empty for NaN. */
export function three(value: number): string {
  if (!Number.isFinite(value)) return "";
  if (value === 0) return "0";
  const digits = Math.floor(Math.log10(Math.abs(value))) + 1;
  if (digits <= 3) return value.toFixed(Math.min(3 - digits, 6));
  const unit = 10 ** (digits - 3);
  return (Math.round(value / unit) * unit).toFixed(0).replace(/\B(?=(\d{3})+$)/g, " ");
}
