/** Reading a packet once: what is found, what is refused, at every length. */
import { describe, expect, test } from "vitest";
import { bytes, echo, fragment, ip, sctp, tcp, udp } from "../../test/support/packet-builder.ts";
import { formatAddress } from "./address.ts";
import { Flow } from "./flow.ts";
import { Packet } from "./packet.ts";

const FROM4 = "202.100.1.2:3456";
const TO4 = "202.103.106.5:65535";
const FROM6 = "[2001:db8:1::2]:3456";
const TO6 = "[2001:db8:5::5]:65535";

function dissect(packetBytes: Uint8Array): { outcome: string; flow: Flow; packet: Packet } {
  const packet = new Packet();
  packet.load(packetBytes);
  const flow = new Flow();
  return { outcome: flow.dissect(packet), flow, packet };
}
const outcomeOf = (packet: Uint8Array): string => dissect(packet).outcome;
const changed = (packet: Uint8Array, change: (view: DataView) => void): Uint8Array => {
  const copy = packet.slice();
  change(new DataView(copy.buffer));
  return copy;
};

describe.each([
  ["IPv4", 4, FROM4, TO4, 20],
  ["IPv6", 6, FROM6, TO6, 40],
] as const)("%s", (_name, family, from, to, headerBytes) => {
  test.each([
    ["tcp", 6, tcp({ from, to, flags: "SA", payload: bytes(9) }), 0x12, 29],
    ["udp", 17, udp({ from, to, payload: bytes(9) }), 0, 17],
    ["sctp", 132, sctp({ from, to, chunks: [{ type: 0 }] }), 0, 16],
  ] as const)(
    "%s: addresses, ports, flags, where the header is",
    (_protocol, protocol, packet, tcpFlags, transportBytes) => {
      const { outcome, flow, packet: loaded } = dissect(packet);
      expect(outcome).toBe("ok");
      expect(flow).toMatchObject({
        family,
        protocol,
        tcpFlags,
        transportBytes,
        sourcePort: 3456,
        destinationPort: 65_535,
      });
      expect(flow).toMatchObject({ hasPorts: true, isFragment: false, transportAt: loaded.at + headerBytes });
      const text = (at: number) => formatAddress(family, flow.words, at);
      expect([text(0), text(4)]).toEqual([from, to].map((end) => end.replace(/^\[|\]?:\d+$/g, "")));
    },
  );

  test("every cut of a packet is refused: no length is too short to be judged", () => {
    for (const packet of [
      tcp({ from, to, payload: bytes(3) }),
      udp({ from, to }),
      sctp({ from, to }),
      ip({}, "::1", "::2", 59, bytes(0)),
    ]) {
      for (let length = 0; length < packet.length; length++)
        expect(outcomeOf(packet.slice(0, length))).toBe("truncated");
    }
  });

  test("a transport header that the packet's own length cuts short is truncated", () => {
    const address = (end: string) => end.replace(/^\[|\]?:\d+$/g, "");
    for (const [protocol, needed] of [
      [6, 20],
      [17, 8],
      [132, 12],
    ] as const) {
      expect(outcomeOf(ip({}, address(from), address(to), protocol, bytes(needed - 1)))).toBe("truncated");
      expect(outcomeOf(ip({}, address(from), address(to), protocol, bytes(needed)))).toBe("ok");
    }
  });

  test("padding behind the packet is cut off", () => {
    const packet = udp({ from, to });
    const { outcome, packet: loaded, flow } = dissect(Uint8Array.from([...packet, ...bytes(20)]));
    expect([outcome, loaded.length, flow.transportBytes]).toEqual(["ok", packet.length, 8]);
  });

  test("one object reads packet after packet without remembering anything", () => {
    const packet = new Packet();
    const flow = new Flow();
    const read = (one: Uint8Array) => {
      packet.load(one);
      expect(flow.dissect(packet)).toBe("ok");
      return { ...flow, words: [...flow.words] };
    };
    const ping = echo({ from: "1.2.3.4", to: "5.6.7.8" });
    const fresh = { ...dissect(ping).flow, words: [...dissect(ping).flow.words] };
    for (const one of [tcp({ from, to }), ...fragment(udp({ from, to, payload: bytes(100) }), 100)]) {
      read(one);
      // What only fragments and IPv6 fill in means nothing for others.
      const { identification: _i, fragmentHeaderAt: _f, nextHeaderAt: _n, ...rest } = read(ping);
      const { identification, fragmentHeaderAt, nextHeaderAt, ...wanted } = fresh;
      expect([identification, fragmentHeaderAt, nextHeaderAt, rest]).toEqual([0, 0, 0, wanted]);
    }
  });

  test("fragments: offset, more, identification; ports in the first alone", () => {
    const pieces = fragment(udp({ from, to, payload: bytes(200) }), headerBytes + 108, 0xbeef).map(
      (piece) => dissect(piece).flow,
    );
    expect(pieces.map((flow) => flow.isFragment)).toEqual(pieces.map(() => true));
    const step = family === 4 ? 104 : 96;
    const wanted = pieces.map((_, index) => [index * step, index < pieces.length - 1, index === 0]);
    expect(pieces.map((flow) => [flow.fragmentOffset, flow.hasMoreFragments, flow.hasPorts])).toEqual(wanted);
    expect(pieces.map((flow) => flow.identification)).toEqual(pieces.map(() => 0xbeef));
  });

  test("reverse exchanges both ends, twice is nothing", () => {
    const { flow } = dissect(udp({ from, to }));
    const before = { ...flow, words: [...flow.words] };
    flow.reverse();
    expect([flow.sourcePort, flow.destinationPort]).toEqual([65_535, 3456]);
    expect([...flow.words]).toEqual([...before.words.slice(4), ...before.words.slice(0, 4)]);
    flow.reverse();
    expect({ ...flow, words: [...flow.words] }).toEqual(before);
  });

  test("quotations may end anywhere behind the ports", () => {
    const quoted = tcp({ from, to, payload: bytes(20) });
    const view = new DataView(quoted.buffer);
    const outcomes = Array.from({ length: quoted.length + 1 }, (_, length) => {
      const flow = new Flow();
      return [flow.dissectQuoted(view, 0, length), flow.hasPorts] as const;
    });
    expect(outcomes.findIndex(([outcome]) => outcome === "ok")).toBe(headerBytes + 4);
    expect(outcomes.slice(headerBytes + 4).every(([outcome, hasPorts]) => outcome === "ok" && hasPorts)).toBe(
      true,
    );
  });
});

