/** Packets for the benchmarks: valid IP headers, TCP or UDP, a payload of zeros. */

import { type Endpoint, parseEndpoint } from "../../src/wire/address.ts";
import { finish, sum } from "../../src/wire/checksum.ts";
import { Protocol } from "../../src/wire/flow.ts";
import { TcpFlag } from "../../src/wire/tcp.ts";

export const SYN = TcpFlag.syn;
export const ACK = TcpFlag.ack;

export interface PacketShape {
  /** "202.100.1.2:3456" or "[2001:db8::2]:3456". */
  readonly from: string;
  readonly to: string;
  readonly protocol: "tcp" | "udp";
  readonly tcpFlags: number;
  /** The whole IP packet; at least its headers. */
  readonly bytes: number;
}

export function makePacket(shape: PacketShape): Uint8Array {
  const source = endpoint(shape.from);
  const destination = endpoint(shape.to);
  const bytes = new Uint8Array(shape.bytes);
  const view = new DataView(bytes.buffer);
  const protocol = Protocol[shape.protocol];
  const isIpv4 = source.family === 4;
  const wordCount = isIpv4 ? 1 : 4;
  if (isIpv4) {
    view.setUint16(0, 0x4500);
    view.setUint16(2, shape.bytes);
    view.setUint16(6, 0x4000);
    view.setUint8(8, 62);
    view.setUint8(9, protocol);
  } else {
    view.setUint8(0, 0x60);
    view.setUint16(4, shape.bytes - 40);
    view.setUint8(6, protocol);
    view.setUint8(7, 62);
  }
  const addressesAt = isIpv4 ? 12 : 8;
  for (let i = 0; i < wordCount; i++) {
    view.setInt32(addressesAt + i * 4, source.words[i]!);
    view.setInt32(addressesAt + (wordCount + i) * 4, destination.words[i]!);
  }
  if (isIpv4) view.setUint16(10, finish(sum(view, 0, 20, 0)));
  const transportAt = addressesAt + wordCount * 8;
  view.setUint16(transportAt, source.port);
  view.setUint16(transportAt + 2, destination.port);
  if (shape.protocol === "tcp") view.setUint16(transportAt + 12, 0x5000 | shape.tcpFlags);
  else view.setUint16(transportAt + 4, shape.bytes - transportAt);
  // Transport checksums are carried along, never judged; any but zero will do.
  view.setUint16(transportAt + (shape.protocol === "tcp" ? 16 : 6), 0x1234);
  return bytes;
}

function endpoint(text: string): Endpoint {
  const found = parseEndpoint(text);
  if (found === undefined) throw new RangeError(`Cannot make a packet: "${text}" is not an endpoint`);
  return found;
}
