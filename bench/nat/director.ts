/**
 * The director alone, no datapath: nanoseconds and heap bytes a packet of one established flow. The packet's headers are
 * put back before every call; what that costs is measured alone and taken off.
 */
import { milliseconds } from "../../src/base/environment.ts";
import type { Director } from "../../src/nat/director.ts";
import { Gso, Packet } from "../../src/wire/packet.ts";
import { three } from "../sample.ts";
import { table } from "../table.ts";
import { timing } from "../timing.ts";
import { foundingDirector } from "./directors.ts";
import { ACK, makePacket, type PacketShape, SYN } from "./packets.ts";

const HEADER_BYTES_MAX = 60;
const NOW = milliseconds(1_000_000);

/** The two ends of a flow, as the client and as the chosen server see it. */
interface Ends {
  readonly protocol: "tcp" | "udp";
  readonly client: string;
  readonly virtual: string;
  readonly server: string;
}

const FLOWS: Readonly<Record<string, Ends>> = {
  "IPv4 TCP": {
    protocol: "tcp",
    client: "202.100.1.2:3456",
    virtual: "202.103.106.5:80",
    server: "172.16.0.3:8000",
  },
  "IPv4 UDP": {
    protocol: "udp",
    client: "202.100.1.2:3456",
    virtual: "202.103.106.5:53",
    server: "172.16.0.2:5353",
  },
  "IPv6 TCP": {
    protocol: "tcp",
    client: "[2001:db8:1::2]:3456",
    virtual: "[2001:db8:5::5]:80",
    server: "[fd00:16::2]:8000",
  },
  "IPv6 UDP": {
    protocol: "udp",
    client: "[2001:db8:1::2]:3456",
    virtual: "[2001:db8:5::5]:53",
    server: "[fd00:16::2]:5353",
  },
};

export interface DirectorResult {
  readonly text: string;
  readonly heapBytesMax: number;
}

export function directorBenchmark(seconds: number): DirectorResult {
  const rows: string[][] = [];
  let heapBytesMax = 0;
  const add = (title: string, shape: PacketShape, ends: Ends, gsoBytes: number): void => {
    const director = foundingDirector(NOW);
    establish(director, ends);
    const wanted = shape.from === ends.client ? "to-server" : "to-client";
    const packet = new Packet();
    const original = makePacket(shape);
    packet.load(original);
    const headers = original.slice(0, HEADER_BYTES_MAX);
    const { at } = packet;
    const putBack = (): void => {
      packet.bytes.set(headers, at);
      if (gsoBytes === 0) return;
      packet.isChecksumPartial = true;
      packet.gso = Gso.tcp4;
      packet.gsoBytes = gsoBytes;
    };
    const idle = timing((count) => {
      for (let i = 0; i < count; i++) putBack();
    }, seconds / 4);
    const busy = timing((count) => {
      for (let i = 0; i < count; i++) {
        putBack();
        director.receive(packet, NOW);
      }
    }, seconds);
    putBack();
    const verdict = director.receive(packet, NOW);
    if (verdict.kind !== wanted)
      throw new Error(`${title}: found ${JSON.stringify(verdict)}, wanted ${wanted}`);
    heapBytesMax = Math.max(heapBytesMax, busy.heapBytes);
    rows.push([
      title,
      three(busy.ns - idle.ns),
      `±${(100 * busy.spread).toFixed(0)} %`,
      three(1000 / (busy.ns - idle.ns)),
      `${busy.heapBytes}`,
    ]);
  };

  for (const [name, ends] of Object.entries(FLOWS)) {
    const { protocol, client, virtual, server } = ends;
    for (const bytes of [64, 512, 1500]) {
      const shape = { protocol, tcpFlags: ACK, bytes };
      add(`${name}, ${bytes} bytes, to server`, { ...shape, from: client, to: virtual }, ends, 0);
      add(`${name}, ${bytes} bytes, to client`, { ...shape, from: server, to: client }, ends, 0);
    }
    if (protocol === "udp") continue;
    const shape = { protocol, tcpFlags: ACK, bytes: 65_000 };
    add(`${name}, GSO 65000 bytes, to server`, { ...shape, from: client, to: virtual }, ends, 1448);
    add(`${name}, GSO 65000 bytes, to client`, { ...shape, from: server, to: client }, ends, 1448);
  }
  const header = ["", "ns/packet", "spread", "M packets/s", "heap bytes/packet"];
  return { text: `nat/director, one established flow\n${table(header, rows)}`, heapBytesMax };
}

/** Make the flow's connection; TCP needs the scheduler to have come round to the server in question. */
function establish(director: Director, { protocol, client, virtual, server }: Ends): void {
  const packet = new Packet();
  const send = (from: string, to: string, tcpFlags: number): string => {
    packet.load(makePacket({ from, to, protocol, tcpFlags, bytes: 64 }));
    return director.receive(packet, NOW).kind;
  };
  send(client, virtual, SYN);
  if (protocol === "udp") return;
  if (send(server, client, SYN | ACK) !== "to-client") throw new Error(`${client} is not bound to ${server}`);
  send(client, virtual, ACK);
}
