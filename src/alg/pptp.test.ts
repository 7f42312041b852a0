/** PPTP's module: which IDs are changed in which messages, and whose packets pass, through a whole director. */
import { beforeEach, describe, expect, test } from "vitest";
import { census } from "../../test/support/census.ts";
import { bytes, gre, tcp } from "../../test/support/packet-builder.ts";
import { checkPacket, from, to, valid } from "../../test/support/packet-check.ts";
import { PptpMessage as Say } from "../../test/support/pptp-messages.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import type { ServiceConfig } from "../nat/configuration.ts";
import { GRE_CALL_ID_AT } from "../wire/gre.ts";

const CLIENT = "202.100.1.2";
const VIP = "202.103.106.5";
const [A, B] = ["172.16.0.2", "172.16.0.3"];
const FAR = "198.51.100.7";
const POOL = "10.9.0.1";
// Of two servers the newest comes first.
const PPTP: ServiceConfig = {
  ...service("tcp", VIP, 1723, "rr", destination(B, 1723), destination(A, 1723)),
  app: "pptp",
};

let stage: Stage;
beforeEach(() => {
  stage = new Stage([PPTP]);
});
const counters = () => stage.control.status().applications.find(({ name }) => name === "pptp")!.counters;
const callsListed = () => stage.connections().filter(({ protocol }) => protocol === "gre");

/** A control connection, as its ends see it. */
class Control {
  /** Where the server is, and where it sees the client. */
  readonly server: string;
  readonly seen: string;
  readonly #client: string;
  readonly #far: string;
  readonly #seenPort: number;
  readonly #sent = { client: 1, server: 1 };

