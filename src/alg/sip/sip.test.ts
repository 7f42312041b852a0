/** SIP's module, message by message through a whole director: what is changed, who may call, where media go, and attacks. */
import { describe, expect, test } from "vitest";
import { describeModule } from "../../../test/contract/application-module.ts";
import { Conversation, type ConversationOptions } from "../../../test/support/session-conversation.ts";
import type { Place } from "../../../test/support/story.ts";
import { sip } from "./sip.ts";

const [CLIENT, VIP, SERVER] = ["202.100.1.2", "202.103.106.5", "172.16.0.3"];

const begin = (options: ConversationOptions = {}) =>
  new Conversation("sip", { transport: "udp", clientPort: 5060, ...options });

/** A message from its lines, with the length of its body. */
function message(lines: readonly string[], body: readonly string[] = []): string {
  const text = body.map((line) => `${line}\r\n`).join("");
  const type = body.length > 0 ? ["Content-Type: application/sdp"] : [];
  return `${[...lines, ...type, `Content-Length: ${text.length}`].join("\r\n")}\r\n\r\n${text}`;
}

const sdp = (address: string, port: number, more: readonly string[] = []): string[] => [
  "v=0",
  `o=- 1 1 IN IP4 ${address}`,
  "s=-",
  `c=IN IP4 ${address}`,
  "t=0 0",
  `m=audio ${port} RTP/AVP 0`,
  ...more,
];

const INVITE = [
  `INVITE sip:bob@${VIP}:5060 SIP/2.0`,
  `Via: SIP/2.0/UDP ${CLIENT}:5060;branch=z9hG4bK1;rport`,
  `From: <sip:alice@${CLIENT}>;tag=a`,
  `To: <sip:bob@${VIP}>`,
  "Call-ID: call-1@host",
  "CSeq: 1 INVITE",
  `Contact: <sip:alice@${CLIENT}:5060>`,
];

/** What a server answers to a call, naming itself at `host`. */
const answer = (host: string, status = "200 OK", method = "INVITE"): string[] => [
  `SIP/2.0 ${status}`,
  `Via: SIP/2.0/UDP ${CLIENT}:5060;branch=z9hG4bK1;rport=5060`,
  `Record-Route: <sip:${host};lr>`,
  `From: <sip:alice@${CLIENT}>;tag=a`,
  `To: <sip:bob@${host}>;tag=b`,
  "Call-ID: call-1@host",
  `CSeq: 1 ${method}`,
  `Contact: "Bob, <sip:x>" <sip:bob@${host}:5060;transport=udp>;expires=60`,
];

