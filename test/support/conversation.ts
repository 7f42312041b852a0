/**
 * A connection through a Stage's director: two ends that say things, in order and once, and what is heard of it. Text is a
 * character a byte.
 */
import { formatEndpoint } from "../../src/wire/address.ts";
import { Flow } from "../../src/wire/flow.ts";
import { Packet } from "../../src/wire/packet.ts";
import { tcp, udp } from "./packet-builder.ts";
import { checkPacket, from, type PacketCheck, to, valid, validPartial } from "./packet-check.ts";
import type { Stage } from "./stage.ts";

interface End {
  /** "10.0.0.9:40000" */
  readonly own: string;
  /** As the other end knows it. */
  readonly shown: string;
}

export class Conversation {
  readonly client: End;
  readonly server: End;
  readonly #stage: Stage;
  /** Next numbers, as their senders count them, and as the others have heard them. */
  #clientNext = 1000;
  #serverNext = 5000;
  #heardByServer = 0;
  #heardByClient = 0;

  /** @param client - its own end @param server - as the client knows it */
  constructor(stage: Stage, client: string, server: string) {
    this.#stage = stage;
    const seq = this.#clientNext++;
    const [source, destination] = endsOf(
      stage.send(tcp({ from: client, to: server, flags: "S", seq })).bytes,
    );
    this.client = { own: client, shown: source };
    this.server = { own: destination, shown: server };
    this.#heardByServer = this.#clientNext;
    this.#fromServer("SA", "");
    this.#heardByClient = ++this.#serverNext;
    this.#fromClient("A", "");
  }

  /** The client says something, in segments of so many bytes. @returns what the server hears */
  say(text: string, segmentBytes = text.length): string {
    return piecesOf(text, segmentBytes)
      .map((piece) => {
        const heard = this.#fromClient("PA", piece);
        this.#clientNext += piece.length;
        this.#heardByServer += heard.length;
        this.#fromServer("A", "");
        return heard;
      })
      .join("");
  }

  /** And the server. */
  answer(text: string, segmentBytes = text.length): string {
    return piecesOf(text, segmentBytes)
      .map((piece) => {
        const heard = this.#fromServer("PA", piece);
        this.#serverNext += piece.length;
        this.#heardByClient += heard.length;
        this.#fromClient("A", "");
        return heard;
      })
      .join("");
  }

  /** The client has nothing more to say. */
  finish(): void {
    this.#fromClient("FA", "");
  }

  #fromClient(flags: string, text: string): string {
    const { client, server } = this;
    const payload = bytesOf(text);
    const seq = this.#clientNext;
    const ack = this.#heardByClient;
    const { bytes } = this.#stage.send(tcp({ from: client.own, to: server.shown, flags, seq, ack, payload }));
    this.#check(bytes, from(client.shown), to(server.own));
    return newTextOf(bytes, this.#heardByServer);
  }

  #fromServer(flags: string, text: string): string {
    const { client, server } = this;
    const payload = bytesOf(text);
    const seq = this.#serverNext;
    const ack = this.#heardByServer;
    const { bytes } = this.#stage.send(tcp({ from: server.own, to: client.shown, flags, seq, ack, payload }));
    this.#check(bytes, from(server.shown), to(client.own));
    return newTextOf(bytes, this.#heardByClient);
  }

  /** What grew beyond a segment leaves as a super-packet, for the kernel to finish. */
  #check(bytes: Uint8Array, ...ends: readonly PacketCheck[]): void {
    checkPacket(bytes, this.#stage.packet.isChecksumPartial ? validPartial() : valid(), ...ends);
  }
}

/** Likewise datagrams; the ends are known after the first one of the client's. */
export class DatagramConversation {
  readonly #stage: Stage;
  readonly client: { readonly own: string; shown: string };
  readonly server: { own: string; readonly shown: string };

  constructor(stage: Stage, client: string, server: string) {
    this.#stage = stage;
    this.client = { own: client, shown: client };
    this.server = { own: server, shown: server };
  }

  say(text: string): string {
    const { client, server } = this;
    const { bytes } = this.#stage.send(udp({ from: client.own, to: server.shown, payload: bytesOf(text) }));
    checkPacket(bytes, valid());
    [client.shown, server.own] = endsOf(bytes);
    return datagramTextOf(bytes);
  }

  answer(text: string): string {
    const { client, server } = this;
    const { bytes } = this.#stage.send(udp({ from: server.own, to: client.shown, payload: bytesOf(text) }));
    checkPacket(bytes, valid(), from(server.shown), to(client.own));
    return datagramTextOf(bytes);
  }
}

/** What becomes of a first segment: "from -> to" as it leaves, or the verdict. */
export function call(stage: Stage, source: string, at: string): string {
  const { verdict, bytes } = stage.send(tcp({ from: source, to: at, flags: "S" }));
  if (verdict !== "to-server" && verdict !== "to-client") return verdict;
  checkPacket(bytes, valid());
  return endsOf(bytes).join(" -> ");
}

function endsOf(bytes: Uint8Array): [string, string] {
  const flow = flowOf(bytes);
  const { family, words } = flow;
  return [
    formatEndpoint(family, words, 0, flow.sourcePort),
    formatEndpoint(family, words, 4, flow.destinationPort),
  ];
}

const bytesOf = (text: string): Uint8Array => Buffer.from(text, "latin1");

const piecesOf = (text: string, bytes: number): string[] =>
  Array.from({ length: Math.ceil(text.length / Math.max(1, bytes)) }, (_, i) =>
    text.slice(i * bytes, (i + 1) * bytes),
  );

const datagramTextOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.subarray(flowOf(bytes).transportAt + 8)).toString("latin1");

/**
 * Payload behind headers without options. A byte that was heard long ago only asks for an acknowledgment.
 * @param heard - number of the first byte that was not heard
 */
function newTextOf(bytes: Uint8Array, heard: number): string {
  const { transportAt } = flowOf(bytes);
  const sequence = new DataView(bytes.buffer, bytes.byteOffset).getUint32(transportAt + 4);
  return Buffer.from(bytes.subarray(transportAt + 20 + Math.max(0, heard - sequence))).toString("latin1");
}

function flowOf(bytes: Uint8Array): Flow {
  const packet = new Packet();
  const flow = new Flow();
  if (!packet.load(bytes) || flow.dissect(packet) !== "ok") throw new Error("no packet");
  flow.transportAt -= packet.at;
  return flow;
}