  constructor(port: number, client = CLIENT, far = VIP, isStarted = true) {
    this.#client = `${client}:${port}`;
    this.#far = `${far}:1723`;
    const { bytes: syn } = stage.send(tcp({ from: this.#client, to: this.#far, flags: "S", seq: 0 }));
    const address = (at: number) => [...syn.subarray(at, at + 4)].join(".");
    this.seen = address(12);
    this.server = address(16);
    this.#seenPort = (syn[20]! << 8) | syn[21]!;
    this.#segment("server", "SA", "", -1);
    this.#segment("client", "A", "");
    if (!isStarted) return;
    this.say(Say.startRequest());
    this.answer(Say.startReply());
  }

  /** @returns what the server hears of it */
  say(text: string): string {
    return this.#segment("client", "PA", text);
  }

  answer(text: string): string {
    return this.#segment("server", "PA", text);
  }

  end(flags: "F" | "R"): void {
    this.#segment("server", `${flags}A`, "");
  }

  #segment(side: "client" | "server", flags: string, text: string, skew = 0): string {
    const sent = this.#sent;
    const other = side === "client" ? "server" : "client";
    const ends = { from: this.#client, to: this.#far };
    if (side === "server") {
      ends.from = `${this.server}:1723`;
      ends.to = `${this.seen}:${this.#seenPort}`;
    }
    const payload = Uint8Array.from(text, (one) => one.charCodeAt(0));
    const { bytes: out } = stage.send(
      tcp({ ...ends, flags, seq: sent[side] + skew, ack: sent[other], payload }),
    );
    sent[side] += text.length;
    if (out.length > 0) checkPacket(out, valid());
    return String.fromCharCode(...out.subarray(40));
  }
}

const data = (source: string, destinationAddress: string, callId: number) =>
  stage.send(gre({ from: source, to: destinationAddress, callId, sequence: 1, payload: bytes(20) }));
/** Whom a packet of a call reaches, with which ID; otherwise what became of it. */
function reaches(source: string, destinationAddress: string, callId: number): string {
  const { verdict, bytes: out } = data(source, destinationAddress, callId);
  if (verdict !== "to-server" && verdict !== "to-client") return verdict;
  checkPacket(out, valid());
  return `${[...out.subarray(16, 20)].join(".")} ${new DataView(out.buffer, out.byteOffset).getUint16(20 + GRE_CALL_ID_AT)}`;
}

describe("a server behind the director", () => {
  test("a call: no ID is changed, and GRE passes both ways", () => {
    const control = new Control(4000);
    expect(control.say(Say.outgoingCallRequest(700))).toBe(Say.outgoingCallRequest(700));
    expect(control.answer(Say.outgoingCallReply(0, 700))).toBe(Say.outgoingCallReply(0, 700));
    expect(control.say(Say.setLinkInfo(0))).toBe(Say.setLinkInfo(0));
    expect(reaches(CLIENT, VIP, 0)).toBe(`${A} 0`);
    expect(reaches(A, CLIENT, 700)).toBe(`${CLIENT} 700`);
    checkPacket(data(A, CLIENT, 700).bytes, from(VIP), to(CLIENT));
    expect(counters()).toMatchObject({ announced: 1, begun: 1, rewritten: 0, failed: 0 });
  });

  test("two servers give one client the same ID: the second one's is shown as another, in every message", () => {
    const [one, two] = [new Control(4000), new Control(4001)];
    expect([one.server, two.server]).toEqual([A, B]);
    one.say(Say.outgoingCallRequest(1));
    one.answer(Say.outgoingCallReply(0, 1));
    two.say(Say.outgoingCallRequest(2));
    expect(two.answer(Say.outgoingCallReply(0, 2))).toBe(Say.outgoingCallReply(1, 2));
    expect(two.say(Say.setLinkInfo(1))).toBe(Say.setLinkInfo(0));
    expect(reaches(CLIENT, VIP, 0)).toBe(`${A} 0`);
    expect(reaches(CLIENT, VIP, 1)).toBe(`${B} 0`);
    expect(two.answer(Say.wanErrorNotify(2))).toBe(Say.wanErrorNotify(2));
    expect(two.say(Say.callClearRequest(2))).toBe(Say.callClearRequest(2));
    expect(two.answer(Say.callDisconnectNotify(0))).toBe(Say.callDisconnectNotify(1));
    expect(reaches(CLIENT, VIP, 1)).toBe("reply");
    expect(reaches(CLIENT, VIP, 0)).toBe(`${A} 0`);
    expect(census(stage.director)).toEqual([]);
  });

  test("the server may place the call", () => {
    const [one, two] = [new Control(4000), new Control(4001)];
    one.answer(Say.incomingCallRequest(5));
    one.say(Say.incomingCallReply(6, 5));
    expect(two.answer(Say.incomingCallRequest(5))).toBe(Say.incomingCallRequest(6));
    expect(two.say(Say.incomingCallReply(7, 6))).toBe(Say.incomingCallReply(7, 5));
    expect(two.answer(Say.incomingCallConnected(7))).toBe(Say.incomingCallConnected(7));
    expect(reaches(CLIENT, VIP, 6)).toBe(`${B} 5`);
    expect(reaches(B, CLIENT, 7)).toBe(`${CLIENT} 7`);
  });

  test("FullNAT: clients' equal IDs are told apart", () => {
    stage = new Stage([{ ...PPTP, fullNat: { sources: [POOL], clients: "all" } }]);
    const controls = [CLIENT, "202.100.1.3", "202.100.1.4"].map((one, k) => new Control(4000 + k, one));
    const heard = controls.map((one) => one.say(Say.outgoingCallRequest(9)));
    expect(heard).toEqual([9, 9, 10].map(Say.outgoingCallRequest));
    expect(controls[2]!.answer(Say.outgoingCallReply(4, 10))).toBe(Say.outgoingCallReply(4, 9));
    expect(reaches(A, POOL, 10)).toBe("202.100.1.4 9");
  });
});

describe("clients behind the director", () => {
  beforeEach(() => {
    stage = new Stage([]);
    stage.apply([], { masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP], apps: ["pptp"] }] });
  });

  test("two with the same ID to one server: the second one's is shown as another, in every message", () => {
    const [one, two] = [new Control(4000, A, FAR), new Control(4000, B, FAR)];
    expect(one.say(Say.outgoingCallRequest(0))).toBe(Say.outgoingCallRequest(0));
    expect(two.say(Say.outgoingCallRequest(0))).toBe(Say.outgoingCallRequest(1));
    expect(one.answer(Say.outgoingCallReply(50, 0))).toBe(Say.outgoingCallReply(50, 0));
    expect(two.answer(Say.outgoingCallReply(51, 1))).toBe(Say.outgoingCallReply(51, 0));
    expect(reaches(FAR, VIP, 0)).toBe(`${A} 0`);
    expect(reaches(FAR, VIP, 1)).toBe(`${B} 0`);
    expect(reaches(A, FAR, 50)).toBe(`${FAR} 50`);
    expect(reaches(B, FAR, 51)).toBe(`${FAR} 51`);
    checkPacket(data(B, FAR, 51).bytes, from(VIP));
    expect(two.answer(Say.wanErrorNotify(1))).toBe(Say.wanErrorNotify(0));
    expect(two.say(Say.callClearRequest(0))).toBe(Say.callClearRequest(1));
    two.answer(Say.callDisconnectNotify(51));
    expect(reaches(FAR, VIP, 1)).toBe("reply");
    expect(reaches(FAR, VIP, 0)).toBe(`${A} 0`);
    expect(census(stage.director)).toEqual([]);
  });

  test("one of them may be who is called", () => {
    const [one, two] = [new Control(4000, A, FAR), new Control(4000, B, FAR)];
    one.answer(Say.incomingCallRequest(1));
    one.say(Say.incomingCallReply(8, 1));
    two.answer(Say.incomingCallRequest(2));
    expect(two.say(Say.incomingCallReply(8, 2))).toBe(Say.incomingCallReply(9, 2));
    expect(two.answer(Say.incomingCallConnected(9))).toBe(Say.incomingCallConnected(8));
    expect(reaches(FAR, VIP, 9)).toBe(`${B} 8`);
    expect(two.say(Say.callDisconnectNotify(8))).toBe(Say.callDisconnectNotify(9));
    expect(reaches(FAR, VIP, 9)).toBe("reply");
  });
});

