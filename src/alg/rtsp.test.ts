/** RTSP's module, message by message through a whole director: what is changed, where media go, and attacks. */
import { describe, expect, test } from "vitest";
import { describeModule } from "../../test/contract/application-module.ts";
import { Conversation, type ConversationOptions } from "../../test/support/session-conversation.ts";
import type { Place } from "../../test/support/story.ts";
import type { Side } from "./engine/module.ts";
import { rtsp, transportsOf } from "./rtsp.ts";

const [CLIENT, VIP, SERVER] = ["202.100.1.2", "202.103.106.5", "172.16.0.3"];

const begin = (options: ConversationOptions = {}) =>
  new Conversation("rtsp", { virtualPort: 554, ...options });
const message = (lines: readonly string[], body = "") => {
  const length = body === "" ? [] : ["Content-Type: application/sdp", `Content-Length: ${body.length}`];
  return `${[...lines, ...length].join("\r\n")}\r\n\r\n${body}`;
};

let sequence = 1;
const setup = (transport: string, host = VIP) =>
  message([`SETUP rtsp://${host}/film/track1 RTSP/1.0`, `CSeq: ${++sequence}`, `Transport: ${transport}`]);
const agreed = (transport: string, status = "200 OK") =>
  message([`RTSP/1.0 ${status}`, `Cseq: ${sequence}`, "Session: 12;timeout=60", `Transport: ${transport}`]);
const announced = (call: Conversation) => call.stage.connections().length - 1;

describe("a server behind a virtual address", () => {
  test("DESCRIBE: the server reads its own name; its description and its URLs name the virtual address", () => {
    const call = begin({ virtualPort: 8554, serverPort: 554 });
    const request = (host: string) => message([`DESCRIBE rtsp://u:p@${host}/film RTSP/1.0`, "CSeq: 1"]);
    expect(call.client(request(`${VIP}:8554`))).toBe(request(`${SERVER}:554`));
    const body = (host: string, url: string) =>
      `v=0\r\no=- 1 1 IN IP4 ${host}\r\nc=IN IP4 ${host}/127\r\nt=0 0\r\na=control:rtsp://${url}/film\r\nm=video 0 RTP/AVP 96\r\n`;
    const reply = (host: string, url: string) =>
      message(["RTSP/1.0 200 OK", "CSeq: 1", `Content-Base: rtsp://${url}/film/`], body(host, url));
    expect(call.server(reply(SERVER, SERVER))).toBe(reply(VIP, `${VIP}:8554`));
  });

  test("SETUP: media flow both ways, whoever is first; TEARDOWN ends them", () => {
    const call = begin();
    const offer = setup("RTP/AVP;unicast;client_port=4588-4589");
    expect(call.client(offer)).toBe(offer.replace(VIP, SERVER));
    const transport = (host: string) =>
      `RTP/AVP;unicast;destination=${CLIENT};source=${host};client_port=4588-4589;server_port=6256-6257;ssrc=1`;
    expect(call.server(agreed(transport(SERVER)))).toBe(agreed(transport(VIP)));
    expect(call.datagram(`${CLIENT}:4589`, `${VIP}:6257`)).toMatchObject({ to: `${SERVER}:6257` });
    expect(call.datagram(`${SERVER}:6256`, `${CLIENT}:4588`)).toMatchObject({ from: `${VIP}:6256` });
    expect(call.datagram(`${CLIENT}:4588`, `${VIP}:6256`)).toMatchObject({ to: `${SERVER}:6256` });
    const info = (host: string) =>
      message([
        "RTSP/1.0 200 OK",
        "CSeq: 9",
        `RTP-Info: url=rtsp://${host}/film/track1;seq=1,url=rtsp://${host}/film/track2;seq=2`,
      ]);
    expect(call.server(info(SERVER))).toBe(info(VIP));
    const before = announced(call);
    call.client(message([`TEARDOWN rtsp://${VIP}/film RTSP/1.0`, `CSeq: ${++sequence}`, "Session: 12"]));
    call.server(message(["RTSP/1.0 200 OK", `CSeq: ${sequence}`, "Session: 12"]));
    expect(announced(call)).toBeLessThan(before);
    expect(call.datagram(`${CLIENT}:4600`, `${VIP}:6256`)).toBeUndefined();
  });

  test("a paused stream, silent for an hour, goes on", () => {
    const call = begin();
    call.client(setup("RTP/AVP;unicast;client_port=4588-4589"));
    call.server(agreed("RTP/AVP;unicast;client_port=4588-4589;server_port=6256-6257"));
    for (let minutes = 0; minutes < 60; minutes += 10) {
      call.client(message([`GET_PARAMETER rtsp://${VIP}/film RTSP/1.0`, `CSeq: ${++sequence}`]));
      call.server(message(["RTSP/1.0 200 OK", `CSeq: ${sequence}`]));
      call.stage.run(600_000);
    }
    expect(call.datagram(`${SERVER}:6256`, `${CLIENT}:4588`)).toMatchObject({ from: `${VIP}:6256` });
  });

  test("an authorized request keeps its target, which its digest has", () => {
    const text = message([
      `PLAY rtsp://${VIP}/film RTSP/1.0`,
      "CSeq: 4",
      'Authorization: Digest uri="rtsp://x"',
    ]);
    expect(begin().client(text)).toBe(text);
  });

  test("a port that is another's: the whole pair gives way", () => {
    const call = begin();
    const transport = (port: number) =>
      `RTP/AVP;unicast;client_port=4588-4589;server_port=${port}-${port + 1}`;
    call.client(setup("RTP/AVP;unicast;client_port=4588-4589"));
    expect(call.server(agreed(transport(6257)))).toBe(agreed(transport(6258)));
    expect(call.datagram(`${CLIENT}:4588`, `${VIP}:6258`)).toMatchObject({ to: `${SERVER}:6257` });
    expect(call.datagram(`${SERVER}:6258`, `${CLIENT}:4589`)).toMatchObject({ from: `${VIP}:6259` });
  });
});

