/**
 * RealAudio and RealVideo up to version 5 (PNA): Progressive Networks' firewall documents, as Linux 2.0's ip_masq_raudio and
 * ipfilter's proxy read them. The player says at once, in a run of options, on which UDP port it wants to be sent to, and on
 * which it sends for what was lost ("robust"); the server answers with its own port for that.
 *
 * A player that names no port is sent everything over TCP, and nothing has to be done. Later players speak RTSP.
 */
import { binaryModule } from "./engine/binary-module.ts";
import type { Field } from "./engine/binary-tables.ts";

/** The player asked for UDP. */
const UDP_WANTED = 1;
/** Versions that were ever seen are below. */
const VERSION_MAX = 255;

/** Sent to as long as the control connection lives: a live programme has pauses longer than entries live. */
const CLIENT_PORT: Field = {
  is: "port",
  at: 0,
  bytes: 2,
  listener: "client",
  protocol: "udp",
  announcement: { isLasting: true },
  notes: UDP_WANTED,
};

export const realaudio = binaryModule({
  name: "realaudio",
  transports: ["tcp"],
  ports: [7070],
  expectationsMax: 4,
  // A hello has a few hundred bytes.
  stream: { unitBytesMax: 2048, client: { by: "beginning" }, server: { by: "beginning" } },
  messages: [
    {
      from: "client",
      match: [{ at: 0, text: "PNA" }, { at: 3, bytes: 2, atMost: VERSION_MAX }],
      items: { at: 5, idBytes: 2, lengthBytes: 2, endId: 0, fields: { 1: [CLIENT_PORT], 7: [CLIENT_PORT] } },
    },
    {
      from: "server",
      match: [{ at: 0, text: "PNA" }, { at: 11, bytes: 2, is: 7 }],
      needs: UDP_WANTED,
      bytes: 15,
      fields: [
        {
          is: "port",
          at: 13,
          bytes: 2,
          listener: "server",
          protocol: "udp",
          announcement: { isLasting: true },
        },
      ],
    },
  ],
}); // biome-ignore format: tables
