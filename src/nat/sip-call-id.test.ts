import { expect, test } from "vitest";
import { udp } from "../../test/support/packet-builder.ts";
import { seededRandom } from "../base/seeded-random.ts";
import { Flow } from "../wire/flow.ts";
import { Gso, Packet } from "../wire/packet.ts";
import { type CallId, findCallId } from "./sip-call-id.ts";

const packet = new Packet();
const flow = new Flow();
const found: CallId = { at: 0, length: 0 };

function load(payload: string): void {
  packet.load(
    udp({ from: "198.51.100.7:5060", to: "192.0.2.10:5060", payload: Buffer.from(payload, "latin1") }),
  );
  expect(flow.dissect(packet)).toBe("ok");
}

const text = (at: number, length: number): string =>
  Buffer.from(packet.bytes.subarray(at, at + length)).toString("latin1");

function callIdOf(payload: string): string | undefined {
  load(payload);
  return findCallId(packet, flow, found) ? text(found.at, found.length) : undefined;
}

const request = (...headers: readonly string[]): string =>
  ["OPTIONS sip:a@192.0.2.10 SIP/2.0", ...headers, "", ""].join("\r\n");

test.each([
  ["in any case", request("Via: SIP/2.0/UDP h", "cALL-iD: a84b4c76e66710@pc33.example.com")],
  ["in compact form", request("i: a84b4c76e66710@pc33.example.com")],
  ["in compact form, capital", request("Max-Forwards: 70", "I:a84b4c76e66710@pc33.example.com")],
  ["with whitespace around the colon", request("Call-ID \t : \t a84b4c76e66710@pc33.example.com")],
  ["on a continuation line", request("Call-ID\r\n :\r\n\ta84b4c76e66710@pc33.example.com")],
  ["with lines ended by CR", "OPTIONS x\rCall-ID: a84b4c76e66710@pc33.example.com\r"],
  ["with lines ended by LF", "OPTIONS x\nCall-ID: a84b4c76e66710@pc33.example.com\n"],
  ["right behind a short first line", "SIP/2.0 200 OK\r\nCall-ID: a84b4c76e66710@pc33.example.com\r\n\r\n"],
  ["behind empty lines", `\r\n\r\n${request("i: a84b4c76e66710@pc33.example.com")}`],
  [
    "behind a header that begins like it",
    request("I-Forwarded: x", "Call-Idx: y", "Call-ID: a84b4c76e66710@pc33.example.com"),
  ],
  [
    "behind one without a value",
    request("Call-ID:", "Call-ID: @x", "i: a@", "i: a84b4c76e66710@pc33.example.com"),
  ],
  ["before a second one", request("i: a84b4c76e66710@pc33.example.com", "Call-ID: other")],
])("a Call-ID is found %s", (_, message) => {
  expect(callIdOf(message)).toBe("a84b4c76e66710@pc33.example.com");
});

test("every character of a word is taken", () => {
  const all = "azAZ09-.!%*_+`'~()<>:\\\"/[]?{},@azAZ09-.!%*_+`'~()<>:\\\"/[]?{},";
  expect(callIdOf(request(`Call-ID: ${all}`))).toBe(all);
});

test.each([
  ["there is none", request("Via: SIP/2.0/UDP h")],
  ["the message is empty", ""],
  ["there is a first line only", "Call-ID: abc\r\n"],
  ["it continues another header", request("Subject: x", " Call-ID: abc")],
  ["it is in the body", `${request("Via: v")}i: abc\r\n`],
  ["it ends with the packet", "OPTIONS x\r\nCall-ID: abc"],
  ["something follows it", request("Call-ID: abc ")],
  ["it has a character no word has", request("Call-ID: abc;def")],
  ["it has two domains", request("Call-ID: a@b@c")],
  ["its name has a line end in it", "OPTIONS x\r\nCall\rID: abc\r\n"],
])("no Call-ID is found where %s", (_, message) => {
  expect(callIdOf(message)).toBeUndefined();
});

test("a Call-ID has at most 255 bytes", () => {
  expect(callIdOf(request(`i: ${"x".repeat(255)}`))).toBe("x".repeat(255));
  expect(callIdOf(request(`i: ${"x".repeat(256)}`))).toBeUndefined();
});

