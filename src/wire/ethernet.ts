/**
 * Ethernet II framing (RFC 894, RFC 2464) with IEEE 802.1Q and 802.1ad VLAN tags: as much as captures need.
 *
 *  0                   6                  12      14
 * +-------------------+------------------+-------+----------------
 * |  Destination MAC  |    Source MAC    | Type  | payload ...
 * +-------------------+------------------+-------+----------------
 *
 *  with a tag, and so on for more:        12      14      16      18
 *                                        +-------+-------+-------+
 *                                        | 8100  |  TCI  | Type  | payload ...
 *                                        +-------+-------+-------+
 *
 * Left out: IEEE 802.3 length fields with LLC (never IP here), preamble and frame check sequence.
 */
export const ETHERNET_HEADER_BYTES = 14;
export const ETHERNET_DESTINATION_AT = 0;
export const ETHERNET_SOURCE_AT = 6;
export const ETHERNET_TYPE_AT = 12;
export const MAC_BYTES = 6;

export const EtherType = {
  ipv4: 0x0800,
  arp: 0x0806,
  vlan: 0x8100,
  ipv6: 0x86dd,
  serviceVlan: 0x88a8,
  /** 802.1Q in 802.1Q before there was a standard for it. */
  oldServiceVlan: 0x9100,
} as const;

export const VLAN_TAG_BYTES = 4;

const EMPTY = new DataView(new ArrayBuffer(0));

/** An EtherType and what follows it, VLAN tags skipped: also serves link types that borrow the EtherType. */
export class EtherPayload {
  #view: DataView = EMPTY;
  #typeAt = 0;
  /** Offset of the payload behind all tags. */
  payloadAt = 0;
  vlanTagCount = 0;

  /** Aim this reusable view at an Ethernet frame. False unless header and tags lie inside [at, end). */
  attach(view: DataView, at: number, end: number): boolean {
    return this.attachType(view, at + ETHERNET_TYPE_AT, at + ETHERNET_HEADER_BYTES, end);
  }

  /**
   * The same where the type field is not right before the payload.
   * @param typeAt - offset of the outermost type field; @param payloadAt - offset of what it describes
   */
  attachType(view: DataView, typeAt: number, payloadAt: number, end: number): boolean {
    if (end > view.byteLength || payloadAt > end) return false;
    let innerTypeAt = typeAt;
    let innerPayloadAt = payloadAt;
    let tags = 0;
    while (isVlanTag(view.getUint16(innerTypeAt))) {
      innerTypeAt = innerPayloadAt + 2;
      innerPayloadAt += VLAN_TAG_BYTES;
      tags++;
      if (innerPayloadAt > end) return false;
    }
    this.#view = view;
    this.#typeAt = innerTypeAt;
    this.payloadAt = innerPayloadAt;
    this.vlanTagCount = tags;
    return true;
  }

  /** Type of the payload behind all tags. */
  get etherType(): number {
    return this.#view.getUint16(this.#typeAt);
  }
}

function isVlanTag(etherType: number): boolean {
  return (
    etherType === EtherType.vlan ||
    etherType === EtherType.serviceVlan ||
    etherType === EtherType.oldServiceVlan
  );
}
