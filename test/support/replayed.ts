/** Running the director over a recording of a real IPVS, in phases with different configurations. */

import { readFileSync } from "node:fs";
import { APPLICATIONS } from "../../src/alg/registry.ts";
import { milliseconds, seconds } from "../../src/base/environment.ts";
import { seededRandom } from "../../src/base/seeded-random.ts";
import { DirectorControl } from "../../src/control/director-control.ts";
import { type ComparedPacket, compare, type Difference } from "../../src/datapath/replay/compare.ts";
import { Replay } from "../../src/datapath/replay/replay.ts";
import { type AddressKind, readSide, type SidedPacket } from "../../src/datapath/replay/two-sided-capture.ts";
import type {
  DestinationConfig,
  DirectorSettings,
  ServiceConfig,
  ServiceProtocol,
} from "../../src/nat/configuration.ts";
import { ConnectionTable } from "../../src/nat/connection-table.ts";
import { Director } from "../../src/nat/director.ts";
import { IPVS_DEFAULTS } from "../../src/nat/ipvs-settings.ts";
import { type SchedulerLoan, ServiceBook } from "../../src/nat/service-book.ts";
import { SourceAddresses } from "../../src/nat/source-addresses.ts";
import { IPVS_TIMEOUTS } from "../../src/nat/timeouts.ts";
import { SCHEDULERS } from "../../src/schedulers/registry.ts";
import { formatAddress } from "../../src/wire/address.ts";
import { readCapture } from "../../src/wire/capture.ts";

/** IPVS's own behaviour where vsnat's default differs. */
export const IPVS_SETTINGS: DirectorSettings = {
  timeouts: IPVS_TIMEOUTS,
  connectionsMax: 4096,
  unserved: "reject",
  repliesPerSecondMax: 1000,
  answerEcho: true,
  removal: "drop",
  ipvs: IPVS_DEFAULTS,
  fragmentBytesMax: 1 << 20,
  fragmentTimeout: seconds(30),
};

/** "172.16.0.2:80 w2" style short form of a destination. */
export function destination(
  address: string,
  port: number,
  weight = 1,
  upper = 0,
  lower = 0,
): DestinationConfig {
  return { address, port, weight, upperThreshold: upper, lowerThreshold: lower };
}

export function service(
  protocol: ServiceProtocol,
  address: string,
  port: number,
  scheduler: string,
  ...destinations: DestinationConfig[]
): ServiceConfig {
  return { protocol, address, port, scheduler, destinations };
}

/** Services without a director. */
export function testBook(schedulers = SCHEDULERS, loan: Partial<SchedulerLoan> = {}): ServiceBook {
  const randomU32 = seededRandom(1);
  const all = { randomU32, now: () => milliseconds(0), ipvs: () => IPVS_DEFAULTS, ...loan };
  return new ServiceBook(schedulers, all, new SourceAddresses(new ConnectionTable(16, [1, 2], 0), randomU32));
}

export function testDirector(
  services: readonly ServiceConfig[],
  settings: Partial<DirectorSettings> = {},
): Director {
  const director = new Director({
    settings: { ...IPVS_SETTINGS, ...settings },
    schedulers: SCHEDULERS,
    applications: APPLICATIONS,
    randomU32: seededRandom(42),
    hopChange: -1,
    now: milliseconds(0),
  });
  for (const one of services) director.addService(one);
  return director;
}

/** Both sides of a recording, in order of time. */
export function readRecording(
  folder: string,
  virtual: readonly string[],
  servers: readonly string[],
): SidedPacket[] {
  const kindOf = (family: 4 | 6, words: Int32Array, at: number): AddressKind => {
    const text = formatAddress(family, words, at);
    return virtual.includes(text) ? "virtual" : servers.includes(text) ? "server" : "other";
  };
  const read = (side: "client" | "server") =>
    readSide(readCapture(readFileSync(`${folder}/${side}-side.pcap`)), side, kindOf);
  return [...read("client"), ...read("server")].sort((a, b) => a.timestampMs - b.timestampMs);
}

/** What the director sent, for comparison, and what the recording has. */
export class RecordedRun {
  readonly director: Director;
  readonly control: DirectorControl;
  readonly replay: Replay;
  readonly made: ComparedPacket[] = [];
  readonly recorded: SidedPacket[] = [];
  readonly #packets: readonly SidedPacket[];
  #next = 0;

  constructor(packets: readonly SidedPacket[], director: Director) {
    this.#packets = packets;
    this.director = director;
    this.control = new DirectorControl(director);
    this.replay = new Replay(director);
  }

  /** Other services and settings from the next packet on; settings default to IPVS_SETTINGS. */
  apply(services: readonly ServiceConfig[], settings: Partial<DirectorSettings> = {}): void {
    const all = { ...IPVS_SETTINGS, ...settings };
    this.control.apply({ services, marks: [], masquerade: [], settings: all });
  }

  /** Feed arrivals until `stop` says so of the next one; by default to the end. */
  run(stop: (next: SidedPacket) => boolean = () => false): void {
    for (; this.#next < this.#packets.length; this.#next++) {
      const packet = this.#packets[this.#next]!;
      if (!packet.hasArrived) {
        this.recorded.push(packet);
        continue;
      }
      if (stop(packet)) return;
      const { verdict, departures } = this.replay.feed(packet);
      for (const { side, bytes } of departures)
        this.made.push({ side, bytes, isOwn: verdict.kind === "reply" });
    }
  }

  differences(): Difference[] {
    return compare(this.made, this.recorded);
  }
}
