/**
 * IPv6 header, RFC 8200 section 3. Extension headers: ipv6-extensions.ts.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-------+---------------+---------------------------------------+
 * |Version| Traffic Class |              Flow Label               |
 * +-------+---------------+-------+---------------+---------------+
 * |         Payload Length        |  Next Header  |   Hop Limit   |
 * +-------------------------------+---------------+---------------+
 * |                                                               |
 * +                Source Address, four 32-bit words              +
 * |                                                               |
 * +---------------------------------------------------------------+
 * |                                                               |
 * +             Destination Address, four 32-bit words            +
 * |                                                               |
 * +---------------------------------------------------------------+
 *
 * Left out: jumbograms (RFC 2675).
 */
export const IPV6_HEADER_BYTES = 40;
/** Every IPv6 link carries packets of this size (RFC 8200 section 5). */
export const IPV6_MTU_MIN = 1280;

export const IPV6_VERSION_AT = 0;
export const IPV6_PAYLOAD_LENGTH_AT = 4;
export const IPV6_NEXT_HEADER_AT = 6;
export const IPV6_HOP_LIMIT_AT = 7;
export const IPV6_SOURCE_AT = 8;
export const IPV6_DESTINATION_AT = 24;

const EMPTY = new DataView(new ArrayBuffer(0));

export class Ipv6View {
  #view: DataView = EMPTY;
  #at = 0;
  #end = 0;

  /**
   * Aim this reusable view. False, and unchanged, unless the 40-byte header lies inside [at, end). The payload may be
   * cut short, as in an ICMPv6 quotation: see isComplete.
   */
  attach(view: DataView, at: number, end: number): boolean {
    if (end > view.byteLength || end - at < IPV6_HEADER_BYTES) return false;
    if (view.getUint8(at + IPV6_VERSION_AT) >> 4 !== 6) return false;
    this.#view = view;
    this.#at = at;
    this.#end = end;
    return true;
  }

  /** DSCP and ECN. */
  get trafficClass(): number {
    return (this.#view.getUint16(this.#at + IPV6_VERSION_AT) >> 4) & 0xff;
  }
  /** 20 bits. */
  get flowLabel(): number {
    return this.#view.getUint32(this.#at + IPV6_VERSION_AT) & 0xfffff;
  }
  /** Everything behind the 40 bytes, extension headers included, as the sender had it. */
  get payloadLengthBytes(): number {
    return this.#view.getUint16(this.#at + IPV6_PAYLOAD_LENGTH_AT);
  }
  /** Protocol of the first extension header or, without one, of the payload. */
  get nextHeader(): number {
    return this.#view.getUint8(this.#at + IPV6_NEXT_HEADER_AT);
  }
  get hopLimit(): number {
    return this.#view.getUint8(this.#at + IPV6_HOP_LIMIT_AT);
  }
  get sourceAt(): number {
    return this.#at + IPV6_SOURCE_AT;
  }
  get destinationAt(): number {
    return this.#at + IPV6_DESTINATION_AT;
  }
  get payloadAt(): number {
    return this.#at + IPV6_HEADER_BYTES;
  }
  /** Offset behind the payload that is really there; link-layer padding is left outside. */
  get payloadEnd(): number {
    return Math.min(this.payloadAt + this.payloadLengthBytes, this.#end);
  }
  /** False when fewer bytes are there than the payload length promises. */
  get isComplete(): boolean {
    return this.payloadAt + this.payloadLengthBytes <= this.#end;
  }
}
