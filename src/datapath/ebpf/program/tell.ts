/** Part of several stages: tell the director that it should look at this connection. */
import { at, atomic, branch, goTo, label, load, mapValue, mov, store, sub, xor } from "../asm/instruction.ts";
import { Connection, Control, Flow, News, NewsKind } from "../maps/layout.ts";
import { STACK, type Stage } from "./context.ts";
import { reserveNews, submitNews } from "./news.ts";

/**
 * @param name - of this use, different from all others
 * @param isCounted - the packet is among the connection's already
 * @returns code that changes r0 to r5; r8 is the connection
 */
export const tell = (name: string, isCounted: boolean): Stage => [
  ...reserveNews(News.bytes),
  branch("r0", "!=", 0, `${name}: room`),
  mov("r1", 1),
  mapValue("r2", "control", 0),
  atomic("add", 4, at("r2", Control.at.lostNews), "r1"),
  goTo(`${name}: told`),
  label(`${name}: room`),
  store(4, at("r0", News.at.kind), NewsKind.state),
  load(4, "r1", at("r7", Flow.at.record)),
  store(4, at("r0", News.at.record), "r1"),
  load(4, "r1", at("r7", Flow.at.generation)),
  store(4, at("r0", News.at.generation), "r1"),
  load(4, "r1", STACK.state),
  store(4, at("r0", News.at.state), "r1"),
  load(1, "r2", at("r7", Flow.at.direction)),
  xor("r2", 1),
  store(4, at("r0", News.at.isIn), "r2"),
  load(4, "r1", at("r8", Connection.at.inPackets)),
  ...(isCounted ? [sub("r1", "r2")] : []),
  store(4, at("r0", News.at.inPackets), "r1"),
  ...submitNews("r0"),
  label(`${name}: told`),
];
