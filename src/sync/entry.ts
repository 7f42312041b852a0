/** What one entry of a synchronisation message says about a connection or a template; both versions, both families. */

/** Connection flags of IPVS (ip_vs.h), as far as they travel. The lowest three bits are the forwarding method, 0 for NAT. */
export const SyncFlag = {
  /** Counted in its destination's inactive connections. Templates always have it. */
  inactive: 0x0100,
  /** Sequence numbers to the client, from the client, are shifted: a payload changed its length. */
  outSequence: 0x0200,
  inSequence: 0x0400,
  /** The client's port is not known yet. */
  noClientPort: 0x0800,
  template: 0x1000,
} as const;

/** Name of the persistence engine that pins by Call-ID. */
export const SIP = Uint8Array.from("sip", (character) => character.charCodeAt(0));

/** Records of init_seq, delta and previous_delta, first for packets from the client, then for those to it. */
export const SEQUENCE_BYTES = 24;
const SEQUENCE_FLAGS = SyncFlag.outSequence | SyncFlag.inSequence;

/** Reusable: readers and writers fill it anew for each entry. */
export class SyncEntry {
  family: 4 | 6 = 4;
  /** IP protocol number; 0 for a mark service's template. */
  protocol = 0;
  /** SyncFlag bits; bits that have no name here are kept as they came. */
  flags = 0;
  /** Code of the protocol's own state; of templates 0 NONE, 1 ASSURED. */
  state = 0;
  clientPort = 0;
  virtualPort = 0;
  destinationPort = 0;
  /** Of the packet that began it, unsigned; 0: none. */
  mark = 0;
  /** Seconds of life in this state, unsigned; 0: not told (version 0). */
  timeoutSeconds = 0;
  /** Four host-order words each; IPv4 uses the first. A mark service's template has the mark in place of the virtual address. */
  readonly client = new Int32Array(4);
  readonly virtual = new Int32Array(4);
  readonly destination = new Int32Array(4);
  /** SEQUENCE_BYTES as they came; version 1: big endian, version 0: the sender's byte order. */
  sequence: Uint8Array | undefined;
  /** Name of the persistence engine and what it pins by, 1..16 and 1..255 bytes. */
  engineName: Uint8Array | undefined;
  engineData: Uint8Array | undefined;

  get isTemplate(): boolean {
    return (this.flags & SyncFlag.template) !== 0;
  }

  get isInactive(): boolean {
    return (this.flags & SyncFlag.inactive) !== 0;
  }

  get hasShiftedSequence(): boolean {
    return (this.flags & SEQUENCE_FLAGS) !== 0;
  }
}
