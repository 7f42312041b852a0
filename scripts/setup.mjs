/**
 * What must be there before anything of this package can run: npm packages, the build, Debian programs. Plain
 * JavaScript on purpose: on a fresh machine there is no compiler yet. Each step does nothing when nothing is missing.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Debian programs the demo uses. */
export const DEMO_PROGRAMS = [
  { program: "ip", debian: "iproute2", why: "builds the network namespaces" },
  { program: "curl", debian: "curl", why: "is the client" },
];

/** Debian programs the system tests use. */
export const TEST_PROGRAMS = [
  ...DEMO_PROGRAMS,
  { program: "ping", debian: "iputils-ping", why: "asks the virtual address for echo" },
  { program: "traceroute", debian: "traceroute", why: "counts the hops to a real server" },
  { program: "dnsmasq", debian: "dnsmasq-base", why: "is a DNS server behind the director" },
  { program: "ethtool", debian: "ethtool", why: "turns offloads off, so that checksums are checked" },
  { program: "dig", debian: "bind9-dnsutils", why: "asks it over UDP and TCP" },
  { program: "nginx", debian: "nginx-light", why: "is a web server that says which client it sees" },
  { program: "haproxy", debian: "haproxy", why: "reads the PROXY protocol" },
  { program: "nft", debian: "nftables", why: "loses packets on purpose" },
  { program: "vsftpd", debian: "vsftpd", why: "is an FTP server behind the director, and outside" },
  { program: "lftp", debian: "lftp", why: "is an FTP client" },
  { program: "python3", debian: "python3", why: "is another one, by its ftplib" },
  {
    program: "prometheus_client",
    file: "/usr/lib/python3/dist-packages/prometheus_client",
    debian: "python3-prometheus-client",
    why: "reads the metrics",
  },
  { program: "tnftp", debian: "tnftp", why: "is an FTP client of the BSDs" },
  { program: "inetutils-ftp", debian: "inetutils-ftp", why: "is another one, GNU's" },
  { program: "openssl", debian: "openssl", why: "makes an FTP server's certificate" },
  { program: "snmpd", debian: "snmpd", why: "is an SNMP agent behind the director" },
  { program: "snmpwalk", debian: "snmp", why: "asks it, and sends traps" },
  { program: "snmptrapd", debian: "snmptrapd", why: "receives traps" },
  { program: "nmbd", debian: "samba", why: "is a NetBIOS name server behind the director, and outside" },
  { program: "nmblookup", debian: "samba-common-bin", why: "asks it" },
  { program: "nbtscan", debian: "nbtscan", why: "asks it as well" },
  { program: "mplayer", debian: "mplayer", why: "plays RealAudio over TCP" },
  { program: "quakestat", debian: "qstat", why: "asks Quake servers who they are" },
  { program: "socat", debian: "socat", why: "holds connections over the director open" },
  { program: "ngircd", debian: "ngircd", why: "is an IRC server" },
  { program: "weechat-headless", debian: "weechat-headless", why: "is an IRC client" },
  {
    program: "fifo plugin",
    file: "/usr/share/doc/weechat-plugins",
    debian: "weechat-plugins",
    why: "tells it what to do",
  },
  { program: "irssi", debian: "irssi", why: "is another one" },
  { program: "oidentd", debian: "oidentd", why: "says whose a client's connection is" },
  { program: "rpcbind", debian: "rpcbind", why: "says on which ports RPC programs are" },
  { program: "rpc.rquotad", debian: "quota", why: "is such a program" },
  { program: "rpc.rstatd", debian: "rstatd", why: "is another one" },
  { program: "rup", debian: "rstat-client", why: "asks it" },
  { program: "ganesha.nfsd", debian: "nfs-ganesha", why: "is an NFS server" },
  {
    program: "file system VFS",
    file: "/usr/share/doc/nfs-ganesha-vfs",
    debian: "nfs-ganesha-vfs",
    why: "gives it files",
  },
  { program: "nfs-cat", debian: "libnfs-utils", why: "is an NFS client" },
  { program: "amdump", debian: "amanda-server", why: "is a backup server" },
  {
    program: "amandad",
    file: "/usr/lib/amanda/amandad",
    debian: "amanda-client",
    why: "is on hosts to back up",
  },
  {
    program: "Encode::Locale",
    file: "/usr/share/perl5/Encode/Locale.pm",
    debian: "libencode-locale-perl",
    why: "is missing among what amdump depends on",
  },
  { program: "saned", debian: "sane-utils", why: "is a scanner on the network" },
  {
    program: "oracledb",
    file: "/usr/lib/python3/dist-packages/oracledb/__init__.py",
    debian: "python3-oracledb",
    why: "is a client of Oracle databases",
  },
  { program: "sipp", debian: "sip-tester", why: "calls, and is called" },
  { program: "kamailio", debian: "kamailio", why: "is a SIP registrar and proxy" },
  { program: "baresip", debian: "baresip-core", why: "is a telephone" },
  { program: "ffmpeg", debian: "ffmpeg", why: "is an RTSP player" },
  { program: "gst-launch-1.0", debian: "gstreamer1.0-tools", why: "is another one" },
  {
    program: "RTSP server",
    file: "/usr/share/doc/gir1.2-gst-rtsp-server-1.0",
    debian: "gir1.2-gst-rtsp-server-1.0",
    why: "is behind the director, and outside",
  },
  {
    program: "Python interface",
    file: "/usr/lib/python3/dist-packages/gi",
    debian: "python3-gi",
    why: "starts it",
  },
  {
    program: "JPEG plugin",
    file: "/usr/share/doc/gstreamer1.0-plugins-good",
    debian: "gstreamer1.0-plugins-good",
    why: "makes pictures for it",
  },
  { program: "osmo-mgw", debian: "osmo-mgw", why: "is a media gateway" },
  { program: "tshark", debian: "tshark", why: "judges packets that were changed" },
  { program: "dumpcap", debian: "wireshark-common", why: "records them" },
  { program: "pptpd", debian: "pptpd", why: "is a PPTP server behind the director, and outside" },
  { program: "pptp", debian: "pptp-linux", why: "is a PPTP client" },
  { program: "in.tftpd", debian: "tftpd-hpa", why: "is a TFTP server behind the director, and outside" },
  { program: "tftp", debian: "tftp-hpa", why: "is a TFTP client" },
  { program: "atftp", debian: "atftp", why: "is another one" },
  {
    program: "usrsctp",
    file: "/usr/lib/usrsctp/client",
    debian: "libusrsctp-examples",
    why: "is SCTP without the kernel's",
  },
];

