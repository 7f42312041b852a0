/** `npm run demo`: from a fresh checkout to the founding example, in one command. Arguments go to `vsnat demo`. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { DEMO_PROGRAMS, ensureBuilt, ensureNodeModules, ensurePrograms, giveUp, ROOT } from "./setup.mjs";

if (process.getuid?.() !== 0) giveUp("The demo builds network namespaces: run it as root.");
ensurePrograms(DEMO_PROGRAMS);
ensureNodeModules();
ensureBuilt();

const demo = spawn(process.execPath, [join(ROOT, "dist/cli/vsnat.js"), "demo", ...process.argv.slice(2)], {
  stdio: "inherit",
});
// Ctrl-C reaches the demo directly, as it shares our terminal; we only wait until it has cleaned up.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => demo.kill("SIGTERM"));
demo.on("exit", (code, signal) => process.exit(signal ? 1 : (code ?? 1)));
