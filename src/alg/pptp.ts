/**
 * PPTP: RFC 2637 sections 2 (control messages) and 4.1 (enhanced GRE). A control connection agrees on calls; each end gives a
 * call an ID of its own, and the call's packets, in GRE, have the receiver's. So the IDs are what ports are elsewhere. No
 * address stands in a message, and every one keeps its length.
 *
 * Either end may be the one that places calls. Only what follows the exchange that starts the control connection is read, an
 * answer only for a call that was asked for.
 *
 * Left out: nothing of the control connection; of the tunnel everything but its IDs.
 */
import {
  type ApplicationModule,
  type Dialogue,
  opposite,
  type Side,
  type StreamShape,
  UNREADABLE,
} from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";

const TYPE_AT = 8;
const HEADER_BYTES = 12;
/** Behind the length: PPTP message type "control message", magic cookie. */
const LEAD = [0, 1, 0x1a, 0x2b, 0x3c, 0x4d] as const;
const LEAD_AT = 2;

const Message = {
  startReply: 2,
  outgoingCallRequest: 7,
  outgoingCallReply: 8,
  incomingCallRequest: 9,
  incomingCallReply: 10,
  incomingCallConnected: 11,
  callClearRequest: 12,
  callDisconnectNotify: 13,
  wanErrorNotify: 14,
  setLinkInfo: 15,
} as const;

/** By type; 0: there is none. */
const MESSAGE_BYTES = [0, 156, 156, 16, 16, 16, 20, 168, 32, 220, 24, 28, 16, 148, 40, 24];
const MESSAGE_BYTES_MAX = 220;

/** Where a message has the ID of its sender, or else the one of who gets it; replies have both. */
const ID_AT = 12;
const PEERS_ID_AT = 14;
const RESULT_AT = 16;
const START_RESULT_AT = 14;
const SUCCESS = 1;

/** What a dialogue remembers. */
const STARTED = 1;

const stream: StreamShape = {
  unitBytesMax: 256,
  measure(unit) {
    const bytes = unit.u16(0);
    for (let i = 0; i < LEAD.length; i++) {
      const byte = unit.u8(LEAD_AT + i);
      if (byte >= 0 && byte !== LEAD[i]) return UNREADABLE;
    }
    if (bytes >= 0 && bytes < HEADER_BYTES) return UNREADABLE;
    return unit.length < HEADER_BYTES ? 0 : bytes;
  },
  mayChange(unit) {
    const type = unit.u16(TYPE_AT);
    return type < 0 || type >= Message.outgoingCallRequest;
  },
};

export const pptp: ApplicationModule = {
  name: "pptp",
  transports: ["tcp"],
  ports: [1723],
  // Calls of one control connection. A client has one, a concentrator many.
  expectationsMax: 64,
  stream,
  read(unit, from, dialogue) {
    const type = unit.u16(TYPE_AT);
    if (unit.length !== MESSAGE_BYTES[type] || unit.length > MESSAGE_BYTES_MAX) return;
    if (type === Message.startReply) {
      if (from === "server" && unit.u8(START_RESULT_AT) === SUCCESS) dialogue.memory |= STARTED;
    } else if ((dialogue.memory & STARTED) !== 0) readOfCall(type, unit, from, dialogue);
  },
};

function readOfCall(type: number, unit: Unit, from: Side, dialogue: Dialogue): void {
  switch (type) {
    case Message.outgoingCallRequest:
    case Message.incomingCallRequest: {
      const shown = dialogue.listens(from, { protocol: "gre", port: unit.u16(ID_AT) });
      put(unit, ID_AT, shown);
      break;
    }
    case Message.outgoingCallReply:
    case Message.incomingCallReply:
      readReply(unit, from, dialogue);
      break;
    case Message.callClearRequest:
    case Message.callDisconnectNotify: {
      const id = unit.u16(ID_AT);
      const shown = dialogue.shownPortOf(from, "gre", id);
      put(unit, ID_AT, shown);
      // A request to clear is answered by the notification that it is.
      if (type === Message.callDisconnectNotify) dialogue.withdraw(from, "gre", id);
      break;
    }
    case Message.incomingCallConnected:
    case Message.wanErrorNotify:
    case Message.setLinkInfo: {
      const own = dialogue.ownPortOf(opposite(from), "gre", unit.u16(ID_AT));
      put(unit, ID_AT, own);
    }
  }
}

function readReply(unit: Unit, from: Side, dialogue: Dialogue): void {
  const asking = opposite(from);
  const own = dialogue.ownPortOf(asking, "gre", unit.u16(PEERS_ID_AT));
  if (own < 0) return;
  put(unit, PEERS_ID_AT, own);
  if (unit.u8(RESULT_AT) !== SUCCESS) {
    dialogue.withdraw(asking, "gre", own);
    return;
  }
  const shown = dialogue.listens(from, { protocol: "gre", port: unit.u16(ID_AT), answers: own });
  put(unit, ID_AT, shown);
}

/** @param id - -1: none that we know of */
function put(unit: Unit, at: number, id: number): void {
  if (id >= 0 && id !== unit.u16(at)) unit.put16(at, id);
}
