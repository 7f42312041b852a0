/**
 * An SCTP packet of an association with an application module: read from its common header on, changed in place, its CRC32c
 * computed anew (RFC 9260 appendix A). Its length stays. What is damaged is not made to look whole.
 */
import { crc32c } from "../../wire/checksum.ts";
import type { Flow } from "../../wire/flow.ts";
import type { Packet } from "../../wire/packet.ts";
import { SCTP_CHECKSUM_AT } from "../../wire/sctp.ts";
import type { ModuleDialogue } from "./dialogue.ts";
import type { Side } from "./module.ts";
import type { Unit } from "./unit.ts";

const out = new Uint8Array(65_535);

/** @returns anything but "passed": drop it */
export function passSctp(
  packet: Packet,
  flow: Flow,
  dialogue: ModuleDialogue,
  unit: Unit,
  from: Side,
): "passed" | "badChecksum" | "refused" {
  const { bytes, view } = packet;
  const { transportAt, transportBytes } = flow;
  if (dialogue.isUnread) return "passed";
  dialogue.isDropped = false;
  const written = dialogue.read(from, bytes, transportAt, transportBytes, out, 0, transportBytes);
  // What could not be changed in whole would show what is hidden.
  if (dialogue.isDropped || unit.isFaulty || (written > 0 && written !== transportBytes)) return "refused";
  if (written === 0) return "passed";
  const checksumAt = transportAt + SCTP_CHECKSUM_AT;
  // A partial one is this host's own, and is computed where the packet leaves.
  if (!packet.isChecksumPartial) {
    const checksum = view.getUint32(checksumAt, true);
    view.setUint32(checksumAt, 0);
    const isRight = crc32c(bytes, transportAt, transportBytes) === checksum;
    view.setUint32(checksumAt, checksum, true);
    if (!isRight) return "badChecksum";
  }
  for (let i = 0; i < transportBytes; i++) bytes[transportAt + i] = out[i]!;
  if (packet.isChecksumPartial) return "passed";
  view.setUint32(checksumAt, 0);
  view.setUint32(checksumAt, crc32c(bytes, transportAt, transportBytes), true);
  return "passed";
}
