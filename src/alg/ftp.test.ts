/** FTP's module on the engine: what it lets in and what it refuses, attack by attack, through a whole director. */
import { beforeEach, describe, expect, test } from "vitest";
import { type TcpFields, tcp } from "../../test/support/packet-builder.ts";
import {
  checkPacket,
  from,
  payload,
  tcpAcknowledgment,
  tcpFlags,
  tcpSequence,
  to,
  valid,
  validPartial,
} from "../../test/support/packet-check.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import type { ServiceConfig } from "../nat/configuration.ts";
import { Gso } from "../wire/packet.ts";
import { STREAM_BYTES_MAX } from "./engine/engine.ts";
import { LINE_BYTES_MAX } from "./engine/line-module.ts";
import { PIECES_MAX, streamBytes } from "./engine/stream.ts";

const VIP = "202.103.106.5";
const CLIENT = "202.100.1.2";
const SERVER = "172.16.0.3";
const FTP: ServiceConfig = { ...service("tcp", VIP, 21, "rr", destination(SERVER, 21)), app: "ftp" };

let stage: Stage;
/** Next sequence numbers, as their senders count them, and what each has seen of the other. */
let client: number;
let server: number;
let seenByClient: number;
let seenByServer: number;

const PORT = 34_000;
const toServer = (fields: Partial<TcpFields>) =>
  stage.send(tcp({ from: `${CLIENT}:${PORT}`, to: `${VIP}:21`, seq: client, ack: seenByClient, ...fields }));
const toClient = (fields: Partial<TcpFields>) =>
  stage.send(
    tcp({ from: `${SERVER}:21`, to: `${CLIENT}:${PORT}`, seq: server, ack: seenByServer, ...fields }),
  );

/** A segment of a line, or of several; what arrives. */
function say(line: string): string {
  const sent = toServer({ flags: "PA", payload: line });
  client += line.length;
  seenByServer = client;
  return textOf(sent.bytes);
}
function answer(line: string): string {
  const sent = toClient({ flags: "PA", payload: line });
  const heard = textOf(sent.bytes);
  server += line.length;
  seenByClient += heard.length;
  return heard;
}
function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.subarray(40)).toString("latin1");
}

function connect(config: ServiceConfig = FTP): void {
  stage = new Stage([config]);
  [client, server] = [1000, 5000];
  toServer({ flags: "S", seq: client++, ack: 0 });
  toClient({ flags: "SA", seq: server++, ack: client });
  [seenByServer, seenByClient] = [client, server];
  toServer({ flags: "A" });
}
beforeEach(() => connect());

const counters = () => stage.control.status().applications.find(({ name }) => name === "ftp")!.counters;
const expected = () => stage.connections().filter(({ state }) => state === "LISTEN");
const isOpen = (at: string, source = `${CLIENT}:40000`) =>
  stage.send(tcp({ from: source, to: at, flags: "S" })).verdict === "to-server";
const calls = (source: string, at: string) => stage.send(tcp({ from: source, to: at, flags: "S" }));

const REPLY = "227 Entering Passive Mode (172,16,0,3,117,54).\r\n";
const HEARD = "227 Entering Passive Mode (202,103,106,5,117,54).\r\n";

