/** What vsnat wants of itself, and the marks it gets. Ratios are taken inside a round, so a noisy minute hits both. */
import type { Reading } from "./quantities.ts";

export interface Target {
  readonly quantity: string;
  readonly peer: string;
  readonly against: string;
  readonly ratioMin: number;
}

export const TARGETS: readonly Target[] = [
  { quantity: "bulk-up", peer: "vsnat", against: "plain", ratioMin: 0.97 },
  { quantity: "bulk-down", peer: "vsnat", against: "plain", ratioMin: 0.97 },
  { quantity: "udp-lean", peer: "vsnat", against: "nftables", ratioMin: 1.5 },
  { quantity: "udp-lean", peer: "vsnat", against: "plain", ratioMin: 1.3 },
  { quantity: "udp-flows", peer: "vsnat", against: "nftables", ratioMin: 1.5 },
  { quantity: "udp-flows", peer: "vsnat", against: "plain", ratioMin: 1.3 },
  // 1.25 is the most that a classifier could reach over veth (docs/decisions/0015).
  { quantity: "forward", peer: "vsnat", against: "nftables", ratioMin: 1.5 },
  { quantity: "forward", peer: "vsnat", against: "plain", ratioMin: 1.3 },
  { quantity: "forward-1k", peer: "vsnat", against: "nftables", ratioMin: 1.5 },
  { quantity: "forward-1k", peer: "vsnat", against: "plain", ratioMin: 1.3 },
  { quantity: "forward-services", peer: "vsnat", against: "nftables", ratioMin: 1.5 },
  { quantity: "forward-services", peer: "vsnat", against: "plain", ratioMin: 1.3 },
  // Plain forwarding keeps nothing about flows; whoever does waits for memory, at least twice a packet.
  { quantity: "forward-100k", peer: "vsnat", against: "nftables", ratioMin: 1.5 },
  { quantity: "forward-100k", peer: "vsnat", against: "plain", ratioMin: 0.9 },
  { quantity: "forward-1m", peer: "vsnat", against: "nftables", ratioMin: 1.5 },
  { quantity: "forward-1m", peer: "vsnat", against: "plain", ratioMin: 0.9 },
  { quantity: "connections", peer: "vsnat", against: "nftables", ratioMin: 1 },
  { quantity: "requests", peer: "vsnat", against: "nftables", ratioMin: 1.1 },
  { quantity: "bulk-up", peer: "vsnat-slow", against: "plain", ratioMin: 0.6 },
  { quantity: "bulk-down", peer: "vsnat-slow", against: "plain", ratioMin: 0.6 },
  { quantity: "udp", peer: "vsnat-slow", against: "nftables", ratioMin: 0.7 },
  { quantity: "udp-lean", peer: "vsnat-slow", against: "nftables", ratioMin: 0.7 },
  { quantity: "udp-flows", peer: "vsnat-slow", against: "nftables", ratioMin: 0.7 },
  { quantity: "connections", peer: "vsnat-slow", against: "haproxy", ratioMin: 1 },
  { quantity: "requests", peer: "vsnat-slow", against: "nginx", ratioMin: 1 },
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
