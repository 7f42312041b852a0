/**
 * `npm test`: from a fresh checkout to the verdict, in one command: set-up, build, lint, types, unit and system tests.
 * Every step runs even when an earlier one failed. The last line is `N passed, N failed`, in tests.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ensureBuilt,
  ensureNodeModules,
  ensurePrograms,
  ensureUnpacked,
  ROOT,
  run,
  say,
  TEST_PROGRAMS,
  UNPACKED_PACKAGES,
} from "./setup.mjs";

const isRoot = process.getuid?.() === 0;
if (isRoot) ensurePrograms(TEST_PROGRAMS);
ensureNodeModules();
if (isRoot) ensureUnpacked(UNPACKED_PACKAGES);
ensureBuilt();

const failedSteps = [];
const step = (title, command, args) => {
  say(`\n== ${title}`);
  if (!run(command, args)) failedSteps.push(title);
};
const tool = (name) => join(ROOT, "node_modules/.bin", name);

step("lint", tool("biome"), ["check", "."]);
step("types", tool("tsc"), ["-p", "tsconfig.json"]);

const reports = mkdtempSync(join(tmpdir(), "vsnat-test-"));
const total = { passed: 0, failed: 0, skipped: 0 };
for (const project of isRoot ? ["unit", "system"] : ["unit"]) {
  const report = join(reports, `${project}.json`);
  const output = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  step(`${project} tests`, tool("vitest"), ["run", "--project", project, ...output]);
  count(report);
}
if (isRoot) {
  // The rest of them by hand, npm run test:slow-path: it takes as long as with the fast path.
  const report = join(reports, "slow-path.json");
  const files = ["founding-tcp", "founding-udp", "founding-icmp", "removal"].map(
    (name) => `test/system/${name}.test.ts`,
  );
  const output = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const command = [tool("vitest"), "run", "--project", "system", ...output, ...files];
  step("system tests without the fast path", "env", ["VSNAT_TEST_FAST_PATH=off", ...command]);
  count(report);
}
rmSync(reports, { recursive: true });

if (!isRoot) say("\nSystem tests left out: they build network namespaces, which needs root.");
if (failedSteps.length > 0) say(`\nFailed: ${failedSteps.join(", ")}`);
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
say(`\n${total.passed} passed, ${total.failed} failed${skipped}`);
process.exitCode = failedSteps.length > 0 || total.failed > 0 || total.passed === 0 ? 1 : 0;

/** Add one vitest report (Jest's JSON format); a run that died before writing it is already a failed step. */
function count(path) {
  try {
    const report = JSON.parse(readFileSync(path, "utf8"));
    total.passed += report.numPassedTests;
    total.failed += report.numFailedTests + report.testResults.filter(isBrokenFile).length;
    total.skipped += report.numPendingTests + report.numTodoTests;
  } catch (error) {
    say(`No test report: ${error.message}`);
  }
}

/** A file that failed as a whole (it could not be loaded, or a hook threw) counts as one failed test. */
function isBrokenFile({ status, assertionResults }) {
  return status === "failed" && assertionResults.every((test) => test.status !== "failed");
}