describe("messages", () => {
  test("several in one segment, and one in several", () => {
    const control = new Control(4000);
    const [request, echo] = [Say.outgoingCallRequest(7), Say.echoRequest()];
    expect(control.say(echo + request)).toBe(echo + request);
    const reply = Say.outgoingCallReply(8, 7);
    const heard = [
      control.answer(reply.slice(0, 5)),
      control.answer(reply.slice(5, 15)),
      control.answer(reply.slice(15)),
    ];
    expect(heard.join("").replace(/^\0*(?=\0 )/, "")).toBe(reply);
    expect(reaches(CLIENT, VIP, 8)).toBe(`${A} 8`);
  });

  test("a call that is refused leaves nothing", () => {
    const control = new Control(4000);
    control.say(Say.outgoingCallRequest(7));
    expect(callsListed()).toHaveLength(1);
    control.answer(Say.outgoingCallReply(8, 7, 4));
    expect(callsListed()).toEqual([]);
    expect(reaches(CLIENT, VIP, 8)).toBe("reply");
  });

  test("an ID that is given anew has a new call", () => {
    const control = new Control(4000);
    control.say(Say.outgoingCallRequest(7));
    control.answer(Say.outgoingCallReply(8, 7));
    control.say(Say.outgoingCallRequest(7));
    expect(reaches(CLIENT, VIP, 8)).toBe("reply");
    control.answer(Say.outgoingCallReply(9, 7));
    expect(reaches(CLIENT, VIP, 9)).toBe(`${A} 9`);
    expect(callsListed()).toHaveLength(1);
  });
});

