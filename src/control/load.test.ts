import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { loadWithModules } from "./load.ts";

const directory = mkdtempSync(join(tmpdir(), "vsnat-load-"));
afterAll(() => rmSync(directory, { recursive: true }));

const file = (name: string, text: string): string => {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
};
file("first.js", "export const pick = (servers) => servers[0];\n");
file("wrong.js", "export const pick = (servers) => servers[9].x;\n");

it("reads the modules a file names, from where the file is", async () => {
  const result = await loadWithModules(file("good.yaml", "schedulers: { mine: ./first.js }\nservices: []\n"));
  expect(result).toMatchObject({
    ok: true,
    plugins: [{ name: "mine", file: join(directory, "first.js"), code: expect.stringContaining("pick") }],
  });
});

it("reports a module's mistake where the file names it", async () => {
  const text = "services: []\nschedulers:\n  one: wrong.js\n  two: absent.js\n";
  const result = await loadWithModules(file("bad.yaml", text));
  expect(result).toMatchObject({
    ok: false,
    issues: [
      { path: "schedulers.one", line: 3, column: 8, found: expect.stringContaining("wrong.js: TypeError") },
      { path: "schedulers.two", line: 4, column: 8, found: expect.stringContaining("ENOENT") },
    ],
  });
});
