/** NetBIOS's module: names and datagrams, both situations, and lengths that lie. */
import { describe, expect, test } from "vitest";
import { describeModule } from "../../test/contract/application-module.ts";
import { udp } from "../../test/support/packet-builder.ts";
import { checkPacket, valid } from "../../test/support/packet-check.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import type { Place } from "../../test/support/story.ts";
import { netbios } from "./netbios.ts";

const VIP = "202.103.106.5";
const CLIENT = "202.100.1.2";
const SERVER = "172.16.0.3";

const of16 = (...values: number[]): string =>
  values.map((one) => String.fromCharCode(one >> 8, one & 0xff)).join("");
const words = (address: string): string => String.fromCharCode(...address.split(".").map(Number));
/** RFC 1001 section 14.1: each half of a byte a letter, in one label. */
const NAME = ` ${"EFFDEBFCFGEFFCCACACACACACACACACA"}\0`;
const POINTER = "\xc0\x0c";
const header = (questions: number, answers: number, additional = 0) =>
  of16(4711, 0x8500, questions, answers, 0, additional);
const question = NAME + of16(0x20, 1);
const record = (data: string, { name = NAME, type = 0x20, length = data.length } = {}) =>
  name + of16(type, 1, 0, 300, length) + data;
const entries = (...addresses: string[]) => addresses.map((one) => of16(0x6000) + words(one)).join("");

const query = header(1, 0) + question;
const answer = (...addresses: string[]) => header(0, 1) + record(entries(...addresses));
const registration = (address: string) =>
  header(1, 0, 1) + question + record(entries(address), { name: POINTER });
const datagram = (type: number, address: string, port: number) =>
  `${String.fromCharCode(type)}\x0a\x12\x34${words(address)}${of16(port, 200, 0)}${NAME}${NAME}rest`;

const served =
  (port: number, virtualPort = port) =>
  () =>
    new Stage([{ ...service("udp", VIP, virtualPort, "rr", destination(SERVER, port)), app: "netbios" }]);
const goingOut = () => {
  const stage = new Stage([]);
  stage.apply([], { masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP], apps: ["netbios"] }] });
  return stage;
};
const bytes = (text: string) => Uint8Array.from(text, (one) => one.charCodeAt(0));

/** What the client hears when the server answers so. */
function heard(said: string, port = 137, virtualPort = port): string {
  const stage = served(port, virtualPort)();
  stage.send(udp({ from: `${CLIENT}:${port}`, to: `${VIP}:${virtualPort}`, payload: bytes(query) }));
  const sent = stage.send(udp({ from: `${SERVER}:${port}`, to: `${CLIENT}:${port}`, payload: bytes(said) }));
  checkPacket(sent.bytes, valid());
  return String.fromCharCode(...sent.bytes.subarray(28));
}

describe("names", () => {
  test("a server's own addresses in NB and A records, among others", () => {
    expect(heard(answer(SERVER, "10.0.0.1", SERVER))).toBe(answer(VIP, "10.0.0.1", VIP));
    const a = (address: string) =>
      header(1, 2) +
      question +
      record(words(address), { type: 1, name: POINTER }) +
      record(words("1.2.3.4"), { type: 1 });
    expect(heard(a(SERVER))).toBe(a(VIP));
  });

  test.each([
    ["another type", header(0, 1) + record(entries(SERVER), { type: 0x21 })],
    ["data beyond the end", header(0, 1) + record(entries(SERVER), { length: 60 })],
    ["data shorter than an entry", header(0, 1) + record(entries(SERVER), { length: 5 })],
    ["a name without an end", `${header(0, 1)} EFFD`],
    ["a label of a kind that there is not", header(0, 1) + record(entries(SERVER), { name: "\x80a\0" })],
    ["more records than there are", header(65_535, 65_535, 65_535)],
    ["behind questions that are not there", header(65_535, 1) + record(entries(SERVER))],
    ["half a header", query.slice(0, 7)],
    ["nothing", ""],
  ])("stays: %s", (_, said) => {
    expect(heard(said)).toBe(said);
  });

  test("a record with more entries than can be remembered: the first hundred", () => {
    const list = (own: string, count: number) =>
      answer(...Array.from({ length: 110 }, (_, i) => (i < count ? own : SERVER)));
    expect(heard(list(SERVER, 110))).toBe(list(VIP, 100));
  });
});

describe("datagrams", () => {
  test.each([0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16])("type %i: where it comes from", (type) => {
    expect(heard(datagram(type, SERVER, 138), 138)).toBe(datagram(type, VIP, 138));
    expect(heard(datagram(type, SERVER, 138), 138, 1138)).toBe(datagram(type, VIP, 1138));
  });

  test.each([
    ["another host's", datagram(0x11, "172.16.0.9", 138)],
    ["of another type", datagram(0x17, SERVER, 138)],
    ["its beginning", datagram(0x11, SERVER, 138).slice(0, 7)],
    ["nothing", ""],
  ])("stays: %s", (_, said) => {
    expect(heard(said, 138)).toBe(said);
  });
});

const PLACES: readonly Place[] = [
  {
    name: "a name server behind the director",
    transport: "udp",
    stage: served(137),
    outside: [`${CLIENT}:137`, `${VIP}:137`],
    inside: [`${CLIENT}:137`, `${SERVER}:137`],
    said: [
      ["client", query],
      ["server", answer(SERVER), answer(VIP)],
      // Who registers the virtual address means the server.
      ["client", registration(VIP), registration(SERVER)],
    ],
  },
  {
    name: "datagrams",
    transport: "udp",
    stage: served(138, 1138),
    outside: [`${CLIENT}:138`, `${VIP}:1138`],
    inside: [`${CLIENT}:138`, `${SERVER}:138`],
    said: [
      ["client", datagram(0x11, CLIENT, 138)],
      ["server", datagram(0x10, SERVER, 138), datagram(0x10, VIP, 1138)],
    ],
  },
  {
    name: "a host that registers with a server outside",
    transport: "udp",
    stage: goingOut,
    outside: [`${SERVER}:1137`, `${CLIENT}:137`],
    inside: [`${VIP}:1137`, `${CLIENT}:137`],
    said: [
      ["client", registration(SERVER), registration(VIP)],
      ["server", answer(VIP), answer(SERVER)],
    ],
  },
];
describeModule(netbios, { places: PLACES });
