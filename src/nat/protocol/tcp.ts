/**
 * The TCP state table of Linux IPVS, as data: it follows both directions from outside and never judges sequence
 * numbers. Rows are events, columns the current state in the order of TCP_STATES, cells the next state.
 *
 * Abbreviations are IPVS's: NO none, ES established, SS SYN sent, SR SYN received, FW FIN wait, TW time wait, CL close,
 * CW close wait, LA last ACK, LI listen, SA SYN+ACK.
 */
import { TCP_STATES, type TcpState } from "../configuration.ts";

/** TCP flag bits (RFC 9293 section 3.1) that make an event. */
const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
const ACK = 0x10;

/** Which column set of the table applies. */
export const TcpSide = { input: 0, output: 1, inputOnly: 2 } as const;
export type TcpSide = (typeof TcpSide)[keyof typeof TcpSide];

const CODES = { NO: 0, ES: 1, SS: 2, SR: 3, FW: 4, TW: 5, CL: 6, CW: 7, LA: 8, LI: 9, SA: 10 } as const;
type Code = keyof typeof CODES;
const STATE_COUNT = TCP_STATES.length;
const EVENT_COUNT = 4;

/** Four rows per side: SYN, FIN, ACK, RST. */
type SideTable = readonly [string, string, string, string];

const NORMAL: readonly SideTable[] = [
  [
    // NO ES SS SR FW TW CL CW LA LI SA      client to server
    "SR ES ES SR SR SR SR SR SR SR SR",
    "CL CW SS TW TW TW CL CW LA LI TW",
    "ES ES SS ES FW TW CL CW CL LI ES",
    "CL CL CL SR CL CL CL CL LA LI SR",
  ],
  [
    // NO ES SS SR FW TW CL CW LA LI SA      server to client
    "SS ES SS SR SS SS SS SS SS LI SR",
    "TW FW SS TW FW TW CL TW LA LI TW",
    "ES ES SS ES FW TW CL CW LA ES ES",
    "CL CL SS CL CL TW CL CL CL CL CL",
  ],
  [
    // NO ES SS SR FW TW CL CW LA LI SA      client to server, answers bypass the director
    "SR ES ES SR SR SR SR SR SR SR SR",
    "CL FW SS TW FW TW CL CW LA LI TW",
    "ES ES SS ES FW TW CL CW CL LI ES",
    "CL CL CL SR CL CL CL CL LA LI CL",
  ],
];

/** secure_tcp: ESTABLISHED is reached from SYN_RECV only with proof from the server's side. */
const SECURE: readonly SideTable[] = [
  [
    "SR ES ES SR SR SR SR SR SR SR SA",
    "CL CW SS TW TW TW CL CW LA LI SA",
    "ES ES SS SR FW TW CL CW CL LI SA",
    "CL CL CL SR CL CL CL CL LA LI CL",
  ],
  [
    "SS ES SS SA SS SS SS SS SS LI SA",
    "TW FW SS TW FW TW CL TW LA LI TW",
    "ES ES SS ES FW TW CL CW LA ES ES",
    "CL CL SS CL CL TW CL CL CL CL CL",
  ],
  [
    "SA ES ES SR SA SA SA SA SA SA SA",
    "CL FW SS TW FW TW CL CW LA LI TW",
    "ES ES SS ES FW TW CL CW CL LI ES",
    "CL CL CL SR CL CL CL CL LA LI CL",
  ],
];

/** Flatten to one byte per (side, event, state). */
function compile(table: readonly SideTable[]): Uint8Array {
  return Uint8Array.from(table.flat().flatMap((row) => row.split(" ").map((cell) => CODES[cell as Code])));
}
const NORMAL_CODES = compile(NORMAL);
const SECURE_CODES = compile(SECURE);

/** State codes by name: the index into TCP_STATES. */
export const TCP_STATE = Object.fromEntries(TCP_STATES.map((name, code) => [name, code])) as {
  readonly [S in TcpState]: number;
};

/** IPVS's names, as `ipvsadm -Lc` prints them, by state code. */
export const TCP_STATE_NAMES = [
  "NONE",
  "ESTABLISHED",
  "SYN_SENT",
  "SYN_RECV",
  "FIN_WAIT",
  "TIME_WAIT",
  "CLOSE",
  "CLOSE_WAIT",
  "LAST_ACK",
  "LISTEN",
  "SYNACK",
] as const;

/** 1 for the states counted as active connections, by state code. */
export const TCP_IS_ACTIVE = Uint8Array.from([0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1]);

/**
 * The state after a segment. RST outranks SYN, SYN outranks FIN, FIN outranks ACK; a segment with none of the four
 * closes.
 * @param flags - the flags octet of the TCP header
 * @param state - current state code
 */
export function nextTcpState(side: TcpSide, flags: number, state: number, isSecure: boolean): number {
  let event: number;
  if ((flags & RST) !== 0) event = 3;
  else if ((flags & SYN) !== 0) event = 0;
  else if ((flags & FIN) !== 0) event = 1;
  else if ((flags & ACK) !== 0) event = 2;
  else return CODES.CL;
  const table = isSecure ? SECURE_CODES : NORMAL_CODES;
  return table[(side * EVENT_COUNT + event) * STATE_COUNT + state]!;
}
