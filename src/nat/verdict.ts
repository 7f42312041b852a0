/** What to do with a packet after the director has seen it. Verdicts are preallocated; compare by `kind`. */
import { DROP_REASONS, type DropReason } from "./drop-reason.ts";

export type Verdict =
  /** Translated in place, client to real server: send it. */
  | { readonly kind: "to-server" }
  /** Translated in place, real server to client: send it. */
  | { readonly kind: "to-client" }
  /** Not the director's business: send it on as it is (TTL accounting apart). */
  | { readonly kind: "pass" }
  /** The packet was replaced by the director's own answer to its sender (RST, ICMP error, echo reply): send it. */
  | { readonly kind: "reply" }
  /** Kept for later (a fragment of an unfinished datagram): send nothing. */
  | { readonly kind: "held" }
  | { readonly kind: "drop"; readonly reason: DropReason };

export const TO_SERVER: Verdict = { kind: "to-server" };
export const TO_CLIENT: Verdict = { kind: "to-client" };
export const PASS: Verdict = { kind: "pass" };
export const REPLY: Verdict = { kind: "reply" };
export const HELD: Verdict = { kind: "held" };
export const DROP = Object.fromEntries(DROP_REASONS.map((reason) => [reason, { kind: "drop", reason }])) as {
  readonly [R in DropReason]: { readonly kind: "drop"; readonly reason: R };
};
