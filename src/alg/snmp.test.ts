/** SNMP's module: which values change, which do not, and lengths that lie. */
import { describe, expect, test } from "vitest";
import { describeModule } from "../../test/contract/application-module.ts";
import { udp } from "../../test/support/packet-builder.ts";
import { checkPacket, payload, valid } from "../../test/support/packet-check.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import type { Place } from "../../test/support/story.ts";
import { snmp } from "./snmp.ts";

const VIP = "202.103.106.5";
const CLIENT = "202.100.1.2";
const SERVER = "172.16.0.3";

// BER, the plain way: everything as characters of a byte

type Bytes = string;
const ber = (tag: number, value: Bytes, form: "short" | "long" = "short"): Bytes => {
  const { length } = value;
  const size =
    form === "long" || length > 127
      ? String.fromCharCode(0x82, length >> 8, length & 0xff)
      : String.fromCharCode(length);
  return String.fromCharCode(tag) + size + value;
};
const sequence = (...parts: Bytes[]): Bytes => ber(0x30, parts.join(""), "long");
const integer = (value: number): Bytes => ber(2, String.fromCharCode(value));
const octets = (text: Bytes): Bytes => ber(4, text);
const words = (address: string): Bytes => String.fromCharCode(...address.split(".").map(Number));
const ipAddress = (address: string): Bytes => ber(0x40, words(address));
/** 1.3.6.1.2.1.4.20.1.1 and an address as index, which stays. */
const object = (address: string): Bytes => ber(6, `\x2b\x06\x01\x02\x01\x04\x14\x01\x01${words(address)}`);
const binding = (value: Bytes, address = SERVER): Bytes => sequence(object(address), value);
const pdu = (tag: number, ...bindings: Bytes[]): Bytes =>
  ber(tag, integer(1) + integer(0) + integer(0) + sequence(...bindings), "long");
const message = (version: number, body: Bytes): Bytes => sequence(integer(version), octets("public"), body);
const trapV1 = (agent: string, ...bindings: Bytes[]): Bytes =>
  ber(
    0xa4,
    object("1.1.1.1") +
      ipAddress(agent) +
      integer(6) +
      integer(1) +
      ber(0x43, "\0\x10") +
      sequence(...bindings),
  );

const RESPONSE = 0xa2;
const response = (...values: Bytes[]): Bytes =>
  message(1, pdu(RESPONSE, ...values.map((one) => binding(one))));

const served = () =>
  new Stage([{ ...service("udp", VIP, 161, "rr", destination(SERVER, 161)), app: "snmp" }]);
const goingOut = () => {
  const stage = new Stage([]);
  stage.apply([], { masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP], apps: ["snmp"] }] });
  return stage;
};
const bytes = (text: Bytes) => Uint8Array.from(text, (one) => one.charCodeAt(0));

/** What the client hears when the server answers so. */
function heard(said: Bytes): Bytes {
  const stage = served();
  stage.send(udp({ from: `${CLIENT}:40000`, to: `${VIP}:161`, payload: bytes(message(1, pdu(0xa0))) }));
  const sent = stage.send(udp({ from: `${SERVER}:161`, to: `${CLIENT}:40000`, payload: bytes(said) }));
  expect(sent.verdict).toBe("to-client");
  checkPacket(sent.bytes, valid());
  return String.fromCharCode(...sent.bytes.subarray(28));
}

describe("an agent behind a virtual address", () => {
  test.each([0, 1])("version %i: its own address in answers, whatever else is there", (version) => {
    const said = (own: string) =>
      message(
        version,
        pdu(
          RESPONSE,
          binding(ipAddress(own)),
          binding(octets("x")),
          binding(ipAddress("10.1.1.1")),
          binding(ipAddress(own)),
        ),
      );
    expect(heard(said(SERVER))).toBe(said(VIP));
  });

  test.each([
    ["version 3", message(3, pdu(RESPONSE, binding(ipAddress(SERVER))))],
    ["in an octet string, or an object identifier", response(octets(words(SERVER)), object(SERVER))],
    ["of another type", response(ber(0x41, words(SERVER)))],
    ["in what asks", message(1, pdu(0xa0, binding(ipAddress(SERVER))))],
    [
      "a value that is longer than its binding",
      message(1, pdu(RESPONSE, ber(0x30, object(SERVER) + ipAddress(SERVER).slice(0, -1)))),
    ],
    ["an address of five bytes", response(ber(0x40, `${words(SERVER)}\0`))],
    ["a length beyond the datagram", response(ipAddress(SERVER)).replace("\x30\x82", "\x30\x84")],
    ["a length of unknown end", `\x30\x80${response(ipAddress(SERVER)).slice(4)}`],
    ["nothing at all", ""],
    ["a tag alone", "\x30"],
  ])("stays: %s", (_, said) => {
    expect(heard(said)).toBe(said);
  });

  test("of more addresses than can be remembered the first hundred", () => {
    const said = (own: string, count: number) =>
      response(...Array.from({ length: 120 }, (_, i) => ipAddress(i < count ? own : SERVER)));
    expect(heard(said(SERVER, 120))).toBe(said(VIP, 100));
  });
});

describe("an agent that goes out through a masquerade rule", () => {
  test.each([
    [
      "a trap of version 1: agent-addr too",
      (own: string) => message(0, trapV1(own, binding(ipAddress(own)))),
    ],
    ["a trap of version 2c", (own: string) => message(1, pdu(0xa7, binding(ipAddress(own))))],
    ["an inform", (own: string) => message(1, pdu(0xa6, binding(ipAddress(own))))],
  ])("%s", (_, said) => {
    const sent = goingOut().send(
      udp({ from: `${SERVER}:40000`, to: `${CLIENT}:162`, payload: bytes(said(SERVER)) }),
    );
    checkPacket(sent.bytes, valid(), payload(bytes(said(VIP))));
  });
});

const table = (own: string): Bytes =>
  response(ipAddress(own), ipAddress("127.0.0.1"), octets("eth0"), ipAddress(own));
const PLACES: readonly Place[] = [
  {
    name: "an agent behind the director",
    transport: "udp",
    stage: served,
    outside: [`${CLIENT}:34000`, `${VIP}:161`],
    inside: [`${CLIENT}:34000`, `${SERVER}:161`],
    said: [
      ["client", message(1, pdu(0xa1, binding(ber(5, ""))))],
      ["server", table(SERVER), table(VIP)],
      ["client", message(0, pdu(0xa1, binding(ber(5, ""))))],
      [
        "server",
        message(0, pdu(RESPONSE, binding(ipAddress(SERVER)))),
        message(0, pdu(RESPONSE, binding(ipAddress(VIP)))),
      ],
    ],
  },
  {
    name: "an agent that goes out",
    transport: "udp",
    stage: goingOut,
    outside: [`${SERVER}:34000`, `${CLIENT}:162`],
    inside: [`${VIP}:34000`, `${CLIENT}:162`],
    said: [["client", message(0, trapV1(SERVER)), message(0, trapV1(VIP))]],
  },
];
describeModule(snmp, { places: PLACES });
