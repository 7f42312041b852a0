/** Chunks and parameters of SCTP (RFC 9260 section 3, RFC 5061 section 4), as lists of bytes. */
import { parseAddress } from "../../src/wire/address.ts";

export interface Chunk {
  readonly type: number;
  readonly flags?: number;
  readonly value?: readonly number[];
}

const u16 = (value: number): number[] => [value >> 8, value & 255];
export const u32 = (value: number): number[] => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);

/** A parameter, or a cause, padded. */
export function parameter(type: number, ...value: readonly number[]): number[] {
  const bytes = [...u16(type), ...u16(4 + value.length), ...value];
  while (bytes.length % 4 > 0) bytes.push(0);
  return bytes;
}

export function addressParameter(text: string): number[] {
  const { family, words } = parseAddress(text)!;
  return family === 4 ? parameter(5, ...u32(words[0]!)) : parameter(6, ...[...words].flatMap(u32));
}

/** The same, as the module leaves what nobody is to see. */
export const padded = (bytes: readonly number[]): number[] => [0x80, 0x05, ...bytes.slice(2)];

/** INIT, or INIT ACK; parameters behind what every one has. */
export const init = (tag: number, ...parameters: readonly (readonly number[])[]): Chunk => ({
  type: 1,
  value: [...u32(tag), ...u32(65_536), 0, 10, 0, 10, ...u32(1000), ...parameters.flat()],
});
export const initAck = (tag: number, ...parameters: readonly (readonly number[])[]): Chunk => ({
  ...init(tag, ...parameters),
  type: 2,
});
export const cookie = parameter(7, ...Array.from({ length: 20 }, (_, k) => k));
export const cookieEcho: Chunk = { type: 10, value: [1, 2, 3, 4] };
export const cookieAck: Chunk = { type: 11 };
export const heartbeat: Chunk = { type: 4, value: parameter(1, 9, 9, 9, 9) };
export const data: Chunk = { type: 0, flags: 3, value: [...u32(1000), 0, 0, 0, 0, ...u32(0), 1, 2, 3] };
