/**
 * The two ends of a load that the kernel makes and drops by itself: an XDP program that turns each copy of a frame into a
 * datagram of the next flow and sends it, and a classifier that counts and drops what arrives. In the project's own
 * assembler, so there is nothing to compile. IPv4 and UDP; little-endian machines.
 */
import {
  add,
  and,
  at,
  atomic,
  branch,
  call,
  exit,
  goTo,
  type Instruction,
  label,
  load,
  mapValue,
  mod,
  mov,
  mov32,
  mul,
  type Program,
  shiftRight,
  store,
  sub,
  toNetwork,
  xor,
} from "../../src/datapath/ebpf/asm/instruction.ts";
import { structure } from "../../src/datapath/ebpf/maps/structure.ts";

/** Ethernet, IPv4, UDP and 18 bytes: the shortest frame that Ethernet has. */
export const FRAME_BYTES = 60;
const HEADER_WORDS = [0, 8, 16, 24, 32, 40];
const IPV4_CHECKSUM_AT = 14 + 10;
const SOURCE_ADDRESS_AT = 14 + 12;
const SOURCE_PORT_AT = 34;
const DESTINATION_PORT_AT = 36;
const UDP_CHECKSUM_AT = 40;

/** Flows in their order from here on: 2^10 ports of one address, then the next address. RFC 2544 sets these apart for tests. */
const FIRST_CLIENT = 0xc612_0000; // 198.18.0.0
const FIRST_CLIENT_PORT = 1024;
const PORT_BITS = 10;
/** Has no factor in common with a round number of flows: they take turns, none near the one before. */
const STRIDE = 618_033_989;

export const Load = structure("Load", {
  /** Frames made in all, how many to make in all, and how many of them did not arrive. */
  made: 8,
  until: 8,
  lost: 8,
  /** CLOCK_MONOTONIC, nanoseconds; 0: not waiting. */
  waitingSince: 8,
  flows: 4,
  /** Ports of the destination, from the header's on; flows take turns with them. */
  services: 4,
  /** Interface of the client. */
  device: 4,
  /** Sums of 16-bit words, as a little-endian machine reads them: all of header and pseudo-header that is the same for all. */
  ipv4Sum: 4,
  udpSum: 4,
  unused: 4,
  /** What frames begin with; the last copy's may have been rewritten on the way. */
  header: [8, HEADER_WORDS.length],
});
export const Arrivals = structure("Arrivals", { count: 8 });

/**
 * Frames on the way at most: what a director in user space has room for. One in the kernel is through with a batch before
 * the next is made.
 */
const WINDOW = 256;
/** No room in the window for so long: what has not arrived is lost. */
const LOST_AFTER_NS = 20_000_000;

/** Of XDP. */
const DROP = 1;
const Helper = { redirect: 23, coarseTime: 160 } as const;
/** Of a classifier: PASS to whoever is next, DROP. */
const TCX = { pass: -1, drop: 2 } as const;
const PROTOCOL_IPV4 = 0x0008;

/** The sum in r1, at most 32 bits, becomes a checksum. Changes r2. */
const finish: readonly Instruction[] = [
  ...[1, 2].flatMap(() => [mov("r2", "r1"), shiftRight("r2", 16), and("r1", 0xffff), add("r1", "r2")]),
  xor("r1", 0xffff),
];

/** Whether to wait on: this copy is dropped, the next one asks again. r8: frames that did not arrive */
const wait: readonly Instruction[] = [
  mov("r9", "r5"),
  call(Helper.coarseTime),
  mov("r5", "r9"),
  load(8, "r1", at("r6", Load.at.waitingSince)),
  branch("r1", "!=", 0, "is waiting"),
  store(8, at("r6", Load.at.waitingSince), "r0"),
  goTo("drop"),
  label("is waiting"),
  sub("r0", "r1"),
  branch("r0", "<", LOST_AFTER_NS, "drop"),
  store(8, at("r6", Load.at.lost), "r8"),
];

