/**
 * UDP header, RFC 768.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-------------------------------+-------------------------------+
 * |          Source Port          |       Destination Port        |
 * +-------------------------------+-------------------------------+
 * |            Length             |           Checksum            |
 * +-------------------------------+-------------------------------+
 *
 * Checksum 0 means that there is none: allowed over IPv4, not over IPv6 (RFC 8200 section 8.1; the tunnel exception of
 * RFC 6936 is left out).
 */
export const UDP_HEADER_BYTES = 8;

export const UDP_SOURCE_PORT_AT = 0;
export const UDP_DESTINATION_PORT_AT = 2;
export const UDP_LENGTH_AT = 4;
export const UDP_CHECKSUM_AT = 6;

const EMPTY = new DataView(new ArrayBuffer(0));

export class UdpView {
  #view: DataView = EMPTY;
  #at = 0;
  #end = 0;

  /**
   * Aim this reusable view. False, and unchanged, unless the header lies inside [at, end). The payload may be cut short,
   * as in a first fragment or an ICMP quotation: see isComplete.
   */
  attach(view: DataView, at: number, end: number): boolean {
    if (end > view.byteLength || end - at < UDP_HEADER_BYTES) return false;
    this.#view = view;
    this.#at = at;
    this.#end = end;
    return true;
  }

  get sourcePort(): number {
    return this.#view.getUint16(this.#at + UDP_SOURCE_PORT_AT);
  }
  get destinationPort(): number {
    return this.#view.getUint16(this.#at + UDP_DESTINATION_PORT_AT);
  }
  /** Header and payload as the sender had them; less than 8 only in a malformed packet. */
  get lengthBytes(): number {
    return this.#view.getUint16(this.#at + UDP_LENGTH_AT);
  }
  get checksum(): number {
    return this.#view.getUint16(this.#at + UDP_CHECKSUM_AT);
  }
  get payloadAt(): number {
    return this.#at + UDP_HEADER_BYTES;
  }
  /** True when the length is possible and that many bytes are there. */
  get isComplete(): boolean {
    const lengthBytes = this.lengthBytes;
    return lengthBytes >= UDP_HEADER_BYTES && lengthBytes <= this.#end - this.#at;
  }
}