describe("a server behind a virtual address", () => {
  test("a call: each reads its own names, media flow both ways, BYE ends them", () => {
    const call = begin();
    const offer = message(INVITE, sdp(CLIENT, 4000));
    const asServer = (text: string) => text.replaceAll(VIP, SERVER);
    expect(call.client(offer)).toBe(asServer(offer));
    const accepted = message(answer(SERVER), sdp(SERVER, 6000));
    expect(call.server(accepted)).toBe(message(answer(VIP), sdp(VIP, 6000)));
    // Whoever is first, RTP and RTCP are one flow each.
    expect(call.datagram(`${SERVER}:6000`, `${CLIENT}:4000`)).toMatchObject({ from: `${VIP}:6000` });
    expect(call.datagram(`${CLIENT}:4000`, `${VIP}:6000`)).toMatchObject({ to: `${SERVER}:6000` });
    expect(call.datagram(`${CLIENT}:4001`, `${VIP}:6001`)).toMatchObject({ to: `${SERVER}:6001` });
    expect(call.datagram(`${SERVER}:6001`, `${CLIENT}:4001`)).toMatchObject({ from: `${VIP}:6001` });
    call.client(message([`BYE sip:bob@${VIP} SIP/2.0`, "Call-ID: call-1@host", "CSeq: 2 BYE"]));
    call.server(message(answer(SERVER, "200 OK", "BYE")));
    expect(call.datagram(`${CLIENT}:4002`, `${VIP}:6000`)).toBeUndefined();
    expect(call.counters).toMatchObject({ foreign: 0, lowPort: 0, failed: 0, noRoom: 0 });
  });

  test("a virtual port that is not the real one", () => {
    const call = begin({ virtualPort: 5070, serverPort: 5060 });
    const heard = call.client(message([`OPTIONS sip:bob@${VIP}:5070 SIP/2.0`, `Route: <sip:${VIP};lr>`]));
    expect(heard).toContain(`OPTIONS sip:bob@${SERVER}:5060 SIP/2.0\r\nRoute: <sip:${VIP};lr>`);
    expect(call.server(message(answer(SERVER)))).toContain(`<sip:bob@${VIP}:5070;transport=udp>`);
    expect(call.server(message(answer(SERVER)))).toContain(`Record-Route: <sip:${VIP}:5070;lr>`);
  });

  test("requests of the server's: its Via is shown, and comes back as its own", () => {
    const call = begin();
    const request = (host: string) =>
      message([
        `NOTIFY sip:alice@${CLIENT} SIP/2.0`,
        `v: SIP/2.0/UDP ${host}:5060;branch=z9hG4bK2;maddr=${host} , SIP/2.0/UDP ${host};received=${host}`,
        `f: <sip:bob@${host}>;tag=b`,
        `m: <sip:bob@${host}>,\r\n <sip:bob@${host}:5060>`,
      ]);
    expect(call.server(request(SERVER))).toBe(request(VIP));
    const reply = (host: string) =>
      message([
        "SIP/2.0 200 OK",
        `Via: SIP/2.0/UDP ${host}:5060;branch=z9hG4bK2;received=${host};rport=5060`,
        `f: <sip:bob@${host}>;tag=b`,
      ]);
    expect(call.client(reply(VIP))).toBe(reply(SERVER));
  });

  test("another port of the server's that it wants to be called at, with the module as well", () => {
    const call = begin();
    const heard = call.server(
      message([
        `INVITE sip:alice@${CLIENT} SIP/2.0`,
        `Via: SIP/2.0/UDP ${SERVER}:5080;branch=x`,
        `Contact: <sip:bob@${SERVER}:5082;transport=tcp>`,
      ]),
    );
    expect(heard).toContain(`Via: SIP/2.0/UDP ${VIP}:5080;`);
    expect(heard).toContain(`<sip:bob@${VIP}:5082;transport=tcp>`);
    expect(call.datagram(`${CLIENT}:5060`, `${VIP}:5080`)).toMatchObject({ to: `${SERVER}:5080` });
    expect(call.opening(`${CLIENT}:30000`, `${VIP}:5082`)).toMatchObject({ to: `${SERVER}:5082` });
    const known = `Via: SIP/2.0/UDP ${VIP}:5080;branch=x`;
    expect(call.client(message(["SIP/2.0 100 Trying", known]))).toContain(`${SERVER}:5080`);
  });

  test("a client that registered is called where it said, from the port it knows the server by", () => {
    const call = begin({ virtualPort: 5070, serverPort: 5060, clientPort: 40_000 });
    call.client(
      message([
        `REGISTER sip:${VIP}:5070 SIP/2.0`,
        `Via: SIP/2.0/UDP ${CLIENT}:5062;rport`,
        "CSeq: 1 REGISTER",
        `Contact: <sip:alice@${CLIENT}:5062>`,
        "Expires: 600",
      ]),
    );
    call.stage.run(550_000);
    const called = call.datagram(`${SERVER}:5060`, `${CLIENT}:5062`);
    expect(called).toEqual({ from: `${VIP}:5070`, to: `${CLIENT}:5062` });
  });
});

