/** What vsnat wants of itself, and the marks it gets. Ratios are taken inside a round, so a noisy minute hits both. */
import type { Reading } from "./quantities.ts";

export interface Target {
  readonly quantity: string;
  readonly peer: string;
  readonly against: string;
  readonly ratioMin: number;
}

export const TARGETS: readonly Target[] = [
  { quantity: "bulk-up", peer: "vsnat", against: "plain", ratioMin: 0.6 },
  { quantity: "bulk-down", peer: "vsnat", against: "plain", ratioMin: 0.6 },
  { quantity: "udp", peer: "vsnat", against: "nftables", ratioMin: 0.7 },
  { quantity: "udp-lean", peer: "vsnat", against: "nftables", ratioMin: 0.7 },
  { quantity: "udp-flows", peer: "vsnat", against: "nftables", ratioMin: 0.7 },
  { quantity: "connections", peer: "vsnat", against: "haproxy", ratioMin: 1 },
  { quantity: "requests", peer: "vsnat", against: "nginx", ratioMin: 1 },
];

/** The readings of one quantity, by peer, one a round; undefined where a reading failed. */
export type Readings = ReadonlyMap<string, readonly (MeasuredReading | undefined)[]>;

export interface MeasuredReading extends Reading {
  readonly machineNsPerWork: number;
  readonly directorNsPerWork: number;
}

/** Rate of one peer over that of another, round by round; empty when either was not measured. */
export function ratios(readings: Readings, peer: string, against: string): number[] {
  const others = readings.get(against) ?? [];
  return (readings.get(peer) ?? []).flatMap((reading, round) => {
    const other = others[round];
    return reading && other ? [reading.rate / other.rate] : [];
  });
}
