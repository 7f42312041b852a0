/**
 * Cutting an IP packet into fragments (RFC 791 section 3.2, RFC 8200 section 4.5) no larger than a given size, with
 * the cuts where Linux makes them: every fragment but the last carries the largest multiple of 8 bytes that fits.
 *
 * IPv4 options are repeated in every fragment as they are (the copied flag of RFC 791 is not looked at, because
 * routers drop packets with options anyway). IPv6 fragments keep the unfragmentable part in front of the header.
 */
import { finish, sum } from "./checksum.ts";
import { Flow } from "./flow.ts";
import { IPV4_MORE_FRAGMENTS } from "./ipv4.ts";
import { ExtensionHeader, FRAGMENT_HEADER_BYTES } from "./ipv6-extensions.ts";
import { HEADROOM_BYTES, type Packet } from "./packet.ts";

export class Fragmenter {
  readonly #flow = new Flow();
  #packet: Packet | undefined;
  #maxBytes = 0;
  #headerBytes = 0;
  #payloadAt = 0;
  #payloadBytes = 0;
  #done = 0;
  #identification = 0;

  /**
   * Begin cutting a packet.
   * @param maxBytes - largest fragment, IP header included
   * @returns false if the packet cannot be cut: malformed, a fragment already, or no room for 8 bytes of payload
   */
  start(packet: Packet, maxBytes: number): boolean {
    const flow = this.#flow;
    this.#packet = undefined;
    if (flow.dissect(packet) !== "ok" || flow.isFragment) return false;
    // Everything from the transport header on is the fragmentable part; extension headers stay in front of it.
    this.#headerBytes = flow.transportAt - packet.at;
    const overhead = this.#headerBytes + (flow.family === 6 ? FRAGMENT_HEADER_BYTES : 0);
    if (maxBytes - overhead < 8) return false;
    this.#packet = packet;
    this.#maxBytes = maxBytes;
    this.#payloadAt = flow.transportAt;
    this.#payloadBytes = flow.transportBytes;
    this.#identification = packet.fragmentIdentification;
    this.#done = 0;
    return true;
  }

  /** Write the next fragment into `out`. @returns false when there is none left. */
  next(out: Packet): boolean {
    const packet = this.#packet;
    if (packet === undefined || this.#done >= this.#payloadBytes) return false;
    const isIpv6 = this.#flow.family === 6;
    const headerBytes = this.#headerBytes + (isIpv6 ? FRAGMENT_HEADER_BYTES : 0);
    const left = this.#payloadBytes - this.#done;
    const room = this.#maxBytes - headerBytes;
    const isLast = left <= room;
    const bytes = isLast ? left : room & ~7;
    out.reset(HEADROOM_BYTES, headerBytes + bytes);
    copy(packet.bytes, packet.at, out.bytes, out.at, this.#headerBytes);
    copy(packet.bytes, this.#payloadAt + this.#done, out.bytes, out.at + headerBytes, bytes);
    if (isIpv6) this.#finish6(out, isLast);
    else this.#finish4(out, isLast);
    this.#done += bytes;
    return true;
  }

  #finish4(out: Packet, isLast: boolean): void {
    const { view, at } = out;
    view.setUint16(at + 2, out.length);
    const flags = view.getUint16(at + 6) & 0x4000;
    view.setUint16(at + 6, flags | (isLast ? 0 : IPV4_MORE_FRAGMENTS) | (this.#done >>> 3));
    view.setUint16(at + 10, 0);
    view.setUint16(at + 10, finish(sum(view, at, this.#headerBytes, 0)));
  }

  #finish6(out: Packet, isLast: boolean): void {
    const { view, at } = out;
    const nextHeaderAt = at + (this.#flow.nextHeaderAt - this.#packet!.at);
    const headerAt = at + this.#headerBytes;
    view.setUint16(at + 4, out.length - 40);
    view.setUint8(headerAt, view.getUint8(nextHeaderAt));
    view.setUint8(headerAt + 1, 0);
    view.setUint16(headerAt + 2, this.#done | (isLast ? 0 : 1));
    view.setUint32(headerAt + 4, this.#identification >>> 0);
    view.setUint8(nextHeaderAt, ExtensionHeader.fragment);
  }
}

function copy(from: Uint8Array, fromAt: number, to: Uint8Array, toAt: number, bytes: number): void {
  for (let i = 0; i < bytes; i++) to[toAt + i] = from[fromAt + i]!;
}