describe("a client behind a masquerade rule", () => {
  const out = (options: ConversationOptions = {}) => begin({ situation: "masquerade", ...options });
  const [PHONE, PROXY] = [SERVER, CLIENT];

  const register = (host: string, expires = 600) =>
    message([
      `REGISTER sip:${PROXY} SIP/2.0`,
      `Via: SIP/2.0/UDP ${host}:5060;branch=z9hG4bK1;rport`,
      `From: <sip:alice@${host}>;tag=a`,
      "Call-ID: r@host",
      "CSeq: 1 REGISTER",
      `Contact: <sip:alice@${host}:5060>;expires=${expires}, <sip:other@192.0.2.7>`,
    ]);

  test("a phone registers, and is called as long as that lasts", () => {
    const call = out();
    expect(call.client(register(PHONE))).toBe(register(VIP));
    const registered = (host: string) =>
      message([
        "SIP/2.0 200 OK",
        `Via: SIP/2.0/UDP ${host}:5060;branch=z9hG4bK1;received=${host};rport=5060`,
        "CSeq: 1 REGISTER",
        `Contact: <sip:alice@${host}:5060>;expires=600`,
      ]);
    expect(call.server(registered(VIP))).toBe(registered(PHONE));
    call.stage.run(590_000);
    const invite = (host: string) => message([`INVITE sip:alice@${host}:5060 SIP/2.0`, "CSeq: 9 INVITE"]);
    expect(call.server(invite(VIP))).toBe(invite(PHONE));
    call.stage.run(900_000);
    expect(call.stage.connections()).toEqual([]);
  });

  test("a registration that ended soon, and began again, lasts as long as the later one", () => {
    const call = out();
    call.client(register(PHONE, 0));
    call.client(register(PHONE, 600));
    call.stage.run(590_000);
    expect(call.datagram(`${PROXY}:5060`, `${VIP}:5060`)).toMatchObject({ to: `${PHONE}:5060` });
    call.client(register(PHONE, 0));
    call.stage.run(400_000);
    expect(call.stage.connections()).toEqual([]);
  });

  test("two phones on the same port: the second is shown on another, and called there", () => {
    const call = out();
    call.client(register(PHONE));
    const second = { from: "172.16.0.9:5060", to: `${PROXY}:5060` };
    const shown = call.datagram(second.from, second.to)!.from;
    expect(shown).not.toBe(`${VIP}:5060`);
    call.own.client = "172.16.0.9";
    call.shownPort.client = Number(shown.split(":")[1]);
    expect(call.client(register("172.16.0.9"))).toContain(`<sip:alice@${shown}>;expires=600`);
    call.stage.run(400_000);
    expect(call.datagram(`${PROXY}:5060`, shown)).toMatchObject({ to: "172.16.0.9:5060" });
    // What is said of the first is not about the second.
    expect(call.server(message([`MESSAGE sip:alice@${VIP}:5060 SIP/2.0`]))).toContain(
      `sip:alice@${VIP}:5060`,
    );
  });

  test("a call out: media to the phone's pair, which begins with an even port", () => {
    const call = out();
    const offer = message(
      [`INVITE sip:bob@${PROXY} SIP/2.0`, `Via: SIP/2.0/UDP ${PHONE}:5060`, "Call-ID: 1", "CSeq: 1 INVITE"],
      sdp(PHONE, 4001, ["a=rtcp:4002", "m=video 4100 RTP/AVP 31", "c=IN IP4 0.0.0.0", "m=image 0 udptl t38"]),
    );
    const heard = call.client(offer);
    expect(heard).toContain(`c=IN IP4 ${VIP}`);
    const [, port = "", rtcp] = /m=audio (\d+) .*\r\na=rtcp:(\d+)\r\nm=video 4100 /.exec(heard)!;
    expect([Number(port) % 2, Number(rtcp)]).toEqual([0, Number(port) + 1]);
    expect(heard).toContain(`Content-Length: ${heard.split("\r\n\r\n")[1]!.length}\r\n`);
    expect(call.datagram(`${PROXY}:7000`, `${VIP}:${port}`)).toMatchObject({ to: `${PHONE}:4001` });
    expect(call.datagram(`${PROXY}:7001`, `${VIP}:${rtcp}`)).toMatchObject({ to: `${PHONE}:4002` });
    // Said again it is the same.
    expect(call.client(offer)).toBe(heard);
    // Refused, it is over.
    call.server(message(["SIP/2.0 486 Busy Here", "Call-ID: 1", "CSeq: 1 INVITE"]));
    expect(call.datagram(`${PROXY}:7002`, `${VIP}:${port}`)).toBeUndefined();
  });

  test("a change of media that is refused leaves those of the call; a challenge ends nothing", () => {
    const call = out();
    const invite = (sequence: number, port: number) =>
      message(
        ["INVITE sip:bob@example.org SIP/2.0", "Call-ID: 1", `CSeq: ${sequence} INVITE`],
        sdp(PHONE, port),
      );
    const answered = (status: string, sequence: number, method = "INVITE") =>
      call.server(message([`SIP/2.0 ${status}`, "Call-ID: 1", `CSeq: ${sequence} ${method}`]));
    const isOpen = (port: number, from: number) =>
      call.datagram(`${PROXY}:${from}`, `${VIP}:${port}`) !== undefined;
    call.client(invite(1, 4000));
    answered("200 OK", 1);
    call.client(invite(2, 4100));
    answered("100 Trying", 2);
    expect([isOpen(4000, 7000), isOpen(4100, 7000)]).toEqual([true, true]);
    answered("488 Not Acceptable Here", 2);
    answered("407 Proxy Authentication Required", 3, "BYE");
    expect([isOpen(4000, 7001), isOpen(4100, 7001)]).toEqual([true, false]);
    answered("200 OK", 4, "BYE");
    expect(isOpen(4000, 7002)).toBe(false);
  });

  test("ICE candidates go with the default ones; foreign ones and TCP stay", () => {
    const call = out();
    const candidates = (host: string) => [
      `a=candidate:1 1 UDP 2130706431 ${host} 4000 typ host`,
      `a=candidate:1 2 UDP 2130706430 ${host} 4001 typ host`,
      `a=candidate:2 1 UDP 1 192.0.2.9 4000 typ relay raddr 0.0.0.0 rport 9`,
      `a=candidate:3 1 TCP 1 ${PHONE} 9 typ host tcptype active`,
      `a=candidate:4 1 UDP 2130706431 ${host} 4400 typ host`,
    ];
    const lines = ["INVITE sip:bob@example.org SIP/2.0", "c: application/sdp"];
    const text = (host: string) =>
      `${lines.join("\r\n")}\r\n\r\n${sdp(host, 4000, candidates(host)).join("\r\n")}`;
    expect(call.client(text(PHONE))).toBe(text(VIP));
    expect(call.datagram(`${PROXY}:7000`, `${VIP}:4400`)).toMatchObject({ to: `${PHONE}:4400` });
  });

  test("a description that is one part of a body", () => {
    const call = out();
    const body = (host: string) =>
      `--b\r\nContent-Type: application/isup\r\n\r\nc=IN IP4 ${PHONE}\r\n--b\r\nContent-Type: application/sdp\r\n\r\n${sdp(host, 4000).join("\r\n")}\r\n--b--\r\n`;
    const text = (host: string, length: number) =>
      `INVITE sip:b@example.org SIP/2.0\r\nContent-Type: multipart/mixed;boundary=b\r\nl: ${length}\r\n\r\n${body(host)}`;
    expect(call.client(text(PHONE, body(PHONE).length))).toBe(text(VIP, body(VIP).length));
  });

  test("IPv6", () => {
    const call = out({ family: 6 });
    const text = (host: string) =>
      message(
        [
          `INVITE sip:b@[2001:db8:1::2] SIP/2.0`,
          `Via: SIP/2.0/UDP [${host}]:5060`,
          `Contact: <sip:a@[${host}]:5060>`,
        ],
        ["v=0", `o=- 1 1 IN IP6 ${host}`, `c=IN IP6 ${host}`, "m=audio 4000 RTP/AVP 0"],
      );
    expect(call.client(text("fd00:16::3"))).toBe(text("2001:db8:5::5"));
    expect(call.datagram("[2001:db8:1::2]:7000", "[2001:db8:5::5]:4000")).toMatchObject({
      to: "[fd00:16::3]:4000",
    });
    const reply = (host: string) =>
      message(["SIP/2.0 200 OK", `Via: SIP/2.0/UDP [${host}]:5060;received=${host}`]);
    expect(call.server(reply("2001:db8:5::5"))).toBe(reply("fd00:16::3"));
  });

  test("TCP: several messages in a segment, keep-alives between them, answers on the same connection", () => {
    const call = out({ transport: "tcp", clientPort: 40_000 });
    const text = (host: string) =>
      message(
        [
          `INVITE sip:b@example.org SIP/2.0`,
          `Via: SIP/2.0/TCP ${host}:5060`,
          `Contact: <sip:a@${host}:5060;transport=tcp>`,
        ],
        ["v=0", `c=IN IP4 ${host}`, "m=audio 4000 RTP/AVP 0"],
      );
    expect(call.client(`\r\n\r\n${text(PHONE)}\r\n${text(PHONE)}`)).toBe(
      `\r\n\r\n${text(VIP)}\r\n${text(VIP)}`,
    );
    expect(call.opening(`${PROXY}:30000`, `${VIP}:5060`)).toMatchObject({ to: `${PHONE}:5060` });
  });
});

