/** A TCP connection through a Stage's director: two ends that say things, whole, in order and once, and what is heard of it. */
import { formatEndpoint } from "../../src/wire/address.ts";
import { Flow } from "../../src/wire/flow.ts";
import { Packet } from "../../src/wire/packet.ts";
import { tcp } from "./packet-builder.ts";
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

  /** The client says something. @returns what the server hears */
  say(text: string): string {
    const heard = this.#fromClient("PA", text);
    this.#clientNext += text.length;
    this.#heardByServer += heard.length;
    this.#fromServer("A", "");
    return heard;
  }

  /** And the server. */
  answer(text: string): string {
    const heard = this.#fromServer("PA", text);
    this.#serverNext += text.length;
    this.#heardByClient += heard.length;
    this.#fromClient("A", "");
    return heard;
  }

  /** The client has nothing more to say. */
  finish(): void {
    this.#fromClient("FA", "");
  }

  #fromClient(flags: string, payload: string): string {
    const { client, server } = this;
    const seq = this.#clientNext;
    const ack = this.#heardByClient;
    const { bytes } = this.#stage.send(tcp({ from: client.own, to: server.shown, flags, seq, ack, payload }));
    this.#check(bytes, from(client.shown), to(server.own));
    return newTextOf(bytes, this.#heardByServer);
  }

  #fromServer(flags: string, payload: string): string {
    const { client, server } = this;
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
