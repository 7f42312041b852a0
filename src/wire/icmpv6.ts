/**
 * ICMPv6, RFC 4443; neighbour discovery types, RFC 4861, by number only.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +---------------+---------------+-------------------------------+
 * |     Type      |     Code      |           Checksum            |
 * +---------------+---------------+-------------------------------+
 * |  echo: Identifier             |        Sequence Number        |
 * |  packet too big: MTU;  parameter problem: Pointer             |
 * +---------------------------------------------------------------+
 * |  echo: data;  error: as much of the offending packet as fits  |
 * |  into 1280 bytes                                              |
 * +---------------------------------------------------------------+
 *
 * Unlike ICMP for IPv4 the checksum covers a pseudo-header too (RFC 8200 section 8.1). Types below 128 are errors.
 */
export const ICMPV6_HEADER_BYTES = 8;

export const ICMPV6_TYPE_AT = 0;
export const ICMPV6_CODE_AT = 1;
export const ICMPV6_CHECKSUM_AT = 2;
export const ICMPV6_IDENTIFIER_AT = 4;
export const ICMPV6_SEQUENCE_AT = 6;
/** 32 bits: MTU of "packet too big". */
export const ICMPV6_MTU_AT = 4;
/** 32 bits: offset in the offending packet. */
export const ICMPV6_POINTER_AT = 4;
export const ICMPV6_EMBEDDED_AT = 8;

export const Icmpv6Type = {
  destinationUnreachable: 1,
  packetTooBig: 2,
  timeExceeded: 3,
  parameterProblem: 4,
  echoRequest: 128,
  echoReply: 129,
  multicastListenerQuery: 130,
  multicastListenerReport: 131,
  routerSolicitation: 133,
  routerAdvertisement: 134,
  neighbourSolicitation: 135,
  neighbourAdvertisement: 136,
  redirect: 137,
  multicastListenerReport2: 143,
} as const;

/** Codes of destinationUnreachable. */
export const Icmpv6Unreachable = {
  noRoute: 0,
  administrativelyProhibited: 1,
  beyondScope: 2,
  address: 3,
  port: 4,
} as const;

/** Codes of timeExceeded. */
export const Icmpv6TimeExceeded = { hopLimit: 0, reassembly: 1 } as const;

/** True for the types that quote an offending packet. */
export function isIcmpv6Error(type: number): boolean {
  return type < 128;
}

const EMPTY = new DataView(new ArrayBuffer(0));

export class Icmpv6View {
  #view: DataView = EMPTY;
  #at = 0;

  /** Aim this reusable view. False, and unchanged, unless the eight-byte header lies inside [at, end). */
  attach(view: DataView, at: number, end: number): boolean {
    if (end > view.byteLength || end - at < ICMPV6_HEADER_BYTES) return false;
    this.#view = view;
    this.#at = at;
    return true;
  }

  get type(): number {
    return this.#view.getUint8(this.#at + ICMPV6_TYPE_AT);
  }
  get code(): number {
    return this.#view.getUint8(this.#at + ICMPV6_CODE_AT);
  }
  get checksum(): number {
    return this.#view.getUint16(this.#at + ICMPV6_CHECKSUM_AT);
  }
  get isError(): boolean {
    return isIcmpv6Error(this.type);
  }
  get isEcho(): boolean {
    return this.type === Icmpv6Type.echoRequest || this.type === Icmpv6Type.echoReply;
  }
  /** Echo: which ping. */
  get identifier(): number {
    return this.#view.getUint16(this.#at + ICMPV6_IDENTIFIER_AT);
  }
  /** Echo: which of its packets. */
  get sequence(): number {
    return this.#view.getUint16(this.#at + ICMPV6_SEQUENCE_AT);
  }
  /** "Packet too big": MTU of the next hop, 0..2^32-1 as found. */
  get mtu(): number {
    return this.#view.getUint32(this.#at + ICMPV6_MTU_AT);
  }
  /** Offset of the quoted IPv6 header or of the echo data; may be the end of the message. */
  get embeddedAt(): number {
    return this.#at + ICMPV6_EMBEDDED_AT;
  }
}