describe("a client behind a masquerade rule", () => {
  const out = (options: ConversationOptions = {}) => begin({ situation: "masquerade", ...options });
  const [PLAYER, SOURCE] = [SERVER, CLIENT];

  test("every alternative has the client's ports, one and two, by one mapping; the answer has its own again", () => {
    const call = out();
    const list = (port: number) =>
      [
        `x-real-rdt/udp;client_port=${port};mode=play`,
        `RTP/AVP;unicast;client_port=${port}-${port + 1};mode=play`,
        "RTP/AVP/TCP;unicast;interleaved=0-1",
      ].join(",");
    const heard = call.client(setup(list(6971), SOURCE));
    const shown = Number(/client_port=(\d+);/.exec(heard)![1]);
    expect(shown % 2).toBe(0);
    expect(heard).toBe(setup(list(shown), SOURCE).replace(`CSeq: ${sequence}`, `CSeq: ${--sequence}`));
    const reply = (port: number) =>
      agreed(`RTP/AVP;unicast;client_port=${port}-${port + 1};server_port=6256-6257;source=${SOURCE}`);
    expect(call.server(reply(shown))).toBe(reply(6971));
    expect(call.datagram(`${SOURCE}:6256`, `${VIP}:${shown}`)).toMatchObject({ to: `${PLAYER}:6971` });
    expect(call.datagram(`${SOURCE}:6257`, `${VIP}:${shown + 1}`)).toMatchObject({ to: `${PLAYER}:6972` });
    expect(call.datagram("198.51.100.7:6256", `${VIP}:${shown}`)).toBeUndefined();
  });

  test("destination is the client's own", () => {
    const text = (host: string) => setup(`RTP/AVP;unicast;destination=${host};client_port=4588-4589`, SOURCE);
    const call = out();
    const said = text(PLAYER);
    sequence--;
    expect(call.client(said)).toBe(text(VIP));
  });

  test("RTSP 2.0: dest_addr and src_addr, with and without a host", () => {
    const call = out();
    const offer = (...ports: readonly string[]) =>
      `SETUP rtsp://${SOURCE}/1 RTSP/2.0\r\nCSeq: 7\r\nTransport: RTP/AVP/UDP;unicast;dest_addr="${ports[0]}"/"${ports[1]}";mode="PLAY"\r\n\r\n`;
    expect(call.client(offer(":4588", ":4589"))).toBe(offer(":4588", ":4589"));
    expect(call.client(offer(`${PLAYER}:4588`, `${PLAYER}:4589`))).toBe(offer(`${VIP}:4588`, `${VIP}:4589`));
    const reply = (host: string) =>
      `RTSP/2.0 200 OK\r\nCSeq: 7\r\nSession: 1\r\nTransport: RTP/AVP/UDP;unicast;dest_addr="${host}:4588"/"${host}:4589";src_addr="${SOURCE}:6256"/"${SOURCE}:6257"\r\n\r\n`;
    expect(call.server(reply(VIP))).toBe(reply(PLAYER));
    expect(call.datagram(`${SOURCE}:6257`, `${VIP}:4589`)).toMatchObject({ to: `${PLAYER}:4589` });
  });

  test("IPv6", () => {
    const call = out({ family: 6 });
    const text = (host: string) =>
      `ANNOUNCE rtsp://[2001:db8:1::2]/1 RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: ${13 + host.length}\r\n\r\nc=IN IP6 ${host}\r\n\r\n`;
    expect(call.client(text("fd00:16::3"))).toBe(text("2001:db8:5::5"));
    const transport = (host: string) => `RTP/AVP;unicast;destination=${host};client_port=4588-4589`;
    call.client(setup(transport("fd00:16::3"), "[2001:db8:1::2]"));
    expect(call.server(agreed(transport("2001:db8:5::5")))).toBe(agreed(transport("fd00:16::3")));
  });
});

