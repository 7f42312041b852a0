/**
 * TCP header, RFC 9293 section 3.1; options of RFC 7323 (window scale, timestamps) and RFC 2018 (SACK).
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-------------------------------+-------------------------------+
 * |          Source Port          |       Destination Port        |
 * +-------------------------------+-------------------------------+
 * |                        Sequence Number                        |
 * +---------------------------------------------------------------+
 * |                     Acknowledgment Number                     |
 * +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
 * | Offset| Rsrvd |C|E|U|A|P|R|S|F|            Window             |
 * +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
 * |           Checksum            |        Urgent Pointer         |
 * +-------------------------------+-------------------------------+
 * |                 Options, up to 40 bytes, padded               |
 * +---------------------------------------------------------------+
 */
export const TCP_HEADER_BYTES = 20;
export const TCP_HEADER_BYTES_MAX = 60;

export const TCP_SOURCE_PORT_AT = 0;
export const TCP_DESTINATION_PORT_AT = 2;
export const TCP_SEQUENCE_AT = 4;
export const TCP_ACKNOWLEDGMENT_AT = 8;
/** Header length in the high four bits, in units of four bytes. */
export const TCP_DATA_OFFSET_AT = 12;
export const TCP_FLAGS_AT = 13;
export const TCP_WINDOW_AT = 14;
export const TCP_CHECKSUM_AT = 16;
export const TCP_URGENT_AT = 18;
export const TCP_OPTIONS_AT = 20;

/** Bits of the octet at TCP_FLAGS_AT. */
export const TcpFlag = {
  fin: 0x01,
  syn: 0x02,
  rst: 0x04,
  psh: 0x08,
  ack: 0x10,
  urg: 0x20,
  ece: 0x40,
  cwr: 0x80,
} as const;

/** Does a segment begin a connection: SYN alone, neither the answer to one nor a reset? */
export const isFirstSegment = ({ tcpFlags }: { readonly tcpFlags: number }): boolean =>
  (tcpFlags & (TcpFlag.syn | TcpFlag.ack | TcpFlag.rst)) === TcpFlag.syn;

/** Option kinds; walk them with OptionWalk. */
export const TcpOption = {
  end: 0,
  noOperation: 1,
  mss: 2,
  windowScale: 3,
  sackPermitted: 4,
  sack: 5,
  timestamps: 8,
} as const;

/** Lengths of the fixed-size options, kind and length octets included. SACK has 2 + 8 bytes a block. */
export const TCP_OPTION_BYTES = { mss: 4, windowScale: 3, sackPermitted: 2, timestamps: 10 } as const;

const EMPTY = new DataView(new ArrayBuffer(0));

export class TcpView {
  #view: DataView = EMPTY;
  #at = 0;

  /** Aim this reusable view. False, and unchanged, unless the header, options included, lies inside [at, end). */
  attach(view: DataView, at: number, end: number): boolean {
    if (end > view.byteLength || end - at < TCP_HEADER_BYTES) return false;
    const headerBytes = (view.getUint8(at + TCP_DATA_OFFSET_AT) >> 4) * 4;
    if (headerBytes < TCP_HEADER_BYTES || headerBytes > end - at) return false;
    this.#view = view;
    this.#at = at;
    return true;
  }

  get sourcePort(): number {
    return this.#view.getUint16(this.#at + TCP_SOURCE_PORT_AT);
  }
  get destinationPort(): number {
    return this.#view.getUint16(this.#at + TCP_DESTINATION_PORT_AT);
  }
  /** 0..2^32-1. */
  get sequence(): number {
    return this.#view.getUint32(this.#at + TCP_SEQUENCE_AT);
  }
  /** 0..2^32-1; meaningful with the ACK flag only. */
  get acknowledgment(): number {
    return this.#view.getUint32(this.#at + TCP_ACKNOWLEDGMENT_AT);
  }
  get headerLengthBytes(): number {
    return (this.#view.getUint8(this.#at + TCP_DATA_OFFSET_AT) >> 4) * 4;
  }
  /** Bits of TcpFlag. */
  get flags(): number {
    return this.#view.getUint8(this.#at + TCP_FLAGS_AT);
  }
  /** As sent, before window scaling. */
  get window(): number {
    return this.#view.getUint16(this.#at + TCP_WINDOW_AT);
  }
  get checksum(): number {
    return this.#view.getUint16(this.#at + TCP_CHECKSUM_AT);
  }
  get urgentPointer(): number {
    return this.#view.getUint16(this.#at + TCP_URGENT_AT);
  }
  /** Options lie in [optionsAt, payloadAt). */
  get optionsAt(): number {
    return this.#at + TCP_OPTIONS_AT;
  }
  get payloadAt(): number {
    return this.#at + this.headerLengthBytes;
  }
}
