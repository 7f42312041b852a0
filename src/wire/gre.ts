/**
 * Enhanced GRE as PPTP transfers PPP in it, RFC 2637 section 4.1. The call ID is the one that the *receiver* gave the call;
 * it plays the part of a port.
 *
 *  0                   1                   2                   3
 *  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 * +-+-+-+-+-+-----+-+-------+-----+-------------------------------+
 * |C|R|K|S|s|Recur|A| Flags | Ver |     Protocol Type 0x880B      |
 * +-------------------------------+-------------------------------+
 * |        Payload Length         |            Call ID            |
 * +-------------------------------+-------------------------------+
 * |        Sequence Number, if S; Acknowledgment Number, if A     |
 * +---------------------------------------------------------------+
 *
 * Left out: the numbers, and all other kinds of GRE, which are nobody's calls. There is no checksum.
 */
export const GRE_HEADER_BYTES = 8;
export const GRE_CALL_ID_AT = 6;

/** Version 1 with a key and of PPP, and nothing else but S and A set. */
const KIND = 0x2001880b;
const SEQUENCE_OR_ACKNOWLEDGMENT = 0x10800000;

/**
 * The call ID of a packet of PPTP, 0..65535; -1: it is not one.
 * @param at - offset of the GRE header; @param bytes - there are of it
 */
export function pptpCallId(view: DataView, at: number, bytes: number): number {
  if (bytes < GRE_HEADER_BYTES || at + GRE_HEADER_BYTES > view.byteLength) return -1;
  if ((view.getInt32(at) & ~SEQUENCE_OR_ACKNOWLEDGMENT) !== KIND) return -1;
  return view.getUint16(at + GRE_CALL_ID_AT);
}
