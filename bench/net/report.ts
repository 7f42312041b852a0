/** The readings as text: a table a quantity, then the targets. */
import { median, spread, three } from "../sample.ts";
import { table } from "../table.ts";
import type { Peer } from "./peers.ts";
import type { Quantity } from "./quantities.ts";
import { type MeasuredReading, type Readings, ratios, TARGETS } from "./targets.ts";

export function quantityTable(quantity: Quantity, peers: readonly Peer[], readings: Readings): string {
  const measured = peers.map(({ name }) => ({ name, values: present(readings.get(name)) }));
  const details = Object.keys(measured.find(({ values }) => values.length > 0)?.values[0]?.details ?? {});
  const header = [
    "director",
    quantity.unit,
    "spread",
    "/ plain",
    "/ nftables",
    ...details,
    `machine ns/${quantity.work}`,
    `director ns/${quantity.work}`,
  ];
  const rows = measured.map(({ name, values }) => {
    if (values.length === 0) return [name, "-"];
    const middle = (pick: (reading: MeasuredReading) => number): string => three(median(values.map(pick)));
    const ratio = (against: string): string => {
      const found = ratios(readings, name, against);
      return found.length === 0 ? "" : median(found).toFixed(2);
    };
    return [
      name,
      middle(({ rate }) => rate),
      `±${(100 * spread(values.map(({ rate }) => rate))).toFixed(0)} %`,
      ratio("plain"),
      ratio("nftables"),
      ...details.map((detail) => middle((reading) => reading.details[detail] ?? Number.NaN)),
      middle(({ machineNsPerWork }) => machineNsPerWork),
      middle(({ directorNsPerWork }) => directorNsPerWork),
    ];
  });
  return `${quantity.title}\n${table(header, rows)}`;
}

export function targetTable(all: ReadonlyMap<string, Readings>): string {
  const rows = TARGETS.flatMap(({ quantity, peer, against, ratioMin }) => {
    const readings = all.get(quantity);
    const found = readings ? ratios(readings, peer, against) : [];
    if (found.length === 0) return [];
    const ratio = median(found);
    const range = `${Math.min(...found).toFixed(2)}..${Math.max(...found).toFixed(2)}`;
    const mark = ratio >= ratioMin ? "reached" : "MISSED";
    return [[`${peer} ${quantity}`, `>= ${ratioMin} x ${against}`, ratio.toFixed(2), range, mark]];
  });
  if (rows.length === 0) return "";
  return `Targets (median of the ratios inside each round)\n${table(["", "wanted", "found", "range", ""], rows)}`;
}

const present = (values: readonly (MeasuredReading | undefined)[] = []): MeasuredReading[] =>
  values.filter((value) => value !== undefined);
