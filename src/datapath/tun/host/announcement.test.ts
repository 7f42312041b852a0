import { expect, it } from "vitest";
import { finish, sum } from "../../../wire/checksum.ts";
import { gratuitousArp, neighbourAdvertisement } from "./announcement.ts";

const HARDWARE = Uint8Array.of(2, 0xfc, 0, 0, 0, 1);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

it("asks for its own address, as RFC 5227 has it", () => {
  expect(hex(gratuitousArp(HARDWARE, "202.103.106.5"))).toBe(
    "0001080006040001" + "02fc00000001" + "ca676a05" + "000000000000" + "ca676a05",
  );
});

it("advertises an IPv6 address to all nodes, with override and a right checksum", () => {
  const packet = neighbourAdvertisement(HARDWARE, "fe80::1", "2001:db8::5");
  expect(hex(packet.subarray(0, 8))).toBe("6000000000203aff");
  expect(hex(packet.subarray(24, 40))).toBe("ff020000000000000000000000000001");
  expect(hex(packet.subarray(44))).toBe(`a0000000${"20010db8000000000000000000000005"}0201${hex(HARDWARE)}`);
  const view = new DataView(packet.buffer);
  expect(finish(sum(view, 8, packet.length - 8, 32 + 58))).toBe(0);
});
