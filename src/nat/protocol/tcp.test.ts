/** The TCP state table, cell by cell, against the reference's text and against what a running kernel was seen to do. */
import { describe, expect, test } from "vitest";
import {
  referenceRows,
  referenceTransitions,
  seenTransitions,
} from "../../../test/golden/reference/reference-table.ts";
import { TCP_STATES } from "../configuration.ts";
import { nextTcpState, TCP_IS_ACTIVE, TCP_STATE, TCP_STATE_NAMES, TcpSide } from "./tcp.ts";

const STATES = ["NO", "ES", "SS", "SR", "FW", "TW", "CL", "CW", "LA", "LI", "SA"];
const SIDES: Record<string, TcpSide> = {
  INPUT: TcpSide.input,
  OUTPUT: TcpSide.output,
  INPUT_ONLY: TcpSide.inputOnly,
};
const FLAGS: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32, E: 64, C: 128 };
const EVENTS: Record<string, string> = { SYN: "S", FIN: "F", ACK: "A", RST: "R" };

const flagsOf = (letters: string): number =>
  [...letters].reduce((flags, letter) => flags | FLAGS[letter]!, 0);

describe.each([
  ["normal", false],
  ["secure", true],
] as const)("the %s table", (name, isSecure) => {
  const cells = referenceTransitions(`tcp-states-${name}.txt`);

  test("is the reference's in all its 132 cells", () => {
    expect(cells).toHaveLength(3 * 4 * 11);
    const made = cells.map((cell) => {
      const state = STATES.indexOf(cell.state);
      const next = nextTcpState(SIDES[cell.direction]!, flagsOf(EVENTS[cell.event]!), state, isSecure);
      return { ...cell, next: STATES[next] };
    });
    expect(made).toEqual(cells);
  });

  test("answers all 256 flag octets by RST, SYN, FIN, ACK in this order, and closes without any of them", () => {
    for (const side of Object.values(TcpSide)) {
      for (let state = 0; state < STATES.length; state++) {
        for (let flags = 0; flags < 256; flags++) {
          const outranking = ["R", "S", "F", "A"].find((letter) => (flags & FLAGS[letter]!) !== 0);
          const wanted =
            outranking === undefined
              ? TCP_STATE.close
              : nextTcpState(side, flagsOf(outranking), state, isSecure);
          if (nextTcpState(side, flags, state, isSecure) !== wanted)
            expect.fail(`side ${side}, ${STATES[state]}, flags ${flags}: wanted ${STATES[wanted]}`);
        }
      }
    }
  });

  test("is what a running kernel did wherever packets can reach", () => {
    const seen = seenTransitions(name === "normal" ? "tcp-transitions.txt" : "tcp-transitions-secure.txt");
    expect(seen.length).toBeGreaterThanOrEqual(7 * 22);
    const step = (state: number, segment: string): number => {
      const [who, letters] = segment.split(":");
      return nextTcpState(who === "c" ? TcpSide.input : TcpSide.output, flagsOf(letters!), state, isSecure);
    };
    for (const { reachedBy, from, segment, to } of seen) {
      // Gone: the director did not follow this segment at all; that is tested with the director itself.
      if (to === undefined) continue;
      const state = reachedBy.reduce(step, TCP_STATE.none);
      expect([TCP_STATE_NAMES[state], segment, TCP_STATE_NAMES[step(state, segment)]]).toEqual([
        from,
        segment,
        to,
      ]);
    }
  });
});

test("the reference's worked paths", () => {
  const paths = referenceRows("tcp-paths.txt");
  // "RST in ESTABLISHED, either side" names no segments; it is cells of the table.
  const walkable = paths.filter(([segments]) => !segments!.startsWith("RST in"));
  expect(walkable).toHaveLength(8);
  for (const [segments, states] of walkable) {
    const isSecure = segments!.startsWith("`secure_tcp`");
    const isFromEstablished = /closes first/.test(segments!);
    let state: number = /preset LI/.test(segments!) ? TCP_STATE.listen : TCP_STATE.none;
    if (isFromEstablished) state = TCP_STATE.established;
    const steps = [...segments!.matchAll(/\b(in|out) (\w+)(?:\+(\w+))?/g)];
    const made = steps.map(([, direction, first, second]) => {
      const flags = flagsOf(EVENTS[first!]!) | (second === undefined ? 0 : flagsOf(EVENTS[second]!));
      state = nextTcpState(direction === "in" ? TcpSide.input : TcpSide.output, flags, state, isSecure);
      return STATES[state];
    });
    expect([segments, made.join(" ")]).toEqual([segments, states!.match(/\b[A-Z]{2}\b/g)!.join(" ")]);
  }
});

test("codes, names and the active states are the reference's, and every list has a place for each state", () => {
  const rows = referenceRows("tcp-timeouts.txt").filter(([state]) => !state!.includes("sentinel"));
  expect(rows.map(([state]) => state)).toEqual(STATES.map((state, code) => `${state} (${code})`));
  const shown = TCP_STATE_NAMES.map((name, code) => [name, TCP_IS_ACTIVE[code] === 1 ? "yes" : ""]);
  expect(shown).toEqual(rows.map(([, name, , active]) => [name, active]));
  expect(TCP_STATES).toHaveLength(STATES.length);
  expect(Object.values(TCP_STATE)).toEqual(STATES.map((_, code) => code));
});
