/**
 * CU-SeeMe, point to point or through a reflector: as Linux 2.0's ip_masq_cuseeme reads it. Every datagram has the addresses
 * of both ends in its header, and the one that opens a conference lists who takes part.
 *
 * The header is read as 68k Macs packed it (26 bytes); FreeBSD's libalias declares the same one padded to 28, which no peer
 * was ever seen to send. Left out: who takes part from elsewhere, whose addresses are not ours to change.
 */
import { binaryModule } from "./engine/binary-module.ts";

const PORT = 7648;
const NEXT = 7649;
const OPEN_CONTINUE = 101;

export const cuseeme = binaryModule({
  name: "cuseeme",
  transports: ["udp"],
  ports: [PORT],
  expectationsMax: 2,
  begin(dialogue) {
    // It is one of those already.
    if (dialogue.ownPort("server") === NEXT || dialogue.ownPort("client") === NEXT) return;
    // Audio and video may have a port of their own, in either direction, and the same header.
    const next = { protocol: "udp", port: NEXT, isLasting: true, module: "cuseeme" } as const;
    dialogue.listens("server", next);
    dialogue.listens("client", next);
  },
  messages: [
    {
      from: "either",
      match: [{ at: 22, bytes: 2, is: OPEN_CONTINUE }],
      fields: [
        { is: "address", at: 12, portAt: 10, of: "sender" },
        { is: "address", at: 4, portAt: 2, of: "receiver" },
      ],
      list: {
        count: { at: 26, bytes: 2 },
        at: 56,
        bytes: 12,
        fields: [{ is: "address", at: 0, of: "either" }],
      },
    },
    {
      from: "either",
      match: [{ at: 24, bytes: 2, atMost: 0xffff }],
      fields: [
        { is: "address", at: 12, portAt: 10, of: "sender" },
        { is: "address", at: 4, portAt: 2, of: "receiver" },
      ],
    },
  ],
});
