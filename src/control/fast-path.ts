/**
 * The fast path in the datapath thread: opened if this kernel allows it, attached to the host's interfaces, told of routes,
 * and its absence explained in one line.
 */
import { EbpfFlowCache } from "../datapath/ebpf/flow-cache.ts";
import { Pins } from "../datapath/ebpf/kernel/pins.ts";
import { obstacleOf, reasonOf } from "../datapath/ebpf/probe.ts";
import type { WayOut } from "../datapath/ebpf/way.ts";
import { SystemCallError } from "../datapath/system-call.ts";
import { addressToBytes } from "../datapath/tun/netlink/message.ts";
import { Rtnetlink } from "../datapath/tun/netlink/rtnetlink.ts";
import type { Director } from "../nat/director.ts";
import { formatAddress } from "../wire/address.ts";
import type { FastPathMode, FastPathStatus, Paths } from "./datapath-protocol.ts";
import { FastPathInterfaces } from "./fast-path-interfaces.ts";

export class FastPath {
  readonly #director: Director;
  /** Index of the TUN device, by which the director's packets go out and none may be sent. */
  readonly #device: number;
  readonly #rtnetlink = new Rtnetlink();
  readonly #cache: EbpfFlowCache | undefined;
  readonly #interfaces: FastPathInterfaces;
  readonly #whyNot: FastPathStatus;
  #links: Paths["links"] = [];
  #mtuBytesMax = 0;
  #routing = "";

  /**
   * @param pinDirectory - where it outlives the process, and where the one before left its own; undefined: nowhere
   * @param onMessage - gets a line for the operator whenever something does not work as it might, or has changed
   */
  constructor(
    director: Director,
    device: number,
    mode: FastPathMode,
    pinDirectory: string | undefined,
    onMessage: (message: string, kind: "warning" | "note") => void,
  ) {
    this.#interfaces = new FastPathInterfaces(onMessage);
    this.#director = director;
    this.#device = device;
    this.#whyNot = { state: "off" };
    if (mode === "off") {
      if (pinDirectory !== undefined) Pins.clear(pinDirectory);
      return;
    }
    try {
      this.#cache = new EbpfFlowCache({
        table: director.connections,
        findWay: (family, words, at, source, sourceAt) => {
          return this.#findWay(
            family,
            formatAddress(family, words, at),
            formatAddress(family, source, sourceAt),
          );
        },
        // The director's clock is the kernel's.
        originNs: 0,
        routedAs: device,
        onWarning: (message) => onMessage(message, "warning"),
        ...(pinDirectory !== undefined && { pinDirectory }),
      });
      director.cached.cache = this.#cache;
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      this.#whyNot = { state: "unavailable", obstacle: obstacleOf(error), reason: reasonOf(error) };
      // Nobody is there any more who would tell the program of the process before what has changed.
      if (pinDirectory !== undefined) Pins.clear(pinDirectory);
    }
  }

  get status(): FastPathStatus {
    if (this.#cache === undefined) return this.#whyNot;
    const { cached, delegations } = this.#director;
    const { count: delegated, begunCount: begun } = delegations;
    const ofDirector = { suspendedBy: cached.suspensions, delegated, begun };
    return { state: "on", ...ofDirector, ...this.#interfaces.status, ...this.#cache.status };
  }

  /** What the host looks like now. Flows are forgotten if packets may have to go other ways. */
  setPaths({ links, routing, clientMtuBytes }: Paths): void {
    const cache = this.#cache;
    if (cache === undefined) return;
    this.#links = links;
    const seen = links.filter(({ isSeen }) => isSeen);
    this.#interfaces.update(seen, cache.attach(seen.map(({ index }) => index)));
    if (routing === this.#routing && clientMtuBytes === this.#mtuBytesMax) return;
    this.#routing = routing;
    this.#mtuBytesMax = clientMtuBytes;
    this.#director.cached.flushAll();
    cache.forgetWays();
  }

  /** The director took its connections over: what became of those that were cached while no process was there? */
  inherit(): void {
    const { cached } = this.#director;
    this.#cache?.inherit((record, state, seenTick, inPackets) =>
      cached.inherit(record, state, seenTick, inPackets),
    );
  }

  /** @param isKept - what is pinned goes on without a process */
  close(isKept: boolean): void {
    const { cached } = this.#director;
    // What is kept goes on choosing servers as well; what began is entered for the last time.
    if (isKept) cached.catchUpChanges();
    else cached.cache = undefined;
    this.#cache?.close(isKept);
    this.#rtnetlink.close();
  }

  /** As the kernel would route what the director writes. */
  #findWay(family: 4 | 6, to: string, from: string): WayOut | undefined {
    const route = this.#rtnetlink.forwardingRoute(family, to, from, this.#device);
    const link = this.#links.find(({ index }) => index === route?.device);
    if (route === undefined || link === undefined || !link.isSeen) return undefined;
    if (route.type !== "unicast" || route.isPartial || route.device === this.#device) return undefined;
    const mtuBytes = Math.min(link.mtuBytes, route.mtu ?? link.mtuBytes, this.#mtuBytesMax || link.mtuBytes);
    const { gateway } = route;
    return {
      device: link.index,
      mtuBytes,
      ...(gateway !== undefined && { gateway: addressToBytes(gateway) }),
    };
  }
}
