/** TPKT (RFC 1006 section 6), which frames Q.931 and H.245 on TCP: 03 00, length of two bytes that counts these four. */
import { type StreamShape, UNREADABLE } from "../engine/module.ts";

export const TPKT_BYTES = 4;
const VERSION = 3;

/** @param unitBytesMax - of a whole TPKT */
export const tpkts = (unitBytesMax: number): StreamShape => ({
  unitBytesMax,
  measure(unit) {
    if (unit.u8(0) !== VERSION) return UNREADABLE;
    const length = unit.u16(2);
    if (length < 0) return 0;
    return length < TPKT_BYTES ? UNREADABLE : length;
  },
  mayChange: () => true,
});
