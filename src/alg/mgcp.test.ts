/** MGCP's module, datagram by datagram through a whole director. */
import { describe, expect, test } from "vitest";
import { describeModule } from "../../test/contract/application-module.ts";
import { census } from "../../test/support/census.ts";
import { Conversation, type ConversationOptions } from "../../test/support/session-conversation.ts";
import { mgcp } from "./mgcp.ts";

const [OUTSIDE, VIP, INSIDE] = ["202.100.1.2", "202.103.106.5", "172.16.0.3"];

const begin = (options: ConversationOptions = {}) =>
  new Conversation("mgcp", { transport: "udp", virtualPort: 2427, clientPort: 2727, ...options });
const message = (lines: readonly string[], body: readonly string[] = []) =>
  `${[...lines, ...(body.length > 0 ? ["", ...body] : [])].join("\r\n")}\r\n`;
const sdp = (host: string, port: number) => ["v=0", `c=IN IP4 ${host}`, "t=0 0", `m=audio ${port} RTP/AVP 0`];
const announced = (call: Conversation) => call.stage.connections().length - 1;

describe("a gateway behind a virtual address", () => {
  test("a connection: the gateway's media are shown, and end with it", () => {
    const call = begin();
    const create = (host: string) =>
      message([`CRCX 1 aaln/1@[${host}] MGCP 1.0`, "C: 1", `N: ca@[${OUTSIDE}]:2727`, "M: recvonly"]);
    expect(call.client(create(VIP))).toBe(create(INSIDE));
    const created = (host: string) =>
      message(["200 1 OK", "I: FDE234C8", `Z: aaln/1@[${host}]`], sdp(host, 3456));
    expect(call.server(created(INSIDE))).toBe(created(VIP));
    // From whatever gateway the other end is on.
    expect(call.datagram("198.51.100.7:1296", `${VIP}:3456`)).toMatchObject({ to: `${INSIDE}:3456` });
    expect(call.datagram(`${OUTSIDE}:1297`, `${VIP}:3457`)).toMatchObject({ to: `${INSIDE}:3457` });
    // Where that is, is nobody's business here.
    const modify = message([`MDCX 2 aaln/1@gw.example MGCP 1.0`, "I: FDE234C8"], sdp("198.51.100.7", 1296));
    expect(call.client(modify)).toBe(modify);
    expect(call.counters.foreign).toBe(0);
    call.client(message(["DLCX 3 aaln/1@gw.example MGCP 1.0", "I: FDE234C8"]));
    expect(call.datagram("198.51.100.8:1298", `${VIP}:3456`)).toBeUndefined();
  });

  test("several messages in a datagram", () => {
    const call = begin();
    const text = (host: string) =>
      `${message(["200 1 OK", "I: 1"], sdp(host, 3456))}.\r\n${message([`NTFY 9 aaln/1@[${host}] MGCP 1.0`, `N: ca@[${OUTSIDE}]`])}`;
    expect(call.server(text(INSIDE))).toBe(text(VIP));
  });
});

