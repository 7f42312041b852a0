/**
 * Fourth stage: the connection's state, as `nat/connection-states.ts` follows it. A client's SYN may
 * begin a new connection (`choose`), or is the director's; so is a packet that comes after the connection's time. From here on the packet is ours.
 */

import { TcpFlag } from "../../../wire/tcp.ts";
import {
  add,
  and,
  at,
  atomic,
  branch,
  call,
  goTo,
  label,
  load,
  mapValue,
  mov,
  shiftLeft,
  store,
  sub,
} from "../asm/instruction.ts";
import {
  Connection,
  Control,
  EVENTS_MAX,
  Event,
  Flow,
  MODE_COUNT,
  Mode,
  STATES_MAX,
} from "../maps/layout.ts";
import { AGAIN, type Family, Helper, SLOW_PATH, STACK, type Stage } from "./context.ts";
import { tell } from "./tell.ts";

export function follow(family: Family): Stage {
  const name = (what: string): string => `IPv${family} ${what}`;
  return [
    load(4, "r1", STACK.isBorn),
    branch("r1", "!=", 0, name("followed")),
    call(Helper.coarseTime),
    store(8, STACK.now, "r0"),

    // r3: mode
    load(1, "r3", at("r7", Flow.at.mode)),
    branch("r3", "!=", Mode.tcp, name("mode")),
    mapValue("r1", "control", 0),
    load(4, "r3", at("r1", Control.at.isSecureTcp)),
    label(name("mode")),
    branch("r3", ">=", MODE_COUNT, SLOW_PATH),

    // r4: event
    load(4, "r1", STACK.tcpFlags),
    mov("r4", Event.rst),
    load(1, "r5", at("r7", Flow.at.direction)),
    branch("r1", "&", TcpFlag.syn, name("SYN")),
    goTo(name("no SYN")),
    label(name("SYN")),
    branch("r5", "==", 0, AGAIN(family)),
    label(name("no SYN")),
    branch("r1", "&", TcpFlag.rst, name("event")),
    mov("r4", Event.syn),
    branch("r1", "&", TcpFlag.syn, name("event")),
    mov("r4", Event.fin),
    branch("r1", "&", TcpFlag.fin, name("event")),
    mov("r4", Event.ack),
    branch("r1", "&", TcpFlag.ack, name("event")),
    mov("r4", Event.none),
    label(name("event")),

    // r2: state. Has its time passed?
    load(4, "r2", at("r8", Connection.at.state)),
    and("r2", STATES_MAX - 1),
    mov("r1", "r3"),
    shiftLeft("r1", Math.log2(STATES_MAX)),
    add("r1", "r2"),
    shiftLeft("r1", 3),
    mapValue("r0", "control", 0),
    add("r0", "r1"),
    load(8, "r1", at("r0", Control.at.timeouts)),
    load(8, "r0", STACK.now),
    load(8, "r5", at("r8", Connection.at.lastSeen)),
    sub("r0", "r5"),
    { kind: "branch", condition: "s>=", bits: 64, left: "r0", right: "r1", target: SLOW_PATH },

    // From here on it is forwarded. r1: the next state
    load(1, "r5", at("r7", Flow.at.direction)),
    and("r5", 1),
    shiftLeft("r3", 1),
    add("r3", "r5"),
    shiftLeft("r3", Math.log2(EVENTS_MAX)),
    add("r3", "r4"),
    shiftLeft("r3", Math.log2(STATES_MAX)),
    add("r3", "r2"),
    mapValue("r0", "control", 0),
    add("r0", "r3"),
    load(1, "r1", at("r0", Control.at.transitions)),
    store(4, STACK.state, "r1"),
    load(8, "r0", STACK.now),
    store(8, at("r8", Connection.at.lastSeen), "r0"),
    branch("r1", "==", "r2", name("followed")),
    mov("r0", "r2"),
    atomic("compare-exchange", 4, at("r8", Connection.at.state), "r1"),
    // Another processor was faster, and tells.
    branch("r0", "!=", "r2", name("followed")),
    ...tell(name("state"), false),
    label(name("followed")),
  ];
}
