/** Reassembly as the director uses it: a fragment in, "held" or the whole packet out. */
import { describe, expect, test } from "vitest";
import { bytes, fragment, ip, sctp, tcp, udp } from "../../test/support/packet-builder.ts";
import { checkPacket, from, payload, to, valid } from "../../test/support/packet-check.ts";
import { expectBytes } from "../../test/support/same-bytes.ts";
import { KeyedHash } from "../base/keyed-hash.ts";
import { seededRandom } from "../base/seeded-random.ts";
import { Flow } from "../wire/flow.ts";
import { Packet } from "../wire/packet.ts";
import { Reassembly } from "./reassembly.ts";

const FROM4 = "202.100.1.2:4000";
const TO4 = "202.103.106.5:53";
const FROM6 = "[2001:db8:1::2]:4000";
const TO6 = "[2001:db8:5::5]:53";
const MEMORY = 1 << 20;
const DATA = bytes(1 << 17);

class Rig {
  readonly reassembly: Reassembly;
  readonly packet = new Packet();
  readonly #flow = new Flow();

  constructor(memoryBytes = MEMORY, timeoutMs = 30_000) {
    this.reassembly = new Reassembly(memoryBytes, timeoutMs, new KeyedHash(1, 2));
  }

  /** @returns the outcome, or "whole" if the packet is none of the reassembly's business. */
  give(piece: Uint8Array, nowMs = 0): string {
    this.packet.load(piece);
    const dissection = this.#flow.dissect(this.packet);
    if (dissection !== "ok") return dissection;
    return this.#flow.isFragment ? this.reassembly.accept(this.packet, this.#flow, nowMs) : "whole";
  }

  giveAll(pieces: readonly Uint8Array[], nowMs = 0): string {
    return pieces.map((piece) => this.give(piece, nowMs)).join(" ");
  }

  get whole(): Uint8Array {
    return this.packet.toBytes().slice();
  }
}

/** A piece of a datagram by hand: `offset` in bytes. */
function piece4(offset: number, length: number, more: boolean, id = 7): Uint8Array {
  const packet = ip(
    { identification: id },
    "202.100.1.2",
    "202.103.106.5",
    17,
    DATA.subarray(offset, offset + length),
  );
  return patched(packet, (view) => view.setUint16(6, (more ? 0x2000 : 0) | (offset >> 3)));
}

function patched(packet: Uint8Array, patch: (view: DataView) => void): Uint8Array {
  const view = new DataView(packet.buffer);
  patch(view);
  view.setUint16(10, 0);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += view.getUint16(at);
  view.setUint16(10, 0xffff - (sum % 0xffff || 0xffff));
  return packet;
}

function piece6(offset: number, body: readonly number[], more: boolean, next = 17, id = 7): Uint8Array {
  const header = [0, ...[(offset >> 8) & 255, (offset & 0xf8) | (more ? 1 : 0)], 0, 0, 0, id];
  const fields = { extensions: [{ header: 44, body: header }] };
  return ip(fields, "2001:db8:1::2", "2001:db8:5::5", next, Uint8Array.from(body));
}

/** Everything but the identification is the original's again. */
function sameDatagram(made: Uint8Array, wanted: Uint8Array): void {
  checkPacket(made, valid());
  const [one, other] = [made, wanted].map((packet) => {
    const copy = packet.slice();
    if (copy[0]! >> 4 === 4) copy.fill(0, 4, 6).fill(0, 10, 12);
    return copy;
  });
  expectBytes(one, other!);
}

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const copy = [...list];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = random() % (i + 1);
    [copy[i], copy[j]] = [copy[j]!, copy[i]!];
  }
  return copy;
}

