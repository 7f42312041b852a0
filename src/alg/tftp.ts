/**
 * TFTP: RFC 1350 section 4. A request goes to the server's well-known port, and the server answers from another one, which is
 * that transfer's from then on. Nothing is changed in the payload.
 *
 * The client's port stays open for its server for a while, whatever that one's port: a request that is repeated, because the
 * answer was lost, makes another transfer at the server, and programs use one port for several transfers.
 *
 * Left out: the addresses of the multicast option (RFC 2090).
 */
import type { ApplicationModule } from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";

const READ_REQUEST = 1;
const WRITE_REQUEST = 2;
const OPCODE_BYTES = 2;
/** Longer than clients repeat their requests for. */
const ANSWER_SECONDS = 60;

export const tftp: ApplicationModule = {
  name: "tftp",
  transports: ["udp"],
  ports: [69],
  expectationsMax: 1,
  read(unit, from, dialogue) {
    if (from !== "client" || !isRequest(unit)) return;
    dialogue.listens("client", {
      protocol: "udp",
      port: dialogue.ownPort("client"),
      preferredPort: dialogue.shownPort("client"),
      isLasting: true,
      seconds: ANSWER_SECONDS,
      // Where to is not said in a request but by its source.
      isLowAllowed: true,
    });
  },
};

/** Opcode, file name, 0, mode, 0; options behind it come in pairs, each with a 0 behind it (RFC 2347). */
export function isRequest(unit: Unit): boolean {
  const opcode = unit.u16(0);
  if (opcode !== READ_REQUEST && opcode !== WRITE_REQUEST) return false;
  const nameEnd = unit.find(0, OPCODE_BYTES);
  const modeEnd = unit.find(0, nameEnd + 1);
  if (nameEnd <= OPCODE_BYTES || modeEnd < 0 || unit.u8(unit.length - 1) !== 0) return false;
  return MODES.some((mode) => modeEnd - nameEnd - 1 === mode.length && unit.has(nameEnd + 1, mode));
}

const MODES = ["OCTET", "NETASCII", "MAIL"];
