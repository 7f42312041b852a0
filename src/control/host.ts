/**
 * The host around the director, seen from the main thread: found fit or not, made as the director needs it, kept so
 * while interfaces and routes come and go, and put back.
 */
import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { SystemCallError } from "../datapath/system-call.ts";
import {
  adoptTunDevice,
  isOfTunDevice,
  openTunDevice,
  type TunDevice,
  type TunOptions,
} from "../datapath/tun/device.ts";
import { announce } from "../datapath/tun/host/announcement.ts";
import { describe } from "../datapath/tun/host/host-change.ts";
import { ROUTE_PROTOCOL } from "../datapath/tun/host/host-config.ts";
import { type HostFacts, readHostFacts } from "../datapath/tun/host/host-facts.ts";
import { findHostIssues, type HostIssue } from "../datapath/tun/host/host-issue.ts";
import { planHost } from "../datapath/tun/host/host-plan.ts";
import { type HostDifference, HostSetup } from "../datapath/tun/host/host-setup.ts";
import { routeMtu } from "../datapath/tun/host/route-mtu.ts";
import { announced, targets } from "../datapath/tun/host/territory.ts";
import type { Link } from "../datapath/tun/netlink/link.ts";
import { watchRouting } from "../datapath/tun/netlink/monitor.ts";
import { Rtnetlink } from "../datapath/tun/netlink/rtnetlink.ts";
import type { Config } from "./config/config.ts";
import type { DrainingAddresses, Paths } from "./datapath-protocol.ts";
import { territoryOf } from "./territory.ts";

/** What would be done for a configuration, and what speaks against it; nothing is changed. */
export interface HostPlan {
  /** Commands an operator would type. */
  readonly commands: readonly string[];
  readonly issues: readonly HostIssue[];
}

/** For `--dry-run` and `doctor`: needs no privilege. */
export function planOfHost({ host, director }: Config): HostPlan {
  const rtnetlink = new Rtnetlink();
  try {
    const territory = territoryOf(director);
    const facts = readHostFacts(rtnetlink, targets(territory));
    return {
      commands: [
        `ip tuntap add dev ${host.device} mode tun`,
        `ip link set dev ${host.device} up`,
        ...planHost(host, territory, facts).map(describe),
      ],
      issues: findHostIssues(host, territory, facts),
    };
  } finally {
    rtnetlink.close();
  }
}

export class Host {
  /** What a daemon before made and left as it is, as commands: ours now. */
  readonly leftovers: readonly string[];
  readonly #rtnetlink = new Rtnetlink();
  readonly #setup: HostSetup;
  readonly #device: string;
  #unwatch: (() => void) | undefined;

  /** @throws JournalBusyError when another process works with this device. */
  constructor(device: string) {
    this.#device = device;
    try {
      this.#setup = new HostSetup(device, this.#rtnetlink);
    } catch (error) {
      this.#rtnetlink.close();
      throw error;
    }
    this.leftovers = this.#setup.leftovers.map(describe);
  }

  /**
   * The TUN device: the one that a daemon before left, else a new one, which outlives this process from now on.
   * @param descriptor - of the device, if it was handed over
   * @throws SystemCallError
   */
  async openDevice(
    { host: { device, queueLength } }: Config,
    options: TunOptions,
    descriptor: number | undefined,
  ): Promise<TunDevice> {
    const all = { ...options, ...(queueLength !== undefined && { queueLength }) };
    if (descriptor !== undefined && isOfTunDevice(descriptor, device))
      return adoptTunDevice(descriptor, device, all);
    if (this.#setup.leftDevice !== undefined) return await openLeftDevice(device, all);
    const made = openTunDevice(device, all);
    try {
      this.#setup.keep(made);
      return made;
    } catch (error) {
      made.close();
      throw error;
    }
  }

  issues({ host, director }: Config): HostIssue[] {
    const territory = territoryOf(director);
    return findHostIssues(host, territory, this.#setup.facts(territory));
  }

  /** Make the host fit; what live connections of removed servers need stays. The TUN device has to be there. */
  apply({ host, director }: Config, draining: DrainingAddresses): HostDifference {
    return this.#setup.apply(host, territoryOf(director, draining));
  }

  /** Tell the neighbours where the director's addresses are. @returns how many announcements were sent. */
  announce({ host, director }: Config): number {
    const territory = territoryOf(director);
    const facts = this.#setup.facts(territory);
    return announce(host, announced(territory), facts).flat().length;
  }

  paths({ host: { mtu }, director }: Config, draining: DrainingAddresses): Paths {
    const territory = territoryOf(director, draining);
    const facts = this.#setup.facts(territory);
    const { routesTo, links } = facts;
    const own = targets(territory).flatMap((target) => routesTo.get(target)?.preferredSource ?? []);
    return {
      serverMtus: territory.servers.map(({ address }) => ({
        address,
        mtuBytes: mtu === "auto" ? (routeMtu(this.#rtnetlink, address) ?? 0) : mtu,
      })),
      clientMtuBytes: mtu === "auto" ? 0 : mtu,
      links: links.map((link) => {
        const { index, name, mtu: mtuBytes } = link;
        return { index, name, mtuBytes, isSeen: isSeen(link, this.#device) };
      }),
      routing: routingOf(facts),
      ownAddresses: own.filter((address, at) => own.findIndex((one) => isSameFamily(one, address)) === at),
    };
  }

  /** Call back when links, addresses or routes change; until `close`. */
  watch(onChange: () => void): void {
    this.#unwatch = watchRouting(onChange);
  }

  /** Undo everything that was made, the TUN device included. */
  close(): void {
    this.#end(() => this.#setup.close());
  }

  /** Leave everything as it is, for the next daemon. */
  release(): void {
    this.#end(() => this.#setup.release());
  }

  #end(act: () => unknown): void {
    this.#unwatch?.();
    try {
      act();
    } finally {
      this.#rtnetlink.close();
    }
  }
}

/** Of a bridge or bond its parts carry the packets, and it itself has them once they are the host's. */
const isSeen = ({ name, isUp, isLoopback, isEthernet, master }: Link, device: string): boolean =>
  isUp && !isLoopback && isEthernet && master === 0 && name !== device;

/** Everything that ways depend on, as text: only to be compared. What the director itself sets up leads no packet out. */
function routingOf({ links, addresses, routes, rules }: HostFacts): string {
  const isForeign = ({ protocol }: { readonly protocol: number }): boolean => protocol !== ROUTE_PROTOCOL;
  const ways = links.map(({ index, mtu, isUp, master }) => [index, mtu, isUp, master]);
  const facts = [ways, addresses, routes.filter(isForeign), rules.filter(isForeign)];
  return createHash("sha256").update(JSON.stringify(facts)).digest("base64");
}

/** Who is killed lets go of the device a moment later than of the journal. */
async function openLeftDevice(device: string, options: TunOptions): Promise<TunDevice> {
  for (let tries = 1; ; tries++) {
    try {
      return openTunDevice(device, { ...options, isThere: true });
    } catch (error) {
      const isBusy = error instanceof SystemCallError && error.code === "EBUSY";
      if (!isBusy || tries === BUSY_TRIES) throw error;
      await delay(BUSY_WAIT_MS);
    }
  }
}

const BUSY_TRIES = 100;
const BUSY_WAIT_MS = 20;

const isSameFamily = (a: string, b: string): boolean => a.includes(":") === b.includes(":");