describe.each([
  ["IPv4", FROM4, TO4],
  ["IPv6", FROM6, TO6],
])("%s", (_family, source, destination) => {
  const datagram = udp({ from: source, to: destination, payload: bytes(4000) });

  test("a packet that is no fragment is left alone", () => {
    expect(new Rig().give(datagram)).toBe("whole");
  });

  test("fragments in order, backwards and in 200 other orders make the datagram", () => {
    const random = seededRandom(1);
    const pieces = fragment(datagram, 1280, 99);
    const orders = [
      pieces,
      pieces.toReversed(),
      ...Array.from({ length: 200 }, () => shuffled(pieces, random)),
    ];
    const rig = new Rig();
    for (const order of orders) {
      expect(rig.giveAll(order)).toBe("held held held complete");
      sameDatagram(rig.whole, datagram);
      expect(rig.packet.fragmentBytesMax).toBe(Math.max(...pieces.map(({ length }) => length)));
      expect(rig.packet.fragmentIdentification).toBe(99);
    }
    expect(rig.reassembly.waitingCount).toBe(0);
  });

  test("repeated fragments change nothing", () => {
    const [a, b, c, d] = fragment(datagram, 1280, 1) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    const rig = new Rig();
    expect(rig.giveAll([b, b, d, a, d, b, a, c])).toBe("held held held held held held held complete");
    sameDatagram(rig.whole, datagram);
    // One more afterwards begins a new datagram, which nothing will complete.
    expect(rig.give(c)).toBe("held");
    expect(rig.reassembly.waitingCount).toBe(1);
  });

  test("the largest datagram in the smallest usual pieces", () => {
    const largest = udp({
      from: source,
      to: destination,
      payload: bytes(65_535 - (source === FROM4 ? 20 : 0) - 8),
    });
    for (const size of [576, 1280, 1500, 9000, 60_000]) {
      if (source === FROM6 && size < 1280) continue;
      const rig = new Rig();
      const outcomes = rig.giveAll(shuffled(fragment(largest, size, 3), seededRandom(size))).split(" ");
      expect(outcomes.pop()).toBe("complete");
      expect(new Set(outcomes)).toEqual(new Set(["held"]));
      sameDatagram(rig.whole, largest);
    }
  });

  test("datagrams that differ in one field of the key do not mix", () => {
    const others = [
      datagram,
      udp({ from: source.replace(/2(?=\]?:)/, "3"), to: destination, payload: bytes(4000) }),
      udp({ from: source, to: destination.replace(/5(?=\]?:)/, "6"), payload: bytes(4000) }),
    ];
    const rig = new Rig();
    const halves = others.flatMap((one) => [1, 2].map((id) => fragment(one, 2500, id)));
    if (source === FROM4)
      halves.push(fragment(tcp({ from: source, to: destination, payload: bytes(4000) }), 2500, 1));
    for (const [first] of halves) expect(rig.give(first!)).toBe("held");
    expect(rig.reassembly.waitingCount).toBe(halves.length);
    for (const [, second] of halves) expect(rig.give(second!)).toBe("complete");
    expect(rig.reassembly.waitingCount).toBe(0);
  });

  test("a datagram waits its time and no longer", () => {
    const [a, b] = fragment(datagram, 2500, 1) as [Uint8Array, Uint8Array];
    const rig = new Rig();
    expect(rig.give(a, 1000)).toBe("held");
    rig.reassembly.advance(30_999);
    expect(rig.reassembly.waitingCount).toBe(1);
    expect(rig.reassembly.advance(31_000)).toBe(1);
    expect(rig.reassembly.waitingCount).toBe(0);
    expect(rig.give(b, 31_000)).toBe("held");
  });
});

describe("contradictions give the whole datagram up", () => {
  test.each([
    ["overlap at the front", [piece4(0, 16, true), piece4(8, 16, false)]],
    ["overlap at the back", [piece4(8, 16, false), piece4(0, 16, true)]],
    ["one inside another", [piece4(0, 64, true), piece4(16, 16, true)]],
    ["one around another", [piece4(16, 16, true), piece4(0, 64, true)]],
    ["the same place, another length", [piece4(8, 16, true), piece4(8, 24, true)]],
    ["two ends", [piece4(16, 16, false), piece4(32, 16, false)]],
    ["an end before data that is here", [piece4(32, 16, true), piece4(16, 8, false)]],
    ["data behind the end", [piece4(16, 16, false), piece4(32, 16, true)]],
  ])("%s", (_what, pieces) => {
    const rig = new Rig();
    expect(rig.giveAll(pieces)).toBe("held bad-fragment");
    expect(rig.reassembly.waitingCount).toBe(0);
  });
});

