/** VDOLive through a whole director: two messages with the same port, in whatever segments. */
import { describe, expect, test } from "vitest";
import { hex, INSIDE, OUTSIDE, SERVER, TwoSides, VIRTUAL } from "../../test/support/two-sides.ts";

const VDO = 7000;
const u16 = (number: number): string => number.toString(16).padStart(4, "0");
const first = (port: number): Uint8Array =>
  hex(`00000024 00000006 00000001 00000002 00000003 00000004 "VDO Live" 0000 ${u16(port)}`);
const second = (port: number): Uint8Array => hex(`00000014 00000001 "VDO Live" 0000 ${u16(port)}`);
const both = (port: number): Uint8Array =>
  Uint8Array.from([
    ...first(port),
    ...hex('"something that nobody knows"'),
    ...second(port),
    ...hex('"the rest"'),
  ]);

describe("a server behind a virtual address", () => {
  test("its stream comes from the virtual address", () => {
    const it = new TwoSides("virtual", "vdolive", "tcp", VDO);
    expect(it.say("client", first(15_000))).toEqual(first(15_000));
    expect(it.say("client", second(15_000))).toEqual(second(15_000));
    expect(it.first(`${SERVER}:2000`, `${OUTSIDE}:15000`)).toBe(`${VIRTUAL}:2000 ${OUTSIDE}:15000`);
    expect(it.counters).toMatchObject({ announced: 1, rewritten: 0 });
  });

  test("every byte passes on at once", () => {
    const it = new TwoSides("virtual", "vdolive", "tcp", VDO);
    for (const byte of both(15_000))
      expect(it.say("client", Uint8Array.of(byte))).toEqual(Uint8Array.of(byte));
    expect(it.counters.announced).toBe(1);
  });
});

describe("a player behind a masquerade rule", () => {
  const taken = () => {
    const it = new TwoSides("masquerade", "vdolive", "tcp", VDO);
    it.stage.director.addService({
      protocol: "udp",
      address: VIRTUAL,
      port: 15_000,
      scheduler: "rr",
      destinations: [],
    });
    return it;
  };

  test("both messages name the port that is shown", () => {
    const it = taken();
    const heard = it.say("client", both(15_000));
    const port = new DataView(heard.buffer, heard.byteOffset).getUint16(34);
    expect(port).not.toBe(15_000);
    expect(heard).toEqual(both(port));
    expect(it.first(`${OUTSIDE}:2000`, `${VIRTUAL}:${port}`)).toBe(`${OUTSIDE}:2000 ${INSIDE}:15000`);
    expect(it.counters).toMatchObject({ announced: 1, rewritten: 2 });
  });

  test("what is no message is passed on unread, up to 4096 bytes, and then everything is", () => {
    const it = taken();
    const noise = new Uint8Array(1400).fill(0x41);
    const heard = it.say("client", first(15_000));
    for (let k = 0; k < 3; k++) expect(it.say("client", noise)).toEqual(noise);
    expect(it.say("client", second(15_000))).toEqual(second(15_000));
    expect(it.counters.rewritten).toBe(1);
    expect(heard).not.toEqual(first(15_000));
  });

  test("messages cut anywhere are waited for", () => {
    const message = Uint8Array.from([...first(15_000), ...second(15_000)]);
    for (let cut = 1; cut < message.length; cut++) {
      const it = taken();
      const heard = [
        ...it.say("client", message.subarray(0, cut)),
        ...it.say("client", message.subarray(cut)),
      ];
      const port = heard[34]! * 256 + heard[35]!;
      expect(port).not.toBe(15_000);
      expect(heard).toEqual([...first(port), ...second(port)]);
    }
  });

  test("a third message is nobody's", () => {
    const it = taken();
    it.say("client", both(15_000));
    expect(it.say("client", second(15_001))).toEqual(second(15_001));
  });
});

test.each([
  ["a port beyond all ports", hex('00000014 00000001 "VDO Live" 0001 3a98')],
  ["port 0", second(0)],
  ["a low port", second(80)],
  [
    "a message in a form that a web page had sent",
    Uint8Array.from([...hex('"POST / HTTP/1.1" 0d0a0d0a'), ...both(15_000)]),
  ],
  ["another marker", hex('00000014 00000001 "VDO Lave" 0000 3a98')],
])("nothing is opened by %s", (_, said) => {
  const it = new TwoSides("virtual", "vdolive", "tcp", VDO);
  it.say("client", said);
  it.say("server", second(15_000));
  expect(it.counters.announced).toBe(0);
});
