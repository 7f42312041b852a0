import { beforeEach, describe, expect, test } from "vitest";
import { bytes, type TcpFields, tcp } from "../../test/support/packet-builder.ts";
import {
  checkPacket,
  payload,
  tcpAcknowledgment,
  tcpFlags,
  tcpSequence,
  valid,
  validPartial,
} from "../../test/support/packet-check.ts";
import { parseAddress } from "../wire/address.ts";
import { Flow } from "../wire/flow.ts";
import { Gso, Packet } from "../wire/packet.ts";
import { ConnectionFlag, ConnectionTable } from "./connection-table.ts";
import { proxyHeaderBytes, proxyToClient, proxyToServer } from "./proxy-protocol.ts";

const CLIENT = "198.51.100.7:40000";
const VIRTUAL = "192.0.2.10:443";
const SERVER = "10.0.0.21";
const HEADER = "0d0a0d0a 000d0a51 5549540a 2111000c c6336407 c000020a 9c4001bb".replaceAll(" ", "");
const CLIENT6 = "[2001:db8::7]:40000";
const VIRTUAL6 = "[2001:db8:1::10]:443";
const HEADER6 =
  "0d0a0d0a 000d0a51 5549540a 21210024 20010db8 00000000 00000000 00000007 20010db8 00010000 00000000 00000010 9c4001bb".replaceAll(
    " ",
    "",
  );
const F = 1001;
const N = 28;

const packet = new Packet();
const flow = new Flow();
let table: ConnectionTable;
let record: number;

const hex = (part: Uint8Array): string => Buffer.from(part).toString("hex");
const fromHex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"));
const withHeader = (data: Uint8Array | string): Uint8Array =>
  Uint8Array.from([
    ...fromHex(HEADER),
    ...(typeof data === "string" ? new TextEncoder().encode(data) : data),
  ]);

function load(made: Uint8Array, fields: Partial<TcpFields> = {}): void {
  packet.load(made);
  packet.isChecksumPartial = fields.checksum === "partial";
  expect(flow.dissect(packet)).toBe("ok");
}

function connect(client: string, virtual: string, server: string): void {
  load(tcp({ from: client, to: virtual, flags: "S", seq: F - 1 }));
  table = new ConnectionTable(4, [1, 2], 0);
  record = table.insert(flow, parseAddress(server)!.words, 8443, 0, 40000, 0);
  table.setFlag(record, ConnectionFlag.proxy, true);
}

/** A segment from the client, as it reaches the server; undefined: dropped. */
function toServer(fields: Partial<TcpFields>): Uint8Array | undefined {
  load(tcp({ from: CLIENT, to: VIRTUAL, seq: F, ack: 5001, ...fields }), fields);
  if (!proxyToServer(packet, flow, table, record)) return undefined;
  // The flow must still say what is in the packet, because it is rewritten next.
  const again = new Flow();
  const copy = new Packet();
  copy.load(packet.toBytes());
  expect(again.dissect(copy)).toBe("ok");
  expect(flow.transportAt - packet.at).toBe(again.transportAt - copy.at);
  expect(flow.transportBytes).toBe(again.transportBytes);
  return packet.toBytes().slice();
}

/** A segment from the server, as it reaches the client. */
function toClient(fields: Partial<TcpFields>): Uint8Array {
  load(tcp({ from: `${SERVER}:8443`, to: CLIENT, seq: 5001, ...fields }), fields);
  proxyToClient(packet, flow, table, record);
  return packet.toBytes().slice();
}

const accept = (): Uint8Array => toClient({ flags: "SA", seq: 5000, ack: F });
const acknowledge = (): Uint8Array => toClient({ ack: F + N });
const isPending = (): boolean => table.hasFlag(record, ConnectionFlag.proxyPending);

beforeEach(() => connect(CLIENT, VIRTUAL, SERVER));

