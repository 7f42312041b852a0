/**
 * What a reviewer would otherwise repeat: imports go downwards only, the core reads no clock and no random source,
 * npm packages stay where they belong, no debugging is left behind, and no file is forgotten.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** What each layer may import, besides itself. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  wire: ["base"],
  nat: ["base", "wire"],
  schedulers: ["base", "wire", "nat"],
  alg: ["base", "wire", "nat"],
  sync: ["base", "wire", "nat"],
  datapath: ["base", "wire", "nat", "schedulers", "alg"],
  control: ["base", "wire", "nat", "schedulers", "alg", "sync", "datapath"],
  api: ["base", "wire", "nat", "schedulers", "alg", "sync", "datapath", "control"],
  cli: ["base", "wire", "nat", "schedulers", "alg", "sync", "datapath", "control", "api"],
};
/** Same input, same output, also in a browser: no Node API, no clock, no chance. */
const PURE_LAYERS = ["base", "wire", "nat", "schedulers", "alg", "sync"];
/** The only place for system calls. */
const SYSTEM_CALLS = "src/datapath/system-call.ts";
/** Layers that may use npm packages; koffi apart, nothing below does. */
const PACKAGE_LAYERS = ["control", "api", "cli"];
/** Datapaths and the like beside each other must not know each other. */
const SIBLING_FOLDERS = ["src/datapath"];
/** Files that run by themselves: nothing has to import them. */
const ENTRY_POINTS = [
  /^src\/index\.ts$/,
  /^src\/main\.ts$/,
  /^src\/cli\/(vsnat|vsadm)\.ts$/,
  /^bench\//,
  /^scripts\//,
];

interface SourceFile {
  /** Relative to the repository. */
  readonly path: string;
  readonly text: string;
  /** Without comments and the contents of strings, so that words in prose do not count; lines are kept. */
  readonly code: string;
  readonly imports: readonly string[];
}

const files = ["src", "test", "bench", "scripts"].flatMap(filesBelow).map(read);
const sources = files.filter(({ path }) => path.startsWith("src/") && !path.endsWith(".test.ts"));

test("imports go down the layers only", () => {
  const wrong = sources.flatMap(({ path, imports }) =>
    imports.filter(isOurs).flatMap((target) => {
      const from = layerOf(path);
      const to = layerOf(target);
      const isAllowed =
        from === undefined || (to !== undefined && (from === to || LAYERS[from]?.includes(to)));
      return isAllowed ? [] : [`${path} imports ${target}`];
    }),
  );
  expect(wrong).toEqual([]);
});

test("every folder of src is a layer", () => {
  const unknown = sources.map(({ path }) => path.split("/")).filter((parts) => parts.length > 2);
  expect(unknown.map((parts) => parts[1] ?? "").filter((folder) => !(folder in LAYERS))).toEqual([]);
});

test("siblings do not import each other", () => {
  const wrong = sources.flatMap(({ path, imports }) =>
    imports.filter((target) => {
      const folder = SIBLING_FOLDERS.find((parent) => path.startsWith(`${parent}/`));
      if (folder === undefined || !target.startsWith(`${folder}/`)) return false;
      // A file beside the siblings is everybody's.
      const [from, to] = [path, target].map((file) => /^\w+(?=\/)/.exec(file.slice(folder.length + 1))?.[0]);
      return from !== undefined && to !== undefined && from !== to;
    }),
  );
  expect(wrong).toEqual([]);
});

