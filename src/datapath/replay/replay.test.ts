/** Running the director over packets of another time: its clock, its two sides, what leaves. */
import { expect, test } from "vitest";
import { bytes, echo, fragment, tcp, udp } from "../../../test/support/packet-builder.ts";
import { checkPacket, from, to, ttl, valid } from "../../../test/support/packet-check.ts";
import { destination, service, testDirector } from "../../../test/support/replayed.ts";
import { Replay, type Side } from "./replay.ts";

const VIP = "202.103.106.5";
const CLIENT = "202.100.1.2:4000";
const SERVER = "172.16.0.2:53";

function replayed(): (side: Side, timestampMs: number, packet: Uint8Array) => ReturnType<Replay["feed"]> {
  const replay = new Replay(testDirector([service("udp", VIP, 53, "rr", destination("172.16.0.2", 53))]));
  return (side, timestampMs, packet) => replay.feed({ side, timestampMs, bytes: packet });
}
const ask = udp({ from: CLIENT, to: `${VIP}:53` });
const answer = udp({ from: SERVER, to: CLIENT });

test("what is for a server leaves on its side, answers on the client's, at the time of the arrival", () => {
  const feed = replayed();
  const start = 1_700_000_000_123;
  const asked = feed("client", start, ask);
  expect([asked.verdict.kind, asked.departures.map((one) => [one.side, one.timestampMs])]).toEqual([
    "to-server",
    [["server", start]],
  ]);
  checkPacket(asked.departures[0]!.bytes, valid(), from(CLIENT), to(SERVER), ttl(63));
  const answered = feed("server", start + 5, answer);
  expect(answered.departures.map((one) => [one.side, one.timestampMs])).toEqual([["client", start + 5]]);
});

test("time comes from the packets: entries run out in it, also across years", () => {
  const feed = replayed();
  feed("client", 1e12, ask);
  expect(feed("server", 1e12 + 299_990, answer).verdict.kind).toBe("to-client");
  expect(feed("server", 1e12 + 2 * 299_990 + 100, answer).verdict.kind).toBe("pass");
  feed("client", 2e12, ask);
  expect(feed("server", 2e12 + 1, answer).verdict.kind).toBe("to-client");
});

test("a capture whose clock goes back does not make the director's go back", () => {
  const feed = replayed();
  feed("client", 1e12, ask);
  expect(feed("server", 1e12 + 200_000, answer).verdict.kind).toBe("to-client");
  expect(feed("server", 1e12 - 5000, answer).verdict.kind).toBe("to-client");
  expect(feed("server", 1e12 + 499_990, answer).verdict.kind).toBe("to-client");
});

test("replies leave where the question came from, what passes goes where its address is", () => {
  const feed = replayed();
  const sides = (side: Side, packet: Uint8Array) => {
    const { verdict, departures } = feed(side, 0, packet);
    return [verdict.kind, ...departures.map((one) => one.side)];
  };
  expect(sides("client", echo({ from: "202.100.1.2", to: VIP }))).toEqual(["reply", "client"]);
  expect(sides("server", echo({ from: "172.16.0.2", to: VIP }))).toEqual(["reply", "server"]);
  expect(sides("client", tcp({ from: CLIENT, to: "172.16.0.2:22", flags: "S" }))).toEqual(["pass", "server"]);
  expect(sides("server", tcp({ from: "172.16.0.2:22", to: CLIENT, flags: "SA" }))).toEqual([
    "pass",
    "client",
  ]);
});

test("a fragmented datagram leaves in fragments, a held piece and a drop leave nothing", () => {
  const feed = replayed();
  const pieces = fragment(udp({ from: CLIENT, to: `${VIP}:53`, payload: bytes(3000) }), 1500, 8);
  const departed = pieces.map((piece) => feed("client", 0, piece).departures.map((one) => one.bytes.length));
  expect(departed).toEqual([[], [], pieces.map(({ length }) => length)]);
  expect(feed("client", 0, ask.slice(0, 20)).departures).toEqual([]);
});

test("what departs is a copy, safe from the next packet", () => {
  const feed = replayed();
  const first = feed("client", 0, ask).departures[0]!.bytes;
  const kept = first.slice();
  feed("server", 1, answer);
  expect(first).toEqual(kept);
});

test("what cannot be an IP packet at all is an error of the caller", () => {
  expect(() => replayed()("client", 0, new Uint8Array(70_000))).toThrow("70000 bytes");
});
