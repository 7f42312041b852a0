/**
 * H.245, the control channel of an H.323 call on a TCP connection of its own, which call signalling announces:
 * openLogicalChannel and openLogicalChannelAck say where media are received (ITU-T H.245; framing by H.323 section 7.3,
 * TPKT).
 *
 * Left out: further messages in the same TPKT, multicast, ATM addresses.
 */
import type { ApplicationModule } from "../engine/module.ts";
import { CHANNELS, readAddresses } from "./addresses.ts";
import { multimediaSystemControlMessage } from "./h245-grammar.ts";
import { TPKT_BYTES, tpkts } from "./tpkt.ts";

export const h245: ApplicationModule = {
  name: "h245",
  transports: ["tcp"],
  // Announced, never assigned.
  ports: [],
  expectationsMax: 64,
  stream: tpkts(4096),
  read(unit, from, dialogue) {
    const said = { unit, from, dialogue };
    readAddresses(multimediaSystemControlMessage, said, TPKT_BYTES, unit.length, CHANNELS);
  },
};
