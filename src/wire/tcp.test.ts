import { describe, expect, it } from "vitest";
import { tcp } from "../../test/support/packet-builder.ts";
import { TcpFlag, TcpView } from "./tcp.ts";

const IP = 20;
const PACKET = tcp({
  from: "1.2.3.4:3456",
  to: "5.6.7.8:80",
  flags: "SAE",
  seq: 0xfffffffe,
  ack: 0x80000000,
  window: 0xfaf0,
  urgentPointer: 3,
  options: [2, 4, 5, 180],
  payload: "hi",
});
const view = new DataView(PACKET.buffer);

describe("TcpView", () => {
  it("reads every field", () => {
    const segment = new TcpView();
    expect(segment.attach(view, IP, PACKET.length)).toBe(true);
    expect(segment).toMatchObject({
      sourcePort: 3456,
      destinationPort: 80,
      sequence: 0xfffffffe,
      acknowledgment: 0x80000000,
      headerLengthBytes: 24,
      flags: TcpFlag.syn | TcpFlag.ack | TcpFlag.ece,
      window: 0xfaf0,
      checksum: view.getUint16(IP + 16),
      urgentPointer: 3,
      optionsAt: IP + 20,
      payloadAt: IP + 24,
    });
  });

  it.each([
    ["19 bytes", 19, 6],
    ["options cut", 23, 6],
    ["a header length of 16", 40, 4],
    ["a header length of 0", 40, 0],
  ])("refuses %s", (_, bytes, words) => {
    const packet = new DataView(PACKET.with(IP + 12, words << 4).buffer);
    expect(new TcpView().attach(packet, IP, Math.min(IP + bytes, PACKET.length))).toBe(false);
  });

  it("accepts a header that ends where the bytes end", () => {
    expect(new TcpView().attach(view, IP, IP + 24)).toBe(true);
  });
});