describe("the header", () => {
  test("goes with the handshake's last segment, for a server that speaks first", () => {
    accept();
    checkPacket(toServer({})!, valid(), tcpSequence(F), tcpFlags("A"), payload(withHeader("")));
  });

  test("goes with every segment at the stream's beginning until the server has it, and never again", () => {
    accept();
    toServer({});
    for (const fields of [{ payload: "GET /" }, { payload: "GET / HTTP/1.1" }, { flags: "FA", payload: "x" }])
      checkPacket(toServer(fields)!, valid(), tcpSequence(F), payload(withHeader(fields.payload)));
    toClient({ ack: F + N - 1 });
    expect(isPending()).toBe(true);
    acknowledge();
    expect(isPending()).toBe(false);
    checkPacket(toServer({ payload: "GET /" })!, valid(), tcpSequence(F + N), payload("GET /"));
  });

  test("of IPv6 has 52 bytes", () => {
    connect(CLIENT6, VIRTUAL6, "2001:db8:2::21");
    load(tcp({ from: "[2001:db8:2::21]:8443", to: CLIENT6, flags: "SA", ack: F }));
    proxyToClient(packet, flow, table, record);
    const extensions = [{ header: 60, body: [0, 1, 4, 0, 0, 0, 0] }];
    load(tcp({ from: CLIENT6, to: VIRTUAL6, seq: F, payload: "hello", extensions, options: [1, 1, 1, 1] }));
    const nextHeader = flow.nextHeaderAt - packet.at;
    expect(proxyToServer(packet, flow, table, record)).toBe(true);
    expect(flow.nextHeaderAt - packet.at).toBe(nextHeader);
    const wanted = Uint8Array.from([...fromHex(HEADER6), ...new TextEncoder().encode("hello")]);
    checkPacket(packet.toBytes(), valid(), tcpSequence(F), payload(wanted));
    expect(proxyHeaderBytes(6)).toBe(52);
  });

  test("is covered by length alone where the checksum is left to the device", () => {
    accept();
    checkPacket(
      toServer({ checksum: "partial", payload: "hello" })!,
      validPartial(),
      payload(withHeader("hello")),
    );
  });

  test("moves the urgent pointer, which counts from it", () => {
    accept();
    for (const [before, after] of [
      [3, 3 + N],
      [0xfff0, 0xffff],
    ] as const) {
      const made = toServer({ flags: "AU", urgentPointer: before, payload: "abc" })!;
      checkPacket(made, valid());
      expect((made[38]! << 8) | made[39]!).toBe(after);
    }
  });

  test("leaves a wrong checksum wrong", () => {
    accept();
    expect(() => checkPacket(toServer({ checksum: "wrong", payload: "hello" })!, valid())).toThrow(
      /checksum/,
    );
  });

  test("fits below 64 KiB or the packet is dropped unchanged", () => {
    accept();
    const most = bytes(65_535 - 40 - N);
    packet.gso = Gso.tcp4;
    checkPacket(toServer({ payload: most })!, valid(), payload(withHeader(most)));
    expect(toServer({ payload: bytes(most.length + 1) })).toBeUndefined();
    checkPacket(packet.toBytes(), valid(), payload(bytes(most.length + 1)));
  });
});