test("interleaved data pass, also where they look like messages, and what is between them is read", () => {
  const call = begin();
  const inside = agreed(`RTP/AVP;source=${SERVER};server_port=6000-6001`);
  const frame = `$\x01${String.fromCharCode(inside.length >> 8, inside.length & 255)}${inside}`;
  const reply = (host: string) => message(["RTSP/1.0 200 OK", "CSeq: 3", `RTP-Info: url=rtsp://${host}/1`]);
  expect(call.server(`${frame}${reply(SERVER)}${frame}$\x00`)).toBe(`${frame}${reply(VIP)}${frame}$\x00`);
  expect(announced(call)).toBe(0);
});

test("FullNAT: the server reads the pool's address, the client its own", () => {
  const call = begin({ situation: "fullNat" });
  const transport = (host: string, port: number, source: string) =>
    `RTP/AVP;unicast;destination=${host};client_port=${port}-${port + 1};server_port=6000-6001;source=${source}`;
  const heard = call.client(setup(`RTP/AVP;unicast;destination=${CLIENT};client_port=4588-4589`));
  expect(heard).toContain("destination=172.16.0.250;client_port=4588-4589");
  expect(call.server(agreed(transport("172.16.0.250", 4588, SERVER)))).toBe(
    agreed(transport(CLIENT, 4588, VIP)),
  );
  expect(call.datagram(`${SERVER}:6000`, "172.16.0.250:4588")).toMatchObject({
    to: `${CLIENT}:4588`,
    from: `${VIP}:6000`,
  });
});

test.each<[string, string[]]>([
  // RFC 2326 section 12.39
  [
    'RTP/AVP;multicast;ttl=127;mode="PLAY", RTP/AVP;unicast;client_port=3456-3457;mode="PLAY"',
    ["multicast", "3456-pair"],
  ],
  // RFC 7826 section 18.54
  [
    'RTP/AVP;multicast;mode="PLAY",RTP/AVP;unicast;dest_addr="192.0.2.5:3456"/"192.0.2.5:3457";mode="PLAY"',
    ["multicast", "192.0.2.5:3456,192.0.2.5:3457-pair"],
  ],
  ['RTP/AVP;unicast;dest_addr=":6970"', [":6970"]],
  // RealPlayer
  ["x-real-rdt/mcast;client_port=6972;mode=play,x-pn-tng/tcp;mode=play", ["6972", ""]],
  ["RTP/AVP/TCP;unicast;interleaved=0-1", [""]],
  ['RTP/AVP;dest_addr="a;b,c:99";client_port = 5000 - 5001', ["a;b,c:99"]],
])("Transport: %s", (text, wanted) => {
  const found = transportsOf(text, { at: 0, end: text.length });
  expect(
    found.map(({ isMulticast, clientPorts, destinations }) => {
      if (isMulticast) return "multicast";
      if (clientPorts !== undefined) return `${clientPorts.port}${clientPorts.isPair ? "-pair" : ""}`;
      if (destinations === undefined) return "";
      const list = destinations.list.map(({ endpoint: { address, port } }) => `${address}:${port}`);
      return list.join(",") + (destinations.isPair ? "-pair" : "");
    }),
  ).toEqual(wanted);
});

