/**
 * Second stage: a plain TCP or UDP packet, whole, with a hop to spend? Then its tuple is put together as a key. Judged as
 * `wire/flow.ts` does; whatever that would refuse, and whatever has options, extension headers or fragments, goes there.
 */

import { Protocol } from "../../../wire/flow.ts";
import {
  add,
  and,
  at,
  branch,
  goTo,
  label,
  load,
  mov,
  mov32,
  or,
  shiftLeft,
  shiftRight,
  store,
  sub,
  toNetwork,
} from "../asm/instruction.ts";
import { FlowKey } from "../maps/layout.ts";
import { CONTEXT, ETHERNET_BYTES, type Family, further, SLOW_PATH, STACK, type Stage } from "./context.ts";
import { type FamilyPlaces, PLACES } from "./family.ts";

const TCP_BYTES = 20;
const UDP_BYTES = 8;
/** Byte 0 of an IPv4 header without options. */
const VERSION_4_LENGTH_20 = 0x45;
/** "More fragments" and the fragment's offset, as a little-endian machine reads them. */
const IS_FRAGMENT = 0xff3f;

/** Leaves: r2 the frame, r3 its end, r9 bytes of the IP packet, r5 protocol, r1 hops. */
const header4: Stage = [
  load(1, "r0", at("r2", ETHERNET_BYTES)),
  branch("r0", "!=", VERSION_4_LENGTH_20, SLOW_PATH),
  load(2, "r0", at("r2", ETHERNET_BYTES + 6)),
  and("r0", IS_FRAGMENT),
  branch("r0", "!=", 0, SLOW_PATH),
  ...headerSum(),
  load(2, "r9", at("r2", ETHERNET_BYTES + 2)),
  toNetwork(16, "r9"),
  load(1, "r1", at("r2", ETHERNET_BYTES + 8)),
  load(1, "r5", at("r2", ETHERNET_BYTES + 9)),
];

/** The ones' complement sum of the header must be all ones (RFC 791). */
function headerSum(): Stage {
  return [
    load(4, "r0", at("r2", ETHERNET_BYTES)),
    ...[4, 8, 12, 16].flatMap((offset) => [
      load(4, "r1", at("r2", ETHERNET_BYTES + offset)),
      add("r0", "r1"),
    ]),
    mov("r1", "r0"),
    shiftRight("r1", 32),
    mov32("r0", "r0"),
    add("r0", "r1"),
    ...[1, 2, 3].flatMap(() => [mov("r1", "r0"), shiftRight("r1", 16), and("r0", 0xffff), add("r0", "r1")]),
    branch("r0", "!=", 0xffff, SLOW_PATH),
  ];
}

const header6: Stage = [
  load(1, "r0", at("r2", ETHERNET_BYTES)),
  shiftRight("r0", 4),
  branch("r0", "!=", 6, SLOW_PATH),
  load(2, "r9", at("r2", ETHERNET_BYTES + 4)),
  toNetwork(16, "r9"),
  add("r9", 40),
  load(1, "r1", at("r2", ETHERNET_BYTES + 7)),
  load(1, "r5", at("r2", ETHERNET_BYTES + 6)),
];

/** Leaves the key, the length of the headers and TCP's flags (0 for UDP) on the stack. */
export function parse(family: Family): Stage {
  const places = PLACES[family];
  const { headerBytes, transportAt } = places;
  const isUdp = `IPv${family} UDP`;
  const isParsed = `IPv${family} parsed`;
  return [
    label(`IPv${family}`),
    load(4, "r2", CONTEXT.data),
    load(4, "r3", CONTEXT.dataEnd),
    mov("r4", "r2"),
    add("r4", transportAt + UDP_BYTES),
    branch("r4", ">", "r3", SLOW_PATH),
    ...(family === 4 ? header4 : header6),
    // Who has no hop left is told so by the kernel.
    branch("r1", "<=", 1, SLOW_PATH),
    load(4, "r1", CONTEXT.length),
    sub("r1", ETHERNET_BYTES),
    branch("r9", ">", "r1", SLOW_PATH),
    ...addresses(places),
    branch("r5", "==", Protocol.udp, isUdp),
    branch("r5", "!=", Protocol.tcp, SLOW_PATH),

    branch("r9", "<", headerBytes + TCP_BYTES, SLOW_PATH),
    mov("r4", "r2"),
    add("r4", transportAt + TCP_BYTES),
    branch("r4", ">", "r3", SLOW_PATH),
    load(1, "r1", at("r2", transportAt + 12)),
    shiftRight("r1", 4),
    shiftLeft("r1", 2),
    add("r1", headerBytes),
    store(4, STACK.headerBytes, "r1"),
    load(1, "r1", at("r2", transportAt + 13)),
    store(4, STACK.tcpFlags, "r1"),
    goTo(isParsed),

    label(isUdp),
    branch("r9", "<", headerBytes + UDP_BYTES, SLOW_PATH),
    // No checksum: the director makes one.
    load(2, "r1", at("r2", transportAt + 6)),
    branch("r1", "==", 0, SLOW_PATH),
    store(4, STACK.headerBytes, headerBytes + UDP_BYTES),
    store(4, STACK.tcpFlags, 0),
    label(isParsed),
    // Ports, protocol, family, two zeros.
    add("r5", family << 8),
    shiftLeft("r5", 32),
    load(4, "r1", at("r2", transportAt)),
    or("r1", "r5"),
    store(8, further(STACK.key, FlowKey.at.sourcePort), "r1"),
  ];
}

/**
 * Both addresses to the key; what an IPv4 address leaves over is zero. Eight bytes at a time, as the kernel compares keys: what was
 * written in smaller pieces would be waited for (11 ns a packet).
 */
function addresses({ addressesAt, addressBytes }: FamilyPlaces): Stage {
  return [FlowKey.at.source, FlowKey.at.destination].flatMap((keyAt, end) =>
    [0, 8].flatMap((half) =>
      half < addressBytes
        ? [
            load(addressBytes === 4 ? 4 : 8, "r1", at("r2", addressesAt + end * addressBytes + half)),
            store(8, further(STACK.key, keyAt + half), "r1"),
          ]
        : [store(8, further(STACK.key, keyAt + half), 0)],
    ),
  );
}
