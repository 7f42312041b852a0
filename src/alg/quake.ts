/**
 * Quake (NetQuake): id Software's net_dgrm.c. A client asks port 26000 of the server to be let in and is told of a port that
 * was opened for it, over which the game then runs from the same port of the client's: both compare address and port.
 * Servers that keep one port for all announce that one, and nothing follows.
 *
 * Left out: QuakeWorld, Quake II and III, which say no addresses and need no module; the addresses in answers about players,
 * which are clients'.
 */
import { binaryModule } from "./engine/binary-module.ts";
import type { Match } from "./engine/binary-tables.ts";
import type { Dialogue } from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";

/** A packet that is not the game's own, and as long as it says. */
const CONTROL: readonly Match[] = [
  { at: 0, bytes: 2, is: 0x8000 },
  { at: 2, bytes: 2, isLength: true },
];
const command = (number: number): Match => ({ at: 4, bytes: 1, is: number });
/** A client asked to be let in. */
const ASKED = 1;
/** 32 bits, little-endian. */
const PORT_AT = 5;

export const quake = binaryModule({
  name: "quake",
  transports: ["udp"],
  // Linux 2.0 watched the second as well.
  ports: [26_000, 27_000],
  // One is for the game; a second answer to the same question may name another port.
  expectationsMax: 2,
  messages: [
    { from: "client", match: [...CONTROL, command(0x01), { at: 5, text: "QUAKE\0" }], notes: ASKED },
    {
      from: "server",
      match: [...CONTROL, command(0x81), { at: PORT_AT, bytes: 4, order: "little", atMost: 0xffff }],
      needs: ASKED,
      follow: letIn,
    },
    {
      from: "server",
      match: [...CONTROL, command(0x83)],
      fields: [{ is: "endpoint", at: 5 }],
      lengthAt: { at: 2, bytes: 2 },
    },
  ],
});

function letIn(unit: Unit, dialogue: Dialogue): void {
  const port = unit.u32le(PORT_AT);
  if (port === 0 || port === dialogue.ownPort("server")) return;
  const shown = dialogue.listens("server", { protocol: "udp", port });
  if (shown !== 0 && shown !== port) unit.put32le(PORT_AT, shown);
  // A server that is not hidden needs no help; but its game's port must find the client where this one is found.
  if (dialogue.isHidden("client") && !dialogue.isHidden("server"))
    dialogue.listens("client", {
      protocol: "udp",
      port: dialogue.ownPort("client"),
      preferredPort: dialogue.shownPort("client"),
    });
}
