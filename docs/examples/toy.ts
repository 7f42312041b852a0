/**
 * A module of one's own for a made-up protocol. The server says over TCP where a file can be fetched, and a client can ask
 * for news over UDP:
 *
 *     DATA 10.0.0.2 40000        the client connects there and reads
 *     NEWS 198.51.100.7 50000    the server sends datagrams there, until the connection ends
 */
import type { ModuleDialogue, ModuleLineRule } from "vsnat";

const NUMBERS = /^(\w+) ([\d.]+) (\d{1,5})(\r?\n)$/;

/** The server's own address becomes the one that clients know, and the port one that leads to it. */
function data(line: string, dialogue: ModuleDialogue): string | undefined {
  const [, word, address = "", port, end] = NUMBERS.exec(line) ?? [];
  const shown = dialogue.listens("server", { protocol: "tcp", port: Number(port), address });
  return shown === 0 ? undefined : `${word} ${dialogue.shownAddress("server")} ${shown}${end}`;
}

/** Likewise the client's, for servers that know it by an address of the director's. */
function news(line: string, dialogue: ModuleDialogue): string | undefined {
  const [, word, address = "", port, end] = NUMBERS.exec(line) ?? [];
  const shown = dialogue.listens("client", { protocol: "udp", port: Number(port), address, isLasting: true });
  return shown === 0 ? undefined : `${word} ${dialogue.shownAddress("client")} ${shown}${end}`;
}

export const rules: readonly ModuleLineRule[] = [
  { from: "server", lead: "DATA ", names: "own", read: data },
  { from: "client", lead: "NEWS ", names: "own", read: news },
];
