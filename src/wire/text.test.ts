import { describe, expect, it } from "vitest";
import { bytes, echo, fragment, gre, icmp, ip, sctp, tcp, udp } from "../../test/support/packet-builder.ts";
import { formatPacket } from "./text.ts";

const V4 = { from: "202.100.1.2:3456", to: "202.103.106.5:80" };
const V6 = { from: "[2001:db8:1::2]:3456", to: "[2001:db8:5::5]:80" };
const PING = { from: "202.100.1.2", to: "202.103.106.5" };
const SYN_OPTIONS = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7];

describe("formatPacket", () => {
  const lines: readonly (readonly [packet: Uint8Array, line: string])[] = [
    [tcp({ ...V4, flags: "S" }), "202.100.1.2:3456 > 202.103.106.5:80 tcp S seq 1 win 65535 len 0 ttl 64"],
    [
      tcp({ ...V6, flags: "SA", ack: 2, options: SYN_OPTIONS, ttl: 63 }),
      "[2001:db8:1::2]:3456 > [2001:db8:5::5]:80 tcp SA seq 1 ack 2 win 65535 len 0 " +
        "<mss 1460,sackOK,ts 1:2,wscale 7> ttl 63",
    ],
    [
      tcp({
        ...V4,
        flags: "PAU",
        urgentPointer: 1,
        payload: "abc",
        options: [5, 10, 0, 0, 0, 1, 0, 0, 0, 9],
      }),
      "202.100.1.2:3456 > 202.103.106.5:80 tcp PAU seq 1 ack 0 win 65535 urg 1 len 3 <sack 1-9> ttl 64",
    ],
    [
      tcp({ ...V4, flags: "", options: [254, 3, 1, 2, 99] }),
      "202.100.1.2:3456 > 202.103.106.5:80 tcp - seq 1 win 65535 len 0 <option 254,malformed> ttl 64",
    ],
    [udp({ ...V4, payload: "abc" }), "202.100.1.2:3456 > 202.103.106.5:80 udp len 3 ttl 64"],
    [
      sctp({ ...V4, tag: 5, chunks: [{ type: 10 }, { type: 77 }] }),
      "202.100.1.2:3456 > 202.103.106.5:80 sctp cookieEcho,chunk 77 tag 5 len 20 ttl 64",
    ],
    [
      gre({ ...PING, callId: 4660, sequence: 1, payload: bytes(9) }),
      "202.100.1.2 > 202.103.106.5 gre call 4660 len 21 ttl 64",
    ],
    [ip({}, PING.from, PING.to, 47, bytes(9)), "202.100.1.2 > 202.103.106.5 gre len 9 ttl 64"],
    [
      echo({ ...PING, id: 7, seq: 3, payload: bytes(56) }),
      "202.100.1.2 > 202.103.106.5 icmp echo request id 7 seq 3 len 56 ttl 64",
    ],
    [
      echo({ from: "2001:db8::1", to: "2001:db8::2", isReply: true }),
      "2001:db8::1 > 2001:db8::2 icmp6 echo reply id 1 seq 1 len 0 ttl 64",
    ],
    [
      icmp({ ...PING, type: 3, code: 4, rest: 1280, payload: tcp({ ...V4 }) }),
      "202.100.1.2 > 202.103.106.5 icmp fragmentation needed mtu 1280 " +
        "[202.100.1.2:3456 > 202.103.106.5:80 tcp] len 40 ttl 64",
    ],
    [
      icmp({ ...PING, type: 3, code: 3, payload: udp({ ...V4, payload: bytes(99) }).subarray(0, 28) }),
      "202.100.1.2 > 202.103.106.5 icmp port unreachable [202.100.1.2:3456 > 202.103.106.5:80 udp] len 28 ttl 64",
    ],
    [
      icmp({ ...PING, type: 5, code: 1, rest: 0x0a000001, payload: Uint8Array.of(0x45, 0, 0) }),
      "202.100.1.2 > 202.103.106.5 icmp redirect host to 10.0.0.1 [malformed ipv4] len 3 ttl 64",
    ],
    [
      icmp({ from: "2001:db8::1", to: "2001:db8::2", type: 2, rest: 1280, payload: udp({ ...V6 }) }),
      "2001:db8::1 > 2001:db8::2 icmp6 packet too big mtu 1280 " +
        "[[2001:db8:1::2]:3456 > [2001:db8:5::5]:80 udp] len 48 ttl 64",
    ],
    [icmp({ ...PING, type: 42, code: 1 }), "202.100.1.2 > 202.103.106.5 icmp type 42 code 1 len 0 ttl 64"],
    [ip({}, "1.2.3.4", "5.6.7.8", 46, bytes(9)), "1.2.3.4 > 5.6.7.8 protocol 46 len 9 ttl 64"],
  ];

  it.each(lines.map(([packet, line]) => [line, packet] as const))("writes %s", (line, packet) => {
    expect(formatPacket(packet)).toBe(line);
  });

  it("tells the pieces of a datagram apart", () => {
    expect(fragment(udp({ ...V4, payload: bytes(100) }), 68, 9).map(formatPacket)).toEqual([
      "202.100.1.2:3456 > 202.103.106.5:80 udp len 40 frag 9:48@0+ ttl 64",
      "202.100.1.2 > 202.103.106.5 udp frag 9:48@48+ ttl 64",
      "202.100.1.2 > 202.103.106.5 udp frag 9:12@96 ttl 64",
    ]);
    expect(formatPacket(fragment(udp({ ...V6, payload: bytes(100) }), 120, 9)[1]!)).toBe(
      "2001:db8:1::2 > 2001:db8:5::5 udp frag 9:36@72 ttl 64",
    );
  });

  it.each([
    ["nothing", new Uint8Array(0), "(empty, 0 bytes)"],
    ["another version", Uint8Array.of(0x50), "(not ip: version 5, 1 byte)"],
    ["half a header", Uint8Array.of(0x45, 0), "(malformed ipv4, 2 bytes)"],
    ["half an IPv6 header", Uint8Array.of(0x60, 0), "(malformed ipv6, 2 bytes)"],
    [
      "a cut TCP header",
      tcp({ ...V4 }).subarray(0, 30),
      "202.100.1.2:3456 > 202.103.106.5:80 tcp (malformed tcp, 10 bytes) ttl 64 (truncated)",
    ],
    [
      "no room for ports",
      udp({ ...V4 }).subarray(0, 22),
      "202.100.1.2 > 202.103.106.5 udp (malformed udp, 2 bytes) ttl 64 (truncated)",
    ],
    [
      "a wrong header checksum",
      udp({ ...V4 }).with(8, 9),
      "202.100.1.2:3456 > 202.103.106.5:80 udp len 0 ttl 9 (bad ip checksum)",
    ],
    [
      "an impossible UDP length",
      udp({ ...V4 }).with(25, 4),
      "202.100.1.2:3456 > 202.103.106.5:80 udp len 0 (udp length 4) ttl 64",
    ],
    [
      "a broken chain of extension headers",
      udp({ ...V6, extensions: [{ header: 0, body: [9, 0, 0, 0, 0, 0, 0] }] }),
      "2001:db8:1::2 > 2001:db8:5::5 protocol 0 len 16 ttl 64 (truncated extension headers)",
    ],
  ])("says what is wrong: %s", (_, packet, wanted) => {
    expect(formatPacket(packet)).toBe(wanted);
  });
});