describe("the client's other segments", () => {
  test("are numbered as if the header had been the client's", () => {
    accept();
    checkPacket(toServer({ seq: F + 5, payload: "more" })!, valid(), tcpSequence(F + 5 + N), payload("more"));
    checkPacket(toServer({ seq: F + 5, checksum: "partial" })!, validPartial(), tcpSequence(F + 5 + N));
  });

  test("may ask for an acknowledgment, but bring nothing that would stand in the header's place", () => {
    accept();
    checkPacket(toServer({ seq: F - 1 })!, valid(), tcpSequence(F - 1), payload(""));
    checkPacket(toServer({ seq: F - 1, payload: "?" })!, valid(), tcpSequence(F - 1), payload("?"));
    const forged = Uint8Array.from([0, ...fromHex(HEADER)]);
    expect(toServer({ seq: F - 1, payload: forged })).toBeUndefined();
    checkPacket(packet.toBytes(), valid(), tcpSequence(F - 1), payload(forged));
  });

  test("ask for one as the server counts, once the header is there", () => {
    accept();
    acknowledge();
    checkPacket(toServer({ seq: F - 1 })!, valid(), tcpSequence(F - 1 + N));
  });

  test("reset with the number the server expects next, as far as it is known", () => {
    accept();
    checkPacket(toServer({ flags: "R" })!, valid(), tcpSequence(F), payload(""));
    checkPacket(toServer({ flags: "R", seq: F + 9 })!, valid(), tcpSequence(F + 9 + N), payload(""));
    acknowledge();
    checkPacket(toServer({ flags: "RA" })!, valid(), tcpSequence(F + N), payload(""));
  });

  test("lose the data of a SYN, nothing else of it", () => {
    const options = [2, 4, 5, 180, 34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0];
    for (const data of ["GET /", bytes(64)]) {
      const made = toServer({ flags: "S", seq: F - 1, payload: data, options })!;
      checkPacket(made, valid(), tcpSequence(F - 1), payload(""));
      expect(hex(made.subarray(40))).toBe(hex(Uint8Array.from(options)));
    }
    load(
      tcp({ from: CLIENT, to: VIRTUAL, flags: "S", seq: F - 1, payload: bytes(3000), checksum: "partial" }),
    );
    packet.isChecksumPartial = true;
    packet.gso = Gso.tcp4;
    packet.gsoBytes = 1460;
    expect(proxyToServer(packet, flow, table, record)).toBe(true);
    expect([packet.gso, packet.gsoBytes, packet.length]).toEqual([Gso.none, 0, 40]);
    const partial = { flags: "S", seq: F - 1, payload: "odd", checksum: "partial" } as const;
    checkPacket(toServer(partial)!, validPartial(), payload(""));
  });

  test("are dropped unchanged when their header is not one", () => {
    accept();
    for (const offset of [4, 15]) {
      const broken = tcp({ from: CLIENT, to: VIRTUAL, seq: F });
      broken[32] = offset << 4;
      load(broken);
      expect(proxyToServer(packet, flow, table, record)).toBe(false);
      expect(hex(packet.toBytes())).toBe(hex(broken));
    }
  });
});