describe("lying fragments are refused alone", () => {
  test.each([
    ["empty", piece4(8, 0, false)],
    ["not a multiple of eight with more to come", piece4(0, 12, true)],
    ["beyond 65535 bytes", piece4(65_528, 8, false)],
    ["far beyond 65535 bytes", piece4(65_528, 1400, false)],
    ["IPv6, empty", piece6(8, [], false)],
    ["IPv6, not a multiple of eight with more to come", piece6(0, [1, 2, 3], true)],
    ["IPv6, beyond 65535 bytes", piece6(65_528, Array(16).fill(1), false)],
  ])("%s", (_what, piece) => {
    const rig = new Rig();
    expect(rig.give(piece)).toBe("bad-fragment");
    expect(rig.reassembly.waitingCount).toBe(0);
  });

  test("a datagram that fits only without its header is refused when it completes", () => {
    // 65535 bytes of data and 20 of header: the total length would not fit into its 16 bits.
    const pieces = Array.from({ length: 8 }, (_, i) => piece4(i * 8192, i === 7 ? 8191 : 8192, i < 7));
    expect(new Rig().giveAll(pieces)).toBe("held held held held held held held bad-fragment");
  });

  test("more fragments than a datagram may have give it up", () => {
    const rig = new Rig();
    const outcomes = Array.from({ length: 129 }, (_, i) => rig.give(piece4(i * 16, 8, true)));
    expect(outcomes.indexOf("bad-fragment")).toBe(128);
    expect(rig.reassembly.waitingCount).toBe(0);
  });
});

describe("headers", () => {
  test("IPv4 options of the first fragment are the datagram's", () => {
    const whole = udp({ from: FROM4, to: TO4, payload: bytes(64), ipOptions: [1, 1, 1, 0] });
    const [header, data] = [whole.slice(0, 24), whole.slice(24)];
    const cut = (offset: number, part: Uint8Array, more: boolean): Uint8Array => {
      const packet = Uint8Array.from([...header, ...part]);
      const view = new DataView(packet.buffer);
      view.setUint16(2, packet.length);
      view.setUint16(6, (more ? 0x2000 : 0) | (offset >> 3));
      view.setUint16(10, 0);
      let sum = 0;
      for (let at = 0; at < 24; at += 2) sum += view.getUint16(at);
      view.setUint16(10, 0xffff - (sum % 0xffff || 0xffff));
      return packet;
    };
    const rig = new Rig();
    expect(rig.giveAll([cut(40, data.slice(40), false), cut(0, data.slice(0, 40), true)])).toBe(
      "held complete",
    );
    sameDatagram(rig.whole, whole);
  });

  test("don't fragment survives", () => {
    const pieces = fragment(udp({ from: FROM4, to: TO4, payload: bytes(100) }), 76).map((piece) =>
      patched(piece, (view) => view.setUint16(6, view.getUint16(6) | 0x4000)),
    );
    const rig = new Rig();
    expect(rig.giveAll(pieces)).toMatch(/complete$/);
    expect(rig.packet.view.getUint16(rig.packet.at + 6)).toBe(0x4000);
  });

  test("IPv6 extension headers in front of the fragment header stay", () => {
    const hopByHop = { header: 0, body: [0, 1, 4, 0, 0, 0, 0] };
    const whole = udp({ from: FROM6, to: TO6, payload: bytes(40), extensions: [hopByHop] });
    const data = whole.slice(48);
    const cut = (offset: number, part: Uint8Array, more: boolean): Uint8Array =>
      ip(
        {
          extensions: [
            hopByHop,
            { header: 44, body: [0, offset >> 8, (offset & 0xf8) | (more ? 1 : 0), 0, 0, 0, 5] },
          ],
        },
        "2001:db8:1::2",
        "2001:db8:5::5",
        17,
        part,
      );
    const rig = new Rig();
    expect(rig.giveAll([cut(24, data.slice(24), false), cut(0, data.slice(0, 24), true)])).toBe(
      "held complete",
    );
    expect(rig.whole).toEqual(whole);
  });

  test("IPv6 extension headers behind the fragment header belong to what is cut", () => {
    // RFC 8200 section 4.5: destination options before the upper layer are in the fragmentable part.
    const options = { header: 60, body: [1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] };
    const whole = udp({ from: FROM6, to: TO6, payload: bytes(40), extensions: [options] });
    const data = [...whole.slice(40)];
    const pieces = [piece6(0, data.slice(0, 32), true, 60), piece6(32, data.slice(32), false, 60)];
    for (const order of [pieces, pieces.toReversed()]) {
      const rig = new Rig();
      expect(rig.giveAll(order)).toBe("held complete");
      expect(rig.whole).toEqual(whole);
      checkPacket(rig.whole, valid(), from(FROM6), to(TO6), payload(bytes(40)));
    }
  });

  test("an IPv6 atomic fragment loses its header at once, and waits for nobody (RFC 6946)", () => {
    const whole = sctp({ from: FROM6, to: TO6 });
    const rig = new Rig();
    expect(rig.give(piece6(0, [...whole.slice(40, 48)], true, 132))).toBe("held");
    expect(rig.give(piece6(0, [...whole.slice(40)], false, 132))).toBe("complete");
    expect(rig.whole).toEqual(whole);
    expect(rig.packet.fragmentBytesMax).toBe(0);
    expect(rig.reassembly.waitingCount).toBe(1);
  });

  test("a first fragment with more header than is kept is refused", () => {
    const huge = { header: 60, body: [30, ...Array<number>(246).fill(0)] };
    const body = [0, 0, 1, 0, 0, 0, 9];
    const packet = ip(
      { extensions: [huge, { header: 44, body }] },
      "2001:db8:1::2",
      "2001:db8:5::5",
      17,
      bytes(8),
    );
    expect(new Rig().give(packet)).toBe("bad-fragment");
  });
});

