/**
 * The SCTP state table of Linux IPVS as data. Events are chunk types (RFC 9260 section 3.2); rows are events, columns
 * the current state in the order of SCTP_STATES, cells the next state.
 *
 * NO none, I1 first INIT, IN INIT, CS cookie sent, CR cookie replied, CW cookie wait, CO cookie, CE cookie echoed,
 * ES established, SS/SR/SA shutdown sent/received/ack sent, RJ rejected, CL closed.
 */
import type { Flow } from "../../wire/flow.ts";
import type { Packet } from "../../wire/packet.ts";
import { SCTP_CHUNK_AT } from "../../wire/sctp.ts";
import type { TcpSide } from "./tcp.ts";

const CODES = {
  NO: 0,
  I1: 1,
  IN: 2,
  CS: 3,
  CR: 4,
  CW: 5,
  CO: 6,
  CE: 7,
  ES: 8,
  SS: 9,
  SR: 10,
  SA: 11,
  RJ: 12,
  CL: 13,
} as const;
type Code = keyof typeof CODES;
const STATE_COUNT = 14;

/** Rows: data and everything else, INIT, INIT-ACK, COOKIE-ECHO, COOKIE-ACK, SHUTDOWN, -ACK, -COMPLETE, ERROR, ABORT. */
const ROWS = [
  // NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL      client to server
  "ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
  "I1 IN IN CS CR CW CO CE ES SS SR SA IN IN",
  "CW CW CW CS CR CO CO CE ES SS SR SA RJ CL",
  "CR IN IN CR CR CW CO CE ES SS SR SA RJ CL",
  "ES I1 IN CS CR CW CO ES ES SS SR SA RJ CL",
  "SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL",
  "CL IN IN CS CR CW CO CE ES CL SR CL RJ CL",
  "CL CL CL CS CR CW CO CE ES SS SR CL RJ CL",
  "CL I1 IN CS CR CW CO CL ES SS SR SA RJ CL",
  "CL CL CL CL CL RJ CL CL CL CL CL CL CL CL",
  // server to client
  "ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
  "CW CW CW CW CW CW CW CW ES CW CW CW CW CW",
  "CS CS CS CS CR CW CO CE ES SS SR SA RJ CL",
  "CE CE CE CE CE CE CE CE ES SS SR SA RJ CL",
  "ES ES ES ES ES ES ES ES ES SS SR SA RJ CL",
  "SS SS SS SS SS SS SS SS SS SS SR SA RJ CL",
  "SA SA SA SA SA CW CO CE ES SA SA SA RJ CL",
  "CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
  "CL CL CL CL CL CW CO CE ES SS SR SA RJ CL",
  "CL RJ CL CL CL CL CL CL CL CL CL CL CL CL",
  // client to server, answers bypass the director
  "ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL",
  "I1 IN IN IN IN IN CO CE ES SS SR SA IN IN",
  "CE CE CE CE CE CE CO CE ES SS SR SA RJ CL",
  "ES ES ES ES ES ES CO CE ES SS SR SA RJ CL",
  "ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL",
  "SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL",
  "CL IN IN CS CR CW CO CE CL CL SR CL RJ CL",
  "CL CL CL CL CL CW CO CE ES SS CL CL RJ CL",
  "CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
  "CL CL CL CL CL RJ CL CL CL CL CL CL CL CL",
];
const EVENT_COUNT = 10;
const TABLE = Uint8Array.from(ROWS.flatMap((row) => row.split(" ").map((cell) => CODES[cell as Code])));

/** Row by chunk type 0..14; types above are data. DATA 0, INIT 1, INIT-ACK 2, SACK 3, HB 4, HB-ACK 5, ABORT 6, ... */
const EVENT_OF_CHUNK = Uint8Array.from([0, 1, 2, 0, 0, 0, 9, 5, 6, 8, 3, 4, 0, 0, 7]);

export const SctpChunk = { init: 1, abort: 6, cookieEcho: 10, cookieAck: 11 } as const;

/** IPVS's names by state code. */
export const SCTP_STATE_NAMES = [
  "NONE",
  "INIT1",
  "INIT",
  "C-SENT",
  "C-REPLIED",
  "C-WAIT",
  "COOKIE",
  "C-ECHOED",
  "ESTABLISHED",
  "S-SENT",
  "S-RECEIVED",
  "S-ACK-SENT",
  "REJECTED",
  "CLOSED",
] as const;

export const SCTP_ESTABLISHED = CODES.ES;
export const SCTP_CLOSED = CODES.CL;

/**
 * The state after a packet.
 * @param chunk - type of the first chunk, -1 if there is none: nothing changes then
 * @param secondChunk - type of the second chunk, -1 if there is none: an ABORT bundled behind a cookie chunk counts
 */
export function nextSctpState(side: TcpSide, chunk: number, secondChunk: number, state: number): number {
  if (chunk < 0) return state;
  const isCookie = chunk === SctpChunk.cookieEcho || chunk === SctpChunk.cookieAck;
  const type = isCookie && secondChunk === SctpChunk.abort ? SctpChunk.abort : chunk;
  const event = type < EVENT_OF_CHUNK.length ? EVENT_OF_CHUNK[type]! : 0;
  return TABLE[(side * EVENT_COUNT + event) * STATE_COUNT + state]!;
}

/** Type of the first chunk; -1 when there is none. */
export function firstSctpChunk(packet: Packet, flow: Flow): number {
  return flow.transportBytes > SCTP_CHUNK_AT ? packet.view.getUint8(flow.transportAt + SCTP_CHUNK_AT) : -1;
}

/** Type of the second chunk; -1 when there is none. */
export function secondSctpChunk(packet: Packet, flow: Flow): number {
  if (flow.transportBytes < SCTP_CHUNK_AT + 4) return -1;
  const firstBytes = (packet.view.getUint16(flow.transportAt + SCTP_CHUNK_AT + 2) + 3) & ~3;
  const at = SCTP_CHUNK_AT + Math.max(4, firstBytes);
  return at < flow.transportBytes ? packet.view.getUint8(flow.transportAt + at) : -1;
}
