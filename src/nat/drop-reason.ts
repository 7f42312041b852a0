/**
 * Every reason for which the director sends nothing. Each has a counter in the director's statistics and a line in
 * docs/management.md; the order is the order of the counters.
 */
export const DROP_REASONS = [
  /** Shorter than its headers claim, or than the smallest header. */
  "truncated",
  /** Header fields contradict each other: version, header length, total length, extension header chain. */
  "malformed",
  /** IPv4 header checksum wrong, or ICMP checksum of an error that would have to be rewritten. */
  "bad-checksum",
  /** TTL or hop limit used up and no ICMP error may be sent about it. */
  "ttl-expired",
  /** Larger than the MTU towards the destination and no ICMP error may be sent about it. */
  "too-big",
  /** No service at this address and port, and silence was configured or the reply limit was reached. */
  "no-service",
  /** A service, but no destination that may take a connection, and the reply limit was reached. */
  "no-destination",
  /** The destination of an existing connection was removed and the policy says to drop. */
  "destination-removed",
  /** Connection table full. */
  "table-full",
  /** No free source port to tell two connections apart on the server side. */
  "tuple-exhausted",
  /** A service that pins by Call-ID, and a packet without one. */
  "no-call-id",
  /** The drop_packet defence. */
  "defence",
  /** A PROXY protocol header is due and there is no room for it. */
  "no-room-for-header",
  /** An application module must have the stream in order, and this is not what comes next. */
  "application",
  /** Protocol the director does not translate, addressed to a virtual address. */
  "unknown-protocol",
  /** An ICMP error about no connection of ours, addressed to a virtual address. */
  "icmp-no-connection",
  /** A fragment that overlaps, exceeds 65535 bytes or belongs to a datagram that was given up. */
  "bad-fragment",
  /** Reassembly memory full. */
  "fragments-full",
  /** Reassembly ran out of time. */
  "fragment-timeout",
  /** To a virtual address from a source nobody has: loopback, unspecified, multicast, or a virtual address. */
  "martian",
  /** The director's own mistake, caught at the edge of the loop; always worth a bug report. */
  "internal-error",
] as const;
export type DropReason = (typeof DROP_REASONS)[number];
