/** Real IRC programs in a laboratory: ngircd, WeeChat (told through its FIFO) and irssi (on a terminal of socat's). */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import type { Laboratory } from "../../src/cli/demo/laboratory.ts";
import type { Program } from "../../src/cli/demo/program.ts";

/** Of the founding network's client. */
const CLIENT = ["202.100.1.2", "2001:db8:1::2"];

type Directory = Pick<Laboratory, "directory">;

/** ngircd on a host, for any number of users from one address. @param isAsking - for each user's name by ident */
export async function startNgircd({ directory }: Directory, host: Host, isAsking = false): Promise<Program> {
  const file = join(directory, `ngircd-${host.namespace.role}.conf`);
  await writeFile(
    file,
    `[Global]
Name = irc.example
Info = test
Listen = 0.0.0.0,::
Ports = 6667
[Limits]
MaxConnectionsIP = 0
PingTimeout = 600
[Options]
# Without DNS ngircd does not ask by ident either.
DNS = ${isAsking ? "yes" : "no"}
Ident = ${isAsking ? "yes" : "no"}
PAM = no
`,
  );
  const server = host.namespace.start(await withNames(directory, ["ngircd", "--nodaemon", "--config", file]));
  await server.waitFor(/ready/);
  return server;
}

/** A command that knows names for all addresses of the laboratory, and needs no name server. */
export async function withNames(directory: string, command: readonly string[]): Promise<string[]> {
  const file = join(directory, "hosts");
  const addresses = ["127.0.0.1", "::1", VIP.ipv4, VIP.ipv6, ...CLIENT];
  await writeFile(file, addresses.map((address, i) => `${address} host-${i}.example\n`).join(""));
  return ["sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', file, ...command];
}

export interface IrcUser {
  readonly nick: string;
  /** Where it puts what it receives from this sender. */
  received(file: string, sender: IrcUser): string;
  /** And the part of it that came before the transfer broke off. */
  part(file: string, sender: IrcUser): string;
  /** Wait until it says that it has a file from this sender, all of it. */
  waitForFile(file: string, sender: IrcUser): Promise<unknown>;
  /** @param isPassive - the other one is to listen; irssi only */
  sendFile(to: IrcUser, path: string, isPassive?: boolean): void;
  offerChat(to: IrcUser): void;
  waitForConnection(to: IrcUser): Promise<unknown>;
  /** Say something in the chat that one offered, or hear it. */
  chat(to: IrcUser, text: string): void;
  waitForChat(from: IrcUser, text: string): Promise<unknown>;
}

interface IrcUserOptions {
  /** Address of the IRC server. */
  readonly server: string;
  /** First and last port for what it offers. Default: any. */
  readonly ports?: readonly number[];
}

export async function startWeechat(
  { directory }: Directory,
  host: Host,
  nick: string,
  { server, ports = [] }: IrcUserOptions,
): Promise<IrcUser> {
  const home = join(directory, nick);
  const folder = join(home, "received");
  await mkdir(folder, { recursive: true });
  const fifo = join(home, "fifo");
  const settings = {
    "fifo.file.path": fifo,
    "logger.file.flush_delay": "0",
    "xfer.file.auto_accept_files": "on",
    "xfer.file.auto_accept_chats": "on",
    "xfer.file.download_path": folder,
    "xfer.network.port_range": ports.join("-"),
    "irc.server_default.anti_flood_prio_high": "0",
  };
  const commands = [
    ...Object.entries(settings).map(([name, value]) => `/set ${name} "${value}"`),
    `/server add net ${server}/6667 -notls -nicks=${nick}`,
    "/connect net",
  ];
  const { namespace } = host;
  namespace.start(["weechat-headless", "--stdout", "-d", home, "-r", commands.join(";")]);
  const follow = (log: string): Program =>
    namespace.start(["tail", "-q", "-n", "+1", "-F", join(home, "logs", `${log}.weechatlog`)]);
  const core = follow("core.weechat");
  await follow("irc.server.net").waitFor(/End of MOTD/);
  const chatOf = ({ nick: other }: IrcUser): string => `xfer.irc_dcc.net.${other}`;
  const tell = (buffer: string, line: string): void => {
    namespace.start(["sh", "-c", `printf '%s *%s\\n' "$1" "$2" >"$0"`, fifo, buffer, line]);
  };
  return {
    nick,
    received: (file, sender) => join(folder, `${sender.nick}.${file}`),
    part: (file, sender) => join(folder, `${sender.nick}.${file}.part`),
    waitForFile: (file, sender) =>
      core.waitFor(new RegExp(`file ${file} received from ${sender.nick} [^\\n]*OK`)),
    sendFile: (to, path) => tell("irc.server.net", `/dcc send ${to.nick} ${path}`),
    offerChat: (to) => tell("irc.server.net", `/dcc chat ${to.nick}`),
    waitForConnection: (to) => follow(chatOf(to)).waitFor(/connected to/),
    chat: (to, text) => tell(chatOf(to), text),
    waitForChat: (from, text) => follow(chatOf(from)).waitFor(new RegExp(text)),
  };
}

/** irssi draws a terminal; what is waited for must stand in one colour. */
export async function startIrssi(
  { directory }: Directory,
  host: Host,
  nick: string,
  { server, ports = [0] }: IrcUserOptions,
): Promise<IrcUser> {
  const home = join(directory, nick);
  const folder = join(home, "received");
  await mkdir(folder, { recursive: true });
  const configuration = join(home, "config");
  await writeFile(
    configuration,
    `settings = {
  core = { real_name = "${nick}"; user_name = "${nick}"; nick = "${nick}"; };
  "irc/dcc" = { dcc_autoget = "yes"; dcc_autoaccept_lowports = "yes"; dcc_autoresume = "yes"; dcc_download_path = "${folder}";
    dcc_autochat_masks = "*!*@*"; dcc_port = "${ports.join(" ")}"; };
  "irc/core" = { cmd_queue_speed = "1msec"; cmds_max_at_once = "1000"; };
  "fe-common/core" = { autocreate_query_level = "NONE"; autocreate_own_query = "no"; };
};
servers = ( { address = "${server}"; port = "6667"; autoconnect = "yes"; } );
`,
  );
  const irssi = `irssi --home=${home} --config=${configuration}`;
  const terminal = host.namespace.start(["socat", "-", `EXEC:"${irssi}",pty,ctty,setsid,echo=0`], {
    env: { TERM: "vt100" },
    isInteractive: true,
  });
  await terminal.waitFor(/Highest connection count/);
  return {
    nick,
    received: (file) => join(folder, file),
    part: (file) => join(folder, file),
    waitForFile: (file) => terminal.waitFor(new RegExp(`DCC RECEIVED file[^\\n]*${file}`, "i")),
    sendFile: (to, path, isPassive = false) =>
      terminal.tell(`/dcc send ${isPassive ? "-passive " : ""}${to.nick} ${path}`),
    offerChat: (to) => terminal.tell(`/dcc chat ${to.nick}`),
    waitForConnection: () => terminal.waitFor(/DCC CHAT connection with[^\n]*established/),
    chat: (to, text) => terminal.tell(`/msg =${to.nick} ${text}`),
    waitForChat: (_, text) => terminal.waitFor(new RegExp(text)),
  };
}
