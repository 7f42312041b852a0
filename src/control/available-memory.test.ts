import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { availablePages } from "./available-memory.ts";

test("free memory and buffers count, in pages", () => {
  const directory = mkdtempSync(join(tmpdir(), "vsnat-memory-"));
  const file = join(directory, "meminfo");
  writeFileSync(
    file,
    "MemTotal:        8000 kB\nMemFree:         4002 kB\nMemAvailable: 7000 kB\nBuffers:           10 kB\n",
  );
  expect(availablePages(file)).toBe(1003);
  writeFileSync(file, "MemTotal: 1 kB\n");
  expect(availablePages(file)).toBeUndefined();
  rmSync(directory, { recursive: true });
  expect(availablePages(file)).toBeUndefined();
  expect(availablePages()).toBeGreaterThan(0);
});
