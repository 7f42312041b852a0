/** What a running director tells about itself, for those who show it. */
import type { Status } from "../../src/api/operations.ts";
import { seconds } from "../../src/base/environment.ts";
import type { DestinationStatus, ServiceStatus } from "../../src/control/director-status.ts";

const NOTHING = { connections: 0, inPackets: 0, outPackets: 0, inBytes: 0, outBytes: 0 };
export const SINCE = "2026-11-23T22:00:00.123Z";

const server = (address: string, port: number, more: Partial<DestinationStatus> = {}): DestinationStatus => ({
  address,
  port,
  weight: 1,
  upperThreshold: 0,
  lowerThreshold: 0,
  activeConnections: 2,
  inactiveConnections: 1,
  persistentConnections: 0,
  isOverloaded: false,
  counters: NOTHING,
  rates: NOTHING,
  ...more,
});

const services: readonly ServiceStatus[] = [
  {
    ...{ protocol: "tcp", address: "192.0.2.1", port: 80, scheduler: "sh", schedulerFlags: ["sh-port"] },
    persistence: { timeout: seconds(300), netmask: "255.255.255.0" },
    removal: "reset",
    counters: { ...NOTHING, connections: 7 },
    rates: NOTHING,
    destinations: [
      server("10.0.0.1", 80, { weight: 0, persistentConnections: 3 }),
      server("10.0.0.2", 80, { isOverloaded: true }),
    ],
  },
  {
    ...{
      protocol: "fwmark",
      address: "::",
      port: 0,
      mark: 7,
      scheduler: "mine",
      schedulerFailure: "it threw\x1b[2J",
    },
    counters: NOTHING,
    rates: NOTHING,
    destinations: [server("fd00::1", 0)],
  },
];

const NOTHING_DONE = {
  rewritten: 0, announced: 0, begun: 0, foreign: 0, lowPort: 0, noPlace: 0, noRoom: 0, badChecksum: 0, outOfOrder: 0, unacknowledged: 0,
  encrypted: 0, unattended: 0, failed: 0,
}; // biome-ignore format: data
/** A director with one of everything that is worth a line. */
export const STATUS: Status = {
  daemon: { version: "1", pid: 2, configFile: "vsnat.yaml", startedAt: SINCE },
  device: { name: "vs0", state: "up", offload: "none", receivedPackets: 0, sentPackets: 0, lostPackets: 0, refusedPackets: 0, unreadablePackets: 0 },
  fastPath: { state: "off" },
  connections: { count: 1, max: 10, createdCount: 5 },
  verdicts: { "to-server": 1, "to-client": 2, pass: 3, reply: 4, held: 0, drop: 5 },
  drops: { defence: 5 },
  counters: NOTHING,
  rates: NOTHING,
  services,
  masquerade: [{ from: ["10.0.0.0/24"], sources: ["192.0.2.1"], connections: 4, counters: { ...NOTHING, connections: 9 }, rates: NOTHING }],
  defences: [
    { name: "drop_entry", mode: 0 },
    { name: "drop_packet", mode: 2 },
    { name: "secure_tcp", mode: 1 },
  ],
  applications: [
    { name: "ftp", ports: [{ protocol: "tcp", port: 21, connections: 2 }, { protocol: "tcp", port: 2121, connections: 1 }], counters: { ...NOTHING_DONE, rewritten: 4, lowPort: 1 } },
  ],
  manual: [
    { subject: "server 10.0.0.1:80 of tcp 192.0.2.1:80", what: "weight 1 -> 0", since: SINCE },
    { subject: "service fwmark6 7", what: "added", since: SINCE },
    { subject: "server 10.0.0.2:80 of tcp 192.0.2.1:80", what: "changed", since: SINCE, dormantBecause: "the file says the same" },
  ],
  internalErrorCount: 0,
  uptimeSeconds: 61,
}; // biome-ignore format: data

/** The same with a fast path that had trouble. */
export const TROUBLED_FAST_PATH: Extract<Status["fastPath"], { readonly state: "on" }> = {
  state: "on", suspendedBy: ["trace"],
  interfaces: [{ name: "inside" }, { name: "outside" }, { name: "vlan7", refusal: "ERANGE" }], lostInterfaces: 1, devices: [2, 3],
  connections: 6, excepted: 3, delegated: 2, begun: 20, audited: 12, mismatches: 1, classesOff: ["IPv4 TCP to the server"], refused: 7, withoutWay: 8, lostNews: 9,
}; // biome-ignore format: data

/** The example of the documents after six requests. */
export const FOUNDING_SERVICE: ServiceStatus = {
  ...{ protocol: "tcp", address: "202.103.106.5", port: 80, scheduler: "wrr", rates: NOTHING },
  counters: { connections: 6, inPackets: 36, outPackets: 26, inBytes: 2394, outBytes: 2054 },
  destinations: [
    server("172.16.0.2", 80, { activeConnections: 0, inactiveConnections: 2 }),
    server("172.16.0.3", 8000, { activeConnections: 0, inactiveConnections: 4 }),
  ],
};
