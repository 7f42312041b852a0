/** The modules that are tables: every dialogue cut anywhere, over bad networks, and damaged; see ../contract. */
import { cuseeme } from "../../src/alg/cuseeme.ts";
import { diablo } from "../../src/alg/diablo.ts";
import { quake } from "../../src/alg/quake.ts";
import { realaudio } from "../../src/alg/realaudio.ts";
import { vdolive } from "../../src/alg/vdolive.ts";
import { describeModule } from "../contract/application-module.ts";
import { destination, service } from "../support/replayed.ts";
import { Stage } from "../support/stage.ts";
import type { Place } from "../support/story.ts";
import { hex } from "../support/two-sides.ts";

const VIP = "202.103.106.5";
const OUTSIDE = "202.100.1.2";
const SERVER = "172.16.0.3";
const INSIDE = "172.16.0.2";
/** A UDP port of the virtual address that is a service's. */
const TAKEN = 15_000;
/** What it becomes for a client that goes out, as chance of this seed has it. */
const OTHER = 15_977;

const text = (description: string): string => String.fromCharCode(...hex(description));
const u16 = (number: number): string => number.toString(16).padStart(4, "0");
const le32 = (number: number): string => {
  const bytes = [0, 8, 16, 24].map((shift) => (number >> shift) & 255);
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
};
const address = (dotted: string): string =>
  dotted
    .split(".")
    .map((byte) => Number(byte).toString(16).padStart(2, "0"))
    .join("");

type Said = Place["said"];
const busy = service("udp", VIP, TAKEN, "rr", destination("172.16.0.9", 9));

function behind(app: string, transport: "tcp" | "udp", port: number, said: Said): Place {
  return {
    name: "a server behind the director",
    transport,
    stage: () =>
      new Stage([{ ...service(transport, VIP, port, "rr", destination(SERVER, port)), app }, busy]),
    outside: [`${OUTSIDE}:34000`, `${VIP}:${port}`],
    inside: [`${OUTSIDE}:34000`, `${SERVER}:${port}`],
    said,
  };
}

function goingOut(app: string, transport: "tcp" | "udp", port: number, said: Said): Place {
  return {
    name: "a client behind the director",
    transport,
    stage: () => {
      const stage = new Stage([]);
      stage.apply([busy], { masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP], apps: [app] }] });
      return stage;
    },
    outside: [`${INSIDE}:34000`, `${OUTSIDE}:${port}`],
    inside: [`${VIP}:34000`, `${OUTSIDE}:${port}`],
    said,
  };
}

/** IPv6, to a server that sees its clients at an address of the director's. */
function behind6(app: string, port: number, said: Said): Place {
  const config = service("tcp", "2001:db8:5::5", port, "rr", destination("fd00:16::3", port));
  const fullNat = { sources: ["fd00:16::fa"], clients: "all" } as const;
  const taken = service("udp", "2001:db8:5::5", TAKEN, "rr", destination("fd00:16::9", 9));
  return {
    name: "a server of IPv6 behind the director, and full NAT",
    stage: () => new Stage([{ ...config, app, fullNat }, taken]),
    outside: ["[2001:db8:1::2]:34000", `[2001:db8:5::5]:${port}`],
    inside: ["[fd00:16::fa]:34000", `[fd00:16::3]:${port}`],
    said,
  };
}

const PNA_HELLO = (port: number, robust: number): string =>
  text(`"PNA" 000a 0004 0004 01020304 0001 0002 ${u16(port)} 0007 0002 ${u16(robust)} 0000 "clip.ra"`);
const PNA_ANSWER = (robust: number): string => text(`"PNA" 000a 0000 0000 0000 0007 ${u16(robust)} 00000000`);
describeModule(realaudio, {
  places: [
    behind("realaudio", "tcp", 7070, [
      ["client", PNA_HELLO(6970, 6972)],
      ["server", PNA_ANSWER(TAKEN), PNA_ANSWER(TAKEN + 1)],
      ["server", "data and more data"],
    ]),
    behind6("realaudio", 7070, [
      ["client", PNA_HELLO(6970, 6972)],
      ["server", PNA_ANSWER(TAKEN), PNA_ANSWER(TAKEN + 1)],
    ]),
    goingOut("realaudio", "tcp", 7070, [
      ["client", PNA_HELLO(TAKEN, 6972), PNA_HELLO(OTHER, 6972)],
      ["server", PNA_ANSWER(TAKEN)],
    ]),
  ],
});

