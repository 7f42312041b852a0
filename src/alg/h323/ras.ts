/**
 * RAS (ITU-T H.225.0 section 7.6 to 7.15): an endpoint registers with a gatekeeper where it can be called, as long as timeToLive
 * says, and asks it where to call.
 */
import {
  type Found,
  follow,
  ownerOf,
  type Reading,
  readAddresses,
  type Said,
  translate,
  valueIn,
} from "./addresses.ts";
import { rasMessage } from "./h225-grammar.ts";

/** As in Linux, where nobody says how long. */
const REGISTRATION_SECONDS = 300;
const LOOPBACK = "127.";

export function readRas(said: Said): void {
  readAddresses(rasMessage, said, 0, said.unit.length, RAS);
}

const RAS: Readonly<Record<string, Reading>> = {
  ownSignalAddress: register,
  formerSignalAddress: unregister,
  rasAddress: (found, said) => {
    // Where answers go: back to where the question came from, as a rule.
    const isElsewhere = ownerOf(found, said) === said.from && found.port !== said.dialogue.ownPort(said.from);
    if (isElsewhere) follow(found, said, { protocol: "udp", module: "h323", ...lasting(said) });
    else translate(found, said, "udp");
  },
  whereToCall: (found, said) => {
    // At the gatekeeper, which then passes the call on; or at another endpoint, which is reached without our help.
    const isGatekeeper = ownerOf(found, said) === said.from;
    if (isGatekeeper) follow(found, said, { protocol: "tcp", module: "h323" });
    else translate(found, said, "tcp");
  },
  calledAddress: (found, said) => translate(found, said, "tcp"),
  callingAddress: (found, said) => translate(found, said, "tcp"),
  reportedSignalAddress: (found, said) => translate(found, said, "tcp"),
};

/**
 * Calls may come there: by the other side, a gatekeeper that passes them on; or by anyone, where it only tells callers whom to
 * call. Some endpoints list their loopback address as well (GnomeMeeting; Linux does the same for them).
 */
function register(found: Found, said: Said): void {
  const isLoopback = found.address.startsWith(LOOPBACK);
  const address = isLoopback ? said.dialogue.ownAddress(said.from) : found.address;
  const { callers = "peer" } = said.dialogue.options;
  follow({ ...found, address }, said, { protocol: "tcp", module: "h323", from: callers, ...lasting(said) });
}

const lasting = (said: Said) => ({
  isLasting: true,
  seconds: valueIn(rasMessage, said, "timeToLive") ?? REGISTRATION_SECONDS,
});

/** By the endpoint, or by its gatekeeper. */
function unregister(found: Found, said: Said): void {
  const { from, dialogue } = said;
  const owner = ownerOf(found, said);
  if (owner === undefined) return;
  const ownPort = owner === from ? found.port : dialogue.ownPortOf(owner, "tcp", found.port);
  translate(found, said, "tcp");
  if (ownPort > 0) dialogue.withdraw(owner, "tcp", ownPort);
}
