/** docs/ipvs-compatibility.md: every row has a verdict, every test it names exists, and no setting or option is missing. */
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { OPTIONS, type OptionSpec } from "../src/cli/vsadm/options.ts";
import { IPVS_DEFAULTS } from "../src/nat/ipvs-settings.ts";
import { SCHEDULERS } from "../src/schedulers/registry.ts";

const ROOT = new URL("../", import.meta.url);
const DOCUMENT = readFileSync(new URL("docs/ipvs-compatibility.md", ROOT), "utf8");
const VERDICTS = ["same", "different", "not applicable"];

interface Row {
  readonly feature: string;
  readonly verdict: string;
  readonly how: string;
}

/** All rows of all tables of verdicts, without their titles. */
const ROWS: readonly Row[] = DOCUMENT.split("\n")
  .filter((line) => line.startsWith("| "))
  .map((line) => line.slice(2, -2).split(" | "))
  .filter(([, verdict]) => verdict !== "verdict" && verdict !== "---")
  .map(([feature = "", verdict = "", how = ""]) => ({ feature, verdict, how }));

/** A file with tests, a story or a recording; the title behind it, if one follows. */
const NAMED = /`([\w./-]+\.(?:test\.ts|txt|json))`(?: "([^"]+)")?/g;

const named = ({ how }: Row): { file: string; title: string | undefined }[] =>
  [...how.matchAll(NAMED)].map(([, file = "", title]) => ({ file, title }));

/** Is it the title of a test or of one of its rows, or a text of a recording? */
function hasTitle(file: string, title: string): boolean {
  if (/^[%$]\w+$/.test(title)) return false; // whatever the row is called
  const text = JSON.stringify(title).replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const place = file.endsWith(".json") ? "[{,:]\\s*" : "[([]\\s*";
  return new RegExp(place + text).test(readFileSync(new URL(file, ROOT), "utf8"));
}

test("the tables are there", () => {
  expect(DOCUMENT.match(/^\| --- \| --- \| --- \|$/gm)?.length).toBeGreaterThan(10);
  expect(ROWS.length).toBeGreaterThan(150);
});

test("every row has a verdict and says how", () => {
  const without = ROWS.filter(({ verdict, how }) => !VERDICTS.includes(verdict) || how.trim() === "");
  expect(without).toEqual([]);
});

test('every "same" names a test', () => {
  const unproved = ROWS.filter((row) => row.verdict === "same" && named(row).length === 0);
  expect(unproved.map(({ feature }) => feature)).toEqual([]);
});

test("every test that is named exists", () => {
  const missing = ROWS.flatMap(named).filter(
    ({ file, title }) =>
      !existsSync(new URL(file, ROOT)) ||
      (title === undefined ? !file.startsWith("test/scenario/stories/") : !hasTitle(file, title)),
  );
  expect(missing).toEqual([]);
});

test("a test that does not exist is noticed", () => {
  const file = "test/golden/ipvs.test.ts";
  expect(hasTitle(file, "states: named TCP sequences, the service made anew before each")).toBe(true);
  expect(hasTitle(file, "states: named TCP sequences")).toBe(false);
  expect(hasTitle("test/golden/vsadm/session.json", "ipvsadm -Ln --nothing")).toBe(false);
});

test.each([
  ...Object.keys(IPVS_DEFAULTS),
  ...["cache_bypass", "conntrack", "debug_level", "est_cpulist", "est_nice", "ignore_tunneled", "pmtu_disc"],
  ...["snat_reroute", "sync_ports", "conn_tab_bits"],
])("the setting %s has a row", (name) => {
  expect(ROWS.some(({ feature }) => feature.includes(`\`${name}\``))).toBe(true);
});

test.each(Object.entries<OptionSpec>(OPTIONS))("vsadm's option --%s has a row", (name, { letters = "" }) => {
  for (const option of [`--${name}`, ...[...letters].map((letter) => `-${letter}`)])
    expect(
      ROWS.some(({ feature }) => feature.includes(`\`${option}\``)),
      option,
    ).toBe(true);
});

const BEYOND_IPVS = ["p2c", "maglev"];
test.each(Object.keys(SCHEDULERS).filter((name) => !BEYOND_IPVS.includes(name)))(
  "the scheduler %s has a row",
  (name) => expect(ROWS.some(({ feature }) => feature.includes(`\`${name}\``))).toBe(true),
);