describe("IPv4 headers that contradict themselves", () => {
  const packet = tcp({ from: FROM4, to: TO4 });
  test.each([
    ["version 0", (view: DataView) => view.setUint8(0, 0x05), "malformed"],
    ["version 5", (view: DataView) => view.setUint8(0, 0x55), "malformed"],
    ["version 15", (view: DataView) => view.setUint8(0, 0xf5), "malformed"],
    ["header length 16", (view: DataView) => view.setUint8(0, 0x44), "malformed"],
    ["total length below the header", (view: DataView) => view.setUint16(2, 19), "malformed"],
    ["total length beyond the packet", (view: DataView) => view.setUint16(2, 41), "truncated"],
    ["header checksum", (view: DataView) => view.setUint16(10, view.getUint16(10) ^ 1), "bad-checksum"],
    ["header checksum over options", (view: DataView) => view.setUint8(0, 0x46), "bad-checksum"],
  ])("%s", (_what, change, wanted) => {
    expect(outcomeOf(changed(packet, change))).toBe(wanted);
  });
});

describe("IPv6 extension headers", () => {
  const hop = { header: 0, body: [0, 0, 0, 0, 0, 0, 0] };
  const options = { header: 60, body: [0, 0, 0, 0, 0, 0, 0] };
  const make = (extensions: { header: number; body: number[] }[]) =>
    udp({ from: FROM6, to: TO6, extensions });

  test("up to eight are read through, nine are too many", () => {
    expect(dissect(make([hop, ...Array(7).fill(options)]))).toMatchObject({
      outcome: "ok",
      flow: { protocol: 17, destinationPort: 65_535 },
    });
    expect(outcomeOf(make([hop, ...Array(8).fill(options)]))).toBe("malformed");
  });

  test("a routing header with segments left is refused, a used-up one read through", () => {
    expect(outcomeOf(make([{ header: 43, body: [0, 0, 1, 0, 0, 0, 0] }]))).toBe("malformed");
    expect(outcomeOf(make([{ header: 43, body: [0, 0, 0, 0, 0, 0, 0] }]))).toBe("ok");
  });

  test("a header longer than the packet is truncated, a fragment of a fragment malformed", () => {
    expect(outcomeOf(make([{ header: 60, body: [9, 0, 0, 0, 0, 0, 0] }]))).toBe("truncated");
    const piece = { header: 44, body: [0, 0, 1, 0, 0, 0, 1] };
    expect(outcomeOf(make([piece, piece]))).toBe("malformed");
  });

  test("AH, ESP, mobility and no next header are protocols of their own: nothing behind them is read", () => {
    for (const protocol of [50, 51, 59, 135]) {
      const { outcome, flow } = dissect(ip({}, "2001:db8:1::2", "2001:db8:5::5", protocol, bytes(40)));
      expect([outcome, flow.protocol, flow.hasPorts]).toEqual(["ok", protocol, false]);
    }
  });
});