test("of merged datagrams the first one counts", () => {
  const first = request("Via: v");
  load(`${first}${request("i: second")}`);
  packet.gso = Gso.udp;
  packet.gsoBytes = first.length;
  expect(findCallId(packet, flow, found)).toBe(false);
  load(`${request("i: first")}${request("i: second")}`);
  packet.gso = Gso.udp;
  packet.gsoBytes = request("i: first").length;
  expect(findCallId(packet, flow, found)).toBe(true);
  expect(text(found.at, found.length)).toBe("first");
});

/** The same rules as regular expressions. */
function expectedCallId(message: string): string | undefined {
  const headers = /^[\r\n]*[^\r\n]*(?:\r\n|\r|\n)((?:[^\r\n]+(?:\r\n|\r|\n|$))*)/.exec(message)?.[1] ?? "";
  const start = message.indexOf(headers, (/^[\r\n]*[^\r\n]*(?:\r\n|\r|\n)/.exec(message) ?? [""])[0].length);
  const space = "(?:[ \\t]|(?:\\r\\n|\\r|\\n)(?=[ \\t]))*";
  const word = "[-.!%*_+`'~()<>:\\\\\"/\\[\\]?{},a-zA-Z0-9]+";
  const header = new RegExp(`(?:call-id|i)${space}:${space}(${word})(@${word})?`, "iy");
  for (const line of headers.matchAll(/[^\r\n]+/g)) {
    header.lastIndex = start + line.index;
    const match = header.exec(message);
    if (match === null) continue;
    const next = message[header.lastIndex];
    if (next === "@" && match[2] === undefined) continue;
    const callId = `${match[1]}${match[2] ?? ""}`;
    return callId.length <= 255 && (next === "\r" || next === "\n") ? callId : undefined;
  }
  return undefined;
}

test("1,000,000 arbitrary messages: nothing throws, and what is found is what the rules say", () => {
  const random = seededRandom(5060);
  const pieces = [
    ..."\r\n \t:@iI;',x\u0000\u00ff",
    ...[
      "\r\n",
      "\r\n",
      "\r\n\r\n",
      "\r\n ",
      "Call-ID",
      "cALL-iD:",
      "i:",
      "i: ",
      "I :",
      "Call-",
      "\r\ni:",
      "\r\nCall-ID: ",
    ],
    ...["abc", "a@b", "Via: SIP/2.0/UDP h", "OPTIONS sip:a SIP/2.0\r\n", "x".repeat(254)],
  ].map((piece) => Uint8Array.from(piece, (character) => character.charCodeAt(0)));
  load("x".repeat(8000));
  const start = flow.transportAt + 8;
  let foundCount = 0;
  for (let count = 0; count < 1_000_000; count++) {
    let end = start;
    for (let left = random() % 16; left > 0; left--) {
      const piece = pieces[random() % pieces.length]!;
      for (const byte of piece) packet.bytes[end++] = byte;
    }
    flow.transportBytes = 8 + end - start;
    const isFound = findCallId(packet, flow, found);
    if (isFound) foundCount++;
    // The slow way for some of those without a Call-ID, and for every one with.
    if (!isFound && count % 20 !== 0) continue;
    const message = text(start, end - start);
    expect(isFound ? text(found.at, found.length) : undefined, JSON.stringify(message)).toBe(
      expectedCallId(message),
    );
  }
  expect(foundCount).toBeGreaterThan(20_000);
});

test("the time is linear: messages of 64 KiB that make a search start over and over", () => {
  for (const piece of [
    "i",
    "i:",
    "i:\n",
    "i\n ",
    "i:\n \n",
    "\r",
    "\n ",
    "Call-ID\r\n\t",
    "i:a@\r\n",
    "Call-ID:x",
  ]) {
    load("x\r\n".padEnd(65_000, piece));
    const before = performance.now();
    findCallId(packet, flow, found);
    // Quadratic would be seconds; linear is well below a millisecond.
    expect(performance.now() - before, JSON.stringify(piece)).toBeLessThan(250);
  }
});
