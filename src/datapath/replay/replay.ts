/**
 * Running the director over packets that arrived some other time: from a capture, a test, a simulation. Time comes with
 * the packets; the director is the router here, so it decrements TTL itself.
 */
import { type Milliseconds, milliseconds } from "../../base/environment.ts";
import type { Director } from "../../nat/director.ts";
import type { Verdict } from "../../nat/verdict.ts";
import { Flow } from "../../wire/flow.ts";
import { Packet } from "../../wire/packet.ts";
import { MemoryDatapath } from "../memory-datapath.ts";

/** The director's two faces. */
export type Side = "client" | "server";

export interface Arrival {
  readonly side: Side;
  readonly timestampMs: number;
  /** One IP packet; link-layer padding behind it is allowed. */
  readonly bytes: Uint8Array;
}

export interface Departure {
  readonly side: Side;
  readonly timestampMs: number;
  /** One IP packet. */
  readonly bytes: Uint8Array;
}

export interface Outcome {
  readonly arrival: Arrival;
  readonly verdict: Verdict;
  /** None for a drop or a held fragment; several when the packet was cut. */
  readonly departures: readonly Departure[];
}

export class Replay {
  readonly #director: Director;
  readonly #datapath = new MemoryDatapath();
  readonly #packet = new Packet();
  readonly #flow = new Flow();
  #originMs: number | undefined;
  #nowMs = 0;

  /** @param director - made with `hopChange: -1` and `now: 0` */
  constructor(director: Director) {
    this.#director = director;
  }

  /** The director's clock: milliseconds since the first arrival; it never runs backwards, whatever a capture says. */
  get now(): Milliseconds {
    return milliseconds(this.#nowMs);
  }

  feed(arrival: Arrival): Outcome {
    this.#originMs ??= arrival.timestampMs;
    this.#nowMs = Math.max(this.#nowMs, arrival.timestampMs - this.#originMs);
    const director = this.#director;
    director.advance(this.now);
    const packet = this.#packet;
    if (!this.#datapath.offer(arrival.bytes) || !this.#datapath.receive(packet))
      throw new RangeError(`a packet of ${arrival.bytes.length} bytes is no IP packet`);
    const verdict = director.receive(packet, this.now);
    if (verdict.kind === "held" || verdict.kind === "drop") return { arrival, verdict, departures: [] };
    const side = this.#sideOf(packet, verdict, arrival.side);
    this.#datapath.transmit(packet);
    const departures = this.#datapath
      .take()
      .map((bytes): Departure => ({ side, timestampMs: arrival.timestampMs, bytes }));
    return { arrival, verdict, departures };
  }

  /** Where a router would send it: real servers are on the server side, everybody else on the client side. */
  #sideOf(packet: Packet, verdict: Verdict, arrivedOn: Side): Side {
    if (verdict.kind === "to-server") return "server";
    if (verdict.kind === "reply") return arrivedOn;
    const flow = this.#flow;
    if (flow.dissect(packet) !== "ok") return "client";
    for (const destination of this.#director.services.destinations()) {
      const { words } = destination;
      if ([0, 1, 2, 3].every((i) => words[i] === flow.words[4 + i])) return "server";
    }
    return "client";
  }
}
