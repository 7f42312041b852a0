/** The director's own answers to packets: which there are, in whose name, and how many a second. */
import type { RandomU32 } from "../base/environment.ts";
import { type Flow, Protocol } from "../wire/flow.ts";
import type { Packet } from "../wire/packet.ts";
import type { DropReason } from "./drop-reason.ts";
import { type IcmpError, PORT_UNREACHABLE, ReplyMaker } from "./reply.ts";
import { ReplyLimit } from "./reply-limit.ts";
import { DROP, REPLY, type Verdict } from "./verdict.ts";

/** Host's default TTL. */
const DEFAULT_HOPS = 64;

export class Answers {
  /** The director's own address towards the servers, for its ICMP errors to them; by family. */
  readonly ownAddress: { 4: Int32Array | undefined; 6: Int32Array | undefined } = {
    4: undefined,
    6: undefined,
  };
  /** Time of the packet at hand. */
  nowMs: number;
  readonly #replies: ReplyMaker;
  readonly #limit: ReplyLimit;

  /** @param hopChange - 1: the kernel decrements the hops of answers once */
  constructor(hopChange: -1 | 1, perSecond: number, randomU32: RandomU32, nowMs: number) {
    this.nowMs = nowMs;
    this.#replies = new ReplyMaker(hopChange === 1 ? DEFAULT_HOPS + 1 : DEFAULT_HOPS, randomU32());
    this.#limit = new ReplyLimit(perSecond, nowMs);
  }

  set perSecond(count: number) {
    this.#limit.perSecond = count;
  }

  /** Answer an echo request. */
  echo(packet: Packet, flow: Flow): Verdict {
    return this.#replies.echo(packet, flow) ? REPLY : DROP["bad-checksum"];
  }

  /** Tell the sender that there is no such connection: TCP by a reset, everything else by port unreachable. */
  refuse(packet: Packet, flow: Flow, otherwise: DropReason): Verdict {
    if (flow.protocol !== Protocol.tcp) return this.error(packet, flow, PORT_UNREACHABLE, 0, otherwise);
    if (!this.#limit.take(this.nowMs)) return DROP[otherwise];
    return this.#replies.reset(packet, flow) ? REPLY : DROP[otherwise];
  }

  /**
   * An ICMP error in the name of the address the packet went to.
   * @param otherwise - when none may be sent
   */
  error(packet: Packet, flow: Flow, kind: IcmpError, rest: number, otherwise: DropReason): Verdict {
    if (!this.#limit.take(this.nowMs)) return DROP[otherwise];
    return this.#replies.error(packet, flow, kind, rest) ? REPLY : DROP[otherwise];
  }

  /** An ICMP error in the director's own name. */
  ownError(packet: Packet, flow: Flow, kind: IcmpError, rest: number, otherwise: DropReason): Verdict {
    const source = this.ownAddress[flow.family];
    if (source === undefined || !this.#limit.take(this.nowMs)) return DROP[otherwise];
    return this.#replies.error(packet, flow, kind, rest, source, 0) ? REPLY : DROP[otherwise];
  }
}
