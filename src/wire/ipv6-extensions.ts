/**
 * Walk over the IPv6 extension headers (RFC 8200 section 4; authentication header: RFC 4302) to the upper-layer header.
 *
 *      hop-by-hop, routing, destination options          fragment (44)
 *     +-------------+-------------+--------            +-------------+----------+-------------+--+-+
 *     | Next Header | Hdr Ext Len | ...                | Next Header | Reserved |   Offset    |  |M|
 *     +-------------+-------------+--------            +-------------+----------+-------------+--+-+
 *      length = (Hdr Ext Len + 1) * 8                  |              Identification               |
 *      authentication: (Payload Len + 2) * 4           +-------------------------------------------+
 *
 * ESP and "no next header" end the walk like any upper-layer protocol. Left out: the options inside, mobility, HIP and
 * shim6 headers (they end the walk as unknown protocols).
 */
export const ExtensionHeader = {
  hopByHop: 0,
  routing: 43,
  fragment: 44,
  authentication: 51,
  noNextHeader: 59,
  destinationOptions: 60,
} as const;

/** More than this many headers is an attack or a mistake: real packets have at most four or five. */
export const EXTENSION_HEADERS_MAX = 8;

export const FRAGMENT_HEADER_BYTES = 8;
export const FRAGMENT_NEXT_HEADER_AT = 0;
/** 16 bits: offset in units of eight bytes, already multiplied by its place; two reserved bits; M. */
export const FRAGMENT_OFFSET_AT = 2;
export const FRAGMENT_IDENTIFICATION_AT = 4;
export const FRAGMENT_OFFSET_MASK = 0xfff8;
export const FRAGMENT_MORE = 1;

const ROUTING_SEGMENTS_LEFT_AT = 3;

/** "truncated": a header reaches beyond the end; "malformed": too many headers, or a second fragment header. */
export type ExtensionOutcome = "ok" | "truncated" | "malformed";

export class Ipv6Extensions {
  /** The upper-layer protocol; in a later fragment the one its fragment header names. */
  protocol = 0;
  /** Offset of the upper-layer header; in a later fragment that of the fragment data. */
  upperAt = 0;
  /** Offset of the octet that names the upper-layer protocol: in the IPv6 header or in the last extension header. */
  upperNextHeaderAt = 0;
  /** Offset of the fragment header, or -1. */
  fragmentHeaderAt = -1;
  /** Offset of the octet that announces the fragment header, or -1. */
  fragmentNextHeaderAt = -1;
  fragmentOffsetBytes = 0;
  hasMoreFragments = false;
  /** Unsigned 32 bits. */
  identification = 0;
  /** A routing header has segments left: the destination address is a waypoint. */
  hasSegmentsLeft = false;

  /**
   * Follow the chain. Fields hold what was found up to the point where the walk stopped, whatever the outcome.
   * @param nextHeaderAt - offset of the octet that names the first header: in a packet, that of the IPv6 header
   * @param at - offset of the first extension or upper-layer header
   * @param end - offset behind the last byte there is, inside `view`
   */
  walk(view: DataView, nextHeaderAt: number, at: number, end: number): ExtensionOutcome {
    this.fragmentHeaderAt = -1;
    this.fragmentNextHeaderAt = -1;
    this.fragmentOffsetBytes = 0;
    this.hasMoreFragments = false;
    this.identification = 0;
    this.hasSegmentsLeft = false;
    this.upperNextHeaderAt = nextHeaderAt;
    this.upperAt = at;
    for (let count = 0; ; count++) {
      this.protocol = view.getUint8(this.upperNextHeaderAt);
      // Behind a later fragment's header comes the middle of something, not a header (RFC 8200 section 4.5).
      if (!isExtensionHeader(this.protocol) || this.fragmentOffsetBytes > 0) return "ok";
      if (count === EXTENSION_HEADERS_MAX) return "malformed";
      const headerAt = this.upperAt;
      if (end - headerAt < 8) return "truncated";
      let headerBytes = (view.getUint8(headerAt + 1) + 1) * 8;
      if (this.protocol === ExtensionHeader.fragment) {
        if (this.fragmentHeaderAt >= 0) return "malformed";
        this.#readFragment(view, headerAt);
        headerBytes = FRAGMENT_HEADER_BYTES;
      } else if (this.protocol === ExtensionHeader.authentication) {
        headerBytes = (view.getUint8(headerAt + 1) + 2) * 4;
      } else if (this.protocol === ExtensionHeader.routing) {
        if (view.getUint8(headerAt + ROUTING_SEGMENTS_LEFT_AT) !== 0) this.hasSegmentsLeft = true;
      }
      if (headerBytes > end - headerAt) return "truncated";
      this.upperNextHeaderAt = headerAt;
      this.upperAt = headerAt + headerBytes;
    }
  }

  #readFragment(view: DataView, headerAt: number): void {
    const word = view.getUint16(headerAt + FRAGMENT_OFFSET_AT);
    this.fragmentHeaderAt = headerAt;
    this.fragmentNextHeaderAt = this.upperNextHeaderAt;
    this.fragmentOffsetBytes = word & FRAGMENT_OFFSET_MASK;
    this.hasMoreFragments = (word & FRAGMENT_MORE) !== 0;
    this.identification = view.getUint32(headerAt + FRAGMENT_IDENTIFICATION_AT);
  }
}

function isExtensionHeader(protocol: number): boolean {
  return (
    protocol === ExtensionHeader.hopByHop ||
    protocol === ExtensionHeader.routing ||
    protocol === ExtensionHeader.fragment ||
    protocol === ExtensionHeader.authentication ||
    protocol === ExtensionHeader.destinationOptions
  );
}
