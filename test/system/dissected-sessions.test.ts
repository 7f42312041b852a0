/** SIP, RTSP and MGCP as a foreign program sees them: tshark finds no fault with what was rewritten, and no hidden address. */
import { expect, test } from "vitest";
import { dissect } from "../support/dissection.ts";
import { Conversation, type ConversationOptions, HOSTS } from "../support/session-conversation.ts";

const [OUTSIDE, VIP, INSIDE] = [HOSTS[4].outside, HOSTS[4].shown, HOSTS[4].inside];
/** A port that is not even, so that lengths and ports change. */
const PORT = 9999;

function message(lines: readonly string[], host: string): string {
  const body = `v=0\r\no=- 1 1 IN IP4 ${host}\r\ns=-\r\nc=IN IP4 ${host}\r\nt=0 0\r\nm=audio ${PORT} RTP/AVP 0\r\n`;
  const about = ["Content-Type: application/sdp", `Content-Length: ${body.length}`];
  return `${[...lines, ...about].join("\r\n")}\r\n\r\n${body}`;
}

const invite = (from: string, to: string, transport: string) => [
  `INVITE sip:b@${to}:5060 SIP/2.0`,
  `Via: SIP/2.0/${transport} ${from}:5060;branch=z9hG4bK1`,
  `From: <sip:a@${from}>;tag=1`,
  `To: <sip:b@${to}>`,
  "Call-ID: 1",
  "CSeq: 1 INVITE",
  `Contact: <sip:a@${from}:5060>`,
];
const ok = (from: string, to: string, transport: string) => [
  "SIP/2.0 200 OK",
  ...invite(from, to, transport).slice(1, -1),
  `Contact: <sip:b@${to}:5060>`,
];

/** Fields that name a host or a port, for each packet that arrived. */
async function seen({ packets }: Conversation, fields: readonly string[]): Promise<string[]> {
  const lines = await dissect(packets, ["ip.src", "ip.dst", ...fields]);
  return lines.map((line) => line.trimEnd());
}

test.each(["udp", "tcp"] as const)("SIP over %s", async (transport) => {
  const fields = [
    "sip.r-uri.host",
    "sip.Via.sent-by.address",
    "sip.contact.host",
    "sdp.connection_info.address",
    "sdp.media.port",
  ];
  const name = transport.toUpperCase();
  const options: ConversationOptions = { transport, clientPort: 5060 };
  const inwards = new Conversation("sip", options);
  inwards.client(message(invite(OUTSIDE, VIP, name), OUTSIDE));
  inwards.server(message(ok(OUTSIDE, INSIDE, name), INSIDE));
  expect(await seen(inwards, fields)).toEqual([
    `${OUTSIDE} ${INSIDE} ${INSIDE} ${OUTSIDE} ${OUTSIDE} ${OUTSIDE} ${PORT}`,
    `${VIP} ${OUTSIDE}  ${OUTSIDE} ${VIP} ${VIP} ${PORT + 1}`,
  ]);
  const outwards = new Conversation("sip", { ...options, situation: "masquerade" });
  outwards.client(message(invite(INSIDE, OUTSIDE, name), INSIDE));
  outwards.server(message(ok(VIP, OUTSIDE, name), OUTSIDE));
  expect(await seen(outwards, fields)).toEqual([
    `${VIP} ${OUTSIDE} ${OUTSIDE} ${VIP} ${VIP} ${VIP} ${PORT + 1}`,
    `${OUTSIDE} ${INSIDE}  ${INSIDE} ${OUTSIDE} ${OUTSIDE} ${PORT}`,
  ]);
});

test("RTSP", async () => {
  const call = new Conversation("rtsp", { virtualPort: 554 });
  call.client(`DESCRIBE rtsp://${VIP}/1 RTSP/1.0\r\nCSeq: 1\r\n\r\n`);
  call.server(message(["RTSP/1.0 200 OK", "CSeq: 1"], INSIDE));
  call.client(
    `SETUP rtsp://${VIP}/1 RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP;unicast;client_port=4588-4589\r\n\r\n`,
  );
  const transport = (host: string, port: number) =>
    `RTP/AVP;unicast;source=${host};client_port=4588-4589;server_port=${port}-${port + 1}`;
  call.server(`RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 1\r\nTransport: ${transport(INSIDE, PORT)}\r\n\r\n`);
  expect(await seen(call, ["rtsp.url", "sdp.connection_info.address", "rtsp.transport"])).toEqual([
    `${OUTSIDE} ${INSIDE} rtsp://${INSIDE}/1`,
    `${VIP} ${OUTSIDE}  ${VIP}`,
    `${OUTSIDE} ${INSIDE} rtsp://${INSIDE}/1  RTP/AVP;unicast;client_port=4588-4589`,
    `${VIP} ${OUTSIDE}   ${transport(VIP, PORT + 1)}`,
  ]);
});

test("MGCP", async () => {
  const call = new Conversation("mgcp", { transport: "udp", virtualPort: 2427, clientPort: 2727 });
  call.client(`CRCX 1 a@[${VIP}] MGCP 1.0\r\nC: 1\r\nN: ca@[${OUTSIDE}]:2727\r\n`);
  const [, body] = message([], INSIDE).split("\r\n\r\n");
  call.server(`200 1 OK\r\nI: 1\r\nZ: a@[${INSIDE}]\r\n\r\n${body}`);
  expect(
    await seen(call, [
      "mgcp.req.endpoint",
      "mgcp.param.specificendpointid",
      "sdp.connection_info.address",
      "sdp.media.port",
    ]),
  ).toEqual([`${OUTSIDE} ${INSIDE} a@[${INSIDE}]`, `${VIP} ${OUTSIDE}  a@[${VIP}] ${VIP} ${PORT + 1}`]);
});
