import { describe, expect, it } from "vitest";
import { bytes, echo, fragment, icmp, sctp, tcp, udp } from "./packet-builder.ts";
import {
  checkPacket,
  fragmentOf,
  from,
  icmpRest,
  icmpType,
  payload,
  protocol,
  quoting,
  tcpAcknowledgment,
  tcpFlags,
  tcpSequence,
  to,
  tos,
  ttl,
  valid,
  validPartial,
} from "./packet-check.ts";

const V4 = { from: "202.100.1.2:3456", to: "202.103.106.5:80" };
const V6 = { from: "[2001:db8:1::2]:3456", to: "[2001:db8:5::5]:80" };
const SEGMENT = tcp({ ...V4, flags: "SA", seq: 5, ack: 6, ttl: 63, tos: 8, payload: "abc" });

describe("checkPacket", () => {
  it("is silent when everything holds", () => {
    checkPacket(SEGMENT, valid(), from(V4.from), to("202.103.106.5"), ttl(63), tos(8), protocol(6));
    checkPacket(SEGMENT, tcpFlags("SA"), tcpSequence(5), tcpAcknowledgment(6), payload("abc"));
    checkPacket(
      udp({ ...V6, payload: bytes(9), checksum: "partial" }),
      validPartial(),
      from(V6.from),
      to(V6.to),
    );
    checkPacket(
      echo({ from: "::1", to: "::2", id: 1, seq: 2 }),
      valid(),
      icmpType(128, 0),
      icmpRest(0x10002),
    );
    const error = icmp({
      from: "1.2.3.4",
      to: "5.6.7.8",
      type: 3,
      code: 3,
      payload: SEGMENT.subarray(0, 28),
    });
    checkPacket(error, valid(), icmpType(3, 3), quoting(from(V4.from), to(V4.to), ttl(63)));
    checkPacket(fragment(udp({ ...V6, payload: bytes(99) }), 100, 7)[1]!, valid(), fragmentOf(7, 48, true));
  });

  it("names everything that is wrong, and shows the packet", () => {
    const check = (): void =>
      checkPacket(SEGMENT, from("202.100.1.2:1"), tcpFlags("S"), ttl(64), payload("abd"));
    expect(check).toThrow("packet: 202.100.1.2:3456 > 202.103.106.5:80 tcp SA");
    expect(check).toThrow("source is 202.100.1.2:3456, wanted 202.100.1.2:1");
    expect(check).toThrow("tcp flags is SA, wanted S");
    expect(check).toThrow("ttl is 63, wanted 64");
    expect(check).toThrow("payload byte 2 is 99, wanted 100");
  });

  it.each([
    ["a wrong IP checksum", SEGMENT.with(8, 1), valid(), "ip header checksum"],
    ["a wrong TCP checksum", SEGMENT.with(25, 9), valid(), "checksum of protocol 6"],
    ["a wrong SCTP checksum", sctp({ ...V4, checksum: "wrong" }), valid(), "checksum of protocol 132"],
    ["a cut packet", SEGMENT.subarray(0, 42), valid(), "total length is 43, wanted 42"],
    ["no UDP checksum over IPv6", udp({ ...V6, checksum: "none" }), valid(), "no udp checksum"],
    ["a full checksum for a partial one", SEGMENT, validPartial(), "partial checksum is"],
    ["a broken quotation", icmp({ from: "::1", to: "::2", type: 1 }), quoting(), "quotation: no ip header"],
    ["no fragment", SEGMENT, fragmentOf(1, 0, true), "no fragment, wanted 1@0+"],
    ["no TCP", echo({ from: "::1", to: "::2" }), tcpFlags("S"), "no tcp header"],
    ["no IP", new Uint8Array(3), valid(), "no ip header in 3 bytes"],
  ])("notices %s", (_, packet, check, message) => {
    expect(() => checkPacket(packet, check)).toThrow(message);
  });

  it("accepts no UDP checksum over IPv4", () => {
    checkPacket(udp({ ...V4, checksum: "none" }), valid());
  });
});
