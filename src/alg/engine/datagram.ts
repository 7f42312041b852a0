/**
 * A UDP datagram of a connection with an application module: read as one unit, changed, and every length and checksum with
 * it. A datagram that no longer fits on an Ethernet link because of that is sent in fragments.
 *
 * Of a super-packet (UDP GSO) every datagram is read, and may change as long as its length does not.
 */
import { applyPartialDelta } from "../../nat/rewrite.ts";
import { changeLength, IP_LENGTH_MAX } from "../../nat/tcp-segment.ts";
import { finish, fold, pseudoHeaderSum4, pseudoHeaderSum6, sum, udpChecksum } from "../../wire/checksum.ts";
import { type Flow, Protocol } from "../../wire/flow.ts";
import { IPV4_CHECKSUM_AT, IPV4_DONT_FRAGMENT, IPV4_FRAGMENT_AT } from "../../wire/ipv4.ts";
import { Gso, type Packet } from "../../wire/packet.ts";
import { UDP_CHECKSUM_AT, UDP_HEADER_BYTES, UDP_LENGTH_AT } from "../../wire/udp.ts";
import type { ModuleDialogue } from "./dialogue.ts";
import type { Side } from "./module.ts";

/** IP packets that links usually take. */
const LINK_BYTES = 1500;
const out = new Uint8Array(IP_LENGTH_MAX);

let identification = 0;

/** @returns anything but "passed": drop it */
export function passDatagram(
  packet: Packet,
  flow: Flow,
  dialogue: ModuleDialogue,
  from: Side,
): "passed" | "badChecksum" {
  const { view, bytes } = packet;
  const { transportAt, transportBytes } = flow;
  if (dialogue.isUnread || view.getUint16(transportAt + UDP_LENGTH_AT) !== transportBytes) return "passed";
  if (!isChecksumRight(packet, flow)) return "badChecksum";
  const payloadAt = transportAt + UDP_HEADER_BYTES;
  const payloadBytes = transportBytes - UDP_HEADER_BYTES;
  if (packet.gso !== Gso.none && packet.gsoBytes > 0) {
    for (let done = 0; done < payloadBytes; done += packet.gsoBytes) {
      const length = Math.min(packet.gsoBytes, payloadBytes - done);
      const written = dialogue.read(from, bytes, payloadAt + done, length, out, 0, length);
      // A shorter one would move all behind it.
      if (written === length) for (let i = 0; i < length; i++) bytes[payloadAt + done + i] = out[i]!;
    }
    // What is left of the sum is done for each of them where they part.
    return "passed";
  }
  const room = IP_LENGTH_MAX - (payloadAt - packet.at);
  const written = dialogue.read(from, bytes, payloadAt, payloadBytes, out, 0, room);
  if (written > 0) replacePayload(packet, flow, payloadAt, written);
  return "passed";
}

function replacePayload(packet: Packet, flow: Flow, payloadAt: number, length: number): void {
  const { bytes, view } = packet;
  const { transportAt, transportBytes: before } = flow;
  const packetBytesBefore = packet.length;
  for (let i = 0; i < length; i++) bytes[payloadAt + i] = out[i]!;
  const after = UDP_HEADER_BYTES + length;
  if (after !== before) {
    changeLength(packet, flow, after - before);
    view.setUint16(transportAt + UDP_LENGTH_AT, after);
    if (packet.isChecksumPartial)
      applyPartialDelta(view, transportAt + UDP_CHECKSUM_AT, (~before & 0xffff) + after);
  }
  const isTooLong = packet.length > LINK_BYTES && packet.length > packetBytesBefore;
  if (isTooLong) haveItCut(packet, flow, Math.max(packetBytesBefore, LINK_BYTES));
  // 0 is none, and stays so; a partial one is of the pseudo-header only.
  if (!packet.isChecksumPartial && (isTooLong || view.getUint16(transportAt + UDP_CHECKSUM_AT) !== 0))
    computeChecksum(packet, flow);
}

/** The sender's own idea of the path's MTU holds no longer. */
function haveItCut(packet: Packet, flow: Flow, bytesMax: number): void {
  const { view, at } = packet;
  packet.isChecksumPartial = false;
  if (packet.fragmentBytesMax === 0) {
    packet.fragmentBytesMax = bytesMax;
    identification = (identification + 1) | 0;
    packet.fragmentIdentification = identification;
  }
  const field = view.getUint16(at + IPV4_FRAGMENT_AT);
  if (flow.family === 6 || (field & IPV4_DONT_FRAGMENT) === 0) return;
  view.setUint16(at + IPV4_FRAGMENT_AT, field & ~IPV4_DONT_FRAGMENT);
  view.setUint16(at + IPV4_CHECKSUM_AT, 0);
  view.setUint16(at + IPV4_CHECKSUM_AT, finish(sum(view, at, flow.transportAt - at, 0)));
}

function computeChecksum(packet: Packet, flow: Flow): void {
  const { view } = packet;
  const checksumAt = flow.transportAt + UDP_CHECKSUM_AT;
  view.setUint16(checksumAt, 0);
  view.setUint16(checksumAt, udpChecksum(~fold(sumOf(packet, flow)) & 0xffff));
}

/** A damaged datagram must not be read: what was announced in it was not. A partial checksum is this host's own. */
function isChecksumRight(packet: Packet, flow: Flow): boolean {
  if (packet.isChecksumPartial || packet.view.getUint16(flow.transportAt + UDP_CHECKSUM_AT) === 0)
    return true;
  return fold(sumOf(packet, flow)) === 0xffff;
}

function sumOf({ view, at }: Packet, { family, transportAt, transportBytes }: Flow): number {
  const pseudo = family === 4 ? pseudoHeaderSum4 : pseudoHeaderSum6;
  return sum(view, transportAt, transportBytes, pseudo(view, at, Protocol.udp, transportBytes));
}
