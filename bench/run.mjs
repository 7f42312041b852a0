/**
 * `npm run bench` and `npm run bench:net`: see to what is missing, compile bench/ and start the benchmark named by the
 * first argument. Plain JavaScript for the same reason as the other scripts: on a fresh machine there is no compiler.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { ensureBuilt, ensureNodeModules, ensurePrograms, giveUp, ROOT, run } from "../scripts/setup.mjs";

const NET_PROGRAMS = [
  { program: "ip", debian: "iproute2", why: "builds the network namespaces" },
  { program: "iperf3", debian: "iperf3", why: "sends bulk TCP and small datagrams" },
  { program: "wrk", debian: "wrk", why: "sends HTTP requests" },
  { program: "nginx", debian: "nginx", why: "is the real server, and a peer" },
  // A file, found relative to /usr/bin: the peer needs the module, not only nginx.
  {
    program: "../lib/nginx/modules/ngx_stream_module.so",
    debian: "libnginx-mod-stream",
    why: "is that peer",
  },
  { program: "haproxy", debian: "haproxy", why: "is a peer" },
  { program: "ethtool", debian: "ethtool", why: "gives veth devices NAPI" },
  { program: "nft", debian: "nftables", why: "is a peer" },
];

const [name = "", ...options] = process.argv.slice(2);
if (name !== "core" && name !== "net") giveUp(`No benchmark "${name}", expected core or net`);
if (name === "net" && process.getuid?.() !== 0) giveUp("It builds network namespaces: run it as root.");
if (name === "net") ensurePrograms(NET_PROGRAMS);
ensureNodeModules();
if (name === "net") ensureBuilt();
if (!run(join(ROOT, "node_modules/.bin/tsc"), ["-p", "bench/tsconfig.json"]))
  giveUp("bench/ does not compile.");

const program = join(ROOT, "dist/bench-build/bench", `${name}.js`);
const benchmark = spawn(process.execPath, ["--expose-gc", "--enable-source-maps", program, ...options], {
  cwd: ROOT,
  stdio: "inherit",
});
// Ctrl-C reaches the benchmark directly, as it shares our terminal; we only wait until it has cleaned up.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => benchmark.kill("SIGTERM"));
benchmark.on("exit", (code, signal) => process.exit(signal ? 1 : (code ?? 1)));
