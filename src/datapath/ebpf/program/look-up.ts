/** Third stage: is this flow cached, and does everything still hold that was true when it was? */
import {
  add,
  at,
  branch,
  call,
  goTo,
  label,
  load,
  mapOf,
  mapValue,
  mov,
  type Place,
  type Register,
  store,
} from "../asm/instruction.ts";
import { Connection, Control, Flow, Way } from "../maps/layout.ts";
import {
  CHOOSE,
  CONTEXT,
  type Family,
  FOUND,
  further,
  Helper,
  SLOW_PATH,
  STACK,
  type Stage,
} from "./context.ts";
import { PLACES } from "./family.ts";

/**
 * Address of an array's element in r0.
 * @param index - register with its number; not r1, r2
 * @param otherwise - where to go when there is none
 */
export const element = (map: string, index: Register, otherwise = SLOW_PATH): Stage => [
  store(4, STACK.index, index),
  ...look(map, STACK.index, otherwise),
];

/** Address of a hash's value in r0. */
export const look = (map: string, key: Place, otherwise: string): Stage => [
  mov("r2", "r10"),
  add("r2", key.offset),
  mapOf("r1", map),
  call(Helper.mapLookup),
  branch("r0", "==", 0, otherwise),
];

/** Leaves r7, the flow, and r8, its connection; the neighbour and the interface on the stack. */
export function lookUp(family: Family): Stage {
  const { kernelNumber, addressBytes } = PLACES[family];
  const isSize = `IPv${family} size`;
  const isDirect = `IPv${family} no gateway`;
  const hasNeighbour = `IPv${family} neighbour`;
  const words = [0, 4, 8, 12].filter((word) => word < addressBytes);
  const neighbourAt = further(STACK.neighbour, 4);
  return [
    store(4, STACK.isBorn, 0),
    store(4, STACK.replaced, 0),
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
    ...[0, 4, 8, 12].flatMap((word) => [
      load(4, "r1", at("r0", Way.at.gateway + word)),
      store(4, further(neighbourAt, word), "r1"),
    ]),
    goTo(hasNeighbour),
    label(isDirect),
    store(4, STACK.neighbour, kernelNumber),
    ...[0, 4, 8, 12].flatMap((word) =>
      words.includes(word)
        ? [load(4, "r1", at("r7", Flow.at.destination + word)), store(4, further(neighbourAt, word), "r1")]
        : [store(4, further(neighbourAt, word), 0)],
    ),
    label(hasNeighbour),
  ];
}