describe("memory", () => {
  test("a flood pushes out the oldest, and a datagram completed at once gets through it", () => {
    const rig = new Rig(1 << 17);
    for (let i = 0; i < 5000; i++) {
      const outcome = rig.give(piece4(8 * (i % 100), 1400, true, i & 0xffff), i);
      expect(outcome).toBe("held");
      if (i % 100 !== 0) continue;
      const datagram = udp({ from: FROM6, to: TO6, payload: bytes(3000) });
      expect(rig.giveAll(fragment(datagram, 1280, i), i)).toBe("held held complete");
      sameDatagram(rig.whole, datagram);
    }
    // 64 blocks of 2 KiB: no more than 32 datagrams wait.
    expect(rig.reassembly.waitingCount).toBeLessThanOrEqual(32);
    expect(rig.reassembly.evictedCount).toBeGreaterThan(4900);
  });

  test("all memory comes back: after a flood has timed out the largest datagram fits again", () => {
    const rig = new Rig(1 << 17);
    const random = seededRandom(9);
    for (let i = 0; i < 20_000; i++) {
      const length = 8 * (1 + (random() % 300));
      rig.give(piece4(8 * (random() % 1000), length, random() % 4 !== 0, random() % 90), i);
      if (random() % 50 === 0) rig.reassembly.advance(i);
    }
    rig.reassembly.advance(20_000 + 30_000);
    expect(rig.reassembly.waitingCount).toBe(0);
    const largest = udp({ from: FROM4, to: TO4, payload: bytes(65_507) });
    for (let round = 0; round < 3; round++) {
      expect(rig.giveAll(fragment(largest, 1500, round).toReversed())).toMatch(/^(held )+complete$/);
      sameDatagram(rig.whole, largest);
    }
  });

  test("a datagram larger than all the memory is given up as such", () => {
    // 32 blocks of 2 KiB, one for each piece: the 33rd has no room even when nobody else waits.
    const rig = new Rig(1);
    const outcomes = Array.from({ length: 33 }, (_, i) => rig.give(piece4(i * 8, 8, true)));
    expect(outcomes.indexOf("fragments-full")).toBe(32);
    expect(rig.reassembly.waitingCount).toBe(0);
    expect(rig.giveAll(fragment(udp({ from: FROM4, to: TO4, payload: bytes(4000) }), 1500))).toMatch(
      /complete$/,
    );
  });
});

test("the deadline survives the wrap of 32-bit milliseconds", () => {
  const rig = new Rig();
  const start = 2 ** 31 - 5000;
  rig.give(piece4(0, 8, true), start);
  rig.reassembly.advance(start + 29_999);
  expect(rig.reassembly.waitingCount).toBe(1);
  rig.reassembly.advance(start + 30_000);
  expect(rig.reassembly.waitingCount).toBe(0);
});
