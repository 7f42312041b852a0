import { describe, expect, it } from "vitest";
import { echo, icmp, udp } from "../../test/support/packet-builder.ts";
import { IcmpType, IcmpView, isIcmpError } from "./icmp.ts";
import { Icmpv6Type, Icmpv6View, isIcmpv6Error } from "./icmpv6.ts";

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer);
const V4 = { from: "1.2.3.4", to: "5.6.7.8" };
const V6 = { from: "2001:db8::1", to: "2001:db8::2" };

describe("IcmpView", () => {
  it("reads an echo request", () => {
    const packet = echo({ ...V4, id: 0xbeef, seq: 7, payload: "ping" });
    const message = new IcmpView();
    expect(message.attach(viewOf(packet), 20, packet.length)).toBe(true);
    expect(message).toMatchObject({
      type: 8,
      code: 0,
      isEcho: true,
      isError: false,
      identifier: 0xbeef,
      sequence: 7,
    });
    expect(message.checksum).toBe(viewOf(packet).getUint16(22));
  });

  it("reads errors and where their quotation begins", () => {
    const quoted = udp({ from: "5.6.7.8:1", to: "1.2.3.4:2" });
    const packet = icmp({ ...V4, type: 3, code: 4, rest: 1280, payload: quoted });
    const message = new IcmpView();
    message.attach(viewOf(packet), 20, packet.length);
    expect(message).toMatchObject({
      isError: true,
      isEcho: false,
      code: 4,
      nextHopMtu: 1280,
      embeddedAt: 28,
    });
    message.attach(viewOf(icmp({ ...V4, type: 5, rest: 0x0a000001 })), 20, 28);
    expect(message.gateway).toBe(0x0a000001);
  });

  it("refuses seven bytes", () => {
    expect(new IcmpView().attach(new DataView(new ArrayBuffer(7)), 0, 7)).toBe(false);
  });

  it("knows the errors of RFC 1122", () => {
    const errors = Array.from({ length: 256 }, (_, type) => type).filter(isIcmpError);
    expect(errors).toEqual([
      IcmpType.destinationUnreachable,
      IcmpType.sourceQuench,
      IcmpType.redirect,
      IcmpType.timeExceeded,
      IcmpType.parameterProblem,
    ]);
  });
});

describe("Icmpv6View", () => {
  it("reads an echo reply", () => {
    const packet = echo({ ...V6, isReply: true, id: 1, seq: 0xffff });
    const message = new Icmpv6View();
    expect(message.attach(viewOf(packet), 40, packet.length)).toBe(true);
    expect(message).toMatchObject({
      type: 129,
      isEcho: true,
      isError: false,
      identifier: 1,
      sequence: 0xffff,
    });
  });

  it("reads packet too big", () => {
    const quoted = udp({ from: "[2001:db8::2]:1", to: "[2001:db8::1]:2" });
    const packet = icmp({ ...V6, type: Icmpv6Type.packetTooBig, rest: 0xffffffff, payload: quoted });
    const message = new Icmpv6View();
    message.attach(viewOf(packet), 40, packet.length);
    expect(message).toMatchObject({ isError: true, isEcho: false, mtu: 0xffffffff, embeddedAt: 48 });
    expect(message.checksum).toBe(viewOf(packet).getUint16(42));
  });

  it("refuses seven bytes", () => {
    expect(new Icmpv6View().attach(new DataView(new ArrayBuffer(7)), 0, 7)).toBe(false);
  });

  it("takes the upper bit for information", () => {
    expect([0, 4, 127, 128, 137, 255].map(isIcmpv6Error)).toEqual([true, true, true, false, false, false]);
  });
});
