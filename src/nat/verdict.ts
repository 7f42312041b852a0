/** What to do with a packet after the director has seen it. Verdicts are preallocated; compare by `kind`. */
import { DROP_REASONS, type DropReason } from "./drop-reason.ts";

/** The kinds that carry no reason, in the order of their counters. */
export const VERDICT_KINDS = ["to-server", "to-client", "pass", "reply", "held"] as const;

/** `code` is the index of the verdict's counter: kinds first, then drop reasons. */
export type Verdict =
  /** Translated in place, client to real server: send it. */
  | { readonly kind: "to-server"; readonly code: number }
  /** Translated in place, real server to client: send it. */
  | { readonly kind: "to-client"; readonly code: number }
  /** Not the director's business: send it on as it is (TTL accounting apart). */
  | { readonly kind: "pass"; readonly code: number }
  /** The packet was replaced by the director's own answer to its sender (RST, ICMP error, echo reply): send it. */
  | { readonly kind: "reply"; readonly code: number }
  /** Kept for later (a fragment of an unfinished datagram): send nothing. */
  | { readonly kind: "held"; readonly code: number }
  | { readonly kind: "drop"; readonly reason: DropReason; readonly code: number };

export const TO_SERVER: Verdict = { kind: "to-server", code: 0 };
export const TO_CLIENT: Verdict = { kind: "to-client", code: 1 };
export const PASS: Verdict = { kind: "pass", code: 2 };
export const REPLY: Verdict = { kind: "reply", code: 3 };
export const HELD: Verdict = { kind: "held", code: 4 };
export const DROP = Object.fromEntries(
  DROP_REASONS.map((reason, index) => [reason, { kind: "drop", reason, code: VERDICT_KINDS.length + index }]),
) as { readonly [R in DropReason]: Verdict & { readonly kind: "drop" } };
