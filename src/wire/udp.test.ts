import { describe, expect, it } from "vitest";
import { udp } from "../../test/support/packet-builder.ts";
import { UdpView } from "./udp.ts";

const IP = 20;
const PACKET = udp({ from: "1.2.3.4:53", to: "5.6.7.8:5353", payload: "hello" });
const view = new DataView(PACKET.buffer);

describe("UdpView", () => {
  it("reads every field", () => {
    const datagram = new UdpView();
    expect(datagram.attach(view, IP, PACKET.length)).toBe(true);
    expect(datagram).toMatchObject({
      sourcePort: 53,
      destinationPort: 5353,
      lengthBytes: 13,
      checksum: view.getUint16(IP + 6),
      payloadAt: IP + 8,
      isComplete: true,
    });
  });

  it("refuses seven bytes, and accepts a cut payload as incomplete", () => {
    const datagram = new UdpView();
    expect(datagram.attach(view, IP, IP + 7)).toBe(false);
    expect(datagram.attach(view, IP, IP + 8)).toBe(true);
    expect(datagram.isComplete).toBe(false);
  });

  it("calls an impossible length incomplete", () => {
    const datagram = new UdpView();
    datagram.attach(new DataView(PACKET.with(IP + 5, 7).buffer), IP, PACKET.length);
    expect(datagram.isComplete).toBe(false);
  });
});
