/**
 * Makes the host as the plan wants it, and as it was before again. Every change goes through the journal; a change that
 * somebody else had made already is left alone now and at the end. What a process before left is taken over: it is in the
 * journal, and stays as far as the plan wants it.
 */
import { writeFileSync } from "node:fs";
import { unreachable } from "../../../base/unreachable.ts";
import type { Family } from "../../../wire/address.ts";
import type { TunDevice } from "../device.ts";
import type { ProxyNeighbour } from "../netlink/proxy.ts";
import { Rtnetlink } from "../netlink/rtnetlink.ts";
import { changeKey, type DeviceChange, describe, type HostChange, type SysctlChange } from "./host-change.ts";
import type { HostConfig } from "./host-config.ts";
import { type HostFacts, readHostFacts, readSysctl } from "./host-facts.ts";
import { isInPlace, wantedOnHost } from "./host-plan.ts";
import { Journal, JournalBusyError, journaledDevices } from "./journal.ts";
import { removeTableFile, tableFileDevices } from "./table-file.ts";
import { type Territory, targets } from "./territory.ts";

/** A change could not be made, or not be undone. */
export class HostChangeError extends Error {
  readonly change: HostChange;
  /** "EPERM", "EACCES", ... or undefined. */
  readonly code: string | undefined;

