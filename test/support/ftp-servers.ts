/** FTP servers for anonymous clients, each with a folder of files, and what clients print of those. */
import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Host } from "../../src/cli/demo/founding-network.ts";
import type { Laboratory } from "../../src/cli/demo/laboratory.ts";
import { hostText } from "./founding.ts";
import { unpackedProgram } from "./unpacked.ts";

/** Where a host's FTP server is to be put: the laboratory's files, and a name of its own in there. */
export interface FtpPlace {
  readonly laboratory: Pick<Laboratory, "directory">;
  readonly host: Host;
  readonly name: string;
}

/** Ports for passive transfers that servers are told to use. */
const PASSIVE_PORTS = { first: 30_000, last: 30_020 } as const;

/** A folder that other users may read. */
export async function makeFolder({ laboratory, name }: Omit<FtpPlace, "host">): Promise<string> {
  await chmod(laboratory.directory, 0o711);
  const folder = join(laboratory.directory, `ftp-${name}`);
  await mkdir(folder, { mode: 0o755 });
  return folder;
}

/** A file of random bytes. @returns their SHA-256 */
export async function makeFile(folder: string, name: string, count: number): Promise<string> {
  const bytes = randomBytes(count);
  await writeFile(join(folder, name), bytes, { mode: 0o644 });
  return createHash("sha256").update(bytes).digest("hex");
}

/** @param settings - override those here @param probe - where it answers then */
export async function startVsftpd(
  place: FtpPlace,
  folder: string,
  settings = "",
  probe = "ftp://127.0.0.1/",
): Promise<void> {
  const file = join(place.laboratory.directory, `vsftpd-${place.name}.conf`);
  await writeFile(
    file,
    `listen=NO
listen_ipv6=YES
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root=${folder}
connect_from_port_20=YES
pasv_min_port=${PASSIVE_PORTS.first}
pasv_max_port=${PASSIVE_PORTS.last}
seccomp_sandbox=NO
xferlog_enable=NO
secure_chroot_dir=${folder}
${settings}`,
    { mode: 0o600 },
  );
  await startAnswering(place.host, ["vsftpd", file], probe);
}

export async function startProftpd(place: FtpPlace, folder: string): Promise<void> {
  const file = join(place.laboratory.directory, `proftpd-${place.name}.conf`);
  await writeFile(
    file,
    `ServerName proftpd
ServerType standalone
DefaultAddress ${place.host.ipv4} ${place.host.ipv6}
DefaultServer on
Port 21
UseIPv6 on
User ftp
Group nogroup
AuthOrder mod_auth_unix.c
UseFtpUsers off
ScoreboardFile none
PidFile ${file}.pid
SystemLog none
WtmpLog off
TransferLog none
UseReverseDNS off
ControlsEngine off
DelayEngine off
PassivePorts ${PASSIVE_PORTS.first} ${PASSIVE_PORTS.last}
<Anonymous ${folder}>
  User ftp
  Group nogroup
  UserAlias anonymous ftp
  RequireValidShell off
</Anonymous>
`,
  );
  await startAnswering(
    place.host,
    unpackedProgram("usr/sbin/proftpd", "--nodaemon", "--quiet", "--config", file),
  );
}

/** Its files are those of the user ftp, whose folder is replaced in this program's mount namespace only. */
export async function startPureFtpd(place: FtpPlace, folder: string): Promise<void> {
  const program = unpackedProgram("usr/sbin/pure-ftpd", "-e", "-H", "-p", "30000:30020");
  const script = `mount --bind "$0" "$(getent passwd ftp | cut -d: -f6)" && exec "$@"`;
  await startAnswering(place.host, ["sh", "-c", script, folder, ...program]);
}

async function startAnswering(
  { namespace }: Host,
  command: readonly string[],
  probe = "ftp://127.0.0.1/",
): Promise<void> {
  const server = namespace.start(command);
  for (let tries = 0; tries < 100 && server.isRunning; tries++) {
    // TLS where it is offered.
    const asking = ["curl", "--silent", "--ssl", "--insecure", "--max-time", "2", probe];
    const { code } = await namespace.attempt(asking);
    if (code === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${command.join(" ")} does not answer:\n${server.stdout}${server.stderr}`);
}

/** SHA-256 of what a command on a host prints. */
export async function hashOf(host: Host, command: readonly string[]): Promise<string> {
  const shell = `set -o pipefail; "$@" | sha256sum`;
  const { code, stdout, stderr } = await host.namespace.attempt(["bash", "-c", shell, "-", ...command]);
  if (code !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  return stdout.split(" ")[0] ?? "";
}

/** curl, obeying the address of 227. */
export const curl = (...args: readonly string[]): string[] => [
  "curl", "--silent", "--show-error", "--max-time", "60", "--no-ftp-skip-pasv-ip", ...args,
]; // biome-ignore format: one command

export const url = (address: string, port: number, file = "file.bin"): string =>
  `ftp://${hostText(address)}:${port}/${file}`;
