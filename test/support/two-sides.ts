/**
 * A client and a server with a director between them, for tests of application modules: what one says, and what the other
 * hears. In three situations: the server is behind a virtual address, the client goes out through a masquerade rule, or the
 * server is behind a virtual address and sees its clients at an address of the director's (full NAT).
 */
import type { Side } from "../../src/alg/engine/module.ts";
import type { ApplicationCounters } from "../../src/nat/contracts/application.ts";
import type { Director } from "../../src/nat/director.ts";
import { tcp, udp } from "./packet-builder.ts";
import { checkPacket, from, readFacts, to, valid } from "./packet-check.ts";
import { destination, service } from "./replayed.ts";
import { Stage } from "./stage.ts";

export type Situation = "virtual" | "masquerade" | "full NAT";
export const SITUATIONS: readonly Situation[] = ["virtual", "masquerade", "full NAT"];

export const VIRTUAL = "202.103.106.5";
export const OUTSIDE = "202.100.1.2";
export const SERVER = "172.16.0.3";
export const INSIDE = "172.16.0.2";
export const POOL = "172.16.0.250";
/** Who has nothing to do with it, outside. */
export const STRANGER = "203.0.113.66";
export const CLIENT_PORT = 34_000;

interface End {
  /** Address and port. */
  readonly own: string;
  readonly shown: string;
}

export interface TwoSidesOptions {
  /** Default: CLIENT_PORT. */
  readonly clientPort?: number;
  /** Port of the virtual service, where it is not the server's. */
  readonly virtualPort?: number;
  /** Before the connection begins. */
  readonly begin?: (director: Director) => void;
}

export class TwoSides {
  readonly stage: Stage;
  readonly client: End;
  readonly server: End;
  readonly #isTcp: boolean;
  readonly #name: string;
  /** Of what each side sends, and what it has heard of the other. */
  readonly #sent = { client: 1000, server: 5000 };
  readonly #heard = { client: 0, server: 0 };

  constructor(
    situation: Situation,
    name: string,
    protocol: "tcp" | "udp",
    port: number,
    { clientPort = CLIENT_PORT, virtualPort = port, begin }: TwoSidesOptions = {},
  ) {
    this.#isTcp = protocol === "tcp";
    this.#name = name;
    if (situation === "masquerade") {
      this.stage = new Stage([]);
      this.stage.apply([], {
        masquerade: [{ from: ["172.16.0.0/24"], sources: [VIRTUAL], apps: [name] }],
      });
      this.client = { own: `${INSIDE}:${clientPort}`, shown: `${VIRTUAL}:${clientPort}` };
      this.server = { own: `${OUTSIDE}:${port}`, shown: `${OUTSIDE}:${port}` };
    } else {
      const isFull = situation === "full NAT";
      const config = {
        ...service(protocol, VIRTUAL, virtualPort, "rr", destination(SERVER, port)),
        app: name,
        ...(isFull && { fullNat: { sources: [POOL], clients: "all" as const } }),
      };
      this.stage = new Stage([config]);
      this.client = {
        own: `${OUTSIDE}:${clientPort}`,
        shown: `${isFull ? POOL : OUTSIDE}:${clientPort}`,
      };
      this.server = { own: `${SERVER}:${port}`, shown: `${VIRTUAL}:${virtualPort}` };
    }
    begin?.(this.stage.director);
    if (this.#isTcp) this.#shakeHands();
  }

  /** @returns the payload that arrives; empty: none does */
  say(side: Side, what: string | Uint8Array): Uint8Array {
    const payload = typeof what === "string" ? Buffer.from(what, "latin1") : what;
    const bytes = this.#isTcp
      ? this.#segment(side, "PA", payload)
      : this.stage.send(udp({ from: this.#here(side), to: this.#there(side), payload })).bytes;
    if (bytes.length === 0) return bytes;
    checkPacket(bytes, valid(), from(this.#shown(side)), to(this.#own(side)));
    if (!this.#isTcp) return bytes.subarray(28);
    this.#sent[side] += payload.length;
    // What asks for an acknowledgment in place of bytes that are held repeats one.
    const listener = side === "client" ? "server" : "client";
    const sequence = new DataView(bytes.buffer, bytes.byteOffset).getUint32(24);
    const heard = bytes.subarray(40 + this.#heard[listener] - sequence);
    this.#heard[listener] += heard.length;
    return heard;
  }

  /** The client's end of a TCP connection. */
  close(): void {
    this.#segment("client", "FA");
    this.#sent.client++;
    this.#heard.server++;
    this.#segment("server", "FA");
    this.#sent.server++;
    this.#heard.client++;
    this.#segment("client", "A");
  }

  /** What becomes of a first datagram (or SYN), as "source destination", or why it does not arrive. */
  first(source: string, at: string, protocol: "tcp" | "udp" = "udp"): string {
    const packet =
      protocol === "udp"
        ? udp({ from: source, to: at, payload: "media" })
        : tcp({ from: source, to: at, flags: "S" });
    const sent = this.stage.send(packet);
    if (sent.verdict === "reply" || sent.bytes.length === 0) return sent.verdict;
    checkPacket(sent.bytes, valid());
    const facts = readFacts(sent.bytes);
    if (typeof facts === "string") throw new Error(facts);
    const port = (at: number) => facts.view.getUint16(facts.at + at);
    return `${facts.source}:${port(0)} ${facts.destination}:${port(2)}`;
  }

  get counters(): ApplicationCounters {
    return this.stage.control.status().applications.find(({ name }) => name === this.#name)!.counters;
  }

  #shakeHands(): void {
    this.#segment("client", "S");
    this.#sent.client++;
    this.#heard.server = this.#sent.client;
    this.#segment("server", "SA");
    this.#sent.server++;
    this.#heard.client = this.#sent.server;
    this.#segment("client", "A");
  }

  #segment(side: Side, flags: string, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
    const ack = flags === "S" ? 0 : this.#heard[side];
    return this.stage.send(
      tcp({ from: this.#here(side), to: this.#there(side), flags, seq: this.#sent[side], ack, payload }),
    ).bytes;
  }

  // A side sends from its own end to what is shown of the other.
  readonly #here = (side: Side): string => this[side].own;
  readonly #there = (side: Side): string => this[side === "client" ? "server" : "client"].shown;
  readonly #shown = (side: Side): string => this[side].shown;
  readonly #own = (side: Side): string => this[side === "client" ? "server" : "client"].own;
}

/** Bytes from text in hexadecimal, numbers and text in quotes apart by blanks: `ff 09 "game" 00`. */
export function hex(text: string): Uint8Array {
  const parts = text.match(/"[^"]*"|[0-9a-f]{2}/gi) ?? [];
  return Uint8Array.from(
    Buffer.concat(
      parts.map((part) =>
        part.startsWith('"') ? Buffer.from(part.slice(1, -1), "latin1") : Buffer.from(part, "hex"),
      ),
    ),
  );
}