describe("passive", () => {
  test("PASV: the client is told of the virtual address, and comes to the same server", () => {
    expect(say("PASV\r\n")).toBe("PASV\r\n");
    expect(answer(REPLY)).toBe(HEARD);
    expect(expected()).toMatchObject([
      {
        client: { address: CLIENT, port: 0 },
        virtual: { port: 30_006 },
        destination: { address: SERVER, port: 30_006 },
        expiresSeconds: 120,
      },
    ]);
    const sent = calls(`${CLIENT}:40000`, `${VIP}:30006`);
    checkPacket(sent.bytes, valid(), from(`${CLIENT}:40000`), to(`${SERVER}:30006`));
    expect([expected(), counters().begun]).toEqual([[], 1]);
    expect(isOpen(`${VIP}:30006`, `${CLIENT}:40001`)).toBe(false);
  });

  test.each([
    ["no parentheses", "227 172,16,0,3,117,54\r\n", "227 202,103,106,5,117,54\r\n"],
    ["a number before", "227 Mode 2 is (172,16,0,3,117,54)\r\n", "227 Mode 2 is (202,103,106,5,117,54)\r\n"],
    ["the virtual address, which servers can be told", HEARD, HEARD],
  ])("227 with %s", (_, said, heard) => {
    say("pasv\r\n");
    expect(answer(said)).toBe(heard);
    expect(expected()).toHaveLength(1);
  });

  test.each([
    ["EPSV\r\n", "229 Extended (|||30001|)\r\n", "229 Extended (|||30001|)\r\n"],
    ["EPSV 1\r\n", "229 Extended (!!!30001!)\r\n", "229 Extended (!!!30001!)\r\n"],
    ["EPSV\r\n", "229 Extended (|1|172.16.0.3|30001|)\r\n", "229 Extended (|||30001|)\r\n"],
    ["LPSV\r\n", "228 Long (4,4,172,16,0,3,2,117,49)\r\n", "228 Long (4,4,202,103,106,5,2,117,49)\r\n"],
  ])("%j, %j", (asked, said, heard) => {
    say(asked);
    expect(answer(said)).toBe(heard);
    expect(isOpen(`${VIP}:30001`)).toBe(true);
  });

  test("a port that is a service's, or expected of another server, gives way to the next", () => {
    connect();
    stage.apply([FTP, service("tcp", VIP, 30_006, "rr", destination("172.16.0.9", 80))]);
    say("PASV\r\n");
    expect(answer(REPLY)).toBe("227 Entering Passive Mode (202,103,106,5,117,55).\r\n");
    checkPacket(calls(`${CLIENT}:40000`, `${VIP}:30007`).bytes, to(`${SERVER}:30006`));
  });

  test("numbers behind a changed line are shifted, a repetition is changed alike", () => {
    say("PASV\r\n");
    const first = toClient({ flags: "PA", payload: REPLY });
    expect(toClient({ flags: "PA", payload: REPLY }).bytes).toEqual(first.bytes);
    answer(REPLY);
    checkPacket(
      toClient({ flags: "PA", payload: "150 ok\r\n" }).bytes,
      valid(),
      tcpSequence(5001 + HEARD.length),
      payload("150 ok\r\n"),
    );
    // Half of the line is nothing that its sender could know.
    checkPacket(toServer({ flags: "A", ack: 5001 + 20 }).bytes, valid(), tcpAcknowledgment(5001));
    checkPacket(toServer({ flags: "A" }).bytes, valid(), tcpAcknowledgment(5001 + REPLY.length));
  });

  test("FullNAT: the data connection comes from the pool as well", () => {
    connect({ ...FTP, fullNat: { sources: ["172.16.0.250"], clients: "all" } });
    const asked = tcp({
      from: `${SERVER}:21`,
      to: `172.16.0.250:${PORT}`,
      flags: "SA",
      seq: 5000,
      ack: 1001,
    });
    stage.send(asked);
    toServer({ flags: "PA", payload: "PASV\r\n" });
    stage.send(
      tcp({
        from: `${SERVER}:21`,
        to: `172.16.0.250:${PORT}`,
        flags: "PA",
        seq: 5001,
        ack: 1007,
        payload: REPLY,
      }),
    );
    checkPacket(
      calls(`${CLIENT}:40000`, `${VIP}:30006`).bytes,
      from("172.16.0.250:40000"),
      to(`${SERVER}:30006`),
    );
  });
});

describe("active", () => {
  test.each([
    "PORT 202,100,1,2,132,209\r\n",
    "port   202,100,1,2,132,209\r\n",
    "EPRT |1|202.100.1.2|34001|\r\n",
    "LPRT 4,4,202,100,1,2,2,132,209\r\n",
  ])("%j: the server calls from any port, the client sees the one in front of the service's", (line) => {
    expect(say(line)).toBe(line);
    const sent = calls(`${SERVER}:61234`, `${CLIENT}:34001`);
    checkPacket(sent.bytes, valid(), from(`${VIP}:20`), to(`${CLIENT}:34001`));
    const accepted = stage.send(tcp({ from: `${CLIENT}:34001`, to: `${VIP}:20`, flags: "SA" }));
    checkPacket(accepted.bytes, valid(), to(`${SERVER}:61234`));
  });

  test("the same port for one transfer after the other", () => {
    for (let i = 0; i < 3; i++) {
      say("PORT 202,100,1,2,132,209\r\n");
      expect(calls(`${SERVER}:20`, `${CLIENT}:34001`).verdict).toBe("to-client");
      stage.send(tcp({ from: `${SERVER}:20`, to: `${CLIENT}:34001`, flags: "R" }));
    }
    expect(counters()).toMatchObject({ announced: 3, begun: 3 });
  });
});

