/** Third stage: is this flow cached, and does everything still hold that was true when it was? */
import { add, at, branch, goTo, label, load, mapValue, mov, store } from "../asm/instruction.ts";
import { Connection, Control, Flow, Way } from "../maps/layout.ts";
import { CHOOSE, CONTEXT, type Family, FOUND, further, SLOW_PATH, STACK, type Stage } from "./context.ts";
import { PLACES } from "./family.ts";
import { copy, element, look, zeros } from "./memory.ts";

/** Leaves r7, the flow, and r8, its connection; the neighbour and the interface on the stack. */
export function lookUp(family: Family): Stage {
  const { kernelNumber, addressBytes } = PLACES[family];
  const isSize = `IPv${family} size`;
  const isDirect = `IPv${family} no gateway`;
  const hasNeighbour = `IPv${family} neighbour`;
  const neighbourAt = further(STACK.neighbour, 4);
  return [
    store(4, STACK.isBorn, 0),
    ...look("flows", STACK.key, CHOOSE(family)),
    label(FOUND(family)),
    mov("r7", "r0"),

    // Flushed: its destination was removed, routes changed, ...
    load(4, "r3", at("r7", Flow.at.server)),
    ...element("epochs", "r3"),
    load(4, "r1", at("r0")),
    load(4, "r2", at("r7", Flow.at.epoch)),
    branch("r1", "!=", "r2", SLOW_PATH),
    // Its kind is switched off.
    mapValue("r1", "control", 0),
    load(4, "r1", at("r1", Control.at.classesOff)),
    load(2, "r2", at("r7", Flow.at.flowClass)),
    branch("r1", "&", "r2", SLOW_PATH),
    // The record belongs to another connection by now.
    load(4, "r3", at("r7", Flow.at.record)),
    ...element("connections", "r3"),
    mov("r8", "r0"),
    load(4, "r1", at("r8", Connection.at.generation)),
    load(4, "r2", at("r7", Flow.at.generation)),
    branch("r1", "!=", "r2", SLOW_PATH),

    // Too big for its way: the director answers, or lets it be cut. Of a super-packet the segments count.
    load(4, "r3", at("r7", Flow.at.way)),
    ...element("ways", "r3"),
    load(4, "r1", CONTEXT.gsoBytes),
    mov("r2", "r9"),
    branch("r1", "==", 0, isSize),
    load(4, "r2", STACK.headerBytes),
    add("r2", "r1"),
    label(isSize),
    load(4, "r1", at("r0", Way.at.mtuBytes)),
    branch("r2", ">", "r1", SLOW_PATH),
    load(4, "r1", at("r0", Way.at.device)),
    store(4, STACK.device, "r1"),

    load(4, "r1", at("r0", Way.at.gatewayFamily)),
    branch("r1", "==", 0, isDirect),
    store(4, STACK.neighbour, "r1"),
    ...copy(at("r0", Way.at.gateway), neighbourAt, 16),
    goTo(hasNeighbour),
    label(isDirect),
    store(4, STACK.neighbour, kernelNumber),
    ...copy(at("r7", Flow.at.destination), neighbourAt, addressBytes),
    ...zeros(further(neighbourAt, addressBytes), 16 - addressBytes),
    label(hasNeighbour),
  ];
}
