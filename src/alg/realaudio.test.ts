/** RealAudio's PNA through a whole director: the ports in the hello and in its answer, cut anywhere. */
import { describe, expect, test } from "vitest";
import { hex, INSIDE, OUTSIDE, SERVER, STRANGER, TwoSides, VIRTUAL } from "../../test/support/two-sides.ts";

const PNA = 7070;
const u16 = (number: number): string => number.toString(16).padStart(4, "0");
/** Challenge, bandwidth, the ports, the end of the options, then what plays what. */
const hello = (...ports: readonly (readonly [id: number, port: number])[]): Uint8Array =>
  hex(
    `"PNA" 000a 0004 0004 01020304 0005 0004 00000c44 ${ports.map(([id, port]) => `${u16(id)} 0002 ${u16(port)}`).join(" ")} 0000 "Rc" 0007 "clip.ra" "y"`,
  );
const answer = (robust: number): Uint8Array => hex(`"PNA" 000a 0000 0000 0000 0007 ${u16(robust)} 00000000`);

describe("a server behind a virtual address", () => {
  test("its datagrams come from the virtual address, as long as the control connection lives", () => {
    const it = new TwoSides("virtual", "realaudio", "tcp", PNA);
    expect(it.say("client", hello([1, 6970]))).toEqual(hello([1, 6970]));
    expect(it.first(`${SERVER}:31000`, `${OUTSIDE}:6970`)).toBe(`${VIRTUAL}:31000 ${OUTSIDE}:6970`);
    expect(it.first(`${SERVER}:31001`, `${OUTSIDE}:6970`)).toBe(`${VIRTUAL}:31001 ${OUTSIDE}:6970`);
    expect(it.first("172.16.0.9:31000", `${OUTSIDE}:6970`)).not.toContain(VIRTUAL);
    it.close();
    expect(it.first(`${SERVER}:31002`, `${OUTSIDE}:6970`)).not.toContain(VIRTUAL);
  });

  test("what it wants to be asked on again is found there", () => {
    const it = new TwoSides("virtual", "realaudio", "tcp", PNA);
    it.say("client", hello([1, 6970], [7, 6972]));
    expect(it.say("server", answer(32_000))).toEqual(answer(32_000));
    expect(it.first(`${OUTSIDE}:6972`, `${VIRTUAL}:32000`)).toBe(`${OUTSIDE}:6972 ${SERVER}:32000`);
    expect(it.counters).toMatchObject({ announced: 3, rewritten: 0 });
  });

  test("a port that is a service's becomes the next", () => {
    const it = new TwoSides("virtual", "realaudio", "tcp", PNA);
    it.stage.director.addService({
      protocol: "udp",
      address: VIRTUAL,
      port: 32_000,
      scheduler: "rr",
      destinations: [],
    });
    it.say("client", hello([1, 6970], [7, 6972]));
    expect(it.say("server", answer(32_000))).toEqual(answer(32_001));
    expect(it.first(`${OUTSIDE}:6972`, `${VIRTUAL}:32001`)).toBe(`${OUTSIDE}:6972 ${SERVER}:32000`);
  });

  test("a player that asked for nothing but TCP is told what the server says, byte by byte", () => {
    const it = new TwoSides("virtual", "realaudio", "tcp", PNA);
    it.say("client", hello());
    for (const byte of answer(32_000))
      expect(it.say("server", Uint8Array.of(byte))).toEqual(Uint8Array.of(byte));
    expect(it.counters.announced).toBe(0);
  });
});

describe("a player behind a masquerade rule", () => {
  test("its ports are shown, and a port of 0 is none", () => {
    const it = new TwoSides("masquerade", "realaudio", "tcp", PNA);
    it.say("client", hello([1, 6970], [7, 0]));
    expect(it.first(`${OUTSIDE}:31000`, `${VIRTUAL}:6970`)).toBe(`${OUTSIDE}:31000 ${INSIDE}:6970`);
    expect(it.first(`${STRANGER}:31000`, `${VIRTUAL}:6970`)).toBe("reply");
    expect(it.counters.announced).toBe(1);
  });

  test("ports that are taken become others", () => {
    const it = new TwoSides("masquerade", "realaudio", "tcp", PNA);
    it.stage.director.addService({
      protocol: "udp",
      address: VIRTUAL,
      port: 6970,
      scheduler: "rr",
      destinations: [],
    });
    const heard = it.say("client", hello([1, 6970], [7, 6972]));
    const port = new DataView(heard.buffer, heard.byteOffset).getUint16(25);
    expect(port).not.toBe(6970);
    expect(heard).toEqual(hello([1, port], [7, 6972]));
    expect(it.first(`${OUTSIDE}:31000`, `${VIRTUAL}:${port}`)).toBe(`${OUTSIDE}:31000 ${INSIDE}:6970`);
  });

  test("the server's port stays its own", () => {
    const it = new TwoSides("masquerade", "realaudio", "tcp", PNA);
    it.say("client", hello([1, 6970], [7, 6972]));
    expect(it.say("server", answer(32_000))).toEqual(answer(32_000));
  });
});

test.each([
  ["another magic", hex('"PNX" 000a 0001 0002 1b3a 0000')],
  ["a version that nobody knows", hex('"PNA" 0100 0001 0002 1b3a 0000')],
  ["an option that lies about its length", hex('"PNA" 000a 0001 0001 1b 0001 ffff 1b3a 0000')],
  [
    "a request to another server",
    Buffer.from("GET / HTTP/1.0\r\n\r\nPNA\0\x0a\0\x01\0\x02\x1b\x3a\0\0", "latin1"),
  ],
  ["a hello behind a hello", Buffer.concat([hello(), hello([1, 6970])])],
])("nothing is opened by %s", (_, said) => {
  const it = new TwoSides("virtual", "realaudio", "tcp", PNA);
  it.say("client", Uint8Array.from(said));
  expect(it.counters.announced).toBe(0);
});

test("low ports are refused, and a thousand options open four ways", () => {
  const it = new TwoSides("virtual", "realaudio", "tcp", PNA);
  it.say("client", hello([1, 80], ...Array.from({ length: 150 }, (_, i) => [7, 7000 + i] as const)));
  expect(it.counters.lowPort).toBe(1);
  const open = Array.from({ length: 150 }, (_, i) =>
    it.first(`${SERVER}:${9000 + i}`, `${OUTSIDE}:${7000 + i}`),
  );
  expect(open.filter((one) => one.startsWith(VIRTUAL))).toHaveLength(4);
});
