import { expect, test } from "vitest";
import { GRE_HEADER_BYTES, pptpCallId } from "./gre.ts";

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const callIdOf = (hex: string, bytes?: number): number => {
  const header = bytesOf(hex);
  return pptpCallId(new DataView(header.buffer), 0, bytes ?? header.length);
};

test.each([
  ["data with a sequence number", "3001 880b 0004 1234 00000001 ff03c021", 0x1234],
  ["and with an acknowledgment", "3081 880b 0004 ffff 00000001 00000000 ff03c021", 0xffff],
  ["an acknowledgment alone", "2081 880b 0000 0000 00000007", 0],
])("%s: the receiver's call ID", (_, hex, id) => expect(callIdOf(hex)).toBe(id));

test.each([
  ["version 0", "3000 880b 0004 1234"],
  ["version 2", "3002 880b 0004 1234"],
  ["no key", "1001 880b 0004 1234"],
  ["a checksum", "b001 880b 0004 1234"],
  ["routing", "7001 880b 0004 1234"],
  ["a strict source route", "3801 880b 0004 1234"],
  ["recursion", "3101 880b 0004 1234"],
  ["other flags", "3009 880b 0004 1234"],
  ["Ethernet inside", "2001 6558 0004 1234"],
  ["IPv4 inside", "0000 0800 0000 0000"],
])("%s is no call of PPTP", (_, hex) => expect(callIdOf(hex)).toBe(-1));

test("what is cut has no call ID, whatever is behind it", () => {
  for (let bytes = 0; bytes < GRE_HEADER_BYTES; bytes++)
    expect(callIdOf("3001 880b 0004 1234 00000001", bytes)).toBe(-1);
  expect(callIdOf("3001 880b 0004", 8)).toBe(-1);
});
