/**
 * Amanda with its authentication "bsd", over UDP port 10080: a backup server asks a host's amandad for a service, and the
 * reply says on which TCP ports it waits for the connections that carry the backup, its messages and its index:
 *
 *     Amanda 2.6 REP HANDLE 000-00000008 SEQ 1288882402
 *     CONNECT DATA 50001 MESG 50002 INDEX 50003
 *
 * There is no specification; this is what Amanda 3.5 says and Linux's nf_conntrack_amanda reads. A reply counts only for a
 * request that was seen. "bsdtcp" and "ssh" need no module: everything goes over one connection.
 */
import type { ApplicationModule, Dialogue } from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";

const NEWLINE = 0x0a;
const SPACE = 0x20;
/** Of the first line, and of the one with the ports. */
const LINE_BYTES_MAX = 256;
const PORTS_MAX = 8;

const REQUEST = /^Amanda \d{1,3}\.\d{1,3} REQ HANDLE /;
const REPLY = /^Amanda \d{1,3}\.\d{1,3} P?REP HANDLE /;

export const amanda: ApplicationModule = {
  name: "amanda",
  transports: ["udp"],
  ports: [10_080],
  // Data, messages, index and state of one backup.
  expectationsMax: 4,
  read(unit, from, dialogue) {
    const lead = unit.text(0, 32);
    if (from === "client") dialogue.memory |= REQUEST.test(lead) ? 1 : 0;
    else if (dialogue.memory !== 0 && REPLY.test(lead)) readReply(unit, dialogue);
  },
};

function readReply(unit: Unit, dialogue: Dialogue): void {
  // The ports are what a reply begins with: further down are names and messages that others may have made up.
  const at = unit.find(NEWLINE) + 1;
  if (at <= 0 || at > LINE_BYTES_MAX || !unit.has(at, "CONNECT ")) return;
  const end = unit.find(NEWLINE, at);
  if (end < 0 || end - at > LINE_BYTES_MAX) return;
  let from = at + "CONNECT ".length;
  for (let count = 0; count < PORTS_MAX && from < end; count++) {
    const portAt = unit.find(SPACE, from) + 1;
    if (portAt <= 0 || portAt >= end) return;
    from = readPort(unit, portAt, end, dialogue) + 1;
  }
}

/** @returns where the number ends */
function readPort(unit: Unit, at: number, lineEnd: number, dialogue: Dialogue): number {
  const space = unit.find(SPACE, at);
  const end = space < 0 || space > lineEnd ? lineEnd : space;
  const text = unit.text(at, Math.min(end, at + 6));
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 0xffff) return end;
  const shown = dialogue.listens("server", { protocol: "tcp", port });
  if (shown !== 0 && shown !== port) unit.replace(at, end - at, String(shown));
  return end;
}
