/**
 * VDOLive: VDOnet's own description, as Linux 2.0's ip_masq_vdolive reads it. The player says twice, in two messages over
 * TCP, on which UDP port it wants to be sent to.
 *
 * How the messages are framed is not known: one is at the beginning, the other is looked for at any byte. One that stands behind
 * something unknown, and whose first eight bytes are cut, can open its port but not have it changed.
 */
import { binaryModule } from "./engine/binary-module.ts";
import type { Field } from "./engine/binary-tables.ts";

const MARKER = "VDO LIVE";
/** The port is the low half of a word. Both messages name the same one. */
const port = (at: number): Field => ({
  is: "port",
  at,
  bytes: 4,
  listener: "client",
  protocol: "udp",
  announcement: { isLasting: true },
});

export const vdolive = binaryModule({
  name: "vdolive",
  transports: ["tcp"],
  ports: [7000],
  expectationsMax: 1,
  stream: { unitBytesMax: 256, client: { by: "search", messagesMax: 2, bytesMax: 4096, beginningBytes: 8 } },
  messages: [
    {
      from: "client",
      match: [
        { at: 4, bytes: 4, is: 6 },
        { at: 24, text: MARKER },
        { at: 32, bytes: 4, atMost: 0xffff },
      ],
      bytes: 36,
      fields: [port(32)],
    },
    {
      from: "client",
      match: [
        { at: 4, bytes: 4, is: 1 },
        { at: 8, text: MARKER },
        { at: 16, bytes: 4, atMost: 0xffff },
      ],
      bytes: 20,
      fields: [port(16)],
    },
  ],
});