describe("attacks", () => {
  test.each([
    ["of a third host (bounce)", "PORT 202,100,1,9,132,209\r\n", "foreign"],
    ["of a third host, EPRT", "EPRT |1|202.100.1.9|34001|\r\n", "foreign"],
    ["of a low port", "PORT 202,100,1,2,0,22\r\n", "lowPort"],
  ] as const)("a client's announcement %s", (_, line, counter) => {
    expect(say(line)).toBe(line);
    expect([expected(), counters()[counter]]).toEqual([[], 1]);
  });

  test.each([
    ["of a third host", "227 (172,16,0,9,117,54)\r\n", "foreign"],
    ["of a low port", "227 (172,16,0,3,0,22)\r\n", "lowPort"],
  ] as const)("a server's announcement %s", (_, line, counter) => {
    say("PASV\r\n");
    expect(answer(line)).toBe(line);
    expect([expected(), counters()[counter]]).toEqual([[], 1]);
  });

  test.each([
    ["numbers that are none", "PORT 202,100,1,2,132,256\r\n"],
    ["numbers that wrap", "PORT 202,100,1,2,132,65745\r\n"],
    ["a port that wraps", "EPRT |1|202.100.1.2|99537|\r\n"],
    ["too few numbers", "PORT 202,100,1,2,132\r\n"],
    ["seven numbers", "PORT 202,100,1,2,132,209,1\r\n"],
    ["another family", "EPRT |2|202.100.1.2|34001|x\r\nEPRT |2|::1|34001|\r\n"],
    ["a length that lies", "LPRT 4,5,202,100,1,2,2,132,209\r\nLPRT 6,4,202,100,1,2,2,132,209\r\n"],
    ["not at the beginning of a line", "GET /?PORT 202,100,1,2,132,209\r\n"],
    ["after EPSV ALL", "EPSV ALL\r\nPORT 202,100,1,2,132,209\r\n"],
    ["what servers say, by a client", `PASV\r\n${REPLY}`],
  ])("%s", (_, text) => {
    expect(say(text)).toBe(text);
    expect(expected()).toEqual([]);
    expect(counters().announced).toBe(0);
  });

  test("what clients say, by a server; replies that nobody asked for; a second reply", () => {
    for (const line of ["PORT 172,16,0,3,132,209\r\n", REPLY, "229 (|||30001|)\r\n"])
      expect(answer(line)).toBe(line);
    say("PASV\r\n");
    expect(answer(REPLY + REPLY)).toBe(HEARD + REPLY);
    expect(expected()).toHaveLength(1);
  });

  test("a flood of announcements leaves one expectation", () => {
    for (let port = 40_000; port < 40_200; port++) say(`PORT 202,100,1,2,${port >> 8},${port & 255}\r\n`);
    expect(expected()).toMatchObject([{ client: { port: 40_199 } }]);
    expect(stage.connections()).toHaveLength(2);
  });

  test("nobody but the client of the control connection may come, and only with a SYN", () => {
    say("PASV\r\n");
    answer(REPLY);
    expect(isOpen(`${VIP}:30006`, "202.100.1.9:40000")).toBe(false);
    const ack = tcp({ from: `${CLIENT}:40000`, to: `${VIP}:30006`, flags: "A" });
    expect(stage.send(ack).verdict).not.toBe("to-server");
    expect(isOpen(`${VIP}:30006`)).toBe(true);
  });

  test("nothing may come once the control connection ends, nor after its time", () => {
    say("PASV\r\n");
    answer(REPLY);
    toServer({ flags: "FA" });
    expect(isOpen(`${VIP}:30006`)).toBe(false);
    connect();
    say("PASV\r\n");
    answer(REPLY);
    stage.run(121_000);
    expect([isOpen(`${VIP}:30006`), expected()]).toEqual([false, []]);
  });

  test("after AUTH TLS and 234 nothing is read any more", () => {
    say("AUTH TLS\r\n");
    answer("234 Proceed.\r\n");
    say("PASV\r\n");
    expect(answer(REPLY)).toBe(REPLY);
    expect([expected(), counters().encrypted]).toEqual([[], 1]);
  });

  test("a damaged segment is not read", () => {
    say("PASV\r\n");
    expect(toClient({ flags: "PA", payload: REPLY, checksum: "wrong" }).verdict).toBe("drop application");
    expect([expected(), counters().badChecksum]).toEqual([[], 1]);
  });

  test("a line that never ends is passed on, and what looks like a command in it is none", () => {
    const endless = "227 ".padEnd(LINE_BYTES_MAX + 100, "x");
    say("PASV\r\n");
    let heard = "";
    for (let at = 0; at < endless.length; at += 8)
      heard += answer(endless.slice(at, at + 8)).replaceAll("\0", "");
    heard += answer(`PORT ${REPLY}`);
    expect(heard).toBe(`${endless}PORT ${REPLY}`);
    expect(expected()).toEqual([]);
  });

  test("a segment that grew beyond what every path takes is cut, and the rest comes again", () => {
    say("PASV\r\n");
    const line = "227 ".padEnd(LINE_BYTES_MAX - 12, "x");
    for (let at = 0; at < line.length; at += 50)
      toClient({ flags: "PA", payload: line.slice(at, at + 50), seq: 5001 + at });
    const rest = `\r\n${"x".repeat(98)}`;
    const cut = toClient({ flags: "PFA", payload: rest, seq: 5001 + line.length });
    const heard = textOf(cut.bytes);
    expect(cut.bytes).toHaveLength(576);
    expect(`${line}${rest}`.startsWith(heard)).toBe(true);
    checkPacket(cut.bytes, valid(), tcpFlags("PA"));
    checkPacket(
      toServer({ flags: "A", ack: 5001 + heard.length }).bytes,
      tcpAcknowledgment(5001 + heard.length),
    );
    const again = toClient({
      flags: "PFA",
      payload: rest.slice(heard.length - line.length),
      seq: 5001 + heard.length,
    });
    checkPacket(again.bytes, valid(), tcpFlags("FPA"));
    expect(heard + textOf(again.bytes)).toBe(line + rest);
  });

  test("more changed lines than are remembered wait for an acknowledgment", () => {
    for (let i = 0; i < PIECES_MAX; i++) {
      say("PASV\r\n");
      expect(answer(REPLY)).toBe(HEARD);
    }
    say("PASV\r\n");
    expect(toClient({ flags: "PA", payload: REPLY }).verdict).toBe("to-client"); // the client acknowledged all but one
    stage = new Stage([FTP]);
    connect();
    const [before, unacknowledged] = [seenByClient, PIECES_MAX + 1];
    for (let i = 0; i < unacknowledged; i++) {
      toServer({ flags: "PA", payload: "PASV\r\n", ack: before });
      client += 6;
      const { verdict } = toClient({ flags: "PA", payload: REPLY });
      expect(verdict).toBe(i < PIECES_MAX ? "to-client" : "drop application");
      if (i < PIECES_MAX) server += REPLY.length;
    }
    expect(counters().unacknowledged).toBe(1);
    toServer({ flags: "A", ack: before + HEARD.length });
    expect(textOf(toClient({ flags: "PA", payload: REPLY }).bytes)).toBe(HEARD);
  });
});

