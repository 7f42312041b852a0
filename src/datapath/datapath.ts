/**
 * The contract between the director and the world: where packets come from and where they go. The director's loop is
 * the same for Linux TUN, for captures and for tests.
 */
import type { Packet } from "../wire/packet.ts";

export interface Datapath {
  /**
   * Receive one packet into `packet` (its metadata is set by the datapath). Never blocks.
   * @returns false when nothing is waiting.
   */
  receive(packet: Packet): boolean;
  /**
   * Send one IP packet. A packet with `fragmentBytesMax` is cut again; a full queue is a counted loss, not an error.
   * @returns false if the packet was refused (counted by the datapath).
   */
  transmit(packet: Packet): boolean;
}
