/** First stage: whose packet is it at all, and are its headers where they can be read? */
import { add, at, branch, call, goTo, label, load, mapValue, mov, type Operand } from "../asm/instruction.ts";
import { Control } from "../maps/layout.ts";
import { CONTEXT, ETHERNET_BYTES, Helper, SLOW_PATH, type Stage } from "./context.ts";

/** Ethernet types as a little-endian machine reads them. */
const IPV4: Operand = 0x0008;
const IPV6: Operand = 0xdd86;
/** Ethernet, IPv4, UDP: nothing shorter is ours. */
const FRAME_BYTES_MIN = ETHERNET_BYTES + 28;
/** Ethernet, IPv6, TCP: all that is read. */
const READ_BYTES_MAX = ETHERNET_BYTES + 60;

export const arrival: Stage = [
  mov("r6", "r1"),
  // Not to this host's link-layer address (a bridge, a capture): not ours to forward.
  load(4, "r1", CONTEXT.packetType),
  branch("r1", "!=", 0, SLOW_PATH),
  // The VLAN's own interface sees it again without the tag.
  load(4, "r1", CONTEXT.hasVlanTag),
  branch("r1", "!=", 0, SLOW_PATH),
  mapValue("r1", "control", 0),
  load(4, "r1", at("r1", Control.at.isEnabled)),
  branch("r1", "==", 0, SLOW_PATH),

  load(4, "r2", CONTEXT.data),
  load(4, "r3", CONTEXT.dataEnd),
  add("r2", FRAME_BYTES_MIN),
  branch("r2", "<=", "r3", "headers are there"),
  load(4, "r2", CONTEXT.length),
  branch("r2", "<", FRAME_BYTES_MIN, SLOW_PATH),
  branch("r2", "<=", READ_BYTES_MAX, "pull"),
  mov("r2", READ_BYTES_MAX),
  label("pull"),
  mov("r1", "r6"),
  call(Helper.pullData), // refused: seen at the next look at the length
  label("headers are there"),

  load(4, "r1", CONTEXT.protocol),
  branch("r1", "==", IPV4, "IPv4"),
  branch("r1", "==", IPV6, "IPv6"),
  goTo(SLOW_PATH),
];