test("nobody may come after its time, whether or not the table was looked through", () => {
  say("PASV\r\n");
  answer(REPLY);
  stage.wait(60_000);
  say("NOOP\r\n");
  stage.wait(60_001);
  expect(isOpen(`${VIP}:30006`)).toBe(false);
});

test("a super-packet that becomes shorter than one of its segments is none any more", () => {
  say("EPSV\r\n");
  const line = "229 Extended (|1|172.16.0.3|30001|)\r\n";
  const bytes = tcp({
    from: `${SERVER}:21`,
    to: `${CLIENT}:${PORT}`,
    seq: server,
    ack: seenByServer,
    flags: "PA",
    payload: line,
    checksum: "partial",
  });
  const sent = stage.send(bytes, { isChecksumPartial: true, gso: Gso.tcp4, gsoBytes: 30 });
  checkPacket(sent.bytes, validPartial(), payload("229 Extended (|||30001|)\r\n"));
  expect([stage.packet.gso, stage.packet.gsoBytes]).toEqual([Gso.none, 0]);
});

test("cut in two at every byte, the reply arrives changed and whole, and the server is told what it may go on from", () => {
  for (let cut = 1; cut < REPLY.length; cut++) {
    connect();
    say("PASV\r\n");
    const [head, tail] = [REPLY.slice(0, cut), REPLY.slice(cut)];
    // Held: in its place goes a byte the client has long had, and the answer acknowledges what is held.
    checkPacket(toClient({ flags: "PA", payload: head }).bytes, valid(), tcpSequence(5000), payload("\0"));
    checkPacket(toServer({ flags: "A" }).bytes, valid(), tcpAcknowledgment(5001 + cut));
    const whole = toClient({ flags: "PA", payload: tail, seq: 5001 + cut });
    checkPacket(whole.bytes, valid(), tcpSequence(5001), payload(HEARD));
    // It got lost: the last byte is not acknowledged, and brings all of it again.
    checkPacket(toServer({ flags: "A" }).bytes, tcpAcknowledgment(5001 + cut));
    const last = toClient({ flags: "PA", payload: "\n", seq: 5001 + REPLY.length - 1 });
    checkPacket(last.bytes, valid(), tcpSequence(5001), payload(HEARD));
    checkPacket(
      toServer({ flags: "A", ack: 5001 + HEARD.length }).bytes,
      tcpAcknowledgment(5001 + REPLY.length),
    );
  }
});

