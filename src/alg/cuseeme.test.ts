/** CU-SeeMe through a whole director: the header of every datagram, the list of who takes part, the second port. */
import { describe, expect, test } from "vitest";
import { udp } from "../../test/support/packet-builder.ts";
import {
  CLIENT_PORT,
  hex,
  INSIDE,
  OUTSIDE,
  POOL,
  SERVER,
  SITUATIONS,
  STRANGER,
  TwoSides,
  VIRTUAL,
} from "../../test/support/two-sides.ts";
import { parseAddress } from "../wire/address.ts";

const PORT = 7648;
const OPEN_CONTINUE = 101;
const TALK = 257;

interface Datagram {
  readonly to: string;
  readonly from: string;
  readonly fromPort?: number;
  readonly type?: number;
  /** Addresses of who takes part, and how many it says they are. */
  readonly parties?: readonly string[];
  readonly count?: number;
}

function datagram({
  to,
  from,
  fromPort = PORT,
  type = TALK,
  parties = [],
  count = parties.length,
}: Datagram): Uint8Array {
  const isOpening = type === OPEN_CONTINUE;
  const bytes = new Uint8Array(isOpening ? 56 + 12 * parties.length : 40);
  const view = new DataView(bytes.buffer);
  const address = (at: number, text: string) => view.setInt32(at, parseAddress(text)!.words[0]!);
  view.setUint16(0, 2);
  view.setUint16(2, PORT);
  address(4, to);
  view.setUint16(8, 2);
  view.setUint16(10, fromPort);
  address(12, from);
  view.setUint16(22, type);
  view.setUint16(24, bytes.length);
  if (!isOpening) return bytes;
  view.setUint16(26, count);
  bytes.set(hex('"Alice"'), 32);
  for (const [index, party] of parties.entries()) address(56 + 12 * index, party);
  return bytes;
}

describe("a reflector behind a virtual address", () => {
  const say = (it: TwoSides, side: "client" | "server", fields: Datagram) => it.say(side, datagram(fields));

  test("is told its own address, and says the virtual one", () => {
    const it = new TwoSides("virtual", "cuseeme", "udp", PORT, { clientPort: PORT });
    expect(say(it, "client", { to: VIRTUAL, from: OUTSIDE })).toEqual(
      datagram({ to: SERVER, from: OUTSIDE }),
    );
    expect(say(it, "server", { to: OUTSIDE, from: SERVER })).toEqual(
      datagram({ to: OUTSIDE, from: VIRTUAL }),
    );
  });

  test("is in its list as the virtual address, the others as they are", () => {
    const it = new TwoSides("virtual", "cuseeme", "udp", PORT, { clientPort: PORT });
    say(it, "client", { to: VIRTUAL, from: OUTSIDE, type: OPEN_CONTINUE });
    const list = (...parties: string[]) => ({ to: OUTSIDE, type: OPEN_CONTINUE, parties });
    expect(say(it, "server", { from: SERVER, ...list(STRANGER, SERVER, "0.0.0.0", SERVER) })).toEqual(
      datagram({ from: VIRTUAL, ...list(STRANGER, VIRTUAL, "0.0.0.0", VIRTUAL) }),
    );
  });

  test("on another port: the header's ports too", () => {
    const it = new TwoSides("virtual", "cuseeme", "udp", PORT, { clientPort: PORT, virtualPort: 17_648 });
    say(it, "client", { to: VIRTUAL, from: OUTSIDE });
    expect(say(it, "server", { to: OUTSIDE, from: SERVER })).toEqual(
      datagram({ to: OUTSIDE, from: VIRTUAL, fromPort: 17_648 }),
    );
  });

  test("the next port leads to the same reflector, and back", () => {
    const it = new TwoSides("virtual", "cuseeme", "udp", PORT, { clientPort: PORT });
    say(it, "client", { to: VIRTUAL, from: OUTSIDE });
    expect(it.first(`${OUTSIDE}:7649`, `${VIRTUAL}:7649`)).toBe(`${OUTSIDE}:7649 ${SERVER}:7649`);
    expect(it.first(`${SERVER}:7650`, `${OUTSIDE}:7649`)).toBe(`${VIRTUAL}:7650 ${OUTSIDE}:7649`);
    expect(it.first(`${STRANGER}:7649`, `${VIRTUAL}:7649`)).toBe("reply");
  });

  test("what is said on the next port has the same header", () => {
    const it = new TwoSides("virtual", "cuseeme", "udp", PORT, { clientPort: PORT });
    say(it, "client", { to: VIRTUAL, from: OUTSIDE });
    const payload = datagram({ to: OUTSIDE, from: SERVER });
    const { bytes } = it.stage.send(udp({ from: `${SERVER}:7649`, to: `${OUTSIDE}:7649`, payload }));
    expect(bytes.subarray(28)).toEqual(datagram({ to: OUTSIDE, from: VIRTUAL }));
  });
});

test("full NAT: each is told its own address and sees what is shown of the other", () => {
  const it = new TwoSides("full NAT", "cuseeme", "udp", PORT, { clientPort: PORT });
  expect(it.say("client", datagram({ to: VIRTUAL, from: OUTSIDE }))).toEqual(
    datagram({ to: SERVER, from: POOL }),
  );
  const list = { type: OPEN_CONTINUE, parties: [POOL, SERVER, STRANGER] };
  expect(it.say("server", datagram({ to: POOL, from: SERVER, ...list }))).toEqual(
    datagram({ to: OUTSIDE, from: VIRTUAL, ...list, parties: [OUTSIDE, VIRTUAL, STRANGER] }),
  );
});

test("a party behind a masquerade rule", () => {
  const it = new TwoSides("masquerade", "cuseeme", "udp", PORT, { clientPort: PORT });
  expect(it.say("client", datagram({ to: OUTSIDE, from: INSIDE }))).toEqual(
    datagram({ to: OUTSIDE, from: VIRTUAL }),
  );
  const list = { type: OPEN_CONTINUE, parties: [VIRTUAL, OUTSIDE] };
  expect(it.say("server", datagram({ to: VIRTUAL, from: OUTSIDE, ...list }))).toEqual(
    datagram({ to: INSIDE, from: OUTSIDE, ...list, parties: [INSIDE, OUTSIDE] }),
  );
  expect(it.first(`${OUTSIDE}:7649`, `${VIRTUAL}:7649`)).toBe(`${OUTSIDE}:7649 ${INSIDE}:7649`);
});

describe.each(SITUATIONS)("%s: nothing is changed in", (situation) => {
  const local = situation === "masquerade" ? INSIDE : OUTSIDE;
  test.each([
    ["a datagram without a whole header", datagram({ to: local, from: SERVER }).subarray(0, 25)],
    ["addresses of others", datagram({ to: STRANGER, from: STRANGER })],
    [
      "addresses that are not set",
      datagram({ to: "0.0.0.0", from: "0.0.0.0", type: OPEN_CONTINUE, parties: ["0.0.0.0"] }),
    ],
    [
      "a list that lies about its length",
      datagram({ to: STRANGER, from: STRANGER, type: OPEN_CONTINUE, parties: [STRANGER], count: 65_535 }),
    ],
  ])("%s", (_, bytes) => {
    const it = new TwoSides(situation, "cuseeme", "udp", PORT, { clientPort: CLIENT_PORT });
    expect(it.say("client", bytes)).toEqual(bytes);
    expect(it.say("server", bytes)).toEqual(bytes);
    expect(it.counters).toMatchObject({ rewritten: 0, failed: 0 });
  });
});