describe("the end", () => {
  test.each(["F", "R"] as const)("of the control connection, by %s, is the calls'", (flag) => {
    const control = new Control(4000);
    control.say(Say.outgoingCallRequest(7));
    control.answer(Say.outgoingCallReply(8, 7));
    control.say(Say.outgoingCallRequest(17));
    expect(callsListed()).toHaveLength(2);
    control.end(flag);
    expect(callsListed()).toEqual([]);
    expect(reaches(CLIENT, VIP, 8)).toBe("reply");
    expect(census(stage.director)).toEqual([]);
    stage.run(1_000_000);
    expect(stage.connections()).toEqual([]);
  });

  test("nobody else's control connection ends a call", () => {
    const [one, two] = [new Control(4000), new Control(4002, "202.100.1.9")];
    one.say(Say.outgoingCallRequest(7));
    one.answer(Say.outgoingCallReply(8, 7));
    two.answer(Say.callDisconnectNotify(8));
    two.say(Say.callDisconnectNotify(7));
    expect(reaches(CLIENT, VIP, 8)).toBe(`${A} 8`);
  });
});

describe("attacks", () => {
  const isQuiet = () => {
    expect(callsListed()).toEqual([]);
    expect(counters()).toMatchObject({ announced: 0, begun: 0, rewritten: 0, failed: 0 });
  };

  test("before the control connection is started nothing counts", () => {
    const control = new Control(4000, CLIENT, VIP, false);
    control.say(Say.outgoingCallRequest(7));
    control.answer(Say.outgoingCallReply(8, 7));
    control.answer(Say.startReply(4));
    control.say(Say.outgoingCallRequest(7));
    isQuiet();
    // The client cannot say so for its server.
    control.say(Say.startReply());
    control.say(Say.outgoingCallRequest(7));
    isQuiet();
  });

  test("an answer to nothing opens nothing", () => {
    const control = new Control(4000);
    expect(control.answer(Say.outgoingCallReply(8, 7))).toBe(Say.outgoingCallReply(8, 7));
    // Nor does one of whom it is not for.
    control.say(Say.outgoingCallRequest(7));
    control.say(Say.outgoingCallReply(8, 7));
    expect(reaches(CLIENT, VIP, 8)).toBe("reply");
    expect(counters().begun).toBe(0);
  });

  test.each([
    ["HTTP with a message in it", `POST / HTTP/1.1\r\n\r\n${Say.startReply()}${Say.outgoingCallRequest(7)}`],
    ["another magic", Say.outgoingCallRequest(7).replace("\x1a\x2b", "\x1a\x2c")],
    ["a management message", Say.outgoingCallRequest(7).replace("\0\x01\x1a", "\0\x02\x1a")],
    ["a length that is too short", `\0\x20${Say.outgoingCallRequest(7).slice(2)}`],
    ["a length that is too long", `\0\xdc${Say.outgoingCallRequest(7).slice(2)}${"\0".repeat(52)}`],
    ["a length of nothing", `\0\0${Say.outgoingCallRequest(7).slice(2)}`],
    ["a length of 65535", `\xff\xff${Say.outgoingCallRequest(7).slice(2)}`],
    [
      "a request that is hidden in another message",
      `${Say.startRequest().slice(0, 100)}${Say.outgoingCallRequest(7)}`,
    ],
    ["a type that does not exist", Say.outgoingCallRequest(7).replace("\x3c\x4d\0\x07", "\x3c\x4d\0\x17")],
  ])("%s passes unread", (_, text) => {
    const control = new Control(4000);
    expect(control.say(text)).toBe(text);
    isQuiet();
  });

  test("a flood of requests: 64 calls, then no more", () => {
    const control = new Control(4000);
    for (let id = 0; id < 200; id++) control.say(Say.outgoingCallRequest(id));
    expect(callsListed()).toHaveLength(64);
    expect(counters()).toMatchObject({ announced: 64, noPlace: 136 });
    control.answer(Say.outgoingCallReply(8, 63));
    expect(reaches(CLIENT, VIP, 8)).toBe(`${A} 8`);
    expect(census(stage.director)).toEqual([]);
  });

  test("GRE of another host does not reach a call", () => {
    const control = new Control(4000);
    control.say(Say.outgoingCallRequest(7));
    control.answer(Say.outgoingCallReply(8, 7));
    expect(reaches("202.100.1.3", VIP, 8)).toBe("reply");
    expect(reaches(B, CLIENT, 7)).toBe("pass");
    expect(reaches(CLIENT, VIP, 7)).toBe("reply");
  });
});
