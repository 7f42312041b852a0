/**
 * What the director needs to know of a packet, read once: addresses, protocol, ports, where the transport header is,
 * fragmentation. One reusable object; nothing is allocated.
 *
 * Addresses are signed 32-bit words in host order (so that V8 keeps them as small integers), four for source and four
 * for destination; IPv4 uses the first of each four and leaves the rest zero.
 *
 * Left out: IPv6 jumbograms, routing headers with segments left (the packet is then addressed to this host as a
 * waypoint, which no director is: malformed), more than EXTENSION_HEADERS_MAX extension headers.
 */
import { fold, sum } from "./checksum.ts";
import { EXTENSION_HEADERS_MAX, ExtensionHeader } from "./ipv6-extensions.ts";
import type { Packet } from "./packet.ts";

export const Protocol = { icmp: 1, tcp: 6, udp: 17, gre: 47, esp: 50, ah: 51, icmp6: 58, sctp: 132 } as const;

const HOP_BY_HOP = ExtensionHeader.hopByHop;
const ROUTING = ExtensionHeader.routing;
const FRAGMENT = ExtensionHeader.fragment;
const DESTINATION_OPTIONS = ExtensionHeader.destinationOptions;

export type Dissection = "ok" | "truncated" | "malformed" | "bad-checksum";

export class Flow {
  family: 4 | 6 = 4;
  /** Protocol of the transport header, behind extension headers. */
  protocol = 0;
  /** Source address words 0..3, destination address words 4..7. */
  readonly words = new Int32Array(8);
  /** Ports of TCP, UDP and SCTP in host order; 0 for everything else and for later fragments. */
  sourcePort = 0;
  destinationPort = 0;
  /** True when the ports above were read from the packet. */
  hasPorts = false;
  /** Offset of the transport header in the packet's buffer. */
  transportAt = 0;
  /** Bytes from the transport header to the end of the IP packet. */
  transportBytes = 0;
  /** First octet of byte 13 of TCP: the flags; 0 for other protocols. */
  tcpFlags = 0;
  isFragment = false;
  /** Byte offset of this fragment in its datagram. */
  fragmentOffset = 0;
  hasMoreFragments = false;
  /** IPv4: 16 bits; IPv6: 32 bits, signed. Only meaningful for fragments. */
  identification = 0;
  /** IPv6 fragments: offset in the buffer of the fragment header, and of the next-header octet that announces it. */
  fragmentHeaderAt = 0;
  nextHeaderAt = 0;

  /**
   * Read a packet. Link-layer padding behind the IP packet is cut off `packet.length`.
   * @returns "ok", or why the packet is no input for a router; fields are then meaningless.
   */
  dissect(packet: Packet): Dissection {
    if (packet.length < 20) return "truncated";
    this.#clear();
    const version = packet.view.getUint8(packet.at) >> 4;
    let outcome: Dissection;
    if (version === 4) outcome = this.#dissect4(packet);
    else if (version === 6) outcome = this.#dissect6(packet);
    else return "malformed";
    if (outcome !== "ok" || this.fragmentOffset !== 0) return outcome;
    return this.#readPorts(packet.view);
  }

  /**
   * Read an IP header quoted inside an ICMP error: like dissect, but the quotation may be cut anywhere behind the first
   * eight transport bytes, and its checksum is not judged.
   * @param end - offset behind the last quoted byte
   */
  dissectQuoted(view: DataView, at: number, end: number): Dissection {
    this.#clear();
    if (end - at < 20) return "truncated";
    const version = view.getUint8(at) >> 4;
    let outcome: Dissection;
    if (version === 4) outcome = this.#read4(view, at, end);
    else if (version === 6) {
      if (end - at < 40) return "truncated";
      outcome = this.#read6(view, at, end);
    } else return "malformed";
    if (outcome !== "ok") return outcome;
    if (this.transportBytes < 4) return "truncated";
    if (this.protocol === Protocol.tcp || this.protocol === Protocol.udp || this.protocol === Protocol.sctp) {
      if (this.fragmentOffset !== 0) return "ok";
      this.sourcePort = view.getUint16(this.transportAt);
      this.destinationPort = view.getUint16(this.transportAt + 2);
      this.hasPorts = true;
    }
    return "ok";
  }

  /** Exchange source and destination, addresses and ports: the other direction's tuple. */
  reverse(): void {
    const words = this.words;
    for (let i = 0; i < 4; i++) {
      const word = words[i]!;
      words[i] = words[4 + i]!;
      words[4 + i] = word;
    }
    const port = this.sourcePort;
    this.sourcePort = this.destinationPort;
    this.destinationPort = port;
  }

