/**
 * The host around the director, seen from the main thread: found fit or not, made as the director needs it, kept so
 * while interfaces and routes come and go, and put back.
 */
import { announce } from "../datapath/tun/host/announcement.ts";
import { describe } from "../datapath/tun/host/host-change.ts";
import { readHostFacts } from "../datapath/tun/host/host-facts.ts";
import { findHostIssues, type HostIssue } from "../datapath/tun/host/host-issue.ts";
import { planHost } from "../datapath/tun/host/host-plan.ts";
import { type HostDifference, HostSetup } from "../datapath/tun/host/host-setup.ts";
import { routeMtu } from "../datapath/tun/host/route-mtu.ts";
import { watchRouting } from "../datapath/tun/netlink/monitor.ts";
import { Rtnetlink } from "../datapath/tun/netlink/rtnetlink.ts";
import type { ServiceConfig } from "../nat/configuration.ts";
import type { Config } from "./config/config.ts";
import type { DrainingAddresses, Paths } from "./datapath-protocol.ts";

/** What would be done for a configuration, and what speaks against it; nothing is changed. */
export interface HostPlan {
  /** Commands an operator would type. */
  readonly commands: readonly string[];
  readonly issues: readonly HostIssue[];
}

const virtualAddressesOf = (services: readonly ServiceConfig[]): string[] => [
  ...new Set(services.map((service) => service.address)),
];
const serverAddressesOf = (services: readonly ServiceConfig[]): string[] => [
  ...new Set(services.flatMap((service) => service.destinations.map((destination) => destination.address))),
];

/** For `--dry-run` and `doctor`: needs no privilege. */
export function planOfHost({ host, director: { services } }: Config): HostPlan {
  const rtnetlink = new Rtnetlink();
  try {
    const [vips, rips] = [virtualAddressesOf(services), serverAddressesOf(services)];
    const facts = readHostFacts(rtnetlink, [...vips, ...rips]);
    return {
      commands: [
        `ip tuntap add dev ${host.device} mode tun`,
        `ip link set dev ${host.device} up`,
        ...planHost(host, vips, rips, facts).map(describe),
      ],
      issues: findHostIssues(host, vips, rips, facts),
    };
  } finally {
    rtnetlink.close();
  }
}

export class Host {
  /** What a daemon that was killed had left behind, as commands; undone by now. */
  readonly leftovers: readonly string[];
  readonly #rtnetlink = new Rtnetlink();
  readonly #setup: HostSetup;
  #unwatch: (() => void) | undefined;

  /** @throws JournalBusyError when another process works with this device. */
  constructor(device: string) {
    try {
      this.#setup = new HostSetup(device, this.#rtnetlink);
    } catch (error) {
      this.#rtnetlink.close();
      throw error;
    }
    this.leftovers = this.#setup.leftovers.map(describe);
  }

  issues({ host, director: { services } }: Config): HostIssue[] {
    const [vips, rips] = [virtualAddressesOf(services), serverAddressesOf(services)];
    return findHostIssues(host, vips, rips, this.#setup.facts(vips, rips));
  }

  /** Make the host fit; what live connections of removed servers need stays. The TUN device has to be there. */
  apply({ host, director: { services } }: Config, draining: DrainingAddresses): HostDifference {
    const vips = [...new Set([...virtualAddressesOf(services), ...draining.virtualAddresses])];
    const rips = [...new Set([...serverAddressesOf(services), ...draining.serverAddresses])];
    return this.#setup.apply(host, vips, rips);
  }

  /** Tell the neighbours where the virtual addresses are. @returns how many announcements were sent. */
  announce({ host, director: { services } }: Config): number {
    const vips = virtualAddressesOf(services);
    const facts = this.#setup.facts(vips, []);
    return vips.reduce((count, vip) => count + announce(host, vip, facts).length, 0);
  }

  paths({ host, director: { services } }: Config, draining: DrainingAddresses): Paths {
    const rips = [...new Set([...serverAddressesOf(services), ...draining.serverAddresses])];
    const { mtu } = host;
    const { routesTo } = this.#setup.facts([], rips);
    const own = rips.flatMap((rip) => routesTo.get(rip)?.preferredSource ?? []);
    return {
      serverMtus: rips.map((address) => ({
        address,
        mtuBytes: mtu === "auto" ? (routeMtu(this.#rtnetlink, address) ?? 0) : mtu,
      })),
      clientMtuBytes: mtu === "auto" ? 0 : mtu,
      ownAddresses: own.filter((address, at) => own.findIndex((one) => isSameFamily(one, address)) === at),
    };
  }

  /** Call back when links, addresses or routes change; until `close`. */
  watch(onChange: () => void): void {
    this.#unwatch = watchRouting(onChange);
  }

  /** Undo everything that was made. Call before the TUN device is closed. */
  close(): void {
    this.#unwatch?.();
    try {
      this.#setup.close();
    } finally {
      this.#rtnetlink.close();
    }
  }
}

const isSameFamily = (a: string, b: string): boolean => a.includes(":") === b.includes(":");
