import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ChecksumKind, fragment, tcp, udp } from "../../../test/support/packet-builder.ts";
import { checkPacket, validPartial } from "../../../test/support/packet-check.ts";
import { Gso, Packet } from "../../wire/packet.ts";
import { DatagramMerge } from "./datagram-merge.ts";

interface Sent {
  readonly bytes: Uint8Array;
  readonly gso: number;
  readonly gsoBytes: number;
  readonly isChecksumPartial: boolean;
}

/** Feeds packets as the loop does, and keeps what would be written. */
class Line {
  readonly sent: Sent[] = [];
  readonly #packet = new Packet();
  readonly #merge = new DatagramMerge((packet) => this.#keep(packet));

  put(bytes: Uint8Array, isChecksumPartial = true): void {
    this.#packet.load(bytes);
    this.#packet.isChecksumPartial = isChecksumPartial;
    if (!this.#merge.take(this.#packet)) this.#keep(this.#packet);
    this.#packet.bytes.fill(0xee); // the loop uses its packet again
  }

  flush(): Sent[] {
    this.#merge.flush();
    return this.sent;
  }

  #keep(packet: Packet): boolean {
    const { gso, gsoBytes, isChecksumPartial } = packet;
    this.sent.push({ bytes: packet.toBytes().slice(), gso, gsoBytes, isChecksumPartial });
    return true;
  }
}

/** The datagrams a kernel cuts a written packet into: header, and payload in pieces of `gsoBytes`. */
function payloadsOf({ bytes, gso, gsoBytes }: Sent): string[] {
  const headerBytes = (bytes[0]! >> 4 === 4 ? (bytes[0]! & 0xf) * 4 : 40) + 8;
  const payload = Buffer.from(bytes.subarray(headerBytes));
  if (gso === Gso.none) return [payload.toString("hex")];
  const pieces: string[] = [];
  for (let at = 0; at < payload.length; at += gsoBytes)
    pieces.push(payload.subarray(at, at + gsoBytes).toString("hex"));
  return pieces;
}

const flowOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes[0]! >> 4 === 4 ? bytes.subarray(12, 24) : bytes.subarray(8, 44)).toString("hex");

const A = { from: "10.0.0.1:5", to: "10.0.0.2:7", dontFragment: true, checksum: "partial" as ChecksumKind };
const SIX = { from: "[fd00::1]:5", to: "[fd00::2]:7", checksum: "partial" as ChecksumKind };

describe("merging datagrams", () => {
  test.each([A, SIX])("three alike and a shorter one become one super-packet: %o", (fields) => {
    const line = new Line();
    for (const payload of ["one1", "two2", "thr3", "4"]) line.put(udp({ ...fields, payload }));
    expect(line.sent).toHaveLength(1); // sealed by the shorter one, before any flush
    const [superPacket] = line.flush();
    expect(superPacket).toMatchObject({ gso: Gso.udp, gsoBytes: 4, isChecksumPartial: true });
    expect(payloadsOf(superPacket!).map((hex) => Buffer.from(hex, "hex").toString())).toEqual([
      "one1",
      "two2",
      "thr3",
      "4",
    ]);
    checkPacket(superPacket!.bytes, validPartial());
  });

  test("one alone is sent as it came", () => {
    const line = new Line();
    const alone = udp({ ...A, payload: "alone" });
    line.put(alone);
    expect(line.sent).toEqual([]);
    expect(line.flush()).toEqual([{ bytes: alone, gso: Gso.none, gsoBytes: 0, isChecksumPartial: true }]);
  });

  test.each([
    ["a longer payload", udp({ ...A, payload: "longer" })],
    ["another TTL", udp({ ...A, payload: "four", ttl: 9 })],
    ["another TOS", udp({ ...A, payload: "four", tos: 8 })],
    ["another port", udp({ ...A, to: "10.0.0.2:8", payload: "four" })],
    ["another address", udp({ ...A, from: "10.0.0.3:5", payload: "four" })],
  ])("not with %s", (_why, other) => {
    const line = new Line();
    line.put(udp({ ...A, payload: "four" }));
    line.put(other);
    expect(line.flush().map(({ gso }) => gso)).toEqual([Gso.none, Gso.none]);
  });

  test.each([
    ["no payload", udp({ ...A, payload: "" }), true],
    ["leave to fragment", udp({ ...A, dontFragment: false, payload: "four" }), true],
    ["IP options", udp({ ...A, ipOptions: [1, 1, 1, 0], payload: "four" }), true],
    ["a full checksum", udp({ ...A, checksum: "full", payload: "four" }), false],
    ["a fragment", fragment(udp({ ...A, dontFragment: false, payload: "x".repeat(99) }), 60)[0]!, true],
  ])("what cannot be merged goes behind what was before it: %s", (_why, other, isPartial) => {
    const line = new Line();
    line.put(udp({ ...A, payload: "four" }));
    line.put(other, isPartial);
    expect(line.sent.map(({ bytes }) => bytes.length)).toEqual([32, other.length]);
    expect(line.sent[1]).toMatchObject({ bytes: other, gso: Gso.none });
  });

  test("TCP passes by", () => {
    const line = new Line();
    line.put(udp({ ...A, payload: "four" }));
    line.put(tcp({ from: "10.0.0.1:5", to: "10.0.0.2:7", checksum: "partial" }));
    expect(line.sent).toHaveLength(1);
    expect(line.flush()).toHaveLength(2);
  });

  test("a super-packet has at most 64 datagrams", () => {
    const line = new Line();
    for (let i = 0; i < 130; i++) line.put(udp({ ...A, payload: "four" }));
    expect(line.flush().map((one) => payloadsOf(one).length)).toEqual([64, 64, 2]);
  });

  test("any mixture comes out whole, each flow in order, every header right", () => {
    const datagram = fc.record({
      flow: fc.nat(11),
      bytes: fc.constantFrom(0, 1, 4, 4, 4, 4, 18, 18, 1400),
      kind: fc.constantFrom("plain", "plain", "plain", "plain", "fragmentable", "full"),
      flush: fc.nat(20),
    });
    fc.assert(
      fc.property(fc.array(datagram, { maxLength: 200 }), (script) => {
        const line = new Line();
        const wanted = new Map<string, string[]>();
        script.forEach(({ flow, bytes, kind, flush }, index) => {
          const payload = new Uint8Array(bytes).map((_, i) => index * 7 + i);
          const fields = flow % 2 === 0 ? A : SIX;
          const port = fields === A ? `10.0.0.1:${flow + 1}` : `[fd00::1]:${flow + 1}`;
          const checksum = kind === "full" ? "full" : "partial";
          const packet = udp({
            ...fields,
            from: port,
            payload,
            checksum,
            dontFragment: kind !== "fragmentable",
          });
          line.put(packet, kind !== "full");
          const list = wanted.get(flowOf(packet)) ?? [];
          wanted.set(flowOf(packet), [...list, Buffer.from(payload).toString("hex")]);
          if (flush === 0) line.flush();
        });
        const found = new Map<string, string[]>();
        for (const one of line.flush()) {
          if (one.isChecksumPartial) checkPacket(one.bytes, validPartial());
          found.set(flowOf(one.bytes), [...(found.get(flowOf(one.bytes)) ?? []), ...payloadsOf(one)]);
        }
        expect(found).toEqual(wanted);
      }),
      { numRuns: 1500 },
    );
  });
});