test("FullNAT: both are hidden", () => {
  const call = begin({ situation: "fullNat" });
  const pool = "172.16.0.250";
  const heard = call.client(message(INVITE, sdp(CLIENT, 4000)));
  const asServer = INVITE.map((line) => line.replaceAll(VIP, SERVER).replaceAll(CLIENT, pool));
  expect(heard).toBe(message(asServer, sdp(pool, 4000)));
  expect(call.datagram(`${SERVER}:6000`, `${pool}:4000`)).toMatchObject({ to: `${CLIENT}:4000` });
  const accepted = call.server(
    message(
      answer(SERVER).map((line) => line.replaceAll(CLIENT, pool)),
      sdp(SERVER, 6000),
    ),
  );
  expect(accepted).toBe(message(answer(VIP), sdp(VIP, 6000)));
});

describe("attacks", () => {
  const announced = (call: Conversation) => call.stage.connections().length - 1;

  test.each([
    ["of a third host", sdp("192.0.2.9", 4000), "foreign"],
    ["of a low port", sdp(CLIENT, 22), "lowPort"],
  ] as const)("media %s", (_, body, counter) => {
    const call = begin();
    const text = message(["INVITE sip:b@example.org SIP/2.0", "CSeq: 1 INVITE"], body);
    expect(call.client(text)).toBe(text);
    expect([announced(call), call.counters[counter]]).toEqual([0, 1]);
  });

  test.each([
    ["a port that wraps", "m=audio 69536 RTP/AVP 0"],
    ["a negative one", "m=audio -4000 RTP/AVP 0"],
    ["more pairs than there are ports", "m=audio 65535/2 RTP/AVP 0"],
    ["no number", "m=audio 4000x RTP/AVP 0"],
  ])("%s", (_, line) => {
    const call = begin({ situation: "masquerade" });
    call.client(message(["INVITE sip:b@example.org SIP/2.0"], ["v=0", `c=IN IP4 ${SERVER}`, line]));
    expect(announced(call)).toBeLessThanOrEqual(1);
    expect(call.counters.failed).toBe(0);
  });

  test.each([
    ["longer than the datagram", 4000],
    ["shorter than what looks like a description", 10],
  ])("a length that lies: %s", (_, length) => {
    const call = begin();
    const body = sdp(SERVER, 6000).join("\r\n");
    const text = `SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: ${length}\r\n\r\n${body}`;
    expect(call.server(text)).toBe(text);
    expect(announced(call)).toBe(0);
  });

  test("a flood of calls: as many announcements as the module allows", () => {
    const call = begin();
    for (let port = 10_000; port < 10_400; port += 2)
      call.client(message(["INVITE sip:b@example.org SIP/2.0", `Call-ID: ${port}`], sdp(CLIENT, port)));
    expect(announced(call)).toBe(64);
  });

  test("slipstreaming: a message inside of something else is none, over TCP and over UDP", () => {
    const slipped = message(
      [`REGISTER sip:x SIP/2.0`, `Contact: <sip:a@${SERVER}:8080;transport=tcp>`],
      sdp(SERVER, 8080),
    );
    const tcp = begin({ situation: "masquerade", transport: "tcp", clientPort: 40_000 });
    const post = `POST / HTTP/1.1\r\nHost: x:5060\r\nContent-Length: 900\r\n\r\n${"x".repeat(600)}`;
    for (const text of [post, slipped, slipped]) expect(tcp.client(text)).toBe(text);
    const udp = begin({ situation: "masquerade", clientPort: 40_000 });
    expect(udp.client(`\0\x01${slipped}`)).toBe(`\0\x01${slipped}`);
    expect([announced(tcp), announced(udp)]).toEqual([0, 0]);
  });

  test("a redirection's contacts are others': nobody may call there", () => {
    const call = begin();
    call.server(message(["SIP/2.0 302 Moved", "CSeq: 1 INVITE", `Contact: <sip:b@${SERVER}:5999>`]));
    expect(announced(call)).toBe(0);
  });

  test("media only of the other side, unless anyone may send them", () => {
    for (const [options, isOpen] of [
      [{}, false],
      [{ mediaFrom: "anyone" }, true],
    ] as const) {
      const call = begin({ options });
      call.server(message(answer(SERVER), sdp(SERVER, 6000)));
      expect(call.datagram("198.51.100.7:7000", `${VIP}:6000`) !== undefined).toBe(isOpen);
    }
  });
});

