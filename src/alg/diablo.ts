/**
 * Diablo over Battle.net (bnetdocs.org; PvPGN's server). Players log in over TCP 6112; the server tries their UDP 6112, and
 * the games are between players, who find each other by the addresses in the server's list.
 *
 * The server behind a virtual address: the UDP of its clients comes to the same server, and its own UDP from the virtual
 * address. A player behind a masquerade rule: anyone may send to its UDP port as long as it is logged in, and where the list
 * names what is shown of it, it is told its own address.
 *
 * Left out: other players behind the same director (they would have to be reached by way of the public address), Storm's
 * packets between players, whose layout is known in part only, and Diablo II.
 */
import { binaryModule } from "./engine/binary-module.ts";
import type { Dialogue } from "./engine/module.ts";

const PORT = 6112;

export const diablo = binaryModule({
  name: "diablo",
  transports: ["tcp"],
  ports: [PORT],
  expectationsMax: 2,
  stream: {
    unitBytesMax: 16_384,
    client: { by: "beginning" },
    server: {
      by: "length",
      lead: [{ at: 0, bytes: 1, is: 0xff }],
      length: { at: 2, bytes: 2, order: "little" },
    },
  },
  messages: [
    // Whoever begins like this is a player, and no browser that a web page sent here.
    {
      from: "client",
      match: [
        { at: 0, bytes: 1, is: 0x01 },
        { at: 1, bytes: 1, is: 0xff },
      ],
      bytes: 2,
      follow: (_, dialogue) => logIn(dialogue),
    },
    {
      from: "server",
      match: [
        { at: 0, bytes: 1, is: 0xff },
        { at: 1, bytes: 1, is: 0x09 },
      ],
      list: {
        count: { at: 4, bytes: 4, order: "little" },
        at: 8,
        bytes: 32,
        texts: 3,
        fields: [{ is: "address", at: 12, portAt: 10, portOf: "udp", of: "either" }],
      },
    },
  ],
});

function logIn(dialogue: Dialogue): void {
  const announcement = { protocol: "udp", port: PORT, isLasting: true } as const;
  dialogue.listens("server", announcement);
  const isPlayerHidden = dialogue.isHidden("client") && !dialogue.isHidden("server");
  dialogue.listens("client", { ...announcement, from: isPlayerHidden ? "anyone" : "peer" });
}