describe("behind a masquerade rule", () => {
  test("a gateway says that it is there, and is commanded much later; two descriptions in an answer", () => {
    const call = begin({ situation: "masquerade", clientPort: 2427, serverPort: 2727 });
    const restart = (host: string) => message([`RSIP 1 *@[${host}] MGCP 1.0`, "RM: restart"]);
    expect(call.client(restart(INSIDE))).toBe(restart(VIP));
    call.stage.run(3_500_000);
    expect(call.datagram(`${OUTSIDE}:2727`, `${VIP}:2427`)).toMatchObject({ to: `${INSIDE}:2427` });
    const created = (host: string) =>
      message(["200 1 OK", "I: 1", "I2: 2"], [...sdp(host, 3456), "", ...sdp(host, 3460)]);
    expect(call.client(created(INSIDE))).toBe(created(VIP));
    expect(call.datagram("198.51.100.7:1298", `${VIP}:3460`)).toMatchObject({ to: `${INSIDE}:3460` });
  });

  test("a call agent is told of events where it says, by the module as well", () => {
    const call = begin({ situation: "masquerade", clientPort: 40_000, serverPort: 2427 });
    const command = (host: string) => message(["RQNT 1 aaln/1@gw.example MGCP 1.0", `N: ca@[${host}]:2727`]);
    expect(call.client(command(INSIDE))).toBe(command(VIP));
    expect(call.datagram(`${OUTSIDE}:2427`, `${VIP}:2727`)).toMatchObject({ to: `${INSIDE}:2727` });
  });

  test("IPv6", () => {
    const call = begin({ situation: "masquerade", family: 6, clientPort: 2427, serverPort: 2727 });
    const created = (host: string) =>
      message(
        ["200 1 OK", "I: 1"],
        ["v=0", `o=- 1 1 IN IP6 ${host}`, `c=IN IP6 ${host}`, "m=audio 3456 RTP/AVP 0"],
      );
    expect(call.client(created("fd00:16::3"))).toBe(created("2001:db8:5::5"));
  });
});

describe("attacks", () => {
  test.each([
    ["media of a third host", message(["200 1 OK"], sdp("192.0.2.9", 3456)), "foreign"],
    ["media on a low port", message(["200 1 OK"], sdp(OUTSIDE, 22)), "lowPort"],
    ["events for a low port", message(["RQNT 1 a@b MGCP 1.0", `N: ca@[${OUTSIDE}]:53`]), "lowPort"],
  ] as const)("%s", (_, text, counter) => {
    const call = begin();
    expect(call.client(text)).toBe(text);
    expect([announced(call), call.counters[counter]]).toEqual([0, 1]);
  });

  test.each([
    ["no message", `x\r\n${message(["200 1 OK"], sdp(OUTSIDE, 3456))}`],
    ["a refusal", message(["500 1 No"], sdp(OUTSIDE, 3456))],
    ["a port that wraps", message(["200 1 OK"], sdp(OUTSIDE, 70_000))],
    ["another protocol's command", message(["CRCX 1 a@b HTTP/1.1"], sdp(OUTSIDE, 3456))],
  ])("%s", (_, text) => {
    const call = begin();
    expect(call.client(text)).toBe(text);
    expect(announced(call)).toBe(0);
  });

  test("pairs that overlap: the newer one takes the older one's place", () => {
    const call = begin();
    for (const port of [3457, 3456, 3457]) {
      call.server(message(["200 1 OK", `I: ${port}`], sdp(INSIDE, port)));
      expect(census(call.stage.director)).toEqual([]);
    }
  });

  test("a flood of connections", () => {
    const call = begin();
    for (let port = 10_000; port < 10_400; port += 2)
      call.server(message(["200 1 OK", `I: ${port}`], sdp(INSIDE, port)));
    expect(announced(call)).toBe(64);
  });
});

const created = (host: string) => message(["200 1 OK", "I: 1", `Z: a@[${host}]`], sdp(host, 3456));
const create = (host: string) => message([`CRCX 1 a@[${host}] MGCP 1.0`, "C: 1"]);

describeModule(mgcp, {
  places: [
    Conversation.place(
      "a gateway behind a virtual address",
      "mgcp",
      { transport: "udp", virtualPort: 2427 },
      [
        ["client", create(VIP), create(INSIDE)],
        ["server", created(INSIDE), created(VIP)],
      ],
    ),
    Conversation.place(
      "a gateway going out",
      "mgcp",
      { situation: "masquerade", transport: "udp", clientPort: 2427, serverPort: 2727 },
      [
        ["client", message([`RSIP 1 *@[${INSIDE}] MGCP 1.0`]), message([`RSIP 1 *@[${VIP}] MGCP 1.0`])],
        ["server", create(VIP), create(INSIDE)],
        ["client", created(INSIDE), created(VIP)],
      ],
    ),
  ],
});