/** A call and its end, as each side says it; `shown` is what the other one reads of who is hidden. */
function dialogue(transport: "TCP" | "UDP", isOut: boolean): Place["said"] {
  const [phone, proxy] = isOut ? [SERVER, CLIENT] : [CLIENT, SERVER];
  const invite = (host: string, target: string) =>
    message(
      [
        `INVITE sip:b@${target}:5060 SIP/2.0`,
        `Via: SIP/2.0/${transport} ${host}:5060;branch=z9hG4bK1`,
        "Call-ID: 1",
        "CSeq: 1 INVITE",
        `Contact: <sip:a@${host}:5060;transport=${transport}>`,
      ],
      ["v=0", `c=IN IP4 ${host}`, "m=audio 4000 RTP/AVP 0"],
    );
  const ok = (host: string, target: string) =>
    message(
      [
        "SIP/2.0 200 OK",
        `Via: SIP/2.0/${transport} ${host}:5060;branch=z9hG4bK1;received=${host}`,
        "i: 1",
        "CSeq: 1 INVITE",
        `m: <sip:b@${target}:5060;transport=${transport}>`,
      ],
      ["v=0", `c=IN IP4 ${target}`, "m=audio 6000 RTP/AVP 0"],
    );
  const bye = (target: string) => message([`BYE sip:b@${target}:5060 SIP/2.0`, "i: 1", "CSeq: 2 BYE"]);
  const plain = message(["SIP/2.0 200 OK", "i: 1", "CSeq: 2 BYE"]);
  if (isOut)
    return [
      ["client", invite(phone, proxy), invite(VIP, proxy)],
      ["server", ok(VIP, proxy), ok(phone, proxy)],
      ["client", bye(proxy)],
      ["server", plain],
    ];
  return [
    ["client", invite(phone, VIP), invite(phone, proxy)],
    ["server", ok(phone, proxy), ok(phone, VIP)],
    ["client", bye(VIP), bye(proxy)],
    ["server", plain],
  ];
}

describeModule(sip, {
  places: [
    Conversation.place("a server behind a virtual address, TCP", "sip", {}, dialogue("TCP", false)),
    Conversation.place(
      "a client going out, TCP",
      "sip",
      { situation: "masquerade", clientPort: 5060 },
      dialogue("TCP", true),
    ),
    Conversation.place(
      "a server behind a virtual address, UDP",
      "sip",
      { transport: "udp" },
      dialogue("UDP", false),
    ),
    Conversation.place(
      "a client going out, UDP",
      "sip",
      { situation: "masquerade", transport: "udp", clientPort: 5060 },
      dialogue("UDP", true),
    ),
  ],
  runs: 15,
});