/**
 * Debian lets one server of FTP and of TFTP be installed. The others are unpacked where test/support/unpacked.ts finds them, with the
 * libraries they need that nothing else here does.
 */
export const UNPACKED_PACKAGES = [
  ...[
    "proftpd-core",
    "libhiredis0.14",
    "libmemcached11",
    "libmemcachedutil2",
    "libhashkit2",
    "libpcre2-posix3",
  ],
  ...["pure-ftpd", "libsodium23"],
  "atftpd",
];
const UNPACKED_ROOT = join(ROOT, "node_modules/.cache/vsnat-unpacked");

/** Run a program with our terminal, in the checkout unless told otherwise. @returns whether it succeeded. */
export function run(command, args, env = {}, cwd = ROOT) {
  const { status, error } = spawnSync(command, args, {
    cwd,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...env },
  });
  if (error) say(`Cannot run ${command}: ${error.message}`);
  return status === 0;
}

export function say(text) {
  process.stdout.write(`${text}\n`);
}

/** End the script with a plain message instead of a stack. */
export function giveUp(text) {
  process.stderr.write(`${text}\n`);
  process.exit(1);
}

/** node_modules as package-lock.json wants it. `npm ci` also builds, through the `prepare` script. */
export function ensureNodeModules() {
  const installed = join(ROOT, "node_modules/.package-lock.json");
  if (existsSync(installed) && modifiedMs(installed) >= modifiedMs(join(ROOT, "package-lock.json"))) return;
  say("Installing npm packages (npm ci)");
  if (!run("npm", ["ci", "--include=dev", "--no-audit", "--no-fund"])) giveUp("Cannot go on: npm ci failed.");
}

