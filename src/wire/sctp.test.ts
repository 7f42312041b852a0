import { describe, expect, it } from "vitest";
import { sctp } from "../../test/support/packet-builder.ts";
import { crc32c } from "./checksum.ts";
import { SCTP_CHECKSUM_AT, SctpChunk, SctpView } from "./sctp.ts";

const IP = 20;
const attach = (bytes: Uint8Array, end = bytes.length): SctpView => {
  const packet = new SctpView();
  expect(packet.attach(new DataView(bytes.buffer), IP, end)).toBe(true);
  return packet;
};
const built = (...chunks: { type: number; value?: number[] }[]): Uint8Array =>
  sctp({ from: "1.2.3.4:36412", to: "5.6.7.8:38412", tag: 0xdeadbeef, chunks });

describe("SctpView", () => {
  it("reads the common header and a checksum that crc32c confirms", () => {
    const bytes = built({ type: SctpChunk.init });
    const packet = attach(bytes);
    expect(packet).toMatchObject({ sourcePort: 36412, destinationPort: 38412, verificationTag: 0xdeadbeef });
    const zeroed = bytes.slice(IP).fill(0, SCTP_CHECKSUM_AT, SCTP_CHECKSUM_AT + 4);
    expect(packet.checksum).toBe(crc32c(zeroed, 0, zeroed.length));
  });

  it("finds the second chunk behind the padding of the first", () => {
    const packet = attach(built({ type: SctpChunk.cookieEcho, value: [1, 2, 3] }, { type: SctpChunk.data }));
    expect([packet.firstChunkType, packet.secondChunkType]).toEqual([10, 0]);
  });

  it.each([
    ["no chunk", built(), -1, -1],
    ["one chunk", built({ type: 1, value: [1] }), 1, -1],
    ["an impossible length", built({ type: 1 }, { type: 2 }).with(IP + 15, 3), 1, -1],
    ["a length beyond the end", built({ type: 1 }, { type: 2 }).with(IP + 14, 1), 1, -1],
  ])("%s", (_, bytes, first, second) => {
    const packet = attach(bytes);
    expect([packet.firstChunkType, packet.secondChunkType]).toEqual([first, second]);
  });

  it("refuses eleven bytes", () => {
    expect(new SctpView().attach(new DataView(new ArrayBuffer(11)), 0, 11)).toBe(false);
  });
});