/** r5: the frame, r6: the load, r7: the flow's number, r8: its client's address, r9: its ports. */
export const generator: Program = [
  load(4, "r5", at("r1", 0)),
  load(4, "r2", at("r1", 4)),
  mov("r3", "r5"),
  add("r3", FRAME_BYTES),
  branch("r3", ">", "r2", "drop"),
  mapValue("r6", "load", 0),

  load(8, "r7", at("r6", Load.at.made)),
  load(8, "r1", at("r6", Load.at.until)),
  branch("r7", ">=", "r1", "drop"),
  mapValue("r1", "arrivals", 0),
  load(8, "r2", at("r1", Arrivals.at.count)),
  mov("r8", "r7"),
  sub("r8", "r2"), // lost or on the way
  load(8, "r1", at("r6", Load.at.lost)),
  mov("r2", "r8"),
  sub("r2", "r1"),
  { kind: "branch", condition: "s<", bits: 64, left: "r2", right: WINDOW, target: "make" },
  ...wait,
  label("make"),
  store(8, at("r6", Load.at.waitingSince), 0),
  mov("r1", "r7"),
  add("r1", 1),
  store(8, at("r6", Load.at.made), "r1"),

  mul("r7", STRIDE),
  load(4, "r1", at("r6", Load.at.flows)),
  mod("r7", "r1"),

  ...HEADER_WORDS.flatMap((word) => [
    load(8, "r1", at("r6", Load.at.header + word)),
    store(8, at("r5", word), "r1"),
  ]),

  mov("r8", "r7"),
  shiftRight("r8", PORT_BITS),
  mov32("r1", FIRST_CLIENT),
  add("r8", "r1"),
  toNetwork(32, "r8"),
  store(4, at("r5", SOURCE_ADDRESS_AT), "r8"),

  mov("r9", "r7"),
  and("r9", 2 ** PORT_BITS - 1),
  add("r9", FIRST_CLIENT_PORT),
  toNetwork(16, "r9"),
  store(2, at("r5", SOURCE_PORT_AT), "r9"),
  load(2, "r1", at("r5", DESTINATION_PORT_AT)),
  toNetwork(16, "r1"),
  load(4, "r2", at("r6", Load.at.services)),
  mod("r7", "r2"),
  add("r1", "r7"),
  toNetwork(16, "r1"),
  store(2, at("r5", DESTINATION_PORT_AT), "r1"),
  add("r9", "r1"),

  // Both sums grow by the address, UDP's by the ports as well.
  mov("r1", "r8"),
  shiftRight("r1", 16),
  and("r8", 0xffff),
  add("r8", "r1"),
  load(4, "r1", at("r6", Load.at.ipv4Sum)),
  add("r1", "r8"),
  ...finish,
  store(2, at("r5", IPV4_CHECKSUM_AT), "r1"),
  load(4, "r1", at("r6", Load.at.udpSum)),
  add("r1", "r8"),
  add("r1", "r9"),
  ...finish,
  branch("r1", "!=", 0, "summed"),
  mov("r1", 0xffff),
  label("summed"),
  store(2, at("r5", UDP_CHECKSUM_AT), "r1"),

  load(4, "r1", at("r6", Load.at.device)),
  mov("r2", 0),
  call(Helper.redirect),
  exit,
  label("drop"),
  mov("r0", DROP),
  exit,
];

/** Everything else, neighbour discovery above all, goes its way. */
export const sink: Program = [
  load(4, "r2", at("r1", 16)),
  branch("r2", "!=", PROTOCOL_IPV4, "pass"),
  load(4, "r2", at("r1", 0)),
  branch("r2", "!=", FRAME_BYTES, "pass"),
  mapValue("r2", "arrivals", 0),
  mov("r1", 1),
  atomic("add", 8, at("r2", Arrivals.at.count), "r1"),
  mov("r0", TCX.drop),
  exit,
  label("pass"),
  mov("r0", TCX.pass),
  exit,
];