/** dist/ newer than everything it is made from. */
export function ensureBuilt() {
  const built = join(ROOT, "dist/cli/vsnat.js");
  const sources = ["src", "tsconfig.json", "tsconfig.build.json", "package.json"].map((path) =>
    join(ROOT, path),
  );
  if (existsSync(built) && Math.max(...sources.map(newestMs)) <= modifiedMs(built)) return;
  say("Building (npm run build)");
  if (!run("npm", ["run", "--silent", "build"])) giveUp("Cannot go on: the build failed.");
}

/** Install the Debian packages of the programs that are missing, or say which to install and end. */
export function ensurePrograms(programs) {
  const isThere = ({ program, file }) => (file === undefined ? isOnPath(program) : existsSync(file));
  const missing = programs.filter((one) => !isThere(one));
  if (missing.length === 0) return;
  const list = missing
    .map(({ program, debian, why }) => `  ${debian.padEnd(16)} its ${program} ${why}`)
    .join("\n");
  const wanted = `Missing Debian packages:\n${list}`;
  if (!isOnPath("apt-get"))
    giveUp(`${wanted}\nThis machine has no apt-get: install them, or their like, and try again.`);
  if (process.getuid?.() !== 0) {
    giveUp(
      `${wanted}\nInstall them as root:\n  apt-get install ${missing.map(({ debian }) => debian).join(" ")}`,
    );
  }
  say(`${wanted}\nInstalling them`);
  const names = missing.map(({ debian }) => debian);
  const isDone = withoutStartingDaemons(
    () => (hasPackageLists() && install(names)) || (run("apt-get", ["update", "-qq"]) && install(names)),
  );
  if (!isDone) giveUp(`Cannot go on: apt-get could not install ${names.join(" ")}.`);
}

/** Download Debian packages and unpack them, without installing anything. */
export function ensureUnpacked(packages) {
  const mark = join(UNPACKED_ROOT, ".packages");
  if (existsSync(mark) && readFileSync(mark, "utf8") === packages.join(" ")) return;
  say(`Unpacking the Debian packages ${packages.join(", ")}`);
  rmSync(UNPACKED_ROOT, { recursive: true, force: true });
  mkdirSync(UNPACKED_ROOT, { recursive: true });
  const options = ["-qq", "-o", "APT::Sandbox::User=root"];
  const download = () => run("apt-get", ["download", ...options, ...packages], {}, UNPACKED_ROOT);
  const isThere = (hasPackageLists() && download()) || (run("apt-get", ["update", "-qq"]) && download());
  const archives = readdirSync(UNPACKED_ROOT).map((name) => join(UNPACKED_ROOT, name));
  if (!isThere || !archives.every((archive) => run("dpkg-deb", ["-x", archive, UNPACKED_ROOT])))
    giveUp(`Cannot go on: apt-get download ${packages.join(" ")} failed.`);
  for (const archive of archives) rmSync(archive);
  writeFileSync(mark, packages.join(" "));
}

function install(names) {
  const options = ["install", "-y", "-qq", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"];
  return run("apt-get", [...options, ...names], { DEBIAN_FRONTEND: "noninteractive" });
}

/** Debian starts a daemon when its package is installed, unless policy-rc.d says 101 (invoke-rc.d(8)). */
function withoutStartingDaemons(action) {
  const policy = "/usr/sbin/policy-rc.d";
  if (existsSync(policy)) return action();
  writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    return action();
  } finally {
    rmSync(policy);
  }
}

function hasPackageLists() {
  const lists = "/var/lib/apt/lists";
  return existsSync(lists) && readdirSync(lists).some((name) => name.includes("_Packages"));
}

function isOnPath(program) {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.some((folder) => existsSync(join(folder, program)));
}

function newestMs(path) {
  if (!statSync(path).isDirectory()) return modifiedMs(path);
  return Math.max(modifiedMs(path), ...readdirSync(path).map((name) => newestMs(join(path, name))));
}

function modifiedMs(path) {
  return statSync(path).mtimeMs;
}
