/**
 * What belongs together and ends together: the ports that were announced for a call, a session, a connection (SIP, RTSP,
 * MGCP). Kept in a dialogue's words, the oldest giving way; what is forgotten here ends with the dialogue at the latest.
 */

import { FRAMING_WORDS } from "./engine/header-framing.ts";
import type { Dialogue, Side } from "./engine/module.ts";

/** Ports remembered. */
const PLACES = 12;
const FIRST = FRAMING_WORDS;
/** The first of a dialogue's words that this leaves to its module. */
export const SESSION_WORDS_END = FIRST + 2 * PLACES;

const IS_SERVERS = 0x1_0000;
/** The session began: what was announced for it stays when something later is refused. */
const IS_CONFIRMED = 0x2_0000;

/** A number for a session's name; 0 is none. FNV-1a, 32 bits. */
export function sessionKey(name: string): number {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x0100_0193);
  return hash === 0 ? 1 : hash;
}

/** This UDP port was announced for it. */
export function remember({ words }: Dialogue, key: number, side: Side, port: number): void {
  const what = port | (side === "server" ? IS_SERVERS : 0);
  for (let at = FIRST; at < SESSION_WORDS_END; at += 2)
    if (words[at] === key && (words[at + 1]! & ~IS_CONFIRMED) === what) return;
  words.copyWithin(FIRST + 2, FIRST, SESSION_WORDS_END - 2);
  words[FIRST] = key;
  words[FIRST + 1] = what;
}

/** It began. */
export function confirm({ words }: Dialogue, key: number): void {
  for (let at = FIRST; at < SESSION_WORDS_END; at += 2) if (words[at] === key) words[at + 1]! |= IS_CONFIRMED;
}

/** It is over, or what was announced for it since it began is refused. */
export function forget(dialogue: Dialogue, key: number, isOver: boolean): void {
  const { words } = dialogue;
  for (let at = FIRST; at < SESSION_WORDS_END; at += 2) {
    const what = words[at + 1]!;
    if (words[at] !== key || (!isOver && (what & IS_CONFIRMED) !== 0)) continue;
    words[at] = 0;
    dialogue.withdraw((what & IS_SERVERS) === 0 ? "client" : "server", "udp", what & 0xffff);
  }
}
