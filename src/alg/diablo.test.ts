/** Diablo through a whole director: the server's and the players' UDP, and the list of games. */
import { describe, expect, test } from "vitest";
import { hex, INSIDE, OUTSIDE, SERVER, STRANGER, TwoSides, VIRTUAL } from "../../test/support/two-sides.ts";
import { parseAddress } from "../wire/address.ts";

const PORT = 6112;

/** SID_GETADVLISTEX: a game for each address and port. */
function games(...hosts: readonly (readonly [address: string, port: number])[]): Uint8Array {
  const records = hosts.map(([address, port], index) => {
    const record = new Uint8Array(32);
    const view = new DataView(record.buffer);
    view.setUint16(8, 2, true);
    view.setUint16(10, port);
    view.setInt32(12, parseAddress(address)!.words[0]!);
    return [...record, ...hex(`"game ${index}" 00 00 "1 statistics" 00`)];
  });
  const body = records.flat();
  const head = new Uint8Array(8);
  const view = new DataView(head.buffer);
  head.set([0xff, 0x09]);
  view.setUint16(2, 8 + body.length, true);
  view.setUint32(4, hosts.length, true);
  return Uint8Array.from([...head, ...body]);
}
const LOGIN = hex("01 ff500c00 00000000 4c545244");
const PING = hex("ff250800 12345678");

describe("a server behind a virtual address", () => {
  test("UDP of its clients comes to the same server, and its own from the virtual address", () => {
    const it = new TwoSides("virtual", "diablo", "tcp", PORT);
    expect(it.say("client", LOGIN)).toEqual(LOGIN);
    expect(it.first(`${SERVER}:6112`, `${OUTSIDE}:6112`)).toBe(`${VIRTUAL}:6112 ${OUTSIDE}:6112`);
    expect(it.first(`${OUTSIDE}:50000`, `${VIRTUAL}:6112`)).toBe(`${OUTSIDE}:50000 ${SERVER}:6112`);
    expect(it.first(`${STRANGER}:6112`, `${VIRTUAL}:6112`)).toBe("reply");
    it.close();
    expect(it.first(`${OUTSIDE}:50001`, `${VIRTUAL}:6112`)).toBe("reply");
  });

  test("games of others stay as they are, one on the server itself is at the virtual address", () => {
    const it = new TwoSides("virtual", "diablo", "tcp", PORT);
    expect(it.say("server", PING)).toEqual(PING);
    const list = games([STRANGER, PORT], [SERVER, PORT], [OUTSIDE, PORT]);
    expect(it.say("server", list)).toEqual(games([STRANGER, PORT], [VIRTUAL, PORT], [OUTSIDE, PORT]));
  });
});

describe("a player behind a masquerade rule", () => {
  test("anyone may join its game as long as it is logged in", () => {
    const it = new TwoSides("masquerade", "diablo", "tcp", PORT);
    it.say("client", LOGIN);
    expect(it.first(`${STRANGER}:6112`, `${VIRTUAL}:6112`)).toBe(`${STRANGER}:6112 ${INSIDE}:6112`);
    expect(it.first(`${OUTSIDE}:6112`, `${VIRTUAL}:6112`)).toBe(`${OUTSIDE}:6112 ${INSIDE}:6112`);
    expect(it.first(`${STRANGER}:6112`, `${VIRTUAL}:6113`)).toBe("reply");
    it.close();
    expect(it.first("203.0.113.67:6112", `${VIRTUAL}:6112`)).toBe("reply");
  });

  test("its own game in the list is at its own address", () => {
    const it = new TwoSides("masquerade", "diablo", "tcp", PORT);
    it.say("client", LOGIN);
    const list = games([STRANGER, PORT], [VIRTUAL, PORT]);
    expect(it.say("server", list)).toEqual(games([STRANGER, PORT], [INSIDE, PORT]));
    const message = games([VIRTUAL, PORT]);
    const heard = [...message].flatMap((byte) => [...it.say("server", Uint8Array.of(byte))]);
    expect(heard).toEqual([...games([INSIDE, PORT])]);
  });

  test("another port where that one is taken, and the list's port with it", () => {
    const it = new TwoSides("masquerade", "diablo", "tcp", PORT);
    it.stage.director.addService({
      protocol: "udp",
      address: VIRTUAL,
      port: PORT,
      scheduler: "rr",
      destinations: [],
    });
    it.say("client", LOGIN);
    const { port } = it.stage.connections().find(({ protocol }) => protocol === "udp")!.source!;
    expect(port).not.toBe(PORT);
    expect(it.first(`${STRANGER}:6112`, `${VIRTUAL}:${port}`)).toBe(`${STRANGER}:6112 ${INSIDE}:6112`);
    expect(it.say("server", games([VIRTUAL, port], [STRANGER, PORT]))).toEqual(
      games([INSIDE, PORT], [STRANGER, PORT]),
    );
  });

  test("nobody may come before it logs in, nor to a browser that a web page sent there", () => {
    const it = new TwoSides("masquerade", "diablo", "tcp", PORT);
    expect(it.first(`${STRANGER}:6112`, `${VIRTUAL}:6112`)).toBe("reply");
    it.say("client", hex('"POST / HTTP/1.1" 0d0a0d0a 01ff0950'));
    expect(it.first(`${STRANGER}:6112`, `${VIRTUAL}:6112`)).toBe("reply");
  });
});

test.each([
  [
    "a list that says it has more games",
    Uint8Array.from(games([SERVER, PORT]), (byte, at) => (at === 5 ? 0xff : byte)),
  ],
  ["a list cut short", hex("ff090c00 01000000 00000000")],
  ["a message without a length", hex("ff090300 ff090000")],
  ["something else", hex('"HTTP/1.0 200 OK" 0d0a0d0a')],
])("%s does no harm", (_, said) => {
  const it = new TwoSides("virtual", "diablo", "tcp", PORT);
  it.say("client", LOGIN);
  it.say("server", said);
  expect(it.counters).toMatchObject({ failed: 0, announced: 2 });
});
