/** Port triggers through a whole director: every preset, and rules of other kinds. */
import { describe, expect, test } from "vitest";
import {
  CLIENT_PORT,
  INSIDE,
  OUTSIDE,
  SERVER,
  type Situation,
  STRANGER,
  TwoSides,
  VIRTUAL,
} from "../../test/support/two-sides.ts";

const C = `${OUTSIDE}:${CLIENT_PORT}`;

/** A control connection has begun; who sends where, and what arrives. */
const CASES: readonly (readonly [name: string, "tcp" | "udp", number, Situation, source: string, at: string, arrives: string])[] = [
  ["streamworks", "udp", 1558, "virtual", `${SERVER}:9000`, C, `${VIRTUAL}:9000 ${C}`],
  ["streamworks", "udp", 1558, "virtual", `${SERVER}:1559`, `${OUTSIDE}:50000`, `${VIRTUAL}:1559 ${OUTSIDE}:50000`],
  ["streamworks", "tcp", 1558, "virtual", `${SERVER}:1558`, `${OUTSIDE}:50000`, `${VIRTUAL}:1558 ${OUTSIDE}:50000`],
  ["streamworks", "udp", 1558, "masquerade", `${OUTSIDE}:9000`, `${VIRTUAL}:${CLIENT_PORT}`, `${OUTSIDE}:9000 ${INSIDE}:${CLIENT_PORT}`],
  ["streamworks", "udp", 1558, "masquerade", `${STRANGER}:9000`, `${VIRTUAL}:${CLIENT_PORT}`, "reply"],
  ["realaudio-ports", "tcp", 7070, "virtual", `${SERVER}:9000`, `${OUTSIDE}:6970`, `${VIRTUAL}:9000 ${OUTSIDE}:6970`],
  ["realaudio-ports", "tcp", 7070, "virtual", `${SERVER}:9000`, `${OUTSIDE}:7171`, `${SERVER}:9000 ${OUTSIDE}:7171`],
  ["realaudio-ports", "tcp", 7070, "masquerade", `${OUTSIDE}:9000`, `${VIRTUAL}:7170`, `${OUTSIDE}:9000 ${INSIDE}:7170`],
  ["realaudio-ports", "tcp", 7070, "masquerade", `${OUTSIDE}:9000`, `${VIRTUAL}:7171`, "reply"],
  ["vdolive-ports", "tcp", 7005, "virtual", `${SERVER}:9000`, `${OUTSIDE}:15000`, `${VIRTUAL}:9000 ${OUTSIDE}:15000`],
  ["vdolive-ports", "tcp", 7010, "masquerade", `${OUTSIDE}:9000`, `${VIRTUAL}:15000`, `${OUTSIDE}:9000 ${INSIDE}:15000`],
  ["cuseeme-ports", "udp", 7648, "virtual", `${SERVER}:7649`, `${OUTSIDE}:7649`, `${VIRTUAL}:7649 ${OUTSIDE}:7649`],
  ["cuseeme-ports", "udp", 7648, "masquerade", `${OUTSIDE}:9000`, `${VIRTUAL}:7649`, `${OUTSIDE}:9000 ${INSIDE}:7649`],
  ["diablo-ports", "tcp", 6112, "virtual", `${SERVER}:6112`, `${OUTSIDE}:6112`, `${VIRTUAL}:6112 ${OUTSIDE}:6112`],
  ["diablo-ports", "tcp", 6112, "masquerade", `${STRANGER}:6112`, `${VIRTUAL}:6112`, `${STRANGER}:6112 ${INSIDE}:6112`],
  ["vivoactive", "tcp", 80, "virtual", `${SERVER}:9000`, `${OUTSIDE}:15000`, `${SERVER}:9000 ${OUTSIDE}:15000`],
]; // biome-ignore format: a table

describe("presets", () => {
  test.each(CASES)("%s over %s %d, %s: %s > %s", (name, protocol, port, situation, source, at, arrives) => {
    const it = new TwoSides(situation, name, protocol, port);
    it.say("client", "anything at all");
    expect(it.first(source, at)).toBe(arrives);
    expect(it.counters).toMatchObject({ rewritten: 0, failed: 0, encrypted: 0 });
  });
});

test("the way is open as long as the control connection is", () => {
  const it = new TwoSides("masquerade", "realaudio-ports", "tcp", 7070);
  for (let k = 0; k < 20; k++) {
    it.stage.run(60_000);
    it.say("client", "still there");
    expect(it.first(`${OUTSIDE}:${9000 + k}`, `${VIRTUAL}:6970`)).toBe(
      `${OUTSIDE}:${9000 + k} ${INSIDE}:6970`,
    );
  }
  it.close();
  expect(it.first(`${OUTSIDE}:9999`, `${VIRTUAL}:6970`)).toBe("reply");
});
