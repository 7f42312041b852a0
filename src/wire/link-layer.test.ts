import { describe, expect, it } from "vitest";
import { tcp } from "../../test/support/packet-builder.ts";
import { EtherPayload } from "./ethernet.ts";
import { findIp, frameIp, isLinkType, LinkType } from "./link-layer.ts";

const V4 = tcp({ from: "1.2.3.4:5", to: "6.7.8.9:10" });
const V6 = tcp({ from: "[::1]:5", to: "[::2]:10" });
const MACS = new Array<number>(12).fill(0xee);
const frame = (header: number[], packet: Uint8Array = V4): Uint8Array => Uint8Array.of(...header, ...packet);

describe("findIp", () => {
  it.each(Object.entries(LinkType))("finds what frameIp framed: %s", (_, linkType) => {
    for (const packet of [V4, V6]) {
      const framed = frameIp(linkType, packet);
      const at = findIp(linkType, framed);
      expect(at).toBe(framed.length - packet.length);
      expect(framed.subarray(at as number)).toEqual(packet);
    }
  });

  it.each([
    ["one VLAN tag", LinkType.ethernet, frame([...MACS, 0x81, 0, 0, 5, 0x08, 0]), 18],
    [
      "two VLAN tags",
      LinkType.ethernet,
      frame([...MACS, 0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 0x86, 0xdd], V6),
      22,
    ],
    [
      "a tag behind a cooked header",
      LinkType.linuxCooked,
      frame([0, 0, 0, 1, 0, 6, ...new Array<number>(8).fill(0), 0x81, 0, 0, 5, 8, 0]),
      20,
    ],
    [
      "a tag behind a cooked v2 header",
      LinkType.linuxCooked2,
      frame([0x81, 0, ...new Array<number>(18).fill(0), 0, 5, 8, 0]),
      24,
    ],
    ["ARP", LinkType.ethernet, frame([...MACS, 0x08, 0x06]), "not-ip"],
    ["an 802.3 length", LinkType.ethernet, frame([...MACS, 0, 60]), "not-ip"],
    ["an EtherType that lies", LinkType.ethernet, frame([...MACS, 8, 0], Uint8Array.of(0x10)), "not-ip"],
    ["a header cut short", LinkType.ethernet, Uint8Array.of(...MACS, 8), "truncated"],
    ["nothing behind the header", LinkType.ethernet, Uint8Array.of(...MACS, 8, 0), "truncated"],
    ["a tag cut short", LinkType.ethernet, Uint8Array.of(...MACS, 0x81, 0, 0, 5, 8), "truncated"],
    ["no byte of a cooked v2 header", LinkType.linuxCooked2, new Uint8Array(0), "truncated"],
    ["no byte of a raw packet", LinkType.raw, new Uint8Array(0), "truncated"],
    ["802.11", 105, V4, "unsupported-link-type"],
  ])("%s", (_, linkType, bytes, wanted) => {
    expect(findIp(linkType, bytes)).toBe(wanted);
  });
});

it("knows its link types", () => {
  expect([0, 1, 101, 105, 276].filter(isLinkType)).toEqual([1, 101, 276]);
});

it("counts VLAN tags of a frame in the middle of a buffer", () => {
  const bytes = Uint8Array.of(0, 0, 0, ...frame([...MACS, 0x91, 0, 0, 5, 0x81, 0, 0, 6, 8, 0]));
  const payload = new EtherPayload();
  expect(payload.attach(new DataView(bytes.buffer), 3, bytes.length)).toBe(true);
  expect(payload).toMatchObject({ vlanTagCount: 2, payloadAt: 25 });
  expect(payload.etherType).toBe(0x0800);
});
