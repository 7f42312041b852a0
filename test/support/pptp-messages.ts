/** Control messages of PPTP, RFC 2637 section 2, as a character a byte: header right, everything but what a test names zero. */

const MAGIC = "\x1a\x2b\x3c\x4d";
export const u16 = (value: number): string => String.fromCharCode(value >> 8, value & 255);

/** @param fields - by offset; a result is one byte, everything else is 16 bits */
function message(type: number, bytes: number, fields: Record<number, string>): string {
  const text = [...(u16(bytes) + u16(1) + MAGIC + u16(type)).padEnd(bytes, "\0")];
  for (const [at, value] of Object.entries(fields)) text.splice(Number(at), value.length, ...value);
  return text.join("");
}

export const PptpMessage = {
  startRequest: (): string => message(1, 156, { 12: u16(0x0100) }),
  startReply: (result = 1): string => message(2, 156, { 12: u16(0x0100), 14: String.fromCharCode(result) }),
  stopRequest: (): string => message(3, 16, { 12: "\x01" }),
  echoRequest: (): string => message(5, 16, { 12: "ABCD" }),
  outgoingCallRequest: (id: number): string => message(7, 168, { 12: u16(id) }),
  outgoingCallReply: (id: number, peersId: number, result = 1): string =>
    message(8, 32, { 12: u16(id), 14: u16(peersId), 16: String.fromCharCode(result) }),
  incomingCallRequest: (id: number): string => message(9, 220, { 12: u16(id) }),
  incomingCallReply: (id: number, peersId: number, result = 1): string =>
    message(10, 24, { 12: u16(id), 14: u16(peersId), 16: String.fromCharCode(result) }),
  incomingCallConnected: (peersId: number): string => message(11, 28, { 12: u16(peersId) }),
  callClearRequest: (id: number): string => message(12, 16, { 12: u16(id) }),
  callDisconnectNotify: (id: number): string => message(13, 148, { 12: u16(id) }),
  wanErrorNotify: (peersId: number): string => message(14, 40, { 12: u16(peersId) }),
  setLinkInfo: (peersId: number): string =>
    message(15, 24, { 12: u16(peersId), 16: "\xff\xff\xff\xff\xff\xff\xff\xff" }),
};
