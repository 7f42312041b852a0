/**
 * How far a call of PPTP has come, and how long it lives without a packet. The times are those of Linux's connection
 * tracking (nf_conntrack_pptp: PPTP_GRE_TIMEOUT, PPTP_GRE_STREAM_TIMEOUT).
 */
import { TcpSide } from "./tcp.ts";

/** Codes of a call's state. */
export const CallState = {
  /** One end has said its ID. */
  announced: 0,
  /** Both have, and no packet has come; from the client; from the server; from both. */
  whole: 1,
  client: 2,
  server: 3,
  established: 4,
} as const;

export const CALL_STATE_NAMES = ["ANNOUNCED", "CALL", "CALL", "CALL", "ESTABLISHED"] as const;

/** The answer to a call may take a while: somebody may have to be asked. */
const ANNOUNCED_SECONDS = 120;
const FRESH_SECONDS = 600;
const ESTABLISHED_SECONDS = 18_000;

export const CALL_SECONDS = [
  ANNOUNCED_SECONDS,
  FRESH_SECONDS,
  FRESH_SECONDS,
  FRESH_SECONDS,
  ESTABLISHED_SECONDS,
] as const;

/** The state after a packet. */
export function nextCallState(side: TcpSide, state: number): number {
  const isFromClient = side !== TcpSide.output;
  switch (state) {
    case CallState.whole:
      return isFromClient ? CallState.client : CallState.server;
    case CallState.client:
      return isFromClient ? CallState.client : CallState.established;
    case CallState.server:
      return isFromClient ? CallState.established : CallState.server;
    default:
      return state;
  }
}