test("the core uses no Node API, no clock and no random source", () => {
  const forbidden =
    /\bDate\.now|\bnew Date\b|\bperformance\.now|\bMath\.random|(?<![.#\w])set(?:Timeout|Interval)\((?!\w+:)|\bprocess\.|\bBuffer\b/;
  const core = sources.filter(({ path }) => PURE_LAYERS.includes(layerOf(path) ?? ""));
  expect(linesMatching(core, forbidden)).toEqual([]);
  const node = core.flatMap(({ path, imports }) =>
    imports.filter((name) => !isOurs(name)).map((name) => `${path}: ${name}`),
  );
  expect(node).toEqual([]);
});

test("npm packages stay above the datapath, koffi in one file of it", () => {
  const wrong = sources.flatMap(({ path, imports }) =>
    imports
      .filter((name) => !isOurs(name) && !name.startsWith("node:"))
      .filter((name) => {
        if (name === "koffi") return path !== SYSTEM_CALLS;
        return !PACKAGE_LAYERS.includes(layerOf(path) ?? "cli");
      })
      .map((name) => `${path} imports ${name}`),
  );
  expect(wrong).toEqual([]);
});

test("every dependency is used, and every package used is a dependency", () => {
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    dependencies: Record<string, string>;
  };
  const used = sources.flatMap(({ imports }) =>
    imports.filter((name) => !isOurs(name) && !name.startsWith("node:")),
  );
  const names = used.map((name) =>
    name.startsWith("@") ? name.split("/", 2).join("/") : (name.split("/", 1)[0] ?? ""),
  );
  expect([...new Set(names)].sort()).toEqual(Object.keys(dependencies).sort());
});

test("no debugging is left behind", () => {
  expect(linesMatching(sources, /\bconsole\.|\bdebugger\b/)).toEqual([]);
  const tests = files.filter(({ path }) => path.endsWith(".test.ts") && path !== "test/tidy.test.ts");
  expect(linesMatching(tests, /\b(test|it|describe)\.only\b|\bdebugger\b/)).toEqual([]);
});

test("no file is forgotten", () => {
  const mentioned = new Set(files.flatMap(({ imports }) => imports));
  // A worker, or a program the demo starts inside a namespace, is named by its path and not imported.
  const spoken = files.map(({ text }) => text).join("\n");
  const isNamed = (path: string): boolean => {
    const name = path
      .split("/")
      .at(-1)
      ?.replace(/\.(ts|mjs)$/, "");
    return new RegExp(`["/]${name}(\\.m?js)?["\`]`).test(spoken);
  };
  const dead = files
    .filter(({ path }) => !path.endsWith(".test.ts") && !ENTRY_POINTS.some((entry) => entry.test(path)))
    .filter(({ path }) => !mentioned.has(path) && !isNamed(path));
  expect(dead.map(({ path }) => path)).toEqual([]);
});

function filesBelow(folder: string): string[] {
  if (!existsSync(join(ROOT, folder))) return [];
  const names = readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true });
  return names
    .filter((entry) => entry.isFile() && /\.(ts|mjs)$/.test(entry.name))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
}

function read(path: string): SourceFile {
  const text = readFileSync(join(ROOT, path), "utf8");
  const specifiers = [
    ...text.matchAll(
      /^\s*(?:import|export)\b[^"';]*?from\s+"([^"]+)"|^import\s+"([^"]+)"|\bimport\("([^"]+)"\)/gm,
    ),
  ];
  const imports = specifiers.map((found) => found[1] ?? found[2] ?? found[3] ?? "");
  return { path, text, code: withoutProse(text), imports: imports.map((name) => resolved(path, name)) };
}

/** A relative import becomes a path in the repository, everything else stays what it is. */
function resolved(path: string, name: string): string {
  return name.startsWith(".") ? join(dirname(path), name) : name;
}

function isOurs(name: string): boolean {
  return /^(src|test|bench|scripts)\//.test(name);
}

/** The folder below src, or undefined for what composes the layers (src/index.ts, src/main.ts). */
function layerOf(path: string): string | undefined {
  const parts = path.split("/");
  return parts[0] === "src" && parts.length > 2 ? parts[1] : undefined;
}

function withoutProse(text: string): string {
  const blank = (found: string): string => found.replace(/[^\n]/g, " ");
  return text.replace(/\/\*[\s\S]*?\*\/|(?<![:"'`\w])\/\/.*|"(?:[^"\\\n]|\\.)*"/g, blank);
}

function linesMatching(list: readonly SourceFile[], pattern: RegExp): string[] {
  return list.flatMap(({ path, code, text }) => {
    const lines = text.split("\n");
    return code
      .split("\n")
      .flatMap((line, index) =>
        pattern.test(line) ? [`${path}:${index + 1}: ${lines[index]?.trim()}`] : [],
      );
  });
}
