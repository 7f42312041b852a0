/** The manuals say what the program does: their examples are valid, and nothing is missing from their tables. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { FOUNDING_SERVICE, STATUS, TROUBLED_FAST_PATH } from "../../test/support/status.ts";
import { formatExposition } from "../api/exposition.ts";
import { metricsOf } from "../api/metrics.ts";
import { parseConfig } from "../control/config/config.ts";
import { formatIssue } from "../control/config/issue.ts";
import { configJsonSchema } from "../control/config/json-schema.ts";
import { DROP_REASONS } from "../nat/drop-reason.ts";
import { SCHEDULERS } from "../schedulers/registry.ts";

const ROOT = new URL("../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, ROOT), "utf8");
const CONFIGURATION = read("docs/configuration.md");
const MANAGEMENT = read("docs/management.md");

const blocks = ["README.md", "docs/configuration.md", "docs/management.md", "docs/modules.md"].flatMap(
  (file) =>
    [...read(file).matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(
      (match, at) => [`${file}, ${at + 1}`, match[1]!] as const,
    ),
);
const examples = readdirSync(new URL("examples/", ROOT), { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".yaml"))
  .map((path) => [`examples/${path}`, read(`examples/${path}`)] as const);

it.each([...blocks, ...examples])("%s is a valid configuration", (name, text) => {
  const result = parseConfig(text);
  expect(result.ok ? [] : result.issues.map((issue) => formatIssue(name, "error", issue))).toEqual([]);
});

it("the module in docs/modules.md is the example that is tested", () => {
  const code = /^```ts\n([\s\S]*?)^```/m.exec(read("docs/modules.md"))![1]!;
  expect(read("docs/examples/toy.ts")).toContain(code);
});

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}

/** Every key of the schema, at any depth. */
function keysOf({ properties = {}, items, anyOf = [] }: Schema): string[] {
  const below = [...Object.values(properties), ...(items === undefined ? [] : [items]), ...anyOf];
  return [...Object.keys(properties), ...below.flatMap(keysOf)];
}

it.each([...new Set(keysOf(configJsonSchema() as Schema))])("docs/configuration.md explains %s", (key) => {
  expect(CONFIGURATION).toContain(`\`${key}\``);
});

it.each(Object.keys(SCHEDULERS))("docs/configuration.md explains the scheduler %s", (name) => {
  expect(CONFIGURATION).toMatch(new RegExp(`^\\| \`${name}\` \\| `, "m"));
});

it.each(DROP_REASONS)("docs/management.md explains the drop reason %s", (reason) => {
  expect(MANAGEMENT).toMatch(new RegExp(`^\\| \`${reason}\` \\| .+ \\| .+ \\|$`, "m"));
});

it("docs/management.md explains every command", () => {
  const commands = [
    ...read("src/cli/vsnat.ts").matchAll(/import \{ command as \w+ \} from "\.\/(\w+)\.ts"/g),
  ].map((match) => match[1]!);
  expect(commands.length).toBeGreaterThan(10);
  expect(commands.filter((name) => !MANAGEMENT.includes(`\`vsnat ${name}\``))).toEqual([]);
});

const METRICS = formatExposition(
  metricsOf({
    ...STATUS,
    services: [FOUNDING_SERVICE],
    fastPath: { ...TROUBLED_FAST_PATH, suspendedBy: [] },
  }),
);

it.each(/^```prometheus\n([\s\S]*?)^```/m.exec(MANAGEMENT)![1]!.trim().split("\n"))(
  "the example of docs/management.md says what `vsnat metrics` prints: %s",
  (line) => {
    expect(METRICS.split("\n")).toContain(line);
  },
);

it("docs/management.md explains every metric, and none that there is not", () => {
  const names = metricsOf({ ...STATUS, fastPath: TROUBLED_FAST_PATH }).map(({ name }) => name);
  const explained = [...MANAGEMENT.matchAll(/^\| (`vsnat_.*?) \| /gm)].flatMap((row) =>
    row[1]!.match(/\w+/g),
  );
  expect(explained.sort()).toEqual(names.sort());
  const mentioned = MANAGEMENT.match(/\bvsnat_\w+/g)!;
  expect(mentioned.filter((name) => name !== "vsnat_" && !names.includes(name))).toEqual([]);
});

// Stale? npx vitest run --project unit src/cli/documents.test.ts --update
it("docs/vsnat.schema.json is what `vsnat schema` prints", async () => {
  const text = `${JSON.stringify(configJsonSchema(), undefined, 2)}\n`;
  await expect(text).toMatchFileSnapshot(fileURLToPath(new URL("docs/vsnat.schema.json", ROOT)));
});
