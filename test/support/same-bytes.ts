/** Comparing packets fast: `toEqual` looks at typed arrays element by element, a thousand times slower than this. */
import { expect } from "vitest";
import { formatPacket } from "../../src/wire/text.ts";

/** Both are the same bytes; a failure shows both packets in words and the first byte that differs. */
export function expectBytes(made: Uint8Array | undefined, wanted: Uint8Array): void {
  if (made !== undefined && Buffer.compare(made, wanted) === 0) return;
  if (made === undefined) expect.fail(`nothing, wanted ${formatPacket(wanted)}`);
  const at = wanted.findIndex((byte, index) => byte !== made[index]);
  const where =
    at < 0
      ? `${made.length - wanted.length} bytes too many`
      : `byte ${at}: ${made[at]}, wanted ${wanted[at]}`;
  expect.fail(`${formatPacket(made)}, wanted ${formatPacket(wanted)}; ${where}`);
}

/** Several packets, in order. */
export function expectPackets(made: readonly Uint8Array[], wanted: readonly Uint8Array[]): void {
  expect(made.map(({ length }) => length)).toEqual(wanted.map(({ length }) => length));
  for (const [index, packet] of wanted.entries()) expectBytes(made[index], packet);
}