describe("the server's segments", () => {
  test("acknowledge what the client sent, never less than its SYN", () => {
    accept();
    checkPacket(toClient({ ack: F }), valid(), tcpAcknowledgment(F));
    checkPacket(toClient({ ack: F + 10 }), valid(), tcpAcknowledgment(F));
    checkPacket(toClient({ ack: F + N }), valid(), tcpAcknowledgment(F));
    checkPacket(toClient({ ack: F + N + 10, payload: "yes" }), valid(), tcpAcknowledgment(F + 10));
    checkPacket(
      toClient({ ack: F + N + 11, checksum: "partial" }),
      validPartial(),
      tcpAcknowledgment(F + 11),
    );
  });

  test("offer segments that leave room for the header, wherever the option stands", () => {
    for (const options of [
      [2, 4, 5, 180, 1, 1, 4, 2],
      [1, 2, 4, 5, 180, 4, 2, 0],
    ]) {
      const made = toClient({ flags: "SA", ack: F, options });
      checkPacket(made, valid(), tcpAcknowledgment(F));
      const wanted = hex(Uint8Array.from(options)).replace("05b4", (1460 - N).toString(16).padStart(4, "0"));
      expect(hex(made.subarray(40))).toBe(wanted);
    }
  });

  test("refuse a connection as the server did", () => {
    checkPacket(toClient({ flags: "RA", seq: 0, ack: F }), valid(), tcpAcknowledgment(F), tcpFlags("RA"));
  });

  test("are left alone where their options are broken", () => {
    accept();
    for (const options of [
      [5, 1, 0, 0],
      [5, 40, 0, 0],
      [5, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]) {
      const made = toClient({ ack: F + N, options });
      checkPacket(made, valid(), tcpAcknowledgment(F));
      expect([...made.subarray(40, 40 + options.length)]).toEqual(options);
    }
  });

  const block = ([left, right]: readonly [number, number]): number[] => {
    const view = new DataView(new ArrayBuffer(8));
    view.setUint32(0, left);
    view.setUint32(4, right);
    return [...new Uint8Array(view.buffer)];
  };
  for (const [name, given, wanted] of [
    ["data", [F + N + 10, F + N + 20], [F + 10, F + 20]],
    ["the header repeated", [F, F + N], [F, F]],
    ["a part of the header", [F + 4, F + 9], [F, F]],
    ["the header and data", [F, F + N + 10], [F, F + 10]],
    ["data up to the wrap of sequence numbers", [2 ** 32 - 4, 12], [2 ** 32 - 4 - N, 2 ** 32 + 12 - N]],
  ] as const) {
    test(`report ${name} in the client's numbers`, () => {
      accept();
      for (const padding of [[1, 1], [1]]) {
        const options = [...padding, 5, 18, ...block(given), ...block([F + N + 50, F + N + 60])];
        const made = toClient({ ack: F + N, options });
        checkPacket(made, valid(), tcpAcknowledgment(F));
        const blocks = [...block(wanted), ...block([F + 50, F + 60])];
        expect([...made.subarray(40 + padding.length + 2, 40 + padding.length + 18)]).toEqual(blocks);
      }
    });
  }
});

describe("numbers that wrap", () => {
  test("a stream that begins at zero has its header", () => {
    toClient({ flags: "SA", ack: 0 });
    checkPacket(toServer({ seq: 0, payload: "x" })!, valid(), tcpSequence(0), payload(withHeader("x")));
    checkPacket(toServer({ seq: 2 ** 32 - 1 })!, valid(), tcpSequence(2 ** 32 - 1), payload(""));
  });

  test("a stream that begins right before zero goes on behind it", () => {
    toClient({ flags: "SA", ack: 2 ** 32 - 8 });
    checkPacket(toServer({ seq: 2, payload: "x" })!, valid(), tcpSequence(2 + N), payload("x"));
    checkPacket(toClient({ ack: N - 9 }), valid(), tcpAcknowledgment(2 ** 32 - 8));
    checkPacket(toClient({ ack: 2 + N }), valid(), tcpAcknowledgment(2));
  });

  test("after 2 and 4 GiB nothing is taken for the beginning again", () => {
    accept();
    acknowledge();
    for (const seq of [F + 2 ** 31, F - 1, F, F + 5]) {
      checkPacket(toServer({ seq, payload: "x" })!, valid(), tcpSequence(seq + N), payload("x"));
      checkPacket(toClient({ ack: seq + N }), valid(), tcpAcknowledgment(seq));
    }
  });
});

test("a connection that never showed its beginning is only renumbered, both ways", () => {
  checkPacket(toServer({ seq: 77, payload: "x" })!, valid(), tcpSequence(77 + N), payload("x"));
  checkPacket(toClient({ ack: 78 + N }), valid(), tcpAcknowledgment(78));
  expect(isPending()).toBe(false);
});

test("a server that did not forget its old connection is reset by a client that did", () => {
  accept();
  acknowledge();
  // A new SYN; the server answers that it still expects 4000 of the old stream; the client resets at what it was told.
  toServer({ flags: "S", seq: 900_000 });
  checkPacket(toClient({ ack: 4000 }), valid(), tcpAcknowledgment(4000 - N));
  checkPacket(toServer({ flags: "R", seq: 4000 - N })!, valid(), tcpSequence(4000));
});
