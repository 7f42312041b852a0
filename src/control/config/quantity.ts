/** Durations and sizes as people write them: `15m`, `1h30m`, `4MiB`; a bare number is seconds or bytes. */
import type { Parsed } from "./parsed.ts";

const SECONDS_OF = { s: 1, m: 60, h: 3600, d: 86_400 } as const;
const BYTES_OF = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

export const DURATION_PATTERN = "^(\\d+[smhd])+$";
export const SIZE_PATTERN = "^\\d+(B|KiB|MiB|GiB)$";

/** Longest accepted time-out, 31 days: IPVS's own bound. */
export const DURATION_SECONDS_MAX = 2_678_400;
/** Of persistence without a number: what ipvsadm's bare -p does; its manual page says 300. */
export const PERSISTENCE_SECONDS = 360;

const DURATION_WANTED = `a time from 1 second to 31 days: seconds as a whole number, or text such as "90s", "15m", "1h30m"`;

/** @returns whole seconds, 1..DURATION_SECONDS_MAX. */
export function parseDuration(input: unknown): Parsed<number> {
  const seconds =
    typeof input === "number" ? input : typeof input === "string" ? durationSeconds(input) : NaN;
  const isInRange = Number.isInteger(seconds) && seconds >= 1 && seconds <= DURATION_SECONDS_MAX;
  return isInRange ? { value: seconds } : { wanted: DURATION_WANTED };
}

function durationSeconds(text: string): number {
  if (!new RegExp(DURATION_PATTERN).test(text)) return NaN;
  const parts = text.matchAll(/(\d+)([smhd])/g);
  return [...parts].reduce(
    (sum, part) => sum + Number(part[1]) * SECONDS_OF[part[2] as keyof typeof SECONDS_OF],
    0,
  );
}

/** @returns whole bytes, `min`..`max`. */
export function parseSize(input: unknown, min: number, max: number): Parsed<number> {
  const bytes = typeof input === "number" ? input : typeof input === "string" ? sizeBytes(input) : NaN;
  if (Number.isInteger(bytes) && bytes >= min && bytes <= max) return { value: bytes };
  return {
    wanted: `a size from ${formatSize(min)} to ${formatSize(max)}: bytes as a whole number, or text such as "4MiB"`,
  };
}

function sizeBytes(text: string): number {
  const match = /^(\d+)(B|KiB|MiB|GiB)$/.exec(text);
  return match === null ? NaN : Number(match[1]) * BYTES_OF[match[2] as keyof typeof BYTES_OF];
}

/** The largest unit that divides it evenly: 4194304 is `4MiB`. */
export function formatSize(bytes: number): string {
  const unit = (["GiB", "MiB", "KiB"] as const).find(
    (name) => bytes >= BYTES_OF[name] && bytes % BYTES_OF[name] === 0,
  );
  return unit === undefined ? `${bytes}B` : `${bytes / BYTES_OF[unit]}${unit}`;
}
