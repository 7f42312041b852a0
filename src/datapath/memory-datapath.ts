/**
 * Packets from and to arrays: the datapath of tests, simulations and replays. Like a device it takes whole packets only and
 * cuts those that arrived in fragments, or that are too large for where they go.
 */
import { Fragmenter } from "../wire/fragment.ts";
import { Packet } from "../wire/packet.ts";
import type { Datapath } from "./datapath.ts";

/** Packets offered and not yet received. */
const QUEUE_MAX = 4096;

export class MemoryDatapath implements Datapath {
  readonly #waiting: Uint8Array[] = [];
  #sent: Uint8Array[] = [];
  readonly #fragmenter = new Fragmenter();
  readonly #piece = new Packet();

  /** Let an IP packet arrive. @returns false when too many wait, or it is larger than a packet can be. */
  offer(bytes: Uint8Array): boolean {
    if (this.#waiting.length >= QUEUE_MAX || bytes.length > this.#piece.bytes.length - this.#piece.at)
      return false;
    this.#waiting.push(bytes);
    return true;
  }

  receive(packet: Packet): boolean {
    const bytes = this.#waiting.shift();
    return bytes !== undefined && packet.load(bytes);
  }

  transmit(packet: Packet): boolean {
    const { fragmentBytesMax } = packet;
    if (fragmentBytesMax === 0 || packet.length <= fragmentBytesMax) {
      this.#sent.push(packet.toBytes().slice());
      return true;
    }
    if (!this.#fragmenter.start(packet, fragmentBytesMax)) return false;
    while (this.#fragmenter.next(this.#piece)) this.#sent.push(this.#piece.toBytes().slice());
    return true;
  }

  /** What was sent since it was last asked, as copies. */
  take(): Uint8Array[] {
    const sent = this.#sent;
    this.#sent = [];
    return sent;
  }
}