  constructor(change: HostChange, cause: unknown, attempt: "do" | "undo" = "do") {
    super(
      `Cannot ${attempt} "${describe(change)}": ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
    this.name = "HostChangeError";
    this.change = change;
    this.code = errorCode(cause);
  }
}

export interface HostDifference {
  readonly made: readonly HostChange[];
  readonly undone: readonly HostChange[];
}

export class HostSetup {
  readonly #rtnetlink: Rtnetlink;
  readonly #journal: Journal;
  /** What a process before had made and not undone: ours now. */
  readonly leftovers: readonly HostChange[];

  /**
   * Take the device's journal.
   * @throws JournalBusyError when another process works with this device.
   */
  constructor(device: string, rtnetlink: Rtnetlink, journal: Journal = new Journal(device)) {
    this.#rtnetlink = rtnetlink;
    this.#journal = journal;
    this.leftovers = journal.made;
  }

  /** The TUN device that a process before left, if it is still there. */
  get leftDevice(): DeviceChange | undefined {
    const left = this.#journal.made.find((change) => change.kind === "device");
    if (left === undefined || this.#isThere(left)) return left;
    this.#journal.wasUndone(left);
    return undefined;
  }

  /** Let a device that was just made outlive the process. @throws SystemCallError, HostChangeError */
  keep({ name, index, persist }: TunDevice): void {
    this.#journal.willMake({ kind: "device", device: name, index });
    persist();
  }

  #isThere({ device, index }: DeviceChange): boolean {
    return this.#rtnetlink.links().some((link) => link.name === device && link.index === index);
  }

  /** How the host looks with respect to this territory. */
  facts(territory: Territory): HostFacts {
    return readHostFacts(this.#rtnetlink, targets(territory));
  }

  /**
   * Make what is missing for this territory and undo what an earlier one needed. May be called again and again; the TUN
   * device has to be there.
   * @throws HostChangeError, the changes of this call undone.
   */
  apply(config: HostConfig, territory: Territory): HostDifference {
    const wanted = wantedOnHost(config, territory, this.facts(territory));
    const keys = new Set(wanted.map(changeKey));
    const isUnwanted = (change: HostChange) => change.kind !== "device" && !keys.has(changeKey(change));
    const undone = this.#undo(this.#journal.made.filter(isUnwanted));
    const facts = this.facts(territory);
    const made: HostChange[] = [];
    for (const change of wanted) {
      if (isInPlace(change, facts)) continue;
      this.#journal.willMake(change);
      made.push(change);
      try {
        make(change, this.#rtnetlink);
      } catch (cause) {
        if (change.kind === "rule" && errorCode(cause) === "EEXIST") {
          this.#journal.wasUndone(change); // somebody else's, of a form the plan did not recognise
          made.pop();
          continue;
        }
        this.#undo(made);
        throw new HostChangeError(change, cause);
      }
    }
    return { made, undone };
  }

  /** Undo everything and give the journal up. */
  close(): readonly HostChange[] {
    const undone = this.#undo(this.#journal.made);
    this.#journal.close();
    return undone;
  }

  /** Give the journal up and leave everything as it is, for the next process. */
  release(): void {
    this.#journal.close();
  }

  /**
   * Last made first; what fails stays in the journal and does not keep the rest from being undone.
   * @returns those that there still was something to undo of. @throws AggregateError of HostChangeErrors.
   */
  #undo(changes: readonly HostChange[]): HostChange[] {
    const undone: HostChange[] = [];
    const failures: HostChangeError[] = [];
    // Dumped once, because there may be thousands.
    const proxies = changes.some(({ kind }) => kind === "proxy") ? this.#proxies() : new Set<string>();
    for (const change of [...changes].reverse()) {
      try {
        if (undo(change, this.#rtnetlink, proxies)) undone.push(change);
        this.#journal.wasUndone(change);
      } catch (cause) {
        failures.push(new HostChangeError(change, cause, "undo"));
      }
    }
    if (failures.length > 0)
      throw new AggregateError(failures, failures.map(({ message }) => message).join("\n"));
    return undone;
  }

  #proxies(): Set<string> {
    return new Set([4, 6].flatMap((family) => this.#rtnetlink.proxies(family as Family).map(proxyKey)));
  }
}

/** A proxy entry as it shows in a dump. */
const proxyKey = ({ device, address, protocol }: Omit<ProxyNeighbour, "family">): string =>
  `${device} ${address} ${protocol}`;

export interface Cleanup {
  readonly device: string;
  /** A living process has the device: nothing was done about it. */
  readonly isInUse: boolean;
  readonly undone: readonly HostChange[];
  /** Connections were kept for a next start, and are no more. */
  readonly hadConnections: boolean;
}

/** Undo what processes that are gone left in this network namespace, and give up what they kept. */
export function cleanUpHost(): Cleanup[] {
  const rtnetlink = new Rtnetlink();
  try {
    const withTable = tableFileDevices();
    return [...new Set([...journaledDevices(), ...withTable])].map((device) => {
      try {
        const undone = new HostSetup(device, rtnetlink).close();
        removeTableFile(device);
        return { device, isInUse: false, undone, hadConnections: withTable.includes(device) };
      } catch (cause) {
        if (cause instanceof JournalBusyError)
          return { device, isInUse: true, undone: [], hadConnections: false };
        throw cause;
      }
    });
  } finally {
    rtnetlink.close();
  }
}

function make(change: HostChange, rtnetlink: Rtnetlink): void {
  switch (change.kind) {
    case "sysctl":
      writeSysctl(change.path, change.value);
      return;
    case "device":
      return; // made before anything else, see `keep`
    case "link-group":
      rtnetlink.setLink(indexOf(change.device, rtnetlink), { group: change.group });
      return;
    case "route":
      rtnetlink.addRoute({ ...change, device: indexOf(change.device, rtnetlink) });
      return;
    case "rule":
      rtnetlink.addRule(change.rule);
      return;
    case "proxy":
      rtnetlink.addProxy({ ...change, device: indexOf(change.device, rtnetlink) });
      return;
    default:
      unreachable(change);
  }
}

/**
 * @param proxies - keys of those that there are
 * @returns false when there was nothing left to undo: the device is gone, or somebody changed it meanwhile.
 */
function undo(change: HostChange, rtnetlink: Rtnetlink, proxies: ReadonlySet<string>): boolean {
  switch (change.kind) {
    case "sysctl":
      return undoSysctl(change);
    case "device": {
      const isOurs = rtnetlink
        .links()
        .some(({ name, index }) => name === change.device && index === change.index);
      return isOurs && rtnetlink.deleteLink(change.index);
    }
    case "link-group":
      return false;
    case "rule":
      return rtnetlink.deleteRule(change.rule);
    case "route":
    case "proxy": {
      const link = rtnetlink.links().find(({ name }) => name === change.device);
      if (link === undefined) return false;
      if (change.kind === "route") return rtnetlink.deleteRoute({ ...change, device: link.index });
      const isOurs = proxies.has(proxyKey({ ...change, device: link.index }));
      return isOurs && rtnetlink.deleteProxy({ ...change, device: link.index });
    }
    default:
      return unreachable(change);
  }
}

function undoSysctl({ path, value, before, alongside = {} }: SysctlChange): boolean {
  if (before === undefined || readSysctl(path) !== value) return false;
  writeSysctl(path, before);
  for (const [other, earlier] of Object.entries(alongside)) {
    const now = readSysctl(other);
    if (now !== undefined && now !== earlier) writeSysctl(other, earlier);
  }
  return true;
}

const writeSysctl = (path: string, value: string): void => writeFileSync(`/proc/sys/${path}`, value);

function indexOf(device: string, rtnetlink: Rtnetlink): number {
  const link = rtnetlink.links().find(({ name }) => name === device);
  if (link === undefined) throw new Error(`there is no interface ${device}`);
  return link.index;
}

function errorCode(cause: unknown): string | undefined {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  return typeof code === "string" ? code : undefined;
}