  /** Forget the last packet's fragment fields, ports and flags. */
  #clear(): void {
    this.isFragment = false;
    this.fragmentOffset = 0;
    this.hasMoreFragments = false;
    this.hasPorts = false;
    this.sourcePort = 0;
    this.destinationPort = 0;
    this.tcpFlags = 0;
  }

  #dissect4(packet: Packet): Dissection {
    const { view, at } = packet;
    const headerBytes = (view.getUint8(at) & 0x0f) * 4;
    const totalBytes = view.getUint16(at + 2);
    if (headerBytes < 20 || totalBytes < headerBytes) return "malformed";
    if (totalBytes > packet.length) return "truncated";
    if (fold(sum(view, at, headerBytes, 0)) !== 0xffff) return "bad-checksum";
    packet.length = totalBytes;
    return this.#read4(view, at, at + totalBytes);
  }

  #read4(view: DataView, at: number, end: number): Dissection {
    const headerBytes = (view.getUint8(at) & 0x0f) * 4;
    if (headerBytes < 20) return "malformed";
    if (at + headerBytes > end) return "truncated";
    this.family = 4;
    this.protocol = view.getUint8(at + 9);
    const words = this.words;
    words[0] = view.getInt32(at + 12);
    words[4] = view.getInt32(at + 16);
    words[1] = words[2] = words[3] = 0;
    words[5] = words[6] = words[7] = 0;
    this.transportAt = at + headerBytes;
    this.transportBytes = end - this.transportAt;
    const fragment = view.getUint16(at + 6);
    if ((fragment & 0x3fff) !== 0) {
      this.isFragment = true;
      this.hasMoreFragments = (fragment & 0x2000) !== 0;
      this.fragmentOffset = (fragment & 0x1fff) * 8;
      this.identification = view.getUint16(at + 4);
    }
    return "ok";
  }

  #dissect6(packet: Packet): Dissection {
    const { view, at } = packet;
    if (packet.length < 40) return "truncated";
    const totalBytes = 40 + view.getUint16(at + 4);
    if (totalBytes > packet.length) return "truncated";
    packet.length = totalBytes;
    return this.#read6(view, at, at + totalBytes);
  }

  #read6(view: DataView, at: number, end: number): Dissection {
    this.family = 6;
    const words = this.words;
    for (let i = 0; i < 8; i++) words[i] = view.getInt32(at + 8 + i * 4);
    let nextHeaderAt = at + 6;
    let next = view.getUint8(nextHeaderAt);
    let headerAt = at + 40;
    for (let count = 0; count <= EXTENSION_HEADERS_MAX; count++) {
      if (next !== HOP_BY_HOP && next !== ROUTING && next !== DESTINATION_OPTIONS && next !== FRAGMENT) {
        this.protocol = next;
        this.transportAt = headerAt;
        this.transportBytes = end - headerAt;
        this.nextHeaderAt = this.isFragment ? this.nextHeaderAt : nextHeaderAt;
        return "ok";
      }
      if (headerAt + 8 > end) return "truncated";
      if (next === FRAGMENT) {
        // A second fragment header would describe a fragment of a fragment, which no sender makes (RFC 7112).
        if (this.isFragment) return "malformed";
        const field = view.getUint16(headerAt + 2);
        this.fragmentOffset = field & 0xfff8;
        this.hasMoreFragments = (field & 1) !== 0;
        this.identification = view.getInt32(headerAt + 4);
        this.isFragment = true;
        this.fragmentHeaderAt = headerAt;
        this.nextHeaderAt = nextHeaderAt;
        next = view.getUint8(headerAt);
        nextHeaderAt = headerAt;
        headerAt += 8;
        if (this.fragmentOffset !== 0) {
          this.protocol = next;
          this.transportAt = headerAt;
          this.transportBytes = end - headerAt;
          return "ok";
        }
      } else {
        const bytes = (view.getUint8(headerAt + 1) + 1) * 8;
        if (headerAt + bytes > end) return "truncated";
        if (next === ROUTING && view.getUint8(headerAt + 3) !== 0) return "malformed";
        next = view.getUint8(headerAt);
        nextHeaderAt = headerAt;
        headerAt += bytes;
      }
    }
    return "malformed";
  }

  #readPorts(view: DataView): Dissection {
    const { protocol, transportAt, transportBytes } = this;
    // A first fragment may be too short for its transport header; the whole datagram is judged after reassembly.
    const lenient = this.isFragment;
    switch (protocol) {
      case Protocol.tcp:
        if (transportBytes < 20) return lenient ? "ok" : "truncated";
        this.tcpFlags = view.getUint8(transportAt + 13);
        break;
      case Protocol.udp:
        if (transportBytes < 8) return lenient ? "ok" : "truncated";
        break;
      case Protocol.sctp:
        if (transportBytes < 12) return lenient ? "ok" : "truncated";
        break;
      default:
        return "ok";
    }
    this.sourcePort = view.getUint16(transportAt);
    this.destinationPort = view.getUint16(transportAt + 2);
    this.hasPorts = true;
    return "ok";
  }
}
