/** Cutting packets: the pieces against the test builder's, and put together again by the reassembly. */
import { describe, expect, test } from "vitest";
import { bytes, fragment, icmp, tcp, udp } from "../../test/support/packet-builder.ts";
import { expectPackets } from "../../test/support/same-bytes.ts";
import { KeyedHash } from "../base/keyed-hash.ts";
import { Reassembly } from "../nat/reassembly.ts";
import { Flow } from "./flow.ts";
import { Fragmenter } from "./fragment.ts";
import { Packet } from "./packet.ts";

function cut(packetBytes: Uint8Array, maxBytes: number, identification = 1): Uint8Array[] | undefined {
  const packet = new Packet();
  const piece = new Packet();
  packet.load(packetBytes);
  packet.fragmentIdentification = identification;
  const fragmenter = new Fragmenter();
  if (!fragmenter.start(packet, maxBytes)) return undefined;
  const pieces: Uint8Array[] = [];
  while (fragmenter.next(piece)) pieces.push(piece.toBytes().slice());
  return pieces;
}

describe.each([
  ["IPv4", "202.100.1.2:4000", "202.103.106.5:53", 28],
  ["IPv6", "[2001:db8:1::2]:4000", "[2001:db8:5::5]:53", 56],
])("%s", (_name, from, to, smallestMax) => {
  test.each([smallestMax, 100, 576, 1280, 1281, 1287, 1500, 9000])(
    "pieces of at most %i bytes are where they belong, and none is larger",
    (maxBytes) => {
      for (const payloadBytes of [0, 1, 8, 500, 1472, 3000]) {
        const packet = udp({ from, to, payload: bytes(payloadBytes), identification: 77 });
        const pieces = cut(packet, maxBytes, 77)!;
        expectPackets(pieces, fragment(packet, maxBytes, 77));
        expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(maxBytes);
      }
    },
  );

  test("the last piece need not be a multiple of eight: what fits whole is not cut further, as in Linux", () => {
    const packet = udp({ from, to, payload: bytes(15) });
    expect(cut(packet, smallestMax + 7)!.map(({ length }) => length - smallestMax)).toEqual([0, 7]);
  });

  test("without room for eight bytes nothing is cut, nor is a fragment or a broken packet", () => {
    const packet = udp({ from, to, payload: bytes(100) });
    expect(cut(packet, smallestMax - 1)).toBeUndefined();
    expect(cut(fragment(packet, 100)[0]!, 70)).toBeUndefined();
    expect(cut(packet.slice(0, 50), 70)).toBeUndefined();
  });

  test("what was cut is put together to the same packet, headers in between included", () => {
    const ipOptions = [1, 1, 1, 1];
    const extensions = [{ header: 0, body: [0, 1, 4, 0, 0, 0, 0] }];
    for (const size of [200, 1280, 1500]) {
      const whole = tcp({
        from,
        to,
        payload: bytes(4000),
        ipOptions,
        extensions,
        dontFragment: true,
        identification: 5,
      });
      const reassembly = new Reassembly(1 << 20, 1000, new KeyedHash(1, 2));
      const packet = new Packet();
      const flow = new Flow();
      const outcomes = cut(whole, size, 5)!.map((piece) => {
        packet.load(piece);
        expect(flow.dissect(packet)).toBe("ok");
        return reassembly.accept(packet, flow, 0);
      });
      expect(outcomes.at(-1)).toBe("complete");
      expect(Buffer.compare(packet.toBytes(), whole)).toBe(0);
    }
  });
});

test("an ICMP message can be cut as well", () => {
  const packet = icmp({ from: "1.2.3.4", to: "5.6.7.8", type: 0, payload: bytes(3000) });
  expectPackets(cut(packet, 1500)!, fragment(packet, 1500));
});