const VDO_FIRST = (port: number): string =>
  text(`00000024 00000006 00000001 00000002 00000003 00000004 "VDO Live" 0000 ${u16(port)}`);
const VDO_SECOND = (port: number): string => text(`00000014 00000001 "VDO Live" 0000 ${u16(port)}`);
describeModule(vdolive, {
  places: [
    behind("vdolive", "tcp", 7000, [
      ["client", VDO_FIRST(15_001)],
      ["server", "what servers say"],
      ["client", VDO_SECOND(15_001)],
    ]),
    behind6("vdolive", 7000, [
      ["client", VDO_FIRST(15_001)],
      ["client", VDO_SECOND(15_001)],
      ["server", "what servers say"],
    ]),
    goingOut("vdolive", "tcp", 7000, [
      ["client", VDO_FIRST(TAKEN), VDO_FIRST(OTHER)],
      ["server", "what servers say"],
      ["client", VDO_SECOND(TAKEN), VDO_SECOND(OTHER)],
      ["client", "what clients say"],
    ]),
  ],
});

const game = (host: string): string =>
  `0000000000000000 0200 17e0 ${address(host)} ${"00".repeat(16)} "a game" 00 00 "1" 00`;
const games = (...hosts: readonly string[]): string => {
  const body = text(hosts.map(game).join(" "));
  const length = body.length + 8;
  return text(`ff09 ${u16(((length & 255) << 8) | (length >> 8))} ${le32(hosts.length)}`) + body;
};
describeModule(diablo, {
  places: [
    behind("diablo", "tcp", 6112, [
      ["client", text("01 ff500c00 00000000 4c545244")],
      ["server", text("ff250800 12345678")],
      ["server", games("203.0.113.66", SERVER), games("203.0.113.66", VIP)],
    ]),
    goingOut("diablo", "tcp", 6112, [
      ["client", text("01 ff500c00 00000000 4c545244")],
      ["server", games(VIP, "203.0.113.66", VIP), games(INSIDE, "203.0.113.66", INSIDE)],
      ["server", text("ff250800 12345678")],
    ]),
  ],
});

const party = (to: string, from: string, ...parties: readonly string[]): string =>
  text(
    `0002 1de0 ${address(to)} 0002 1de0 ${address(from)} 00000001 0000 0065 0044 ${u16(parties.length)} 00000001 ${"41".repeat(20)} 00000000 ${parties.map((one) => `${address(one)} ${"00".repeat(8)}`).join(" ")}`,
  );
describeModule(cuseeme, {
  places: [
    behind("cuseeme", "udp", 7648, [
      ["client", party(VIP, OUTSIDE), party(SERVER, OUTSIDE)],
      ["server", party(OUTSIDE, SERVER, SERVER, "203.0.113.66"), party(OUTSIDE, VIP, VIP, "203.0.113.66")],
    ]),
    goingOut("cuseeme", "udp", 7648, [
      ["client", party(OUTSIDE, INSIDE), party(OUTSIDE, VIP)],
      ["server", party(VIP, OUTSIDE, VIP), party(INSIDE, OUTSIDE, INSIDE)],
    ]),
  ],
});

const CONNECT = text('8000000c 01 "QUAKE" 00 03');
const accept = (port: number): string => text(`80000009 81 ${le32(port)}`);
const info = (server: string): string =>
  text(`8000 ${u16(server.length + 16)} 83 "${server}" 00 "dm3" 00 "e1" 00 01 04 03`);
describeModule(quake, {
  places: [
    behind("quake", "udp", 26_000, [
      ["client", CONNECT],
      ["server", accept(TAKEN), accept(TAKEN + 1)],
      ["server", info("0.0.0.0:26000"), info(`${VIP}:26000`)],
    ]),
    goingOut("quake", "udp", 26_000, [
      ["client", CONNECT],
      ["server", accept(40_001)],
      ["server", info("0.0.0.0:26000")],
    ]),
  ],
});
