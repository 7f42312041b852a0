/** What people read of a running daemon. */
import { expect, test } from "vitest";
import type { Status } from "../api/operations.ts";
import { seconds } from "../base/environment.ts";
import type { ReloadResult } from "../control/daemon.ts";
import type { DestinationStatus, ServiceStatus } from "../control/director-status.ts";
import { formatReload } from "./reload.ts";
import { formatStatus } from "./status.ts";

const NOTHING = { connections: 0, inPackets: 0, outPackets: 0, inBytes: 0, outBytes: 0 };
const SINCE = "2026-11-23T22:00:00.123Z";
const plain = (_: unknown, text: string): string => text;

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
const status: Status = {
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

test("status shows what runs, what defends, what failed, and what was changed by hand", () => {
  expect(formatStatus(status, plain)).toEqual([
    "vsnat 1, pid 2, up 1m 1s, vsnat.yaml, device vs0",
    "connections 1 of 10, 5 made",
    "packets to servers 1, to clients 2, own replies 4, passed 3, dropped 5",
    "fast path off",
    "defences: drop_packet automatic, in action; secure_tcp automatic, at rest",
    "",
    expect.stringMatching(/^ +weight +active +inactive +conns .* out B\/s +templates$/),
    expect.stringMatching(
      /^tcp:\/\/192\.0\.2\.1:80 sh sh-port, persistent 300 s mask 255\.255\.255\.0, removed servers reset +4 +2 +7 .* 3$/,
    ),
    expect.stringMatching(/^ {2}10\.0\.0\.1:80 quiesced by hand +0 +2 +1 +0 .* 3$/),
    expect.stringMatching(/^ {2}10\.0\.0\.2:80 overloaded +1 +2 +1 .* 0$/),
    expect.stringMatching(/^fwmark6:\/\/7 mine by hand +2 +1 +0( +0){5}$/),
    expect.stringMatching(/^ {2}\[fd00::1\]:0 +1 +2 +1( +0){6}$/),
    expect.stringMatching(/^masquerade 10\.0\.0\.0\/24 as 192\.0\.2\.1 +4 +9( +0){5}$/),
    "fwmark6://7 scheduler mine: it threw·[2J",
    "",
    "changed by hand",
    "  server 10.0.0.1:80 of tcp 192.0.2.1:80: weight 1 -> 0, since 2026-11-23 22:00:00Z",
    "  service fwmark6 7: added, since 2026-11-23 22:00:00Z",
    "  server 10.0.0.2:80 of tcp 192.0.2.1:80: changed, since 2026-11-23 22:00:00Z (without effect: the file says the same)",
    "",
    "module ftp: connections 3, rewritten 4, refused for a port below 1024 1",
    "",
    "dropped packets",
    "  defence  5",
  ]);
});

test("without anything special, nothing special is shown", () => {
  const text = formatStatus(
    { ...status, services: [], masquerade: [], defences: [], applications: [], manual: [], drops: {} },
    plain,
  ).join("\n");
  expect(text).toMatch(/no services$/);
  expect(text).not.toMatch(/templates|defences|by hand|masquerade/);
});

test("reload says what changed, what waits, and what became of changes by hand", () => {
  const [kept, , dormant] = status.manual;
  const overriding = { ...kept!, what: "weight 3 -> 0" };
  const result: ReloadResult = {
    changes: [{ kind: "remove", subject: "tcp 192.0.2.1:81", connections: 3 }],
    settings: ["timeouts"],
    needsRestart: ["host.device"],
    manual: [overriding, dormant!],
    overriding: [overriding],
    discarded: [],
  };
  expect(formatReload(result, plain)).toEqual([
    "remove tcp 192.0.2.1:81 (3 connections go on)",
    "edit timeouts",
    "needs a restart: host.device",
    "kept against the file, changed by hand: server 10.0.0.1:80 of tcp 192.0.2.1:80: weight 3 -> 0, since 2026-11-23 22:00:00Z",
    "kept, changed by hand: server 10.0.0.2:80 of tcp 192.0.2.1:80: changed, since 2026-11-23 22:00:00Z (without effect: the file says the same)",
  ]);
  const dropped = {
    ...result,
    changes: [],
    settings: [],
    needsRestart: [],
    manual: [],
    overriding: [],
    discarded: [kept!],
  };
  expect(formatReload(dropped, plain)).toEqual([
    "no service or server changed",
    "dropped, changed by hand: server 10.0.0.1:80 of tcp 192.0.2.1:80: weight 1 -> 0, since 2026-11-23 22:00:00Z",
  ]);
});
