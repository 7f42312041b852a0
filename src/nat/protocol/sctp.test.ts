/** The SCTP state table, cell by cell, against the reference's text. */
import { expect, test } from "vitest";
import { referenceRows, referenceTransitions } from "../../../test/golden/reference/reference-table.ts";
import { SCTP_STATES } from "../configuration.ts";
import { nextSctpState, SCTP_CLOSED, SCTP_ESTABLISHED, SCTP_STATE_NAMES } from "./sctp.ts";
import { TcpSide } from "./tcp.ts";

const STATES = ["NO", "I1", "IN", "CS", "CR", "CW", "CO", "CE", "ES", "SS", "SR", "SA", "RJ", "CL"];
const SIDES: Record<string, TcpSide> = {
  INPUT: TcpSide.input,
  OUTPUT: TcpSide.output,
  INPUT_ONLY: TcpSide.inputOnly,
};
/** Chunk types (RFC 9260 section 3.2) by the reference's names of events. */
const CHUNKS: Record<string, readonly number[]> = {
  INIT: [1],
  "INIT-ACK": [2],
  ABORT: [6],
  SHUTDOWN: [7],
  "SHUTDOWN-ACK": [8],
  ERROR: [9],
  "COOKIE-ECHO": [10],
  "COOKIE-ACK": [11],
  "SHUTDOWN-COMPLETE": [14],
};
const NAMED = Object.values(CHUNKS).flat();
/** Everything else is data: DATA, SACK, HEARTBEAT and -ACK, ECNE, CWR and what is unknown. */
const DATA = Array.from({ length: 256 }, (_, type) => type).filter((type) => !NAMED.includes(type));

test("is the reference's in all its 420 cells", () => {
  const cells = referenceTransitions("sctp-states.txt");
  expect(cells).toHaveLength(3 * 10 * 14);
  for (const { direction, event, state, next } of cells) {
    for (const chunk of CHUNKS[event] ?? DATA) {
      const made = STATES[nextSctpState(SIDES[direction]!, chunk, -1, STATES.indexOf(state))];
      if (made !== next) expect.fail(`${direction} ${event} (${chunk}) in ${state}: ${made}, wanted ${next}`);
    }
  }
});

test("a packet without a chunk changes nothing", () => {
  for (const side of Object.values(TcpSide)) {
    for (let state = 0; state < STATES.length; state++) {
      expect(nextSctpState(side, -1, -1, state)).toBe(state);
    }
  }
});

test("an ABORT counts behind a cookie chunk and behind no other", () => {
  for (let chunk = 0; chunk < 16; chunk++) {
    for (let state = 0; state < STATES.length; state++) {
      const isCookie = chunk === 10 || chunk === 11;
      const wanted = nextSctpState(TcpSide.input, isCookie ? 6 : chunk, -1, state);
      expect(nextSctpState(TcpSide.input, chunk, 6, state)).toBe(wanted);
    }
  }
});

test("codes and names are the reference's", () => {
  const rows = referenceRows("sctp-timeouts.txt");
  const named = [...rows.map((row) => row.slice(0, 3)), ...rows.map((row) => row.slice(4, 7))];
  expect(SCTP_STATES).toHaveLength(STATES.length);
  expect(STATES.map((state, code) => [state, SCTP_STATE_NAMES[code]])).toEqual(
    named.map(([state, name]) => [state, name]),
  );
  expect([STATES[SCTP_ESTABLISHED], STATES[SCTP_CLOSED]]).toEqual(["ES", "CL"]);
});
