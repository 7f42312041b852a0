/** A director with the founding example's services, in IPv4 and IPv6, as the daemon would run it. */
import { milliseconds } from "../../src/base/environment.ts";
import { parseConfig } from "../../src/control/config/config.ts";
import { Director } from "../../src/nat/director.ts";
import type { MemoryPart } from "../../src/nat/memory-part.ts";
import { SCHEDULERS } from "../../src/schedulers/registry.ts";

const CONFIGURATION = `
services:
  - listen: tcp://202.103.106.5:80
    scheduler: wrr
    servers:
      - { address: 172.16.0.2:80, weight: 1 }
      - { address: 172.16.0.3:8000, weight: 2 }
  - listen: udp://202.103.106.5:53
    servers: ["172.16.0.2:5353"]
  - listen: tcp://[2001:db8:5::5]:80
    servers: ["[fd00:16::2]:8000"]
  - listen: udp://[2001:db8:5::5]:53
    servers: ["[fd00:16::2]:5353"]
`;

/** Default settings, so a table for 1,048,576 connections; the clock stands at `now`. @param memory - default: its own */
export function foundingDirector(now: number, memory?: MemoryPart): Director {
  const result = parseConfig(CONFIGURATION);
  if (!result.ok) throw new Error(`The benchmark's configuration: ${JSON.stringify(result.issues)}`);
  const director = new Director({
    settings: result.config.director.settings,
    schedulers: SCHEDULERS,
    randomU32: seeded(1),
    hopChange: 1,
    now: milliseconds(now),
    ...(memory !== undefined && { memory }),
  });
  for (const service of result.config.director.services) director.addService(service);
  return director;
}

/** Mulberry32: a small generator, so that every run meets the same hash collisions. */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return (word ^ (word >>> 14)) >>> 0;
  };
}
