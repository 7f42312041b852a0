/** Fifth stage: counters, of the connection and, a line for each processor, of the destination. Bytes are IP packets'. */
import {
  add,
  and,
  at,
  atomic,
  branch,
  call,
  label,
  load,
  mapOf,
  mapValue,
  mod,
  mov,
  mul,
  shiftLeft,
  store,
} from "../asm/instruction.ts";
import { Connection, Control, Count, Flow } from "../maps/layout.ts";
import { type Family, Helper, STACK, type Stage } from "./context.ts";
import { tell } from "./tell.ts";

/** Leaves r8, the packet's number. @param processorCount - lines a destination has */
export function account(family: Family, processorCount: number): Stage {
  const name = (what: string): string => `IPv${family} ${what}`;
  return [
    // Those of packets to the client follow those to the server.
    load(1, "r2", at("r7", Flow.at.direction)),
    and("r2", 1),
    shiftLeft("r2", 4),
    add("r8", "r2"),
    atomic("add", 8, at("r8", Connection.at.inBytes), "r9"),
    mov("r1", 1),
    atomic("fetch-add", 8, at("r8", Connection.at.inPackets), "r1"),
    // Others that have to hear of a connection now and then do so by its packets from the client.
    branch("r2", "!=", 0, name("not told")),
    mapValue("r0", "control", 0),
    load(4, "r2", at("r0", Control.at.toldPeriod)),
    branch("r2", "==", 0, name("not told")),
    load(4, "r0", at("r0", Control.at.toldThreshold)),
    add("r1", 1),
    mod("r1", "r2"),
    branch("r1", "!=", "r0", name("not told")),
    ...tell(name("count"), true),
    label(name("not told")),

    call(Helper.processor),
    load(4, "r1", at("r7", Flow.at.server)),
    mul("r1", processorCount),
    add("r1", "r0"),
    store(4, STACK.index, "r1"),
    mov("r2", "r10"),
    add("r2", STACK.index.offset),
    mapOf("r1", "servers"),
    mov("r8", 0),
    call(Helper.mapLookup),
    branch("r0", "==", 0, name("counted")),
    load(1, "r2", at("r7", Flow.at.direction)),
    and("r2", 1),
    shiftLeft("r2", 4),
    add("r0", "r2"),
    // Nobody else writes this line: packets of one processor come one after the other.
    load(8, "r8", at("r0", Count.at.inPackets)),
    add("r8", 1),
    store(8, at("r0", Count.at.inPackets), "r8"),
    load(8, "r1", at("r0", Count.at.inBytes)),
    add("r1", "r9"),
    store(8, at("r0", Count.at.inBytes), "r1"),
    label(name("counted")),
  ];
}
