/** The real servers of the founding example: two web servers, and on server B the control port of an FTP server. */
import { existsSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setInterval } from "node:timers/promises";
import { builtProgram } from "./director-daemon.ts";
import type { FoundingNetwork, Host } from "./founding-network.ts";
import type { Laboratory, Namespace } from "./laboratory.ts";
import type { Program } from "./program.ts";

const VSFTPD = "/usr/sbin/vsftpd";
const FTP_PORT = 21;
const LISTEN_PATIENCE_MS = 5_000;
const LOOK_INTERVAL_MS = 20;

export interface FoundingServers {
  /** Which FTP server plays, in words. */
  readonly ftpServer: string;
}

export async function startFoundingServers(
  laboratory: Laboratory,
  { serverA, serverB }: FoundingNetwork,
): Promise<FoundingServers> {
  const [, , ftpServer] = await Promise.all([
    startBuilt(serverA.namespace, "cli/demo/web-server.js", "A", "80"),
    startBuilt(serverB.namespace, "cli/demo/web-server.js", "B", "8000"),
    existsSync(VSFTPD) ? startVsftpd(laboratory, serverB) : startGreeter(serverB),
  ]);
  return { ftpServer };
}

async function startBuilt(namespace: Namespace, path: string, ...args: readonly string[]): Promise<void> {
  await namespace.start(builtProgram(path, ...args)).waitFor(/listening/);
}

async function startGreeter({ namespace }: Host): Promise<string> {
  await startBuilt(namespace, "cli/demo/ftp-greeter.js", "B", String(FTP_PORT));
  return "a greeter that speaks the control port only; vsftpd is not installed";
}

async function startVsftpd(laboratory: Laboratory, { namespace }: Host): Promise<string> {
  const empty = join(laboratory.directory, "empty");
  const file = join(laboratory.directory, "vsftpd.conf");
  await mkdir(empty);
  const settings = [
    "listen=NO",
    "listen_ipv6=YES",
    "background=NO",
    "anonymous_enable=YES",
    `anon_root=${empty}`,
    `secure_chroot_dir=${empty}`,
    "seccomp_sandbox=NO",
    "ftpd_banner=vsftpd on server B",
  ];
  await writeFile(file, `${settings.join("\n")}\n`);
  await untilListening(namespace.start([VSFTPD, file]), FTP_PORT);
  return "vsftpd";
}

/** vsftpd does not say when it is ready, so the kernel is asked: /proc/PID/net/tcp6, state 0A. */
async function untilListening(program: Program, port: number): Promise<void> {
  const listener = new RegExp(`:${port.toString(16).toUpperCase().padStart(4, "0")} [0:]+ 0A`);
  const until = performance.now() + LISTEN_PATIENCE_MS;
  for await (const _ of setInterval(LOOK_INTERVAL_MS)) {
    if (!program.isRunning) break;
    if (listener.test(readFileSync(`/proc/${program.pid}/net/tcp6`, "utf8"))) return;
    if (performance.now() > until) break;
  }
  throw new Error(`No server listens on port ${port} after ${LISTEN_PATIENCE_MS} ms\n${program.stderr}`);
}
