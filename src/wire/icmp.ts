/**
 * ICMP for IPv4, RFC 792; "fragmentation needed" with the next hop's MTU, RFC 1191; codes by RFC 1812.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +---------------+---------------+-------------------------------+
 * |     Type      |     Code      |           Checksum            |
 * +---------------+---------------+-------------------------------+
 * |  echo: Identifier             |        Sequence Number        |
 * |  error: unused / Pointer      |   unused / Next-Hop MTU       |
 * |  redirect: Gateway Address                                    |
 * +---------------------------------------------------------------+
 * |  echo: data;  error: the offending IP header and the first    |
 * |  eight or more bytes behind it                                |
 * +---------------------------------------------------------------+
 *
 * The checksum covers the ICMP message alone, no pseudo-header. Left out: extension objects (RFC 4884) behind the
 * quotation; they are carried, not read.
 */
export const ICMP_HEADER_BYTES = 8;

export const ICMP_TYPE_AT = 0;
export const ICMP_CODE_AT = 1;
export const ICMP_CHECKSUM_AT = 2;
export const ICMP_IDENTIFIER_AT = 4;
export const ICMP_SEQUENCE_AT = 6;
/** 32 bits behind the checksum: identifier and sequence, gateway, or pointer and MTU. */
export const ICMP_REST_AT = 4;
export const ICMP_POINTER_AT = 4;
export const ICMP_MTU_AT = 6;
/** The quoted IP packet of an error. */
export const ICMP_EMBEDDED_AT = 8;

export const IcmpType = {
  echoReply: 0,
  destinationUnreachable: 3,
  sourceQuench: 4,
  redirect: 5,
  echoRequest: 8,
  timeExceeded: 11,
  parameterProblem: 12,
  timestampRequest: 13,
  timestampReply: 14,
} as const;

/** Codes of destinationUnreachable. */
export const IcmpUnreachable = {
  network: 0,
  host: 1,
  protocol: 2,
  port: 3,
  fragmentationNeeded: 4,
  sourceRouteFailed: 5,
  administrativelyProhibited: 13,
} as const;

/** Codes of timeExceeded. */
export const IcmpTimeExceeded = { ttl: 0, reassembly: 1 } as const;

/** True for the types that quote an offending packet (RFC 1122 section 3.2.2, redirect included). */
export function isIcmpError(type: number): boolean {
  return (
    type === IcmpType.destinationUnreachable ||
    type === IcmpType.timeExceeded ||
    type === IcmpType.parameterProblem ||
    type === IcmpType.sourceQuench ||
    type === IcmpType.redirect
  );
}

const EMPTY = new DataView(new ArrayBuffer(0));

export class IcmpView {
  #view: DataView = EMPTY;
  #at = 0;

  /** Aim this reusable view. False, and unchanged, unless the eight-byte header lies inside [at, end). */
  attach(view: DataView, at: number, end: number): boolean {
    if (end > view.byteLength || end - at < ICMP_HEADER_BYTES) return false;
    this.#view = view;
    this.#at = at;
    return true;
  }

  get type(): number {
    return this.#view.getUint8(this.#at + ICMP_TYPE_AT);
  }
  get code(): number {
    return this.#view.getUint8(this.#at + ICMP_CODE_AT);
  }
  get checksum(): number {
    return this.#view.getUint16(this.#at + ICMP_CHECKSUM_AT);
  }
  get isError(): boolean {
    return isIcmpError(this.type);
  }
  get isEcho(): boolean {
    return this.type === IcmpType.echoRequest || this.type === IcmpType.echoReply;
  }
  /** Echo: which ping. */
  get identifier(): number {
    return this.#view.getUint16(this.#at + ICMP_IDENTIFIER_AT);
  }
  /** Echo: which of its packets. */
  get sequence(): number {
    return this.#view.getUint16(this.#at + ICMP_SEQUENCE_AT);
  }
  /** "Fragmentation needed": MTU of the next hop; 0 from routers before RFC 1191. */
  get nextHopMtu(): number {
    return this.#view.getUint16(this.#at + ICMP_MTU_AT);
  }
  /** Redirect: signed 32-bit address word. */
  get gateway(): number {
    return this.#view.getInt32(this.#at + ICMP_REST_AT);
  }
  /** Offset of the quoted IP header or of the echo data; may be the end of the message. */
  get embeddedAt(): number {
    return this.#at + ICMP_EMBEDDED_AT;
  }
}
