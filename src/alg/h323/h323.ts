/**
 * H.323: call signalling (ITU-T H.225.0 in Q.931 messages, on TCP) and RAS (H.225.0 on UDP), with fast connect and H.245 in
 * tunnels (H.323 sections 8.1.7 and 8.2.1). Decoded, as in Linux, and not searched: an address counts where the grammar has
 * one.
 *
 * Left out: discovery by multicast, which does not pass a router; alternate gatekeepers and endpoints; addresses in reports of
 * media; H.235: what is signed is changed nevertheless, and its signature then wrong.
 */
import { type ApplicationModule, opposite } from "../engine/module.ts";
import type { Unit } from "../engine/unit.ts";
import { CHANNELS, follow, ownerOf, type Reading, readAddresses, translate } from "./addresses.ts";
import { userInformation } from "./h225-grammar.ts";
import { readRas } from "./ras.ts";
import { TPKT_BYTES, tpkts } from "./tpkt.ts";

export const h323: ApplicationModule = {
  name: "h323",
  transports: ["tcp", "udp"],
  ports: [1720, 1719],
  expectationsMax: 64,
  stream: tpkts(8192),
  read(unit, from, dialogue) {
    const said = { unit, from, dialogue };
    if (dialogue.transport === "udp") return readRas(said);
    const part = userUserPart(unit);
    if (part !== undefined) readAddresses(userInformation, said, part.at, part.end, SIGNALLING);
  },
};

/** The first call ends before the second one begins. */
const FORWARDED = {
  protocol: "tcp",
  module: "h323",
  isFellowAllowed: true,
  isLasting: true,
  seconds: 60,
} as const;

const SIGNALLING: Readonly<Record<string, Reading>> = {
  ...CHANNELS,
  h245Address: (found, said) => follow(found, said, { protocol: "tcp", module: "h245" }),
  // Call there instead: at another port, or another server of the service; or at whom one has called, for another reason.
  alternativeAddress: (found, said) => {
    if (ownerOf(found, said) !== opposite(said.from)) follow(found, said, FORWARDED);
  },
  destCallSignalAddress: (found, said) => translate(found, said, "tcp"),
  sourceCallSignalAddress: (found, said) => translate(found, said, "tcp"),
};

// Q.931 section 4: discriminator, call reference, message type; then information elements, the last of them user-user

const PROTOCOL_DISCRIMINATOR = 0x08;
const USER_USER = 0x7e;
/** Elements of one byte have this bit set (Q.931 section 4.5.1). */
const SINGLE_OCTET = 0x80;

/** Where the PER of a TPKT with a Q.931 message begins and ends. */
function userUserPart(unit: Unit): { readonly at: number; readonly end: number } | undefined {
  if (unit.u8(TPKT_BYTES) !== PROTOCOL_DISCRIMINATOR) return undefined;
  const referenceBytes = unit.u8(TPKT_BYTES + 1) & 0x0f;
  for (let at = TPKT_BYTES + 3 + referenceBytes; at < unit.length; ) {
    const element = unit.u8(at);
    if (element === USER_USER) {
      const bytes = unit.u16(at + 1);
      // One more discriminator, of X.208 and X.209.
      return bytes < 1 ? undefined : { at: at + 4, end: at + 3 + bytes };
    }
    at += (element & SINGLE_OCTET) !== 0 ? 1 : 2 + Math.max(0, unit.u8(at + 1));
  }
  return undefined;
}