describe("attacks", () => {
  test.each([
    [
      "of a third host, which is to be flooded",
      `RTP/AVP;unicast;destination=192.0.2.9;client_port=4588-4589`,
      "foreign",
    ],
    ["of a host by its name", `RTP/AVP;unicast;destination=victim.example;client_port=4588-4589`, "foreign"],
    [
      "of a third host, RTSP 2.0",
      `RTP/AVP/UDP;unicast;dest_addr="192.0.2.9:4588"/"192.0.2.9:4589"`,
      "foreign",
    ],
    ["of a low port", "RTP/AVP;unicast;client_port=22-23", "lowPort"],
  ] as const)("a client's announcement %s", (_, transport, counter) => {
    const call = begin({ situation: "masquerade" });
    const text = setup(transport, CLIENT);
    expect(call.client(text)).toBe(text);
    expect(announced(call)).toBe(0);
    expect(call.counters[counter]).toBeGreaterThan(0);
  });

  test.each([
    ["ports that wrap", "RTP/AVP;unicast;client_port=70000-70001"],
    ["ports the wrong way round", "RTP/AVP;unicast;client_port=4589-4588"],
    ["a range that is none", "RTP/AVP;unicast;client_port=4588-60000"],
    ["no number", "RTP/AVP;unicast;client_port=4588x"],
    ["an open quotation", 'RTP/AVP;dest_addr=":4588;client_port=4588-4589'],
    ["multicast", "RTP/AVP;multicast;destination=239.1.1.1;client_port=4588-4589"],
  ])("%s", (_, transport) => {
    const call = begin({ situation: "masquerade" });
    const text = setup(transport, CLIENT);
    expect(call.client(text)).toBe(text);
    expect([announced(call), call.counters.failed]).toEqual([0, 0]);
  });

  test("answers that nobody asked for, refusals, and what servers say said by a client", () => {
    const call = begin();
    const transport = "RTP/AVP;unicast;server_port=6000-6001";
    for (const text of [agreed(transport), agreed(transport, "461 Unsupported Transport")]) call.server(text);
    call.client(agreed(transport));
    call.client(setup("RTP/AVP;unicast;interleaved=0-1"));
    call.server(agreed(transport, "461 Unsupported Transport"));
    call.server(agreed(transport));
    expect(announced(call)).toBe(0);
  });

  test("slipstreaming: what is not RTSP from the start is never read", () => {
    const call = begin({ situation: "masquerade" });
    const post = `POST / HTTP/1.1\r\nContent-Length: 900\r\n\r\n`;
    const slipped = setup("RTP/AVP;unicast;client_port=8080-8081", CLIENT);
    for (const text of [post, slipped]) expect(call.client(text)).toBe(text);
    expect(announced(call)).toBe(0);
  });

  test("a length that lies: what is inside of the body is none", () => {
    const call = begin({ situation: "masquerade" });
    const inside = setup("RTP/AVP;unicast;client_port=8080-8081", CLIENT);
    const text = `ANNOUNCE rtsp://x RTSP/1.0\r\nContent-Length: ${inside.length}\r\n\r\n${inside}`;
    expect(call.client(text)).toBe(text);
    const twice = `OPTIONS * RTSP/1.0\r\nContent-Length: 0\r\nContent-Length: 9\r\n\r\n${inside}`;
    expect(call.client(twice)).toBe(twice);
    expect(announced(call)).toBe(0);
  });

  test("a flood of announcements", () => {
    const call = begin({ situation: "masquerade" });
    for (let port = 10_000; port < 10_400; port += 2)
      call.client(setup(`RTP/AVP;client_port=${port}-${port + 1}`, CLIENT));
    expect(announced(call)).toBe(32);
  });
});

/** From the description to the end, with interleaved data in between; `isOut`: the client is hidden, else the server. */
function dialogue(isOut: boolean): Place["said"] {
  const [client, server] = isOut ? [SERVER, CLIENT] : [CLIENT, SERVER];
  const [heardClient, heardServer] = isOut ? [VIP, server] : [client, VIP];
  const describe = (host: string) => message([`DESCRIBE rtsp://${host}/1 RTSP/1.0`, "CSeq: 1"]);
  const body = (host: string) =>
    `v=0\r\no=- 1 1 IN IP4 ${host}\r\nc=IN IP4 ${host}\r\nm=video 0 RTP/AVP 96\r\n`;
  const described = (host: string) => message(["RTSP/1.0 200 OK", "CSeq: 1"], body(host));
  const setup = (host: string, url: string, port = 4588) =>
    message([
      `SETUP rtsp://${url}/1 RTSP/1.0`,
      "CSeq: 2",
      `Transport: RTP/AVP;unicast;destination=${host};client_port=${port}-${port + 1}`,
    ]);
  const agreed = (host: string, source: string) =>
    message([
      "RTSP/1.0 200 OK",
      "CSeq: 2",
      "Session: 1",
      `Transport: RTP/AVP;unicast;destination=${host};source=${source};client_port=4588-4589;server_port=6256-6257`,
    ]);
  const data = "$\x00\x00\x05RTSP/";
  const turns: [Side, string, string][] = [
    ["client", describe(heardServer), describe(server)],
    ["server", described(server), described(heardServer)],
    ["client", setup(client, heardServer), setup(heardClient, server)],
    ["server", agreed(heardClient, server), agreed(client, heardServer)],
    ["server", data + data, data + data],
    ["client", data, data],
  ];
  return turns.map(([side, said, heard]) => (said === heard ? [side, said] : [side, said, heard]));
}

describeModule(rtsp, {
  places: [
    Conversation.place("a server behind a virtual address", "rtsp", { virtualPort: 554 }, dialogue(false)),
    Conversation.place(
      "a client going out",
      "rtsp",
      { situation: "masquerade", virtualPort: 554 },
      dialogue(true),
    ),
  ],
});
