/** Plays every story beside this file; see scenario.ts for their language. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { play } from "./scenario.ts";

const folder = new URL("stories/", import.meta.url);
const names = readdirSync(folder).filter((name) => name.endsWith(".txt"));

test.each(names)("%s", (name) => play(readFileSync(new URL(name, folder), "utf8")));

test("a story that does not come true names its line", () => {
  const service = "service udp 192.0.2.1:53 rr 10.0.0.1:53";
  const line = "+0 udp 1 198.51.100.1:9 > 192.0.2.1:53 to-client";
  expect(() => play(`# Wrong.\n${service}\n${line}`)).toThrow(
    `line 3, "${line}": 198.51.100.1:9 > 10.0.0.1:53 udp`,
  );
  expect(() => play(`${service}\nstate 198.51.100.1:9 UDP`)).toThrow("line 2");
  expect(() => play("nonsense")).toThrow('line 1, "nonsense": no such verb');
});