test("the control connection lives as long as its data connection, and both are forgotten", () => {
  say("PASV\r\n");
  answer(REPLY);
  const data = { from: `${CLIENT}:40000`, to: `${VIP}:30006` };
  calls(data.from, data.to);
  for (let minutes = 0; minutes < 40; minutes += 10) {
    stage.send(tcp({ from: `${SERVER}:30006`, to: data.from, flags: "A", payload: "data" }));
    stage.run(600_000);
  }
  expect(stage.connections().map(({ state }) => state)).toEqual(["ESTABLISHED", "ESTABLISHED"]);
  stage.run(3_600_000);
  expect(stage.connections()).toEqual([]);
  expect(stage.control.status().applications.find(({ name }) => name === "ftp")!.ports).toEqual([]);
});

test("a group of acknowledgments names no bytes that the server never sent", () => {
  say("PASV\r\n");
  answer(REPLY);
  const block = (left: number, right: number) => {
    const view = new DataView(new ArrayBuffer(12));
    view.setUint32(0, 0x0101_050a);
    view.setUint32(4, left);
    view.setUint32(8, right);
    return [...new Uint8Array(view.buffer)];
  };
  const edges = (left: number, right: number) => {
    const { bytes } = toServer({ flags: "A", ack: 5001, options: block(left, right) });
    checkPacket(bytes, valid());
    const view = new DataView(bytes.buffer);
    return [view.getUint32(44) - 5001, view.getUint32(48) - 5001];
  };
  const [said, heard] = [REPLY.length, HEARD.length];
  expect(edges(5001 + heard, 5001 + heard + 8)).toEqual([said, said + 8]);
  // Half of the changed line is nothing to its sender.
  expect(edges(5001 + 10, 5001 + heard + 8)).toEqual([said, said + 8]);
  expect(edges(5001 + 10, 5001 + 20)).toEqual([said, said]);
});

test("more connections than the engine keeps are passed on unread, and counted", () => {
  const dialoguesMax = Math.floor(STREAM_BYTES_MAX / (2 * streamBytes(LINE_BYTES_MAX)));
  stage = new Stage([FTP], { connectionsMax: dialoguesMax + 16 });
  for (let i = 0; i < dialoguesMax + 2; i++)
    stage.send(tcp({ from: `10.${i >> 14}.1.1:${1024 + (i & 0x3fff)}`, to: `${VIP}:21`, flags: "S" }));
  expect(counters().unattended).toBe(2);
}, 60_000);
