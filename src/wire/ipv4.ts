/**
 * IPv4 header, RFC 791; the fragment fields as in RFC 6864, the DSCP and ECN octet as in RFC 2474 and RFC 3168.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-------+-------+---------------+-------------------------------+
 * |Version|  IHL  |   DSCP  | ECN |         Total Length          |
 * +-------+-------+---------------+-----+-------------------------+
 * |         Identification        |0|D|M|     Fragment Offset     |
 * +---------------+---------------+-----+-------------------------+
 * |  Time to Live |    Protocol   |        Header Checksum        |
 * +---------------+---------------+-------------------------------+
 * |                        Source Address                         |
 * +---------------------------------------------------------------+
 * |                      Destination Address                      |
 * +---------------------------------------------------------------+
 * |                 Options, up to 40 bytes, padded               |
 * +---------------------------------------------------------------+
 *
 * Left out: the meaning of single options; OptionWalk lists them.
 */
import { finish, sum } from "./checksum.ts";

export const IPV4_HEADER_BYTES = 20;
export const IPV4_HEADER_BYTES_MAX = 60;

export const IPV4_VERSION_AT = 0;
export const IPV4_TOS_AT = 1;
export const IPV4_TOTAL_LENGTH_AT = 2;
export const IPV4_IDENTIFICATION_AT = 4;
/** Flags and fragment offset, 16 bits. */
export const IPV4_FRAGMENT_AT = 6;
export const IPV4_TTL_AT = 8;
export const IPV4_PROTOCOL_AT = 9;
export const IPV4_CHECKSUM_AT = 10;
export const IPV4_SOURCE_AT = 12;
export const IPV4_DESTINATION_AT = 16;
export const IPV4_OPTIONS_AT = 20;

/** Bits of the 16-bit word at IPV4_FRAGMENT_AT. The offset counts units of eight bytes. */
export const IPV4_DONT_FRAGMENT = 0x4000;
export const IPV4_MORE_FRAGMENTS = 0x2000;
export const IPV4_FRAGMENT_OFFSET_MASK = 0x1fff;

/** Option kinds, copied flag included (IANA "IP Option Numbers"). */
export const Ipv4Option = {
  end: 0,
  noOperation: 1,
  recordRoute: 7,
  timestamp: 68,
  looseSourceRoute: 131,
  strictSourceRoute: 137,
  routerAlert: 148,
} as const;

const EMPTY = new DataView(new ArrayBuffer(0));

export class Ipv4View {
  #view: DataView = EMPTY;
  #at = 0;
  #end = 0;

  /**
   * Aim this reusable view. False, and unchanged, unless the whole header lies inside [at, end) and its lengths do not
   * contradict each other. The *payload* may be cut short, as in an ICMP quotation: see isComplete.
   * @param at - offset of the header
   * @param end - offset behind the last byte there is
   */
  attach(view: DataView, at: number, end: number): boolean {
    if (end > view.byteLength || end - at < IPV4_HEADER_BYTES) return false;
    const first = view.getUint8(at + IPV4_VERSION_AT);
    const headerBytes = (first & 0x0f) * 4;
    if (first >> 4 !== 4 || headerBytes < IPV4_HEADER_BYTES || headerBytes > end - at) return false;
    if (view.getUint16(at + IPV4_TOTAL_LENGTH_AT) < headerBytes) return false;
    this.#view = view;
    this.#at = at;
    this.#end = end;
    return true;
  }

  get headerLengthBytes(): number {
    return (this.#view.getUint8(this.#at + IPV4_VERSION_AT) & 0x0f) * 4;
  }
  /** DSCP and ECN, the former type of service. */
  get tos(): number {
    return this.#view.getUint8(this.#at + IPV4_TOS_AT);
  }
  /** Header and payload as the sender had them, 20..65535. */
  get totalLengthBytes(): number {
    return this.#view.getUint16(this.#at + IPV4_TOTAL_LENGTH_AT);
  }
  get identification(): number {
    return this.#view.getUint16(this.#at + IPV4_IDENTIFICATION_AT);
  }
  get dontFragment(): boolean {
    return (this.#view.getUint16(this.#at + IPV4_FRAGMENT_AT) & IPV4_DONT_FRAGMENT) !== 0;
  }
  get hasMoreFragments(): boolean {
    return (this.#view.getUint16(this.#at + IPV4_FRAGMENT_AT) & IPV4_MORE_FRAGMENTS) !== 0;
  }
  get fragmentOffsetBytes(): number {
    return (this.#view.getUint16(this.#at + IPV4_FRAGMENT_AT) & IPV4_FRAGMENT_OFFSET_MASK) * 8;
  }
  /** True for every piece of a fragmented datagram, the first included. */
  get isFragment(): boolean {
    const word = this.#view.getUint16(this.#at + IPV4_FRAGMENT_AT);
    return (word & (IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET_MASK)) !== 0;
  }
  get ttl(): number {
    return this.#view.getUint8(this.#at + IPV4_TTL_AT);
  }
  get protocol(): number {
    return this.#view.getUint8(this.#at + IPV4_PROTOCOL_AT);
  }
  get checksum(): number {
    return this.#view.getUint16(this.#at + IPV4_CHECKSUM_AT);
  }
  /** Signed 32-bit word. */
  get source(): number {
    return this.#view.getInt32(this.#at + IPV4_SOURCE_AT);
  }
  /** Signed 32-bit word. */
  get destination(): number {
    return this.#view.getInt32(this.#at + IPV4_DESTINATION_AT);
  }
  /** Offset behind the options, where the transport header or fragment data begins. */
  get payloadAt(): number {
    return this.#at + this.headerLengthBytes;
  }
  /** Offset behind the payload that is really there; link-layer padding is left outside. */
  get payloadEnd(): number {
    return Math.min(this.#at + this.totalLengthBytes, this.#end);
  }
  /** False when fewer bytes are there than the total length promises. */
  get isComplete(): boolean {
    return this.#at + this.totalLengthBytes <= this.#end;
  }
  get isChecksumValid(): boolean {
    return finish(sum(this.#view, this.#at, this.headerLengthBytes, 0)) === 0;
  }
}
