/**
 * A stream of bytes that is the same everywhere: AES-128 in counter mode over zeros, key and counter zero. Cheap to
 * make, and no block equals another, so that a lost, doubled or moved piece changes its hash. As a program,
 * `test-stream.mjs N` writes the first N bytes to standard output.
 */
import { createCipheriv } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const ZEROS = new Uint8Array(256 * 1024);

export function testStream(byteCount) {
  return Readable.from(blocks(byteCount), { objectMode: false, highWaterMark: ZEROS.length });
}

function* blocks(byteCount) {
  const cipher = createCipheriv("aes-128-ctr", new Uint8Array(16), new Uint8Array(16));
  for (let left = byteCount; left > 0; left -= ZEROS.length) {
    yield cipher.update(left < ZEROS.length ? ZEROS.subarray(0, left) : ZEROS);
  }
}

if (process.argv[1] === import.meta.filename) {
  await pipeline(testStream(Number(process.argv[2])), process.stdout);
}
