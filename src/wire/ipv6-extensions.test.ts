import { describe, expect, it } from "vitest";
import { fragment, type IpFields, tcp, udp } from "../../test/support/packet-builder.ts";
import { EXTENSION_HEADERS_MAX, Ipv6Extensions } from "./ipv6-extensions.ts";

type Extension = NonNullable<IpFields["extensions"]>[number];
const HOP_BY_HOP: Extension = { header: 0, body: [0, 5, 2, 0, 0, 1, 0] };
const DESTINATION: Extension = { header: 60, body: [0, 1, 4, 0, 0, 0, 0] };
const ROUTING_DONE: Extension = { header: 43, body: [2, 4, 0, 0, 0, 0, 0, ...new Array<number>(16).fill(9)] };
const ROUTING_LEFT: Extension = { header: 43, body: ROUTING_DONE.body.with(2, 1) };
/** Payload length 4: (4 + 2) * 4 = 24 bytes, not a count of eight-byte units like the others. */
const AUTHENTICATION: Extension = { header: 51, body: [4, 0, 0, ...new Array<number>(20).fill(7)] };
const FRAGMENT: Extension = { header: 44, body: [0, 0, 1, 0, 0, 0, 42] };

const built = (...extensions: Extension[]): Uint8Array =>
  tcp({ from: "[::1]:1", to: "[::2]:2", flags: "S", extensions });
const walk = (packet: Uint8Array, end = packet.length): [string, Ipv6Extensions] => {
  const chain = new Ipv6Extensions();
  return [chain.walk(new DataView(packet.buffer, packet.byteOffset), 6, 40, end), chain];
};

describe("Ipv6Extensions", () => {
  it.each([
    ["none", [], 40, 6],
    ["hop-by-hop", [HOP_BY_HOP], 48, 40],
    ["routing without segments left", [ROUTING_DONE], 64, 40],
    ["authentication", [AUTHENTICATION], 64, 40],
    ["all of them", [HOP_BY_HOP, DESTINATION, ROUTING_DONE, AUTHENTICATION, DESTINATION], 112, 104],
  ])("finds TCP behind %s", (_, extensions, upperAt, upperNextHeaderAt) => {
    const [outcome, chain] = walk(built(...extensions));
    expect(outcome).toBe("ok");
    expect(chain).toMatchObject({ protocol: 6, upperAt, upperNextHeaderAt, fragmentHeaderAt: -1 });
    expect(chain.hasSegmentsLeft).toBe(false);
  });

  it("tells that segments are left", () => {
    const [outcome, chain] = walk(built(ROUTING_LEFT));
    expect([outcome, chain.hasSegmentsLeft]).toEqual(["ok", true]);
  });

  it("reads a first fragment and goes on behind its header", () => {
    const [outcome, chain] = walk(built(HOP_BY_HOP, FRAGMENT, DESTINATION));
    expect(outcome).toBe("ok");
    expect(chain).toMatchObject({
      protocol: 6,
      upperAt: 64,
      fragmentHeaderAt: 48,
      fragmentNextHeaderAt: 40,
      fragmentOffsetBytes: 0,
      hasMoreFragments: true,
      identification: 42,
    });
  });

  it("stops behind a later fragment's header, whatever it announces", () => {
    const later = fragment(
      udp({ from: "[::1]:1", to: "[::2]:2", payload: new Uint8Array(100) }),
      100,
      -1 >>> 0,
    )[1]!;
    later[40] = 60;
    const [outcome, chain] = walk(later);
    expect(outcome).toBe("ok");
    expect(chain).toMatchObject({
      protocol: 60,
      upperAt: 48,
      fragmentOffsetBytes: 48,
      hasMoreFragments: true,
      identification: 0xffffffff,
    });
  });

  it("leaves ESP and unknown protocols to others", () => {
    const packet = built();
    for (const protocol of [50, 59, 135, 255]) {
      const [outcome, chain] = walk(packet.with(6, protocol));
      expect([outcome, chain.protocol, chain.upperAt]).toEqual(["ok", protocol, 40]);
    }
  });

  it("is truncated wherever a header is cut, and never before or after", () => {
    const packet = built(HOP_BY_HOP, ROUTING_DONE, AUTHENTICATION);
    for (let end = 40; end <= packet.length; end++) {
      expect([end, walk(packet, end)[0]]).toEqual([end, end < 96 ? "truncated" : "ok"]);
    }
  });

  it.each([
    ["as many headers as allowed", EXTENSION_HEADERS_MAX, "ok"],
    ["one more", EXTENSION_HEADERS_MAX + 1, "malformed"],
  ])("%s", (_, count, wanted) => {
    expect(walk(built(...new Array<Extension>(count).fill(DESTINATION)))[0]).toBe(wanted);
  });

  it("refuses a fragment of a fragment", () => {
    expect(walk(built(FRAGMENT, FRAGMENT))[0]).toBe("malformed");
  });

  it("forgets the packet before", () => {
    const chain = new Ipv6Extensions();
    const first = built(ROUTING_LEFT, FRAGMENT);
    chain.walk(new DataView(first.buffer), 6, 40, first.length);
    const second = built();
    chain.walk(new DataView(second.buffer), 6, 40, second.length);
    expect(chain).toEqual(walk(second)[1]);
  });
});
